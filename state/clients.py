"""Clients of Redis for an event loop; the blocking one is :class:`state.store.Store`."""

from __future__ import annotations

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff

from state.store import BAD_ADDRESS, StoreError, client_of

TIMEOUT = 2.0
"Seconds that a connection or an answer may take."


def connect(url: str, *, timeout: float = TIMEOUT) -> Redis:
    """A client; nothing is connected before the first call. Raises :class:`StoreError` for an address that is none."""
    try:
        # A connection that Redis closed while it was idle is made anew once; more is for the caller to decide.
        client: Redis = client_of(url, _Client, Sentinel, socket_timeout=timeout, retry=Retry(NoBackoff(), 1))
    except ValueError:
        raise StoreError(BAD_ADDRESS) from None
    return client


class _Client(Redis):
    """One whose connections to sentinels, if there are any, end with it: redis-py leaves them open."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """See :meth:`redis.asyncio.Redis.aclose`."""
        await super().aclose(close_connection_pool)
        if isinstance(self.connection_pool, SentinelConnectionPool):
            for sentinel in self.connection_pool.sentinel_manager.sentinels:
                await sentinel.aclose()
