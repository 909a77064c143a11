"""Debian's rtpengine, in user space and on loopback, for calls whose sound goes through it."""

from __future__ import annotations

import itertools
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from console.ports import free_port, free_range
from console.process import Process

RTPENGINE = "/usr/bin/rtpengine"
TIMEOUT = 20.0
_cookies = (f"test-{os.getpid()}-{number}" for number in itertools.count())


@dataclass(slots=True)
class Rtpengine:
    """A running rtpengine; a context manager."""

    directory: Path
    port: int = field(default_factory=free_port)
    ports: range = field(default_factory=lambda: free_range(40))
    process: Process | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.kill()

    @property
    def address(self) -> str:
        """As STROWGER_RTPENGINE has it."""
        return f"udp:127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            RTPENGINE, "--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=6",
            "--interface=127.0.0.1", "--interface=::1", f"--listen-ng=127.0.0.1:{self.port}", "--num-threads=2",
            f"--port-min={self.ports[0]}", f"--port-max={self.ports[-1]}", "--timeout=30",
        ]  # fmt: skip
        self.process = Process("rtpengine", command, {"PATH": "/usr/bin:/bin"}, self.directory / "rtpengine.log")
        self.process.start()
        deadline = time.monotonic() + TIMEOUT
        while self.ask("d7:command4:pinge") is None:
            assert time.monotonic() < deadline, f"rtpengine does not answer: {self.log()}"
            assert self.process.running, f"rtpengine is gone: {self.log()}"

    def kill(self) -> None:
        """Kill it with -9."""
        assert self.process is not None
        self.process.kill()

    def holds(self, call_id: str) -> bool:
        """Whether it has this call."""
        answer = self.ask("d7:command4:list5:limiti1000ee")
        assert answer is not None, self.log()
        return call_id in answer

    def ask(self, question: str) -> str | None:
        """Its answer to a question of its protocol (a cookie, a blank, bencode); None: there was none in time."""
        with socket.socket(type=socket.SOCK_DGRAM) as own:
            own.connect(("127.0.0.1", self.port))
            own.settimeout(0.2)
            try:
                # It answers a cookie that it knows as it did before.
                own.send(f"{next(_cookies)} {question}".encode())
                return own.recv(65535).decode("latin-1").partition(" ")[2]
            except OSError:
                return None

    def log(self) -> str:
        """What it printed."""
        return (self.directory / "rtpengine.log").read_text(errors="replace")
