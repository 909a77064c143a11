"""A whole node as child processes: Redis, the node agent and Kamailio, and where wanted a switch with a media worker.

For `strowger up` and for the tests.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from console import serve
from console.process import Process
from console.switch import NoSwitchError, Switch
from console.voicemail_jobs import service_pids
from kemi.rpc import Kamcmd, RpcError
from media.control import ControlError, ask
from model.settings import Settings
from state.store import Store, StoreError

START_TIMEOUT = 20.0
POLL = 0.02


class StackError(Exception):
    """A process of the stack did not start; the message names it and its log."""


@dataclass(slots=True)
class Stack:
    """The processes on the ports and in the directories of ``settings``; a context manager."""

    settings: Settings
    directory: Path
    "Holds Redis's data and the logs."
    switch: Switch | None = None
    "With it, a media worker runs as well."
    hook: bool = False
    "Whether route hooks can be asked."
    web: bool = False
    "Whether the HTTP API and the console answer."
    processes: dict[str, Process] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Start everything and wait until it answers; ``progress`` is told what is being started.

        Raises :class:`StackError`.
        """
        for name in self._names():
            progress(name)
            getattr(self, f"start_{name}")()

    def start_redis(self) -> None:
        """Start Redis and wait until it answers."""
        data = self.directory / "redis"
        data.mkdir(parents=True, exist_ok=True)
        options = {
            "port": str(urlsplit(self.settings.redis_url).port),
            "bind": "127.0.0.1",
            "dir": str(data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "daemonize": "no",
        }
        command = ["/usr/bin/redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._start("redis", command, os.environ)
        self._until("redis", self._redis_answers)

    def start_agent(self) -> None:
        """Start the node agent; with Redis up, wait until the node is live."""
        command = [sys.executable, "-P", "-m", "console.main", "serve", "agent"]
        self._start("agent", command, {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(serve.ROOT)})
        if self._redis_answers():
            self._until("agent", self._node_is_live)

    def start_hook(self) -> None:
        """Start the hook process, and wait until it takes questions."""
        self.settings.hook_report.unlink(missing_ok=True)
        command = [sys.executable, "-P", "-m", "console.main", "serve", "hook"]
        self._start("hook", command, {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(serve.ROOT)})
        self._until("hook", self.settings.hook_report.exists)

    def start_kamailio(self) -> None:
        """Start Kamailio and wait until its RPC answers."""
        serve.prepare(self.settings)
        command = serve.kamailio_command(self.settings)
        self._start("kamailio", command, serve.kamailio_environment(self.settings))
        self._until("kamailio", self._kamailio_answers)

    def start_switch(self) -> None:
        """Start the switch and wait until it answers."""
        switch = self._switch()
        switch.prepare()
        serve.prepare_media(self.settings)
        try:
            command, environment = switch.command(self.settings), switch.environment(self.settings)
        except NoSwitchError as error:
            raise StackError(str(error)) from None
        self._start("switch", command, environment)
        self._until("switch", lambda: switch.answers(self.settings.esl_address))

    def start_media(self) -> None:
        """Start the media worker, and wait until it takes calls and the switch has let it in."""
        command = [sys.executable, "-P", "-m", "console.main", "serve", "media"]
        self._start("media", command, {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(serve.ROOT)})
        self._until("media", self._worker_is_connected)

    def start_voicemail(self) -> None:
        """Start the voicemail service; with Redis up, wait until it has reported itself."""
        command = [sys.executable, "-P", "-m", "console.main", "serve", "voicemail"]
        self._start("voicemail", command, {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(serve.ROOT)})
        if self._redis_answers():
            self._until("voicemail", self._service_is_live)

    def start_records(self) -> None:
        """Start what tells the webhook of call records."""
        command = [sys.executable, "-P", "-m", "console.main", "serve", "records"]
        self._start("records", command, {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(serve.ROOT)})

    def start_web(self) -> None:
        """Start the HTTP API and the console, and wait until they answer."""
        command = [sys.executable, "-P", "-m", "console.main", "serve", "web"]
        self._start("web", command, {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(serve.ROOT)})
        self._until("web", self._web_listens)

    def stop(self) -> None:
        """Stop everything, what takes calls first."""
        for name in reversed(self._names()):
            if name in self.processes:
                self.processes[name].stop()

    def log(self, name: str) -> str:
        """What a process printed."""
        return self.processes[name].log.read_text(errors="replace")

    def _names(self) -> list[str]:
        aside = [*(["records"] if self.settings.cdr_webhook else []), *(["hook"] if self.hook else [])]
        aside += ["web"] if self.web else []
        return ["redis", "agent", *aside, *(["switch", "media", "voicemail"] if self.switch else []), "kamailio"]

    def _switch(self) -> Switch:
        if self.switch is None:
            raise StackError("this node has no switch")
        return self.switch

    def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        process = Process(name, command, environment, self.directory / f"{name}.log")
        self.processes[name] = process
        process.start()

    def _until(self, name: str, ready: Callable[[], bool]) -> None:
        process, deadline = self.processes[name], time.monotonic() + START_TIMEOUT
        while not ready():
            if not process.running:
                raise StackError(f"{name} stopped while starting; {process.log} ends with:\n{_tail(process.log)}")
            if time.monotonic() > deadline:
                raise StackError(f"{name} does not answer after {START_TIMEOUT:.0f} s; see {process.log}")
            time.sleep(POLL)

    def _redis_answers(self) -> bool:
        store = Store(self.settings.redis_url)
        try:
            store.ping()
        except StoreError:
            return False
        finally:
            store.close()
        return True

    def _node_is_live(self) -> bool:
        store = Store(self.settings.redis_url)
        try:
            return any(node.name == self.settings.node for node in store.nodes()[0])
        finally:
            store.close()

    def _kamailio_answers(self) -> bool:
        try:
            with Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=1.0) as kamcmd:
                kamcmd.version()
        except RpcError:
            return False
        return True

    def _web_listens(self) -> bool:
        try:
            socket.create_connection(self.settings.web_address, timeout=1.0).close()
        except OSError:
            return False
        return True

    def _service_is_live(self) -> bool:
        process = self.processes["voicemail"].popen
        return process is not None and process.pid in service_pids(self.settings)

    def _worker_is_connected(self) -> bool:
        try:
            return bool(ask(self.settings.worker_socket, "status")["switch"]["connected"])
        except ControlError:
            return False


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
