"""Clients of Redis for an event loop; the blocking one is :class:`state.store.Store`."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from state.sentinels import Sentinels
from state.store import BAD_ADDRESS, StoreError

TIMEOUT = 2.0
"Seconds that a connection or an answer may take."


def connect(url: str, *, timeout: float = TIMEOUT) -> Redis:
    """A client; nothing is connected before the first call. Raises :class:`StoreError` for an address that is none."""
    try:
        # A connection that Redis closed while it was idle is made anew once; more is for the caller to decide.
        client = _client(url, socket_timeout=timeout, retry=Retry(NoBackoff(), 1))
    except ValueError:
        raise StoreError(BAD_ADDRESS) from None
    return client


class _OfSentinels(Redis):
    """A client whose connections to sentinels end with it: redis-py leaves them open."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """See :meth:`redis.asyncio.Redis.aclose`."""
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _client(url: str, **options: Any) -> Redis:
    options |= {"decode_responses": True, "socket_connect_timeout": TIMEOUT}
    sentinels = Sentinels.parse(url)
    if sentinels is None:
        if "@" in "".join(urlsplit(url)[2:]):
            raise ValueError
        found: Redis = Redis.from_url(url, **options)
        return found
    asking: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    asking |= sentinels.login if sentinels.ask_as else {}
    options |= {"db": sentinels.database, **sentinels.login}
    asked = Sentinel(sentinels.hosts, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    master: Redis = asked.master_for(sentinels.master, redis_class=_OfSentinels, **options)
    return master
