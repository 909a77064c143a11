"""Many callers at once, played by SIPp: each waits to be hung up on, or hangs up, and what became of it is kept."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from console.ports import free_port
from console.process import Process
from console.sipp import SIPP, key_options, render
from harness.load import until

SCENARIO = Path(__file__).parent.parent / "integration" / "sipp" / "uac-writes-down.xml"
_ANSWERS_BYE = """
  <send next="done">
    <![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]>
  </send>"""
_LISTENS = f"""
  <recv request="BYE" PATIENCE>
    <action>
      <ereg regexp="cause=[0-9]+" search_in="hdr" header="Reason:" assign_to="status"/>
      <log message="over [call_id] [clock_tick] [$status]"/>
    </action>
  </recv>{_ANSWERS_BYE}
  <label id="bye"/>
  <send retrans="500">
    <![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:[caller]@[local_ip]>;tag=[pid]C[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 2 BYE
Max-Forwards: 70
Content-Length: 0

]]>
  </send>
  <recv request="BYE" optional="true" next="both">
    <action><log message="over [call_id] [clock_tick] both hung up"/></action>
  </recv>
  <recv response="200" next="done">
    <action><log message="over [call_id] [clock_tick] hung up"/></action>
  </recv>
  <label id="both"/>{_ANSWERS_BYE}"""


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of a call."""

    call_id: str
    refused: str = ""
    "Status and phrase of the final reply, unless it was answered."
    answered: int = 0
    "In milliseconds, of a clock of its own, like ``over``."
    over: int = 0
    "Zero: not yet."
    reason: str = ""
    "``cause=16``: of the BYE's Reason."

    @property
    def seconds(self) -> float:
        """From the answer to the end."""
        return (self.over - self.answered) / 1000


class Callers:
    """``calls`` calls at ``rate`` a second; a context manager that leaves none."""

    def __init__(
        self,
        directory: Path,
        server: tuple[str, int],
        headers: Iterable[tuple[str, str]],
        *,
        calls: int,
        rate: float,
        hang_up_after: float | None = None,
        callee: str = "5000",
    ) -> None:
        """``hang_up_after``: seconds until the caller hangs up; None: he waits for that, for as long as it takes."""
        self.calls = calls
        directory.mkdir(parents=True)
        self._log, self._errors = directory / "log", directory / "errors"
        lines = "\n".join(f"{name}: {value}" for name, value in headers)
        patience = "" if hang_up_after is None else f'timeout="{hang_up_after * 1000:.0f}" ontimeout="bye"'
        scenario = render(SCENARIO, directory, HEADERS=lines or "X-Nothing: none", ENDING=_LISTENS, PATIENCE=patience)
        command = [
            SIPP, f"{server[0]}:{server[1]}", "-sf", str(scenario), "-i", "127.0.0.1", "-t", "u1",
            "-p", str(free_port()), "-m", str(calls), "-r", f"{rate:g}", "-l", str(calls), "-nostdin",
            "-cid_str", f"%u-{secrets.token_hex(4)}@%s", "-deadcall_wait", "0",
            "-trace_err", "-error_file", str(self._errors), "-trace_logs", "-log_file", str(self._log),
            *key_options({"callee": callee}),
        ]  # fmt: skip
        self._process = Process("sipp", command, {"TERM": "dumb"}, directory / "output")

    def __enter__(self) -> Callers:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()

    @property
    def running(self) -> bool:
        """Whether some are not over."""
        return self._process.running

    def up(self) -> list[Heard]:
        """The calls that are answered and not over."""
        return [call for call in self.heard() if call.answered and not call.over]

    def placed(self, calls: int) -> bool:
        """Whether so many calls have been decided, or all are over."""
        return len(self.heard()) >= calls or not self.running

    def until_up(self, timeout: float = 60.0) -> None:
        """Until all have been answered."""
        until(lambda: len(self.up()) == self.calls or not self.running, f"{self.calls} calls are up", timeout)
        assert self.running, self.errors

    def wait(self, timeout: float) -> Sequence[Heard]:
        """Until all are over; what became of them. Fails where a call went as no scenario foresees."""
        assert self._process.popen is not None
        try:
            status = self._process.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{len(self.up())} calls still up: {self.errors}") from None
        assert status == 0, self.errors
        heard = self.heard()
        assert len(heard) == self.calls, f"{len(heard)} of {self.calls} calls were placed"
        return heard

    @property
    def errors(self) -> str:
        """What SIPp complains of."""
        return self._errors.read_text(errors="replace")[:2000] if self._errors.exists() else ""

    def heard(self) -> list[Heard]:
        """What became of the calls so far."""
        calls: dict[str, Heard] = {}
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        for what, call_id, tick, text in (line.split(" ", 3) for line in lines if line.count(" ") >= 3):
            call = calls.get(call_id, Heard(call_id))
            match what:
                case "answered":
                    calls[call_id] = replace(call, answered=int(tick))
                case "over":
                    calls[call_id] = replace(call, over=int(tick), reason=text)
                case "refused":
                    calls[call_id] = replace(call, refused=text)
        return list(calls.values())
