"""A long run in a short time: calls by the million, and the memory of every process all the while.

    python -m bench.soak --calls 1000000 --rate 800

Four kinds of call at once: answered by the first gateway, answered by the second after the first refused, refused by
the blocklist, and cancelled while it rings. Meanwhile entries come and go, policies are applied and the routing code
is reloaded, as on a busy day. Memory is sampled at every hundredth of the calls; it counts as flat where the last tenth
of the calls needs no more than the second tenth did, give or take what a sample varies by.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from rich.console import Console

import policyfile
from bench import report
from bench.figures import Figure, Goal
from console.ports import free_port
from console.process import Process
from console.serve import ROOT
from console.sipp import SIPP, key_options, render
from console.stack import Stack
from kemi.rpc import Kamcmd
from model.entries import Entry, Kind
from model.settings import Settings
from state.store import Store

SCENARIOS = ROOT / "tests" / "sipp"
RESULTS = ROOT / "bench" / "results" / "soak.jsonl"
BLOCKED = "+447700900666"
# Share of the calls, callee, scenario of the caller and the words in it.
MIX: tuple[tuple[float, str, str, str, dict[str, str]], ...] = (
    (0.60, "1001", "02079460000", "uac-expect-answer.xml", {}),
    (0.20, "1002", "0033199000000", "uac-expect-answer.xml", {}),
    (0.15, BLOCKED, "02079460000", "uac-expect-STATUS.xml", {"STATUS": "403", "REASON": "blocked-caller"}),
    (0.05, "1003", "0049302312500", "uac-cancels-while-ringing.xml", {"PAUSE": "1000"}),
)
POLICY = """
strowger: 1
dialling_plans: {{gb: {{country_code: "44"}}}}
default_dialling: gb
trunks: {{load: {{sources: [127.0.0.0/8]}}}}
gateways:
  # Where the machine is busy with something else, a second without replies is not to become half a minute of refusals.
  answers: {{address: "127.0.0.1:{answers}", breaker: off}}
  refuses: {{address: "127.0.0.1:{refuses}"}}
  rings: {{address: "127.0.0.1:{rings}", breaker: off}}
routes:
  - {{name: national, prefixes: ["+44"], gateways: [answers]}}
  - {{name: second, prefixes: ["+33"], gateways: [refuses, answers]}}
  - {{name: ringing, prefixes: ["+49"], gateways: [rings], ring: {ring}s}}
