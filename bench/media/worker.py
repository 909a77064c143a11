"""A media worker as a process of its own, as `strowger serve media` is."""

from __future__ import annotations

import os
import secrets
import sys
import time
from pathlib import Path

from bench.sipp import CallsFailedError
from console import serve
from console.ports import free_port
from console.process import Process
from model.handover import Handover

SCRIPTS = Path(__file__).parent / "calls"
READY_TIMEOUT = 20.0
# Far enough for any run; what proves a call is checked as ever.
_EXPIRES = 4_000_000_000


class Worker:
    """One media worker."""

    def __init__(self, directory: Path, secret_file: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self._secret_file = secret_file
        self._process: Process | None = None
        self._redis: Process | None = None
        self._redis_port = free_port()

    @property
    def address(self) -> str:
        """Where it takes calls."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        assert self._process.popen is not None
        return self._process.popen.pid

    def start(self, esl_port: int, password_file: Path) -> None:
        """Start it beside the switch with that event socket, and wait until it takes calls."""
        self._start_redis()
        environment = {
            **os.environ,
            "STROWGER_REDIS_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "STROWGER_RUN": str(self.directory),
            "STROWGER_SCRIPTS": str(SCRIPTS),
            "STROWGER_MEDIA_SECRET_FILE": str(self._secret_file),
            "STROWGER_MEDIA_STATE": str(self.directory / "state"),
            "STROWGER_VOICEMAIL": str(self.directory / "voicemail"),
            "STROWGER_WORKER_ADDRESS": self.address,
            "STROWGER_WORKER_HTTP": f"127.0.0.1:{free_port()}",
            "STROWGER_WORKER_DRAIN": "0",
            "STROWGER_ESL_ADDRESS": f"127.0.0.1:{esl_port}",
            "STROWGER_ESL_PASSWORD_FILE": str(password_file),
            "PYTHONPATH": str(serve.ROOT),
        }
        command = [sys.executable, "-m", "console.main", "serve", "media"]
        self._process = Process("worker", command, environment, self.directory / "worker.log")
        self._process.start()
        deadline = time.monotonic() + READY_TIMEOUT
        while "takes calls at" not in (said := self._process.log.read_text()):
            if not self._process.running or time.monotonic() > deadline:
                raise CallsFailedError(f"the media worker does not start: {said[-1000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        for process in (self._process, self._redis):
            if process:
                process.stop()

    def _start_redis(self) -> None:
        """Where the worker reports itself, and tells of keys and recordings: without one it would try for ever."""
        options = {"port": str(self._redis_port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        command = ["/usr/bin/redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._redis = Process("redis", command, os.environ, self.directory / "redis.log")
        self._redis.start()
        deadline = time.monotonic() + READY_TIMEOUT
        while "Ready to accept connections" not in (said := self._redis.log.read_text()):
            if not self._redis.running or time.monotonic() > deadline:
                raise CallsFailedError(f"Redis does not start: {said[-1000:]}")
            time.sleep(0.05)


def new_secret(directory: Path) -> Path:
    """A file with a key of hand-overs."""
    path = directory / "media-secret"
    path.write_bytes(secrets.token_bytes(32))
    return path


def handover(secret_file: Path, script: str, args: str = "") -> dict[str, str]:
    """The headers of calls to a script, as Kamailio would send them."""
    given = Handover(call="bench", app=script, args=args, caller="+441", callee="+442", expires=_EXPIRES)
    return dict(given.headers(secret_file.read_bytes()))
