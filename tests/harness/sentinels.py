"""A Redis with a replica, and three sentinels that put the one in the place of the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from console.ports import free_port
from console.process import Process

REDIS = "/usr/bin/redis-server"
MASTER, PASSWORD = "strowger", "pass/word@1"
ENCODED = "pass%2Fword%401"
TIMEOUT = 30.0
POLL = 0.02

_SENTINEL = """\
port {port}
bind 127.0.0.1
dir {directory}
requirepass "{password}"
sentinel sentinel-pass {password}
sentinel monitor {master} 127.0.0.1 {redis} 2
sentinel auth-pass {master} {password}
sentinel down-after-milliseconds {master} 500
sentinel failover-timeout {master} 1000
"""


@dataclass(slots=True)
class Sentinels:
    """All five; ``servers`` are the two Redis by port."""

    directory: Path
    ports: list[int] = field(default_factory=list)
    servers: dict[int, Process] = field(default_factory=dict)
    _sentinels: list[Process] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As :class:`state.store.Store` takes it."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis-sentinel://:{ENCODED}@{hosts}/0?master={MASTER}&sentinel_auth=yes"

    def start(self) -> None:
        """Start them, and wait until every sentinel knows the replica and the other sentinels."""
        first, second = free_port(), free_port()
        self._start_redis(first)
        self._start_redis(second, "--replicaof", "127.0.0.1", str(first))
        for _ in range(3):
            port = free_port()
            file = self.directory / f"sentinel-{port}.conf"
            words = {"port": port, "directory": self.directory, "password": PASSWORD, "master": MASTER, "redis": first}
            file.write_text(_SENTINEL.format(**words))
            self._sentinels.append(self._process(f"sentinel-{port}", str(file), "--sentinel"))
            self.ports.append(port)
        self._until(lambda: all(self._is_ready(port) for port in self.ports), "the sentinels know each other")

    def stop(self) -> None:
        """Stop what still runs."""
        for process in (*self._sentinels, *self.servers.values()):
            process.kill()

    def master(self) -> int:
        """The port of the Redis that the last sentinel calls the master."""
        return self._masters()[-1]

    def _masters(self) -> list[int]:
        found: list[int] = []
        for port, process in zip(self.ports, self._sentinels, strict=True):
            if process.running:
                with self._client(port) as sentinel:
                    _, master = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                    found.append(int(master))
        return found

    def kill_sentinel(self) -> None:
        """Kill the one that is asked first."""
        self._sentinels[0].kill()

    def kill_master(self) -> int:
        """Kill the master with SIGKILL; returns its port once all sentinels say that another is the master."""
        gone = self.master()
        self.servers.pop(gone).kill()
        self._until(lambda: gone not in self._masters(), "the sentinels agree on another master")
        self._until(self._takes_writes, "the new master takes writes")
        return gone

    def start_again(self, port: int) -> None:
        """Start the Redis that was killed, as a replica: sentinels write that into the file of one that has a file."""
        self._start_redis(port, "--replicaof", "127.0.0.1", str(self.master()))

    def replicated(self) -> None:
        """Wait until a replica has all that the master was told so far."""
        with self._client(self.master()) as client:
            assert client.wait(1, int(TIMEOUT * 1000)) >= 1

    def _start_redis(self, port: int, *options: str) -> None:
        words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        words += ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--dir", str(self.directory)]
        words += ["--repl-diskless-sync-delay", "0"]
        self.servers[port] = self._process(f"redis-{port}", *words, *options)
        self._until(lambda: self._role(port) != "", "Redis answers")

    def _process(self, name: str, *words: str) -> Process:
        process = Process(name, [REDIS, *words], os.environ, self.directory / f"{name}.log")
        process.start()
        return process

    def _client(self, port: int) -> redis.Redis:
        return redis.Redis(port=port, password=PASSWORD, decode_responses=True, socket_timeout=5.0)

    def _role(self, port: int) -> str:
        with self._client(port) as client:
            try:
                return str(client.role()[0])
            except redis.RedisError:
                return ""

    def _takes_writes(self) -> bool:
        return self._role(self.master()) == "master"

    def _is_ready(self, port: int) -> bool:
        with self._client(port) as sentinel:
            try:
                words = sentinel.execute_command("SENTINEL", "MASTER", MASTER)
            except redis.RedisError:
                return False
            state = dict(zip(words[::2], words[1::2], strict=True))
            return int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == 2

    @staticmethod
    def _until(ready: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not ready():
            assert time.monotonic() < deadline, f"still not: {what}"
            time.sleep(POLL)


@contextmanager
def sentinels(directory: Path) -> Iterator[Sentinels]:
    """All of them while the block runs."""
    found = Sentinels(directory)
    try:
        found.start()
        yield found
    finally:
        found.stop()