"""
GATEWAYS = {
    "answers": ("uas-answers.xml", {}),
    "refuses": ("uas-replies-STATUS.xml", {"STATUS": "503"}),
    "rings": ("uas-sends-PROVISIONAL-until-cancelled-STATUS.xml", {"PROVISIONAL": "180", "STATUS": "487"}),
}
# A process's memory varies from sample to sample by this much, whatever it does: megabytes, and a share of it.
SLACK, SLACK_SHARE = 1.0, 0.03
# In how many equal shares of the calls a policy is applied, and the routing code reloaded.
APPLIED, RELOADED = 40, 20


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory at one moment."""

    calls: int
    seconds: float
    megabytes: dict[str, float]
    "By process; Kamailio's with the number that it has in core.psx."


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the memory of one process is flat."""

    process: str
    early: float
    "Megabytes: the most in the second tenth of the calls."
    late: float
    "Megabytes: the most in the last tenth."

    @property
    def figure(self) -> Figure:
        """As a line of the results; its goal allows what a sample varies by."""
        limit = self.early + max(SLACK, SLACK_SHARE * self.early)
        return Figure(
            f"memory of {self.process}", self.late, "MB", "the second tenth of the calls", self.early,
            self.late / self.early, low=self.late, high=self.late, goal=Goal(round(limit, 2)),
        )  # fmt: skip

    @property
    def flat(self) -> bool:
        """Whether it is."""
        return self.figure.met is True


def verdicts(samples: Sequence[Sample], calls: int) -> list[Verdict]:
    """A verdict for each process, from samples over a run of so many calls."""
    early = _most(sample for sample in samples if 0.1 <= sample.calls / calls < 0.2)
    late = _most(sample for sample in samples if sample.calls / calls >= 0.9)
    return [Verdict(process, early[process], late[process]) for process in early if process in late]


def _most(samples: Iterable[Sample]) -> dict[str, float]:
    found: dict[str, float] = {}
    for sample in samples:
        for process, megabytes in sample.megabytes.items():
            found[process] = max(megabytes, found.get(process, 0.0))
    return found


@dataclass(slots=True)
class Soak:
    """One run."""

    stack: Stack
    store: Store
    calls: int
    rate: float
    directory: Path
    samples: list[Sample] = field(default_factory=list)
    _callers: list[Process] = field(default_factory=list)

    def run(self, samples: Path) -> list[Verdict]:
        """Place all calls, and write a line to ``samples`` for each sample."""
        ports = {name: free_port() for name in GATEWAYS}
        with self._gateways(ports), samples.open("w") as lines:
            self._apply(POLICY.format(**ports, ring=60))
            self.store.put(Entry(Kind.CALLER, BLOCKED))
            self._start_callers()
            self._until_placed(ports, lines)
        return verdicts(self.samples, self.calls)

    def stop(self) -> None:
        """End the callers, where the run was broken off."""
        for caller in self._callers:
            caller.kill()

    def _until_placed(self, ports: dict[str, int], lines: TextIO) -> None:
        began = time.monotonic()
        due = applied = reloaded = 0
        while any(caller.running for caller in self._callers):
            self._change()
            placed = self.placed
            if placed * APPLIED // self.calls > applied:
                applied += 1
                self._apply(POLICY.format(**ports, ring=random.randrange(30, 90)))
            if placed * RELOADED // self.calls > reloaded:
                reloaded += 1
                with self._kamcmd() as kamcmd:
                    kamcmd.reload()
            if placed >= due:
                due = placed + self.calls // 100
                self._sample(time.monotonic() - began, lines)
            time.sleep(0.2)
        self._sample(time.monotonic() - began, lines)

    @contextmanager
    def _gateways(self, ports: dict[str, int]) -> Iterator[None]:
        with ExitStack() as running:
            for name, (scenario, words) in GATEWAYS.items():
                path = render(SCENARIOS / scenario, self.directory, **words)
                # Without a log of its calls: it would be by far the largest file of the run.
                command = [
                    SIPP, "-sf", str(path), "-i", "127.0.0.1", "-p", str(ports[name]), "-t", "u1", "-nostdin",
                    "-deadcall_wait", "0", *key_options({}),
                ]  # fmt: skip
                gateway = Process(name, command, {"TERM": "dumb"}, self.directory / f"{name}.log")
                running.callback(gateway.kill)
                gateway.start()
            yield

    def _start_callers(self) -> None:
        settings = self.stack.settings
        for number, (share, caller, callee, scenario, words) in enumerate(MIX):
            home = self.directory / f"caller-{number}"
            path = render(SCENARIOS / scenario, home, **words)
            command = [
                "/usr/bin/env", "-C", str(home), SIPP, f"{settings.sip_addresses[0]}:{settings.sip_port}",
                "-sf", str(path),
                "-i", "127.0.0.1", "-p", str(free_port()), "-t", "u1", "-nostdin", "-d", "1000",
                "-r", f"{self.rate * share:g}", "-m", str(int(self.calls * share)), "-l", "1000000",
                "-cid_str", f"%u-{number}-{os.getpid()}@%s", "-trace_err", "-error_file", str(home / "errors.log"),
                "-trace_stat", "-stf", str(home / "statistics.csv"), "-fd", "1",
                *key_options({"caller": caller, "callee": callee}),
            ]  # fmt: skip
            process = Process(f"caller-{number}", command, {"TERM": "dumb"}, home / "sipp.log")
            process.start()
            self._callers.append(process)

    def _apply(self, text: str) -> None:
        loaded = policyfile.load(text, name="soak")
        version = self.store.policy_version()
        self.store.apply(text=text, policy=loaded.policy, routes=loaded.routes, expected=version, author="soak")

    def _change(self) -> None:
        number = f"+4420{random.randrange(10**8):08}"
        self.store.put(Entry(Kind.CALLEE, number, expires=time.time() + 60))

    @property
    def placed(self) -> int:
        """Calls placed so far."""
        return sum(self._statistic("TotalCallCreated"))

    @property
    def failed(self) -> int:
        """Calls that did not go as their scenario says, so far."""
        return sum(self._statistic("FailedCall(C)"))

    def _statistic(self, name: str) -> Iterator[int]:
        for number in range(len(MIX)):
            path = self.directory / f"caller-{number}" / "statistics.csv"
            if path.exists():
                head, *lines = path.read_text().splitlines()
                whole = [line.split(";") for line in lines[-2:] if line.endswith(";")]
                if whole:
                    yield int(whole[-1][head.split(";").index(name)])

    def _sample(self, seconds: float, lines: TextIO) -> None:
        sample = Sample(self.placed, round(seconds, 1), self._memory())
        self.samples.append(sample)
        line = {"calls": sample.calls, "seconds": sample.seconds, "failed": self.failed, "megabytes": sample.megabytes}
        print(json.dumps(line), file=lines, flush=True)
        total = sum(sample.megabytes.values())
        print(f"{sample.calls:>8} calls {seconds:7.0f} s {self.failed:5} failed {total:9.1f} MB", flush=True)

    def _memory(self) -> dict[str, float]:
        found: dict[str, float] = {}
        with self._kamcmd() as kamcmd:
            for number, process in enumerate(kamcmd.call("core.psx")):
                found[f"kamailio {number} {process['DSC']}"] = own_megabytes(int(process["PID"]))
            found["kamailio shared memory"] = round(int(kamcmd.call("core.shmmem")["used"]) / 1e6, 2)
        for name in ("agent", "redis"):
            popen = self.stack.processes[name].popen
            if popen is not None:
                found[name] = own_megabytes(popen.pid)
        return found

    def _kamcmd(self) -> Kamcmd:
        return Kamcmd(f"unix:{self.stack.settings.rpc_socket}")


def own_megabytes(pid: int) -> float:
    """What a process has that no file and no shared mapping holds (proc(5), smaps_rollup).

    Not the pages that are private to it: of those it shares with its forks, more become so with each that they replace.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return round(kilobytes / 1024, 2)


