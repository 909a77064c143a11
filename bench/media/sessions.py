"""How soon a worker answers events, with many calls at once."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from bench.figures import Figure, Goal, percentile, percentile_interval
from bench.media.callers import Calls, Does, scenario
from bench.media.cpu import seconds_of
from bench.media.freeswitch import FreeSwitch
from bench.media.packets import Packet, Sniffer, latencies
from bench.media.replay import Load, Played, play
from bench.media.worker import Worker, handover
from bench.sipp import CallsFailedError

GOAL = Goal(20)
"Milliseconds."
PROMPT = 0.5, 1.5
"Seconds, shortest and longest, that a played prompt takes."
PROMPTS = 20
"Of a played call."


@dataclass(frozen=True, slots=True)
class Heard:
    """What was measured."""

    milliseconds: list[float]
    "From each event to the command that answers it."
    octets: float
    "Of events, for each of them."
    rate: float
    "Of events that were answered, a second."
    worker: float
    "Share of a core that the worker used."


def replayed(worker: Worker, secret: Path, sessions: int, seconds: float) -> Heard:
    """Calls of the switch played by another process. Raises CallsFailedError where the worker left one."""
    given = handover(secret, "talk", str(PROMPTS))
    load = Load(port=worker.port, sessions=sessions, seconds=seconds, prompt=PROMPT, handover=given)
    ours, theirs = multiprocessing.Pipe()
    player = multiprocessing.get_context("spawn").Process(target=_play, args=(load, theirs), daemon=True)
    sniffer = Sniffer(worker.port)
    before, began = seconds_of(worker.pid), time.monotonic()
    sniffer.start()
    player.start()
    theirs.close()
    try:
        played = ours.recv()
    finally:
        player.join(10)
        player.kill()
        packets = sniffer.stop()
    assert isinstance(played, Played)
    if played.broken or not played.events:
        raise CallsFailedError(f"the worker left {played.broken} of {played.calls + played.broken} calls")
    used = (seconds_of(worker.pid) - before) / (time.monotonic() - began)
    return _heard(packets, worker, seconds, used)


def _play(load: Load, pipe: Connection) -> None:
    pipe.send(play(load))


def real(worker: Worker, secret: Path, switch: FreeSwitch, directory: Path, calls: int, prompts: int) -> Heard:
    """Real calls with audio both ways and so many prompts of a second. Raises CallsFailedError.

    They begin within ten seconds, so with twenty prompts all are there at once for half of the time.
    """
    given = scenario(directory, "talk", handover(secret, "talk", str(prompts)), Does.TALKS)
    callers = Calls(given, switch.sip_port, calls=calls, rate=max(calls / 10, 1), seconds=prompts + 2)
    sniffer = Sniffer(worker.port)
    before, began = seconds_of(worker.pid), time.monotonic()
    sniffer.start()
    try:
        callers.start()
        callers.wait()
    finally:
        callers.kill()
        packets = sniffer.stop()
    seconds = time.monotonic() - began
    return _heard(packets, worker, seconds, (seconds_of(worker.pid) - before) / seconds)


def _heard(packets: list[Packet], worker: Worker, seconds: float, used: float) -> Heard:
    found = [1000 * one for one in latencies(packets)]
    octets = sum(one.size for one in packets if one.from_switch)
    return Heard(found, octets / max(len(found), 1), len(found) / seconds, used)


def figures(name: str, runs: Sequence[Heard]) -> list[Figure]:
    """Median and p99 of all runs; events that share a busy moment are not independent: the bounds are narrow."""
    values = [one for run in runs for one in run.milliseconds]
    found = []
    for what, share, goal in (("median", 0.5, None), ("p99", 0.99, GOAL)):
        low, high = percentile_interval(values, share)
        found.append(Figure(f"{name}: {what}", percentile(values, share), "ms", low=low, high=high, goal=goal))
    return found


def say(name: str, heard: Heard, progress: Callable[[str], None]) -> None:
    """Sizes and rates, of which the figures do not speak."""
    progress(
        f"{name}: {len(heard.milliseconds):,} events answered, {heard.rate:.0f} a second, "
        f"{heard.octets:,.0f} octets from the switch for each; the worker used {heard.worker:.0%} of a core, "
        f"longest {max(heard.milliseconds, default=0):.1f} ms"
    )
