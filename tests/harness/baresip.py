"""baresip, a phone that nobody here wrote: it registers, calls and answers without a sound card.

Commanded by its module ctrl_tcp: JSON in netstrings, both ways.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from console.ports import free_port
from console.process import Process

BARESIP = "/usr/bin/baresip"
TIMEOUT = 20.0

_CONFIG = """\
poll_method epoll
sip_listen 127.0.0.1:{sip}
call_max_calls 4
audio_source aubridge,{source}
audio_player aubridge,{player}
audio_alert aubridge,nowhere
ausrc_format s16
auplay_format s16
rtp_ports {rtp}-{rtp_end}
module_path /usr/lib/baresip/modules
module g711.so
module aubridge.so
module srtp.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
"""


@dataclass(slots=True)
class Baresip:
    """A running baresip with one account; a context manager."""

    server: tuple[str, int]
    name: str
    password: str
    directory: Path
    transport: str = "udp"
    answers: bool = False
    "Takes every call at once."
    srtp: bool = False
    "Speaks SRTP alone."
    echoes: bool = False
    "Says what it hears; else nothing."
    events: list[dict[str, Any]] = field(default_factory=list)
    "What it told so far, in order."
    process: Process | None = None
    _control: socket.socket | None = None
    _rest: bytes = b""

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        control, sip, rtp = free_port(), free_port(), free_port() // 2 * 2
        ports = {"control": control, "sip": sip, "rtp": rtp, "rtp_end": rtp + 20}
        source, player = ("loop", "loop") if self.echoes else ("nobody", "nowhere")
        (self.directory / "config").write_text(_CONFIG.format(**ports, source=source, player=player))
        host, port = self.server
        mode = "auto" if self.answers else "manual"
        (self.directory / "accounts").write_text(
            f"<sip:{self.name}@{host}:{port};transport={self.transport}>;auth_pass={self.password};regint=60;"
            f"answermode={mode}{';mediaenc=srtp-mand' if self.srtp else ''}\n"
        )
        (self.directory / "contacts").touch()
        command = [BARESIP, "-4", "-f", str(self.directory)]
        environment = {"HOME": str(self.directory), "TERM": "dumb"}
        self.process = Process("baresip", command, environment, self.directory / "baresip.log")
        self.process.start()
        self._connect(control)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._control is not None:
            self._control.close()
        if self.process is not None:
            self.process.stop()

    def tell(self, command: str, params: str = "") -> None:
        """Give it a command of its menu: ``dial``, ``accept``, ``hangup``, ``quit``."""
        assert self._control is not None
        text = json.dumps({"command": command, "params": params, "token": command}).encode()
        self._control.sendall(b"%d:%b," % (len(text), text))

    def heard(self, kind: str, since: int = 0) -> dict[str, Any]:
        """The first event of a kind, ``REGISTER_OK`` or ``CALL_ESTABLISHED``, after ``since`` of them; waits for it."""

        def found() -> dict[str, Any] | None:
            return next((event for event in self.events[since:] if event.get("type") == kind), None)

        return self._until(found, f"{self.name} never told of {kind}")

    def _until(self, found: Callable[[], dict[str, Any] | None], what: str) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT
        while (event := found()) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"{what}: {self.events} {self.log()[-2000:]}"
            self._receive(left)
        return event

    def registered(self) -> None:
        """Wait until it has registered: that may be before anybody could listen to it, but it prints it, too."""
        self._printed("200 OK", "has not registered")

    def refused(self) -> None:
        """Wait until its registration is refused."""
        self._printed("403 Too Many", "was not refused")

    def _printed(self, text: str, what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while text not in self.log():
            assert time.monotonic() < deadline, f"{self.name} {what}: {self.log()[-2000:]}"
            time.sleep(0.02)

    def log(self) -> str:
        """What it printed."""
        return (self.directory / "baresip.log").read_text(errors="replace")

    def _receive(self, timeout: float) -> None:
        assert self._control is not None
        self._control.settimeout(timeout)
        with contextlib.suppress(TimeoutError):
            chunk = self._control.recv(65536)
            assert chunk, f"baresip is gone: {self.log()[-2000:]}"
            self._rest += chunk
        while (colon := self._rest.find(b":")) > 0:
            length = int(self._rest[:colon])
            if len(self._rest) < colon + length + 2:
                break
            text, self._rest = self._rest[colon + 1 : colon + 1 + length], self._rest[colon + length + 2 :]
            self.events.append(json.loads(text))

    def _connect(self, port: int) -> None:
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self._control = socket.create_connection(("127.0.0.1", port), timeout=1.0)
                return
            except OSError:
                assert time.monotonic() < deadline, f"baresip does not listen: {self.log()[-2000:]}"
                time.sleep(0.02)