def settings_in(directory: Path) -> Settings:
    """Settings of a node with ports and directories of its own."""
    return Settings.from_env(
        {
            "STROWGER_NODE": "soak",
            "STROWGER_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "STROWGER_SNAPSHOT": str(directory / "snapshot"),
            "STROWGER_SPOOL": str(directory / "spool"),
            "STROWGER_SECRET_FILE": str(directory / "secret"),
            "STROWGER_MEDIA_SECRET_FILE": str(directory / "media-secret"),
            "STROWGER_SECRETS": str(directory / "secrets"),
            "STROWGER_RUN": str(directory / "run"),
            "STROWGER_SIP_PORT": str(free_port()),
            "STROWGER_RPC_PORT": str(free_port()),
        }
    )


def main() -> int:
    """The command; 0 where every process is flat and no call failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=800.0, help="calls a second")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.results.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with TemporaryDirectory(prefix="strowger-soak-") as name:
        directory = Path(name)
        with Stack(settings_in(directory), directory) as stack:
            stack.start()
            store = Store(stack.settings.redis_url)
            soak = Soak(stack, store, options.calls, options.rate, directory)
            try:
                found = soak.run(options.results.with_suffix(".samples"))
                placed, failed = soak.placed, soak.failed
            finally:
                soak.stop()
                store.close()
    command = shlex.join(["python", "-m", "bench.soak", *sys.argv[1:]])
    figures = [replace(verdict.figure, machine=report.machine(), command=command) for verdict in found]
    report.write(options.results, figures)
    report.show(Console(), figures)
    print(f"{placed} of {options.calls} calls at {options.rate:g}/s, {failed} failed")
    # A run too short for a sample in each of the two tenths shows nothing.
    flat = bool(found) and all(verdict.flat for verdict in found)
    return 0 if placed == options.calls and failed == 0 and flat else 1


if __name__ == "__main__":
    sys.exit(main())
