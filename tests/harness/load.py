"""Load in the background, played by SIPp, and single calls from a SIP client so small that its every step is seen."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from console.ports import free_port
from console.process import Process
from console.sipp import KEYS, SIPP, render
from harness.node import SCENARIOS, Node
from model.entries import Entry, Kind

# Seconds after which a call that waits for a reply has failed: longer than any reply of a node in order takes.
REPLY_TIMEOUT = 10.0
# Seconds that a load may take to end its last calls.
END_TIMEOUT = 3 * REPLY_TIMEOUT
POLL = 0.01
# RFC 3261 section 17.1.1.1: the first retransmission of a request over UDP.
T1 = 0.5

ALLOWED, BLOCKED = "7001", "7666"
"Callers of a mixed load: one that must be answered, one that must be refused."
CALLEE = "7100"


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of the values that at least ``share`` of them do not exceed; NaN where there are none."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else math.nan


def until(ready: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Wait for something that tells nobody when it happens; AssertionError after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not ready():
        assert time.monotonic() < deadline, f"after {timeout:.0f} s still not: {what}"
        time.sleep(POLL)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How a load went."""

    calls: int
    failed: int
    "Calls that did not go as their scenario says, time-outs included."
    timeouts: int
    retransmissions: int
    setup: tuple[float, ...]
    "Milliseconds from INVITE to final reply, for each call that got one; SIPp counts in steps of 4."
    errors: str

    def __add__(self, other: LoadResult) -> LoadResult:
        return LoadResult(
            calls=self.calls + other.calls,
            failed=self.failed + other.failed,
            timeouts=self.timeouts + other.timeouts,
            retransmissions=self.retransmissions + other.retransmissions,
            setup=self.setup + other.setup,
            errors=self.errors + other.errors,
        )

    @property
    def p99(self) -> float:
        """Milliseconds from INVITE to final reply that 99 of 100 calls do not exceed."""
        return percentile(self.setup, 0.99)

    def __str__(self) -> str:
        p50, p999 = percentile(self.setup, 0.5), percentile(self.setup, 0.999)
        return (
            f"{self.calls} calls, {self.failed} failed, {self.timeouts} timed out, "
            f"{self.retransmissions} retransmissions, setup p50 {p50:.0f} ms, p99 {self.p99:.0f} ms, "
            f"p99.9 {p999:.0f} ms, max {max(self.setup, default=math.nan):.0f} ms"
        )


