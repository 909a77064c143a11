"""A media worker as a process, in front of a switch."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from console.ports import free_port
from console.process import Process
from console.serve import ROOT
from harness.load import until
from harness.switches import FreeSwitch, Switch, freeswitch_program
from harness.wide_ports import wide_range
from media import control
from media.esl.inbound import connect
from model.handover import Handover
from model.settings import Settings

SECRET = b"s" * 32


class MediaWorker:
    """``strowger serve media`` at one of the addresses that a switch knows; a context manager."""

    def __init__(
        self,
        directory: Path,
        switch: Switch,
        scripts: Path,
        *,
        number: int = 0,
        secret: bytes = SECRET,
        **more: str,
    ) -> None:
        """``directory`` may be shared, as workers of a node share theirs; ``number``: which of the switch's workers;
        ``more``: environment."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "secret").write_bytes(secret)
        host, port = switch.workers[number]
        environment = {
            "STROWGER_RUN": str(directory / "run"),
            "STROWGER_SCRIPTS": str(scripts),
            "STROWGER_MEDIA_STATE": str(directory / "state"),
            "STROWGER_VOICEMAIL": str(directory / "voicemail"),
            "STROWGER_SPEECH_CACHE": str(directory / "speech"),
            "STROWGER_MEDIA_SECRET_FILE": str(directory / "secret"),
            "STROWGER_ESL_PASSWORD_FILE": str(switch.password_file),
            "STROWGER_ESL_ADDRESS": f"{switch.esl[0]}:{switch.esl[1]}",
            "STROWGER_WORKER_ADDRESS": f"{host}:{port}",
            "STROWGER_WORKER_HTTP": f"127.0.0.1:{free_port()}",
            **more,
        }
        self.settings = Settings.from_env(environment)
        self.log_file = directory / f"worker-{port}.log"
        command = [sys.executable, "-P", "-m", "console.main", "serve", "media"]
        inherited = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = Process("worker", command, {**inherited, **environment}, self.log_file)

    def __enter__(self) -> MediaWorker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()

    def start(self) -> None:
        """Start it, and wait until it takes calls and has its switch."""
        already = self.log.count("takes calls at")
        self._process.start()
        until(lambda: self.log.count("takes calls at") > already or not self.running, "the worker takes calls", 30)
        assert self.running, self.log
        until(lambda: self.status()["switch"]["connected"], "the worker has its switch", 30)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.running

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.popen is not None
        return self._process.popen.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.signal(number)

    def wait(self, timeout: float) -> int:
        """Until it has ended; the exit status."""
        assert self._process.popen is not None
        return self._process.popen.wait(timeout)

    @property
    def log(self) -> str:
        """What it wrote."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        return self.ask("status")

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What it answers to a command."""
        return control.ask(self.settings.worker_socket, command, timeout=30.0, **arguments)

    def run(self, name: str, args: str = "") -> str:
        """What a script without a call writes."""
        return str(self.ask("run", name=name, args=args)["output"])

    def memory(self) -> int:
        """Anonymous memory in use, in KiB (proc(5))."""
        found = re.search(r"^RssAnon:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """A folder of call scripts."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder


def handed_over(app: str, args: str = "", *, secret: bytes = SECRET) -> tuple[tuple[str, str], ...]:
    """The headers of a call that Kamailio handed over, good for an hour: names and values."""
    made = Handover(call="1a-2b-3c", app=app, args=args, caller="1001", callee="5000", expires=int(time.time() + 3600))
    return made.headers(secret)


def running(kind: type[Switch], directory: Path, *, rtp_ports: int = 0, **options: Any) -> Iterator[Switch]:
    """A switch of that kind, started, for a fixture to yield; ``rtp_ports`` where it needs many."""
    if kind is FreeSwitch and not freeswitch_program():
        pytest.skip("no FreeSWITCH")
    (directory / "extra").mkdir()
    rtp = wide_range(rtp_ports) if rtp_ports else None
    switch = kind(directory, directory / "extra", rtp=rtp, **options)
    try:
        switch.start()
        yield switch
    finally:
        switch.stop()


def api(switch: Switch, command: str, args: str = "") -> str:
    """What a switch answers to a command."""

    async def ask() -> str:
        connection = await connect(*switch.esl, switch.password)
        try:
            return await connection.api(command, args)
        finally:
            await connection.close()

    return asyncio.run(ask())


def channels(switch: Switch) -> int:
    """How many calls a switch has."""
    return int(api(switch, "show", "channels count").split()[0])
