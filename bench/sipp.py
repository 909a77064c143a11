"""Callers at a rate and gateways for them, played by SIPp inside a variant's namespace."""

from __future__ import annotations

import csv
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.netns import Namespace
from console.ports import free_port
from console.process import Process
from console.sipp import SIPP

SCENARIOS = Path(__file__).parent / "sipp"
# Seconds after its last call in which a caller has to be done.
END_TIMEOUT = 40.0
# What SIPp may use for each process, so that many of them share a small machine.
_COMMON = ("-nostdin", "-t", "u1", "-i", "127.0.0.1", "-buff_size", "4194304")


class CallsFailedError(Exception):
    """Calls did not go as they have to; the message says which and where."""


def start_gateway(namespace: Namespace, scenario: str, port: int, directory: Path) -> Process:
    """Start a gateway on ``port`` of 127.0.0.1."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [SIPP, "-sf", str(SCENARIOS / scenario), "-p", str(port), "-deadcall_wait", "0", *_COMMON]
    process = Process(scenario, namespace.command(*command), {"TERM": "dumb"}, directory / f"gateway-{port}.log")
    process.start()
    return process


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a number of calls went."""

    calls: int
    failed: int
    retransmissions: int
    errors: str = ""

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            self.calls + other.calls,
            self.failed + other.failed,
            self.retransmissions + other.retransmissions,
            self.errors or other.errors,
        )


class Callers:
    """Two kinds of callers that place calls side by side: one must be answered, the other refused."""

    def __init__(
        self, namespace: Namespace, server_port: int, files: Path, directory: Path, *, rate: float, calls: int,
        refused: float,
    ) -> None:  # fmt: skip
        """``calls`` in all, ``rate`` of them a second, of which the share ``refused`` is on a list."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._seconds = calls / rate
        self._processes: list[tuple[Path, Process]] = []
        for kind, share in (("answered", 1 - refused), ("refused", refused)):
            if not round(calls * share):
                continue
            statistics, errors = directory / f"{kind}.stat", directory / f"{kind}.errors"
            for path in (statistics, errors):
                path.unlink(missing_ok=True)
            command = [
                SIPP, f"127.0.0.1:{server_port}", "-sf", str(SCENARIOS / f"caller-{kind}.xml"),
                "-inf", str(files / f"{kind}.csv"), "-p", str(free_port()), "-d", "0",
                "-r", f"{rate * share:.3f}", "-m", str(round(calls * share)), "-l", "15000",
                "-recv_timeout", "20000", "-trace_stat", "-stf", str(statistics), "-fd", "1",
                "-trace_err", "-error_file", str(errors), *_COMMON,
            ]  # fmt: skip
            log = directory / f"{kind}.log"
            self._processes.append((statistics, Process(kind, namespace.command(*command), {"TERM": "dumb"}, log)))

    def start(self) -> None:
        """Begin."""
        for _, process in self._processes:
            process.start()

    def wait(self) -> Outcome:
        """Wait until all calls are over."""
        deadline = time.monotonic() + self._seconds + END_TIMEOUT
        total = Outcome(0, 0, 0)
        for statistics, process in self._processes:
            assert process.popen is not None
            try:
                process.popen.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
            total += self._outcome(statistics)
        return total

    def kill(self) -> None:
        """End at once."""
        for _, process in self._processes:
            process.kill()

    def _outcome(self, statistics: Path) -> Outcome:
        errors = statistics.with_suffix(".errors")
        text = errors.read_text(errors="replace")[:2000] if errors.exists() else ""
        try:
            with statistics.open(newline="") as lines:
                last = list(csv.DictReader(lines, delimiter=";"))[-1]
        except (OSError, IndexError):
            log = statistics.with_suffix(".log").read_text(errors="replace")[-2000:]
            raise CallsFailedError(f"sipp placed no calls: {log}") from None
        return Outcome(
            int(last["TotalCallCreated"]),
            int(last["TotalCallCreated"]) - int(last["SuccessfulCall(C)"]),
            int(last["Retransmissions(C)"]),
            text,
        )


def flawless(name: str, outcome: Outcome) -> Outcome:
    """The outcome, if no call failed. Raises :class:`CallsFailedError`."""
    if outcome.failed:
        raise CallsFailedError(f"{name}: {outcome.failed} of {outcome.calls} calls failed\n{outcome.errors}")
    return outcome


def kill_all(callers: Sequence[Callers]) -> None:
    """End all callers at once."""
    for one in callers:
        one.kill()
