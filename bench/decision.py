"""CPU of one decision, over a node's own snapshot, in this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path

from bench.world import Call
from kemi import policy
from kemi.explain import Snapshot
from kemi.view import View
from model.call import CallFacts
from state.snapshot import shared_reader

WARM_UP = 500


def microseconds(snapshot: Path, calls: Sequence[Call], *, pause: float = 0.0) -> list[float]:
    """Thread CPU time of each decision: transaction, look-ups and plan, from facts as they come.

    With a ``pause`` of some seconds before each, as a worker has between calls.

    The collector runs as it does in a worker.
    """
    reader, live, now, took = shared_reader(snapshot), Snapshot(), time.time(), []
    view: View | None = None
    gc.collect()
    for number, call in enumerate(calls):
        facts = CallFacts(call.caller, call.callee, "127.0.0.1", user_agent="SIPp", caller_host="127.0.0.1")
        if pause and number >= WARM_UP:
            time.sleep(pause)
        began = time.thread_time_ns()
        txn = reader.begin()
        # As kemi.routing does: what is made of the policy serves until something changes.
        view = View(txn.get) if view is None else view.at(txn.get)
        policy.decide(facts, view, live, now)
        txn.abort()
        ended = time.thread_time_ns()
        if number >= WARM_UP:
            took.append((ended - began) / 1000)
    return took
