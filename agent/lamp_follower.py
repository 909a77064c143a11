"""Follows the lamps in Redis, in a thread of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model.settings import Settings
from state import mwi
from state.store import Store, StoreError

log = logging.getLogger("strowger.agent")

# Seconds that a look into the stream waits for a change.
BLOCK = 0.5
# Seconds before Redis is tried again.
RETRY_EVERY = 0.5
# Seconds after which everything is read anew whatever the stream says: it may have been trimmed or lost meanwhile.
WHOLE_EVERY = 60.0
# Seconds: how long this node is the one that sends unsolicited NOTIFYs, and how often it says so again.
LEASE, RENEW_EVERY = 6.0, 2.0


@dataclass(frozen=True, slots=True)
class Found:
    """Lamps as Redis has them, by mailbox; None for one that is gone."""

    lamps: Mapping[str, str | None]
    whole: bool = False
    "Whether these are all that there are."


@dataclass(slots=True)
class Follower:
    """Delivers lamps until told to stop."""

    settings: Settings
    stopped: Callable[[], bool]
    deliver: Callable[[Found], None]
    sends_unsolicited: bool = False
    "Whether this node is the one of all that tells the phones that never asked."
    _read_to: str = "0-0"
    "Position in the stream up to which changes were seen."

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        store = Store(self.settings.redis_url)
        while not self.stopped():
            try:
                self._follow(store)
            except StoreError as error:
                # The node agent says that Redis is away. Whoever holds the lease then, nobody hears of changes.
                log.debug("no lamp is read: %s", error)
                time.sleep(RETRY_EVERY)
        store.close()

    def _follow(self, store: Store) -> None:
        position, lamps = mwi.read_all(store)
        # What is not there need not be gone, as in an empty Redis. What changed and is not there now, is.
        changed = mwi.changed(store, self._read_to, position)
        self.deliver(Found({**dict.fromkeys(changed), **lamps}, whole=True))
        self._read_to = position
        read = time.monotonic()
        renewed = read - RENEW_EVERY
        while not self.stopped() and time.monotonic() - read < WHOLE_EVERY:
            if time.monotonic() - renewed >= RENEW_EVERY:
                self.sends_unsolicited = mwi.lease(store, self.settings.node, LEASE)
                renewed = time.monotonic()
            position, boxes = mwi.follow(store, position, BLOCK)
            if boxes:
                self.deliver(Found(mwi.read(store, dict.fromkeys(boxes))))
            self._read_to = position
