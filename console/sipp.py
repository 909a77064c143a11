"""Callers and gateways played by SIPp, for the demonstration, the tests and the benchmarks."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from console.process import Process

SIPP = "/usr/bin/sipp"
READY_TIMEOUT = 10.0
CALL_TIMEOUT = 60.0

# What the scenarios in tests/sipp may name, and what it is where a call does not say.
KEYS = {
    "caller": "1001",
    "caller_host": "127.0.0.1",
    "callee": "1002",
    "user_agent": "SIPp",
    "reply_header": "X-Nothing: none",
    "extra_header": "X-Nothing: none",
}


class SippError(Exception):
    """SIPp did not start; the message says why."""


def render(scenario: Path, directory: Path, **words: str) -> Path:
    """A copy of a scenario with words replaced, in its text and its name: what SIPp takes from no variable."""
    text, name = scenario.read_text(), scenario.name
    for word, value in words.items():
        text, name = text.replace(word, value), name.replace(word, value)
    directory.mkdir(parents=True, exist_ok=True)
    rendered = directory / name
    rendered.write_text(text)
    return rendered


@dataclass(slots=True)
class SippGateway:
    """A gateway on a port of ``address``."""

    scenario: Path
    port: int
    directory: Path
    keys: Mapping[str, str] = field(default_factory=dict)
    transport: str = "u1"
    address: str = "127.0.0.1"
    "IPv6 without brackets."
    options: tuple[str, ...] = ()
    process: Process | None = None

    def start(self) -> None:
        """Start it and wait until its port is open; raises :class:`SippError`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [
            SIPP, "-sf", str(self.scenario), "-i", self.address, "-p", str(self.port), "-t", self.transport,
            "-nostdin", "-deadcall_wait", "0",
            "-trace_logs", "-log_file", str(self.calls_file), "-log_overwrite", "false",
            *self.options, *key_options(self.keys),
        ]  # fmt: skip
        self.process = Process("sipp", command, {"TERM": "dumb"}, self.directory / f"gateway-{self.port}.log")
        self.process.start()
        deadline = time.monotonic() + READY_TIMEOUT
        while not _bound(self.port, self.transport, self.address):
            if not self.process.running or time.monotonic() > deadline:
                raise SippError(f"sipp does not listen on port {self.port}: {self.process.log.read_text()[-500:]}")
            time.sleep(0.01)

    @property
    def calls_file(self) -> Path:
        """A line for each INVITE that arrived: Call-ID and Request-URI."""
        return self.directory / f"gateway-{self.port}-calls.log"

    def calls(self, call_id: str = "") -> list[str]:
        """The Request-URIs of the INVITEs that arrived, of one call or of all."""
        return [words[1] for words in self._lines() if len(words) == 2 and call_id in ("", words[0])]

    def cancelled(self, call_id: str) -> bool:
        """Whether a call was cancelled, at a gateway whose scenario logs that."""
        return ["cancelled", call_id] in (words[:2] for words in self._lines())

    def _lines(self) -> list[list[str]]:
        if not self.calls_file.exists():
            return []
        return [line.split() for line in self.calls_file.read_text().splitlines()]

    def stop(self) -> None:
        """Stop it."""
        if self.process is not None:
            self.process.kill()
            self.process = None


@dataclass(frozen=True, slots=True)
class CallResult:
    """How a run of SIPp as caller went."""

    passed: bool
    "Every call did what its scenario expects."
    output: str
    call_id: str
    "Of the first call."
    seconds: float


def place_calls(
    scenario: Path,
    *,
    server: tuple[str, int],
    port: int,
    directory: Path,
    keys: Mapping[str, str] | None = None,
    calls: int = 1,
    rate: float = 10.0,
    source: str = "127.0.0.1",
    transport: str = "u1",
    talk: int = 0,
    options: tuple[str, ...] = (),
) -> CallResult:
    """Place calls and wait until they are over; ``talk`` is in milliseconds, ``rate`` in calls a second.

    The addresses of ``server`` and ``source`` are of one family, IPv6 without brackets.
    """
    directory.mkdir(parents=True, exist_ok=True)
    errors = directory / f"caller-{port}.errors"
    run = secrets.token_hex(4)
    command = _command(
        scenario, server=server, port=port, run=run, keys=keys or {}, talk=talk,
        calls=calls, rate=rate, source=source, transport=transport,
        options=("-trace_err", "-error_file", str(errors), *options),
    )  # fmt: skip
    began = time.monotonic()
    done = subprocess.run(
        command, env={"TERM": "dumb"}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        timeout=CALL_TIMEOUT + calls / rate,
    )  # fmt: skip
    output = (errors.read_text(errors="replace") if errors.exists() else "") + done.stderr.decode(errors="replace")
    return CallResult(done.returncode == 0, output, f"1-{run}@{source}", time.monotonic() - began)


def _command(
    scenario: Path,
    *,
    server: tuple[str, int],
    port: int,
    run: str,
    keys: Mapping[str, str],
    calls: int,
    rate: float,
    source: str = "127.0.0.1",
    transport: str = "u1",
    talk: int = 0,
    options: tuple[str, ...] = (),
) -> list[str]:
    """The command of a SIPp that places calls; their Call-IDs are ``N-run@source``, N counting from 1."""
    return [
        SIPP, authority(*server), "-sf", str(scenario), "-i", source, "-p", str(port), "-t", transport,
        "-nostdin", "-d", str(talk), "-m", str(calls), "-r", str(rate), "-cid_str", f"%u-{run}@%s", "-timeout",
        f"{CALL_TIMEOUT - 10 + calls / rate:.0f}s", "-timeout_error", *options, *key_options(keys),
    ]  # fmt: skip


def key_options(keys: Mapping[str, str]) -> list[str]:
    """The options of SIPp that give a scenario its keys; where nothing is said, :data:`KEYS`."""
    merged = {**KEYS, **keys}
    return [word for name, value in merged.items() for word in ("-key", name, value)]


def authority(address: str, port: int) -> str:
    """An address and port as a URI names them, IPv6 in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _bound(port: int, transport: str, address: str) -> bool:
    # /proc/net lists local addresses as hexadecimal address:port (proc(5)).
    table = ("tcp" if transport.startswith("t") else "udp") + ("6" if ":" in address else "")
    return any(
        line.split()[1].endswith(f":{port:04X}") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    )
