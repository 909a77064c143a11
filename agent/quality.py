"""Keeps in the snapshot how well gateways carry calls, for the routes that go by it, as all nodes together saw it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from agent.seen import Seen
from model.quality import WINDOW_MAX, BySlot, Figures, merged, slot_of, slots
from model.settings import Settings
from state import figures, layout, quality
from state.snapshot import SnapshotWriter
from state.store import Store, StoreError

log = logging.getLogger("strowger.agent")

# Seconds between two looks at what was counted.
EVERY = 0.5
# Slots that are still added to: nodes ship what has just happened. What comes later is found by reading all of them.
LATEST = 3
# Seconds between two readings of all slots.
ALL_EVERY = 30.0


@dataclass(slots=True)
class QualityWriter:
    """Writes until told to stop, if ``windows`` says for which windows."""

    settings: Settings
    stopped: Callable[[], bool]
    writer: SnapshotWriter
    windows: Callable[[], Collection[float]]
    seen: Seen
    _counted: dict[int, dict[str, Figures]] = field(default_factory=dict)
    _read_all: float = -ALL_EVERY
    _written: tuple[bytes, int] = (b"", 0)

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        store = Store(self.settings.redis_url)
        while not self.stopped():
            try:
                self.refresh(store, time.time())
            except Exception:
                # Nothing else would tell that the figures stay as they are.
                log.exception("figures of gateways are not written")
            time.sleep(EVERY)
        store.close()

    def refresh(self, store: Store, now: float) -> None:
        """Bring the record of Unix time ``now`` into the snapshot, where some route has a use for it."""
        windows = self.windows()
        if not windows:
            self._read_all = -ALL_EVERY
            return
        try:
            self._read(store, max(windows), now)
        except StoreError as error:
            # The figures that are known age out, and what this node sees is added to them.
            self._read_all = -ALL_EVERY
            log.debug("figures of gateways are this node's own: %s", error)
        self._write(merged((self._counted, self.seen.kept())), windows, now)

    def _read(self, store: Store, window: float, now: float) -> None:
        everything = time.monotonic() - self._read_all >= ALL_EVERY
        wanted = slots(window, now)
        self._counted.update(quality.counted(store, wanted if everything else wanted[-LATEST:]))
        if everything:
            self._read_all = time.monotonic()
            oldest = slot_of(now - WINDOW_MAX)
            self._counted = {slot: found for slot, found in self._counted.items() if slot >= oldest}

    def _write(self, counted: BySlot, windows: Collection[float], now: float) -> None:
        raw = figures.record(counted, windows, now)
        told = raw.partition(b",")[2], slot_of(now)
        # Every change makes workers look at their policy again, so nothing is written anew that is as it was.
        if told != self._written or self.writer.get(layout.QUALITY) is None:
            with self.writer.begin() as txn:
                txn.put(layout.QUALITY, raw)
            self._written = told
