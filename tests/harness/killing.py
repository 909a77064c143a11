"""Processes that are killed with -9 and started again, as a supervisor such as systemd does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from console.process import Process

RESTART = 0.2
"Seconds from the end of a process to its next start, as RestartSec of systemd.service(5)."
YOUNG = 3.0
"Seconds for which a process has lived at least that is killed: before it is not at work."


@dataclass(slots=True)
class Kept:
    """A process that is to run."""

    process: Process
    before: Callable[[], None] = lambda: None
    "What is done before each start."
    alone: bool = False
    "Whether it alone is killed; else also what it started, as when its control group is cleared."
    started: float = field(default_factory=time.monotonic)

    def kill(self) -> bool:
        """End it at once; False where it is not at work yet."""
        popen = self.process.popen
        if popen is None or not self.process.running or time.monotonic() - self.started < YOUNG:
            return False
        (os.kill if self.alone else os.killpg)(popen.pid, signal.SIGKILL)
        popen.wait()
        return True

    def see_to(self) -> None:
        """Start it where it has ended."""
        if self.process.running:
            return
        time.sleep(RESTART)
        self.before()
        self.process.start()
        self.started = time.monotonic()


@contextmanager
def supervised(kept: Sequence[Kept]) -> Iterator[None]:
    """Start each anew whenever it ends, while the block runs; a thread for each, since a start may take a while."""
    over = threading.Event()

    def watch(one: Kept) -> None:
        while not over.wait(0.05):
            one.see_to()

    threads = [threading.Thread(target=watch, args=(one,)) for one in kept]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def children(pid: int, name: str) -> list[int]:
    """The children of a process that have ``name`` in their command line (proc(5))."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split() if name in _command(int(child))]
        except OSError:
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
