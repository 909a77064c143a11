"""A Redis of a test's own, which keeps nothing on disk."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from console.ports import free_port
from console.process import Process

REDIS = "/usr/bin/redis-server"
READY_TIMEOUT = 20.0
POLL = 0.01


@dataclass(slots=True)
class RedisServer:
    """A Redis on a port of its own; start and stop it at will."""

    directory: Path
    port: int
    password: str = ""
    process: Process | None = None

    @property
    def url(self) -> str:
        """As :class:`state.store.Store` takes it."""
        return f"redis://{':' + self.password + '@' if self.password else ''}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        options = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(self.directory), "save": "", "appendonly": "no",
            "requirepass": self.password,
        }  # fmt: skip
        command = [REDIS, *(word for name, value in options.items() for word in (f"--{name}", value))]
        self.process = Process("redis", command, os.environ, self.directory / f"redis-{self.port}.log")
        self.process.start()
        deadline = time.monotonic() + READY_TIMEOUT
        while not self._answers():
            assert self.process.running, self.process.log.read_text()
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(POLL)

    def stop(self) -> None:
        """Stop it, and lose what it held."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nothing while the block runs."""
        assert self.process is not None
        self.process.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.signal(signal.SIGCONT)

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """A connection, for what no product code does."""
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            yield client

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


@contextmanager
def redis_server(directory: Path, password: str = "") -> Iterator[RedisServer]:
    """A Redis while the block runs."""
    server = RedisServer(directory, free_port(), password)
    try:
        server.start()
        yield server
    finally:
        server.stop()
