"""How long an import takes, and how long a change takes to be in force."""

from __future__ import annotations

import subprocess
import time

from bench.variants import Node
from model.entries import Entry, Kind
from state.store import Store


class CommandFailedError(Exception):
    """A command failed; the message says which, and what it printed."""


def run(node: Node, *arguments: str) -> float:
    """Seconds that a ``strowger`` command takes, until the node has what it changed.

    Raises :class:`CommandFailedError`.
    """
    began = time.perf_counter()
    done = subprocess.run(node.strowger(*arguments), env=node.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailedError(f"strowger {' '.join(arguments)}: {done.stderr or done.stdout}")
    return time.perf_counter() - began


def milliseconds(node: Node, count: int) -> list[float]:
    """From the beginning of a change to its confirmation: every worker reads it with its next call."""
    store, took = Store(node.settings.redis_url), []
    try:
        for index in range(count):
            began = time.perf_counter()
            confirmation = store.confirm(store.put(Entry(Kind.CALLER, f"+4478999{index:05d}")).seq)
            took.append((time.perf_counter() - began) * 1000)
            assert not confirmation.missing
        for index in range(count):
            store.delete(Kind.CALLER, f"+4478999{index:05d}")
    finally:
        store.close()
    return took
