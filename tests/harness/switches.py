"""Switches under test: FreeSWITCH and the embedded one, with the same configuration and in directories of their own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from console import serve
from console.ports import free_port, free_range
from console.process import Process

CONFIGURATION = serve.ROOT / "media" / "freeswitch"
READY_TIMEOUT = 60.0
POLL = 0.05
RTP_PORTS = 90


def freeswitch_program() -> str | None:
    """FreeSWITCH, where there is one."""
    return os.environ.get("FREESWITCH_BIN") or shutil.which("freeswitch")


class Switch(ABC):
    """A switch with its ports and folders; calls to it arrive at ``workers``, the first that takes them."""

    name: str

    def __init__(
        self, directory: Path, extra: Path, *, address: str = "127.0.0.1", rtp: range | None = None, **more: str
    ) -> None:
        """``extra``: folder of a dialplan and phrases beside those of Strowger; ``more``: environment of FreeSWITCH."""
        self.directory, self.extra, self.more = directory, extra, more
        self.sip = address, free_port()
        self.esl = "127.0.0.1", free_port()
        self.workers = [("127.0.0.1", free_port()), ("127.0.0.1", free_port())]
        self.rtp = rtp or free_range(RTP_PORTS)
        self.password = secrets.token_hex(16)
        self.sounds, self.recordings = self._folder("sounds"), self._folder("recordings")
        self.password_file = directory / "esl-password"
        self.password_file.write_text(self.password)
        self.process = Process(self.name, self.command(), self.environment(), directory / f"{self.name}.log")

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir(parents=True)
        return folder

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What starts it."""

    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """What it reads beside the command."""

    @property
    def log(self) -> str:
        """What it wrote, for a test that failed."""
        return self.process.log.read_text(errors="replace")

    @property
    def _workers(self) -> str:
        return "|".join(f"{host}:{port}" for host, port in self.workers)

    def start(self) -> None:
        """Start it, and wait until it answers on SIP and on the event socket."""
        self.process.start()
        deadline = time.monotonic() + READY_TIMEOUT
        while not (_answers_options(self.sip) and _accepts(self.esl)):
            assert self.process.running, f"{self.name} has ended: {self.log}"
            assert time.monotonic() < deadline, f"{self.name} does not answer: {self.log}"
            time.sleep(POLL)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.stop()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()


class FreeSwitch(Switch):
    """FreeSWITCH with the configuration that Strowger ships."""

    name = "freeswitch"

    def command(self) -> Sequence[str]:
        # Others are at work on a machine that runs tests.
        return [str(CONFIGURATION / "start"), "-np"]

    def environment(self) -> Mapping[str, str]:
        program = freeswitch_program()
        assert program, "no FreeSWITCH"
        return {
            **os.environ,
            "FREESWITCH_BIN": program,
            "STROWGER_FS_STATE": str(self.directory / "state"),
            "STROWGER_FS_RECORDINGS": str(self.recordings),
            "STROWGER_FS_SOUNDS": str(self.sounds),
            "STROWGER_FS_EXTRA": str(self.extra),
            "STROWGER_FS_SIP_ADDRESS": self.sip[0],
            "STROWGER_FS_SIP_PORT": str(self.sip[1]),
            "STROWGER_FS_RTP_FIRST_PORT": str(self.rtp[0]),
            "STROWGER_FS_RTP_LAST_PORT": str(self.rtp[-1]),
            "STROWGER_ESL_ADDRESS": f"{self.esl[0]}:{self.esl[1]}",
            "STROWGER_ESL_PASSWORD_FILE": str(self.password_file),
            "STROWGER_FS_WORKERS": self._workers,
            **self.more,
        }

    @property
    def log(self) -> str:
        file = self.directory / "state" / "log" / "freeswitch.log"
        return super().log + (file.read_text(errors="replace") if file.exists() else "")


class Embedded(Switch):
    """Our own, with the dialplan and phrases that Strowger ships for FreeSWITCH."""

    name = "embedded"

    def command(self) -> Sequence[str]:
        variables = {"workers": self._workers, "call_seconds_max": "14400"}
        return [
            sys.executable, "-m", "devswitch",
            "--sip", "{}:{}".format(*self.sip),
            "--rtp", f"{self.rtp[0]}-{self.rtp[-1]}",
            "--esl", "{}:{}".format(*self.esl),
            "--esl-password-file", str(self.password_file),
            "--profile", "private",
            "--dialplan", str(self._together("dialplan")),
            "--phrases", str(self._together("phrases")),
            "--sounds", str(self.sounds),
            "--recordings", str(self.recordings),
            *(f"--var={name}={value}" for name, value in variables.items()),
        ]  # fmt: skip

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PYTHONPATH": str(serve.ROOT)}

    def _together(self, name: str) -> Path:
        folder = self._folder(name)
        for source in (CONFIGURATION, self.extra):
            for file in (source / name).glob("*.xml"):
                (folder / f"{source.name}-{file.name}").symlink_to(file)
        return folder


def _accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1.0).close()
    except OSError:
        return False
    return True


def _answers_options(address: tuple[str, int]) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.bind(("127.0.0.1", 0))
        port, branch = sock.getsockname()[1], secrets.token_hex(8)
        request = (
            f"OPTIONS sip:{address[0]}:{address[1]} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch}\r\n"
            f"From: <sip:ready@127.0.0.1>;tag={branch}\r\nTo: <sip:{address[0]}>\r\n"
            f"Call-ID: {branch}@127.0.0.1\r\nCSeq: 1 OPTIONS\r\nContact: <sip:127.0.0.1:{port}>\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        try:
            sock.sendto(request.encode(), address)
            return sock.recv(65536).startswith(b"SIP/2.0 200")
        except OSError:
            return False
