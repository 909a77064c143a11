"""Tells a URL of call records, each at least once: ``strowger serve records``.

A batch is JSON by POST: ``event``, ``id`` and ``records``, each as docs/records.md has it with an ``id`` of its own,
by which the receiver knows one that comes twice. The headers are those of :mod:`media.posting`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import h11

from media import posting
from state import record_delivery as delivery
from state.record_delivery import Batch
from state.store import Store, StoreError
from telemetry import records as metrics
from telemetry import redis
from telemetry.health import Check

log = logging.getLogger("strowger.records")

# Seconds that a try may take, from the look-up of the name to the answer.
LIMIT = 20.0
# Seconds for which one service tells alone; it renews that before each try.
LEASE = 3 * LIMIT
# Seconds between two looks for records, or for Redis.
POLL = 0.5
# Seconds before the second try, each further one twice as many up to the most.
FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0


@dataclass(slots=True)
class RecordWebhook:
    """Tells ``url`` until told to stop. Several may run; one at a time tells."""

    store: Store
    url: str
    secret: str
    "Empty: nothing is signed."
    stopped: Callable[[], bool]
    _token: str = field(default_factory=lambda: secrets.token_hex(8))
    _said: str = ""

    def run(self) -> None:
        """Returns once ``stopped`` says so, after the try under way."""
        while not self.stopped():
            try:
                wait = self.turn()
            except StoreError as error:
                self._say(str(error))
                wait = POLL
            self._wait(wait)
        try:
            delivery.release(self.store, self._token)
        except StoreError:
            log.debug("Redis is away; the lease expires by itself")

    def turn(self) -> float:
        """Tell one batch, if it is this one's turn; seconds to wait before the next. Raises :class:`StoreError`."""
        if not delivery.lease(self.store, self._token, LEASE):
            return POLL
        known = delivery.progress(self.store)
        batch = delivery.next_batch(self.store, self._token, known)
        if batch is None:
            return POLL
        if error := self._post(batch):
            delivery.failed(self.store, self._token, error)
            metrics.FAILED.inc()
            self._say(f"records wait, the webhook does not take them: {error}")
            # It may be away for weeks, and no float holds the power of all those tries.
            return min(FIRST_WAIT * 2.0 ** min(known.tries, 20), LONGEST_WAIT)
        if batch.lost:
            log.warning("%d records were never told: Redis kept them no longer", batch.lost)
        delivery.told(self.store, self._token, batch, time.time())
        metrics.TOLD.inc(len(batch.rows))
        metrics.LOST.inc(batch.lost)
        if self._said:
            log.info("records are told again")
        self._said = ""
        return 0.0

    def check(self) -> list[Check]:
        """Redis, and whether the webhook takes records."""
        said = self._said
        return [redis.checked(self.store.ping, StoreError), Check("webhook", not said, said or "takes records")]

    def sample(self) -> None:
        """How many records wait."""
        try:
            metrics.WAITING.set(delivery.waiting(self.store, delivery.progress(self.store)) or 0)
        except StoreError as error:
            log.debug("nobody knows how many records wait: %s", error)

    def _post(self, batch: Batch) -> str:
        """Why the batch was not taken; empty where it was. The URL is not part of it: it may hold a password."""
        content = body(batch)
        fields = posting.headers(batch.id, self.secret, content, int(time.time()))
        try:
            status = asyncio.run(asyncio.wait_for(posting.post(self.url, content, fields), LIMIT))
        except TimeoutError:
            return f"no answer within {LIMIT:g} s"
        except (OSError, h11.ProtocolError, ValueError) as error:
            return f"no answer: {type(error).__name__}"
        # Redirects are not followed: whoever answers so could have records sent anywhere.
        return "" if 200 <= status <= 299 else f"answered {status}"

    def _say(self, what: str) -> None:
        if what != self._said:
            log.warning("%s", what)
        self._said = what

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.stopped() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, POLL))


def body(batch: Batch) -> bytes:
    """What is told."""
    records = [{"id": record_id(record), **record} for record in (json.loads(text) for _, _, text in batch.rows)]
    return json.dumps({"event": "call.records", "id": batch.id, "records": records}, separators=(",", ":")).encode()


def record_id(record: dict[str, object]) -> str:
    """What no other record has."""
    return f"{record['node']}/{record['call']}"
