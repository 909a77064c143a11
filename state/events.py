"""What happened, for whoever wants to know: a stream in Redis that anybody may read, and nobody has to.

Kinds: ``message.left``, ``message.moved``, ``message.deleted``, ``transcript.partial``, ``transcript.final``, ``mwi``,
``breaker.opened``, ``breaker.closed``, ``breaker.adopted``, ``breaker.dropped``, ``fraud.warn``, ``fraud.block``,
``fraud.release``, ``records.lost``, ``policy.applied``, ``dtmf``, and those of calls (agent/call_events.py). see
docs/events.md.
An entry has the fields ``kind``, ``at`` (Unix time in seconds) and ``data`` (JSON).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from state import keys
from state.clients import connect
from state.wire import packed

log = logging.getLogger(__name__)


async def publish(client: Redis, kind: str, data: Mapping[str, Any]) -> None:
    """Append an event. Raises RedisError where Redis does not answer."""
    fields = {"kind": kind, "at": f"{time.time():.3f}", "data": json.dumps(data)}
    await client.xadd(keys.EVENTS, fields, maxlen=keys.EVENTS_KEPT, approximate=True)  # type: ignore[arg-type]


def entry(kind: str, data: Mapping[str, Any]) -> bytes:
    """The command that appends an event, for :class:`state.notes.Notes`."""
    return packed(
        "XADD", keys.EVENTS, "MAXLEN", "~", keys.EVENTS_KEPT, "*",
        "kind", kind, "at", f"{time.time():.3f}", "data", json.dumps(data),
    )  # fmt: skip


class Events:
    """Publishes events of this process; one that Redis does not take is lost, and nobody waits for it for long."""

    def __init__(self, url: str) -> None:
        """``url`` as :class:`state.store.Store` takes it. Raises :class:`state.store.StoreError`."""
        self._client = connect(url)

    async def publish(self, kind: str, data: Mapping[str, Any]) -> bool:
        """Append an event; whether Redis took it."""
        try:
            await publish(self._client, kind, data)
        except RedisError as error:
            log.debug("event %s is lost: %s", kind, error)
            return False
        return True

    @property
    def client(self) -> Redis:
        """For what is told in other ways than by events."""
        return self._client

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()
