"""Clients of Redis for an event loop; the blocking one is :class:`state.store.Store`."""

from __future__ import annotations

from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from state.store import BAD_ADDRESS, StoreError

TIMEOUT = 2.0
"Seconds that a connection or an answer may take."


def connect(url: str, *, timeout: float = TIMEOUT) -> Redis:
    """A client; nothing is connected before the first call. Raises :class:`StoreError` for an address that is none."""
    try:
        if "@" in "".join(urlsplit(url)[2:]):
            raise ValueError
        client: Redis = Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=timeout,
            socket_connect_timeout=TIMEOUT,
            # A connection that Redis closed while it was idle is made anew once; more is for the caller to decide.
            retry=Retry(NoBackoff(), 1),
        )
    except ValueError:
        raise StoreError(BAD_ADDRESS) from None
    return client
