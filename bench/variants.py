"""Strowger and its peers, each a Kamailio in a namespace of its own with gateways of its own."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis

from bench.netns import Namespace
from bench.sipp import Callers, start_gateway
from bench.world import REFUSED_SHARE
from console import serve
from console.ports import free_port
from console.process import Process
from console.stack import Stack, StackError
from kemi.rpc import Kamcmd, RpcError
from model.settings import Settings

PEERS = Path(__file__).parent / "peers"
# Seconds: native Kamailio has a million entries to load, on a machine that may be busy.
START_TIMEOUT = 120.0
# Megabytes of memory that Kamailio's processes share; native Kamailio keeps its tables there.
SHARED_MEMORY = 1024


@dataclass(frozen=True, slots=True)
class Kind:
    """What a variant is."""

    name: str
    config: Path
    main: Path
    defines: tuple[str, ...] = ()
    redis: bool = False
    "Asks its Redis for each call."
    tables: bool = False
    "Keeps the lists in htables, and has no Redis."


STROWGER = Kind("strowger", serve.CONFIG, serve.MAIN)
NATIVE = Kind("native", PEERS / "native.cfg", PEERS / "native_tables.py", tables=True)
CONTROL = replace(NATIVE, name="control")
BARE = replace(NATIVE, name="native-without-records", defines=("WITHOUT_RECORDS",))
SYNC_REDIS = Kind("sync-redis", serve.CONFIG, PEERS / "sync_redis.py", redis=True)
ALL_KEMI = Kind("all-kemi", PEERS / "all_kemi.cfg", PEERS / "all_kemi.py")


@dataclass(slots=True)
class Node:
    """Redis and the agent, which all variants share, and where everything of this run lies."""

    directory: Path
    answering_port: int = field(default_factory=free_port)
    refusing_port: int = field(default_factory=free_port)
    stack: Stack = field(init=False)

    def __post_init__(self) -> None:
        settings = Settings.from_env(
            {
                "STROWGER_NODE": "bench",
                "STROWGER_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
                "STROWGER_SNAPSHOT": str(self.directory / "snapshot"),
                "STROWGER_SPOOL": str(self.directory / "spool"),
                "STROWGER_SECRET_FILE": str(self.directory / "secret"),
                "STROWGER_MEDIA_SECRET_FILE": str(self.directory / "media-secret"),
                "STROWGER_SECRETS": str(self.directory / "secrets"),
                "STROWGER_RUN": str(self.directory / "run"),
            }
        )
        self.stack = Stack(settings, self.directory)

    @property
    def settings(self) -> Settings:
        """Of Redis and the agent."""
        return self.stack.settings

    def start(self) -> None:
        """Start Redis and the agent."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.stack.start_redis()
        self.stack.start_agent()

    def save_redis(self) -> Path:
        """Redis's data as a file, for a copy of it."""
        with redis.Redis.from_url(self.settings.redis_url, socket_timeout=120.0) as client:
            client.save()
        return self.directory / "redis" / "dump.rdb"

    def strowger(self, *arguments: str) -> list[str]:
        """The ``strowger`` command."""
        return [sys.executable, "-P", "-m", "console.main", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """For that command."""
        return {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(serve.ROOT)}


@dataclass(slots=True)
class Variant:
    """One Kamailio with what it needs."""

    kind: Kind
    node: Node
    files: Path
    "Where the lists and calls lie."
    entries: int = 0
    "How many records it has to load, if it loads any."
    workers: int = 4
    namespace: Namespace = field(default_factory=Namespace)
    processes: list[Process] = field(default_factory=list)
    kamailio: Process | None = None

    @property
    def directory(self) -> Path:
        """Its own."""
        return self.node.directory / self.kind.name

    def start(self) -> None:
        """Start it and wait until it can take calls. Raises :class:`StackError`."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.namespace = Namespace.create(self.kind.name)
        if self.namespace.name or not _listening(self.node.answering_port):
            for scenario, port in (
                ("gateway-answers.xml", self.node.answering_port),
                ("gateway-refuses.xml", self.node.refusing_port),
            ):
                self.processes.append(start_gateway(self.namespace, scenario, port, self.directory))
        extra: dict[str, str] = {}
        if not self.kind.tables:
            # One of its own, in its namespace, from where the node's cannot be reached: a node whose Redis is away
            # keeps looking for it.
            address = self._start_redis(self.node.save_redis() if self.kind.redis else None)
            self.settings = replace(self.settings, redis_address=address)
            extra["BENCH_REDIS_URL"] = address
        self._start_kamailio(extra)

    def callers(self, *, rate: float, calls: int, refused: float = REFUSED_SHARE) -> Callers:
        """Callers that are not started yet."""
        return Callers(
            self.namespace, self.settings.sip_port, self.files, self.directory, rate=rate, calls=calls, refused=refused
        )

    def pids(self) -> list[int]:
        """Kamailio's processes."""
        assert self.kamailio is not None
        assert self.kamailio.popen is not None
        main = self.kamailio.popen.pid
        return [main, *map(int, Path(f"/proc/{main}/task/{main}/children").read_text().split())]

    def redis_pids(self) -> list[int]:
        """Its own Redis, if it has one."""
        return [one.popen.pid for one in self.processes if one.name == "redis" and one.popen is not None]

    def udp_workers(self) -> list[int]:
        """The processes that take calls over UDP."""
        with self._kamcmd() as kamcmd:
            processes = kamcmd.call("core.psx")
        return [int(process["PID"]) for process in processes if "udp receiver" in process["DSC"]]

    def stop(self) -> None:
        """Stop everything."""
        if self.kamailio is not None:
            self.kamailio.stop()
        while self.processes:
            self.processes.pop().kill()
        self.namespace.remove()

    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        self.settings = replace(
            self.node.settings,
            spool=self.directory / "spool",
            run=self.directory / "run",
            sip_port=free_port(),
            rpc_port=free_port(),
            sip_workers=self.workers,
        )

    def _start_kamailio(self, extra: dict[str, str]) -> None:
        settings = self.settings
        serve.prepare(settings)
        shutil.copyfile(self.kind.main, settings.main_script)
        if self.kind.tables:
            (settings.run / "dispatcher.list").write_text(self._dispatcher_list())
        command = serve.kamailio_command(settings)
        command[command.index("-f") + 1] = str(self.kind.config)
        command[command.index("-m") + 1] = str(SHARED_MEMORY)
        command += [*(word for name in self.kind.defines for word in ("-A", name))]
        environment = serve.kamailio_environment(settings) | extra
        environment |= {
            "BENCH_ENTRIES": str(self.files / "entries.csv"),
            "BENCH_PREFIXES": str(self.files / "prefixes.csv"),
        }
        log = self.directory / "kamailio.log"
        self.kamailio = Process(self.kind.name, self.namespace.command(*command), environment, log)
        self.kamailio.start()
        deadline = time.monotonic() + START_TIMEOUT
        while not self._ready():
            if not self.kamailio.running or time.monotonic() > deadline:
                raise StackError(f"{self.kind.name} did not start; {log}:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def _dispatcher_list(self) -> str:
        # Set, destination, flags, priority.
        answering, refusing = (f"sip:127.0.0.1:{port}" for port in (self.node.answering_port, self.node.refusing_port))
        lines = (f"1 {answering} 0 10", f"1 {answering} 0 5", f"2 {refusing} 0 10", f"2 {answering} 0 5")
        return "\n".join(lines) + "\n"

    def _start_redis(self, dump: Path | None) -> str:
        """Its URL; with the data of ``dump``."""
        data, port = self.directory / "redis", free_port()
        data.mkdir(parents=True, exist_ok=True)
        if dump is not None:
            shutil.copyfile(dump, data / "dump.rdb")
        command = [
            "/usr/bin/redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(data), "--save", "",
            "--appendonly", "no", "--daemonize", "no",
        ]  # fmt: skip
        log = self.directory / "redis.log"
        process = Process("redis", self.namespace.command(*command), os.environ, log)
        process.start()
        self.processes.append(process)
        deadline = time.monotonic() + START_TIMEOUT
        while "Ready to accept connections" not in log.read_text(errors="replace"):
            if not process.running or time.monotonic() > deadline:
                raise StackError(f"redis did not start; see {log}")
            time.sleep(0.1)
        return f"redis://127.0.0.1:{port}/0"

    def _ready(self) -> bool:
        try:
            with self._kamcmd() as kamcmd:
                kamcmd.version()
                if not self.kind.tables:
                    return True
                tables = kamcmd.call("htable.stats")
        except RpcError:
            return False
        return sum(int(table["all"]) for table in tables if table["name"] in ("entries", "prefixes")) >= self.entries

    def _kamcmd(self) -> Kamcmd:
        return Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=5.0)


def _listening(port: int) -> bool:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)