@dataclass(slots=True)
class SippLoad:
    """One SIPp that places calls until it is told to stop."""

    scenario: Path
    server: tuple[str, int]
    directory: Path
    caller: str
    rate: float
    port: int = field(default_factory=free_port)
    _process: Process | None = None

    def start(self) -> None:
        """Start placing calls."""
        self.directory.mkdir(parents=True, exist_ok=True)
        keys = {**KEYS, "caller": self.caller, "callee": CALLEE}
        # SIPp writes the response times to its working directory. Without -l it would slow down for slow replies.
        command = [
            "/usr/bin/env", "-C", str(self.directory), SIPP, f"{self.server[0]}:{self.server[1]}",
            "-sf", str(self.scenario), "-i", "127.0.0.1", "-p", str(self.port), "-t", "u1", "-nostdin", "-d", "0",
            "-r", f"{self.rate:g}", "-l", "100000", "-recv_timeout", f"{REPLY_TIMEOUT * 1000:.0f}",
            "-cid_str", f"%u-{self.port}@%s",
            "-trace_stat", "-stf", str(self._statistics), "-fd", "1", "-trace_rtt", "-rtt_freq", "1",
            "-trace_err", "-error_file", str(self._errors),
            "-trace_logs", "-log_file", str(self._log),
            *(word for name, value in keys.items() for word in ("-key", name, value)),
        ]  # fmt: skip
        self._process = Process("sipp", command, {"TERM": "dumb"}, self.directory / f"load-{self.port}.log")
        self._process.start()

    @property
    def running(self) -> bool:
        """Whether it places calls."""
        return self._process is not None and self._process.running

    @property
    def replied(self) -> int:
        """How many calls have had their final reply so far."""
        return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in self._times)

    def stop(self) -> LoadResult:
        """Place no more calls, wait for the end of those under way, and say how all went."""
        assert self._process is not None
        assert self._process.popen is not None
        if self._process.running:
            # SIPp's manual: on SIGUSR1 it ends softly.
            self._process.popen.send_signal(signal.SIGUSR1)
        try:
            self._process.popen.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"sipp has calls that do not end; see {self.directory}") from None
        finally:
            self._process.kill()
        return self._result()

    def kill(self) -> None:
        """End it at once, where nobody wants the result."""
        if self._process is not None:
            self._process.kill()

    def _result(self) -> LoadResult:
        with self._statistics.open(newline="") as lines:
            last = list(csv.DictReader(lines, delimiter=";"))[-1]
        return LoadResult(
            calls=int(last["TotalCallCreated"]),
            failed=int(last["FailedCall(C)"]),
            timeouts=int(last["FailedTimeoutOnRecv(C)"]) + int(last["FailedMaxUDPRetrans(C)"]),
            retransmissions=int(last["Retransmissions(C)"]),
            setup=tuple(self._setup_times()),
            errors=self._errors.read_text(errors="replace")[:2000] if self._errors.exists() else "",
        )

    def _setup_times(self) -> Iterator[float]:
        for path in self._times:
            with path.open(newline="") as lines:
                yield from (float(row["response_time_ms"]) for row in csv.DictReader(lines, delimiter=";"))

    @property
    def _times(self) -> list[Path]:
        return list(self.directory.glob("*_rtt.csv"))

    @property
    def completed(self) -> list[str]:
        """The Call-IDs that a scenario's ``<log message="completed [call_id]"/>`` wrote."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [words[1] for words in map(str.split, lines) if words[:1] == ["completed"] and len(words) == 2]

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    @property
    def _statistics(self) -> Path:
        return self.directory / "statistics.csv"

    @property
    def _errors(self) -> Path:
        return self.directory / "errors.log"


@dataclass(slots=True)
class MixedLoad:
    """A load of calls of which a fifth must be refused, so that a wrong decision either way is a failed call.

    A context manager; the node has a route for :data:`CALLEE`, and :func:`block_one_caller` was called.
    """

    answered: SippLoad
    refused: SippLoad

    @classmethod
    def create(cls, node: Node, directory: Path, rate: float) -> MixedLoad:
        """A load of ``rate`` calls a second that is not started yet."""
        answered, refused = directory / "answered", directory / "refused"
        answer = render(SCENARIOS / "uac-expect-answer.xml", answered)
        refusal = render(SCENARIOS / "uac-expect-STATUS.xml", refused, STATUS="403", REASON="blocked-caller")
        return cls(
            SippLoad(answer, node.sip, answered, ALLOWED, rate * 0.8),
            SippLoad(refusal, node.sip, refused, BLOCKED, rate * 0.2),
        )

    def __enter__(self) -> Self:
        for one in self._both:
            one.start()
        self.until_replied(20)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._both:
            one.kill()

    @property
    def _both(self) -> tuple[SippLoad, SippLoad]:
        return self.answered, self.refused

    @property
    def replied(self) -> int:
        """How many calls have had their final reply so far."""
        return sum(one.replied for one in self._both)

    def until_replied(self, calls: int, timeout: float = 30.0) -> None:
        """Wait until ``calls`` more calls have had their final reply."""
        goal = self.replied + calls
        until(lambda: self.replied >= goal or not self.running, f"{calls} more calls have a reply", timeout)
        assert self.running, "the load ended by itself"

    @property
    def running(self) -> bool:
        """Whether all of it runs."""
        return all(one.running for one in self._both)

    def stop(self) -> LoadResult:
        """Wait for the end of the calls under way, and say how all went."""
        assert self.running, "the load ended by itself"
        answered = self.answered.stop()
        return answered + self.refused.stop()


def block_one_caller(node: Node) -> None:
    """Block the caller whom a mixed load expects to be refused."""
    node.put(Entry(Kind.CALLER, BLOCKED))


def assert_flawless(result: LoadResult, calls: int = 1) -> None:
    """No call failed, timed out or was decided wrongly; at least ``calls`` were placed."""
    assert result.calls >= calls, str(result)
    assert (result.failed, result.timeouts) == (0, 0), f"{result}\n{result.errors}"


@dataclass(frozen=True, slots=True)
class Reply:
    """The final reply to an INVITE."""

    call_id: str
    status: int
    phrase: str
    headers: dict[str, str]
    "The last of each name, in lower case."
    sent: float
    "Unix time at which the INVITE was sent."
    received: float

    @property
    def contact_port(self) -> int:
        """The port of who answered."""
        found = re.search(r"<sip:[^>]*:(\d+)", self.headers["contact"])
        assert found is not None, self.headers["contact"]
        return int(found[1])

    @property
    def refusal(self) -> str:
        """The id of the refusal; empty where there is none."""
        found = re.search(r'text="([^"]*)"', self.headers.get("reason", ""))
        return found[1] if found else ""


class Caller:
    """A SIP client on one socket that places one call at a time; a context manager.

    Over TCP only calls that are refused: those that are answered would go by two routes, one for each transport.
    """

    _numbers = itertools.count(1)

    def __init__(self, server: tuple[str, int], transport: str = "UDP", timeout: float = REPLY_TIMEOUT) -> None:
        self._server, self._transport, self._timeout = server, transport, timeout
        self._socket = socket.socket(type=socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.connect(server)
        self._port = self._socket.getsockname()[1]
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def call(self, caller: str, callee: str = CALLEE) -> Reply:
        """Place a call, end it at once if it is answered, and return the final reply to its INVITE."""
        number = next(self._numbers)
        dialog = _Dialog(self._transport, self._port, self._server, f"probe-{number}-{self._port}", caller, callee)
        reply = self._exchange(dialog, dialog.request("INVITE", 1, f"{number}i"), "1 INVITE")
        if reply.status < 300:
            dialog.answered(reply)
            self._socket.send(dialog.request("ACK", 1, f"{number}a"))
            self._exchange(dialog, dialog.request("BYE", 2, f"{number}b"), "2 BYE")
        else:
            # RFC 3261 section 17.1.1.3: the ACK to a refusal belongs to the INVITE's transaction.
            dialog.to = reply.headers["to"]
            self._socket.send(dialog.request("ACK", 1, f"{number}i"))
        return reply

    def _exchange(self, dialog: _Dialog, request: bytes, cseq: str) -> Reply:
        sent, again = time.time(), T1
        self._socket.send(request)
        deadline, resend = time.monotonic() + self._timeout, time.monotonic() + again
        while (now := time.monotonic()) < deadline:
            self._socket.settimeout(max(0.001, min(deadline, resend) - now))
            try:
                reply = _parse(self._receive(), sent)
            except TimeoutError:
                again *= 2
                resend = time.monotonic() + again
                if self._transport == "UDP":
                    self._socket.send(request)
                continue
            if reply.call_id == dialog.call_id and reply.headers["cseq"] == cseq and reply.status >= 200:
                return reply
        raise AssertionError(f"no final reply to {cseq} of {dialog.call_id} in {self._timeout:g} s")

    def _receive(self) -> bytes:
        if self._transport == "UDP":
            return self._socket.recv(65536)
        # None of the replies that come over TCP has a body.
        while b"\r\n\r\n" not in self._buffer:
            received = self._socket.recv(65536)
            assert received, "the connection was closed"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return message


@dataclass(slots=True)
class _Dialog:
    transport: str
    port: int
    server: tuple[str, int]
    call_id: str
    caller: str
    callee: str
    to: str = ""
    target: str = ""
    routes: str = ""

    def __post_init__(self) -> None:
        self.target = f"sip:{self.callee}@{self.server[0]}:{self.server[1]}"
        self.to = f"<{self.target}>"

    def answered(self, reply: Reply) -> None:
        self.to = reply.headers["to"]
        self.target = reply.headers["contact"].partition("<")[2].partition(">")[0]
        # One proxy, with the same transport on both sides, is one route: there is no order to reverse.
        self.routes = f"Route: {reply.headers['record-route']}\r\n"

    def request(self, method: str, cseq: int, branch: str) -> bytes:
        me = f"127.0.0.1:{self.port}"
        return (
            f"{method} {self.target} SIP/2.0\r\n"
            f"Via: SIP/2.0/{self.transport} {me};branch=z9hG4bK{self.port}-{branch}\r\n"
            f"{self.routes}"
            f"From: <sip:{self.caller}@{me}>;tag={self.port}\r\n"
            f"To: {self.to}\r\n"
            f"Call-ID: {self.call_id}\r\n"
            f"CSeq: {cseq} {method}\r\n"
            f"Contact: <sip:{self.caller}@{me}>\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        ).encode()


def _parse(raw: bytes, sent: float) -> Reply:
    lines = raw.decode().partition("\r\n\r\n")[0].split("\r\n")
    _, status, phrase = lines[0].split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Reply(headers["call-id"], int(status), phrase, headers, sent, time.time())


@dataclass(slots=True)
class Deciders:
    """Which process decided which call, read from the spool as it grows."""

    spool: Path
    _offsets: dict[Path, int] = field(default_factory=dict)
    _pids: dict[str, int] = field(default_factory=dict)

    def pid(self, call_id: str) -> int:
        """The process that decided a call; its record was written before its reply was sent."""
        if call_id not in self._pids:
            self._read()
        return self._pids[call_id]

    def _read(self) -> None:
        for path in sorted(self.spool.glob("calls-*.jsonl")):
            with path.open("rb") as lines:
                lines.seek(self._offsets.get(path, 0))
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    self._offsets[path] = self._offsets.get(path, 0) + len(line)
                    self._note(line)

    def _note(self, line: bytes) -> None:
        record = json.loads(line)
        if "call_id" in record:
            # The id of a call is milliseconds, process and number, in hexadecimal.
            self._pids[record["call_id"]] = int(record["call"].split("-")[1], 16)


def workers(node: Node, transport: str = "UDP") -> set[int]:
    """The processes that take calls over UDP or TCP."""
    return {pid for pid, what in node.processes().items() if what.startswith(f"{transport.lower()} receiver")}
