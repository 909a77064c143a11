"""Callers, played by SIPp."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from bench.sipp import END_TIMEOUT, CallsFailedError
from console.ports import free_port
from console.process import Process
from console.sipp import SIPP, render

SCENARIO = Path(__file__).parent / "sipp" / "caller.xml"
MEDIA_PORT = 6000
"Said in the SDP of callers who send nothing."
_TALK = '<nop><action><exec rtp_stream="{audio},-1,8"/></action></nop>'
# RFC 6086 INFO, for what SIPp 3.6 sends of RFC 4733 holds all of its calls up.
_DIGIT = """\
  <pause milliseconds="500"/>
  <send retrans="500">
    <![CDATA[
INFO [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:1001@[local_ip]>;tag=[pid]C[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 2 INFO
Max-Forwards: 70
Content-Type: application/dtmf-relay
Content-Length: [len]

Signal=1
Duration=160
]]>
  </send>
  <recv response="200"/>
"""


class Does(Enum):
    """What a caller does once answered."""

    LISTENS = "listens"
    TALKS = "talks"
    PRESSES = "presses"
    "Talks, and presses a digit after half a second."


def scenario(directory: Path, callee: str, handover: Mapping[str, str], does: Does) -> Path:
    """The scenario of calls to ``callee``; ``directory`` gets their audio too."""
    actions = ""
    if does is not Does.LISTENS:
        audio = directory / "caller.alaw"
        audio.parent.mkdir(parents=True, exist_ok=True)
        audio.write_bytes(tone(1.0))
        actions = _TALK.format(audio=audio) + (_DIGIT if does is Does.PRESSES else "")
    headers = "\n".join(f"{name}: {value}" for name, value in handover.items())
    port = str(MEDIA_PORT) if does is Does.LISTENS else "[rtpstream_audio_port]"
    return render(
        SCENARIO, directory / callee, CALLEE=callee, HANDOVER=headers, ACTIONS=actions, MEDIAPORT=port
    )  # fmt: skip


class Calls:
    """A number of calls at a rate, to one switch."""

    def __init__(self, scenario: Path, port: int, *, calls: int, rate: float, seconds: float = 5.0) -> None:
        """``seconds``: what a call lasts, at most."""
        directory = scenario.parent
        self._errors, log = directory / "errors", directory / "log"
        self._limit = calls / rate + seconds + END_TIMEOUT
        self._errors.unlink(missing_ok=True)
        command = [
            SIPP, f"127.0.0.1:{port}", "-sf", str(scenario), "-i", "127.0.0.1", "-mi", "127.0.0.1", "-t", "u1",
            "-p", str(free_port()), "-m", str(calls), "-r", f"{rate:g}", "-l", "1000", "-nostdin",
            "-recv_timeout", str(round((seconds + END_TIMEOUT) * 1000)),
            "-trace_err", "-error_file", str(self._errors),
        ]  # fmt: skip
        self._process = Process("sipp", command, {"TERM": "dumb"}, log)

    def start(self) -> None:
        """Begin."""
        self._process.start()

    def wait(self) -> None:
        """Until all calls are over. Raises :class:`CallsFailedError` where any went wrong."""
        assert self._process.popen is not None
        try:
            status = self._process.popen.wait(self._limit)
        except subprocess.TimeoutExpired:
            self.kill()
            status = -1
        if status:
            said = self._errors.read_text(errors="replace")[:1500] if self._errors.exists() else ""
            raise CallsFailedError(f"SIPp ended with {status}: {said}")

    def kill(self) -> None:
        """End at once."""
        self._process.kill()


def tone(seconds: float) -> bytes:
    """400 Hz in A-law (G.711)."""
    samples = range(round(8000 * seconds))
    return bytes(_alaw(round(8000 * math.sin(2 * math.pi * 400 * number / 8000))) for number in samples)


def _alaw(sample: int) -> int:
    sign, size = (0x80 if sample >= 0 else 0), min(abs(sample) >> 3, 4095)
    if size < 32:
        return (sign | size >> 1) ^ 0x55
    exponent = size.bit_length() - 5
    return (sign | exponent << 4 | size >> exponent & 0xF) ^ 0x55
