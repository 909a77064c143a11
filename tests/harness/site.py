"""A whole site that takes messages: Redis, agent, Kamailio, switch, media worker and voicemail services."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from console import serve
from console.ports import free_port
from console.process import Process
from harness.node import TRUNK, Node
from harness.switches import Switch
from media.voicemail.store import Store
from model.policy import Gateway, Route

MEDIA = "127.0.0.9"
"The media node's own address: what comes from it belongs to no trunk."
OUTSIDE = replace(TRUNK, sources=("127.0.0.1/32",))


class Site:
    """The processes, on ports of their own; the switch is there already, at the address ``MEDIA``."""

    def __init__(self, node: Node, switch: Switch, services: Sequence[str]) -> None:
        """``services``: names of the voicemail services, each beginning with ``voicemail``."""
        self.node, self.switch, self.services = node, switch, services
        self.settings = node.stack.settings
        self.store = Store(self.settings.voicemail)
        self.media = Gateway("fs-1", MEDIA, switch.sip[1], media=True, no_reply=15.0, progress=15.0, breaker=None)

    @property
    def processes(self) -> dict[str, Process]:
        """All by name."""
        return {**self.node.stack.processes, "switch": self.switch.process}

    def start(self) -> None:
        """Start everything but the switch."""
        self.node.stack.start()
        for name in ("media", *self.services):
            self._start(name)
        self.node.stack._until("media", self.node.stack._worker_is_connected)

    def apply(self, *routes: Route, gateways: Sequence[Gateway] = ()) -> None:
        """Put a policy in force in which callers are known, and the switch is not."""
        self.node.apply(routes, [self.media, *gateways], trunks=[OUTSIDE])

    def logs(self) -> str:
        """The ends of all logs."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.node.directory.glob("*.log"))
        )

    def close(self) -> None:
        """End everything but the switch."""
        for name in ("media", *self.services):
            if process := self.node.stack.processes.get(name):
                process.kill()
        self.node.close()

    def _start(self, name: str) -> None:
        command = [sys.executable, "-P", "-m", "console.main", "serve", name.partition("-")[0]]
        # Engines of tests are below tests.
        path = os.pathsep.join((str(serve.ROOT), str(serve.ROOT / "tests")))
        environment = {**os.environ, **self.settings.to_env(), "PYTHONPATH": path}
        process = Process(name, command, environment, self.node.directory / f"{name}.log")
        process.start()
        self.node.stack.processes[name] = process


@contextmanager
def site(
    switch: Switch, root: Path, *, sounds: Path, services: Sequence[str] = ("voicemail",), name: str = "site",
    **more: str,
) -> Iterator[Site]:  # fmt: skip
    """A site, to be started; ``sounds``: recorded prompts; ``name``: of its node; ``more``: further settings."""
    host, port = switch.workers[0]
    node = Node.create(
        root,
        name=name,
        STROWGER_MEDIA_STATE=str(root / "media"),
        STROWGER_SPEECH_CACHE=str(root / "speech"),
        STROWGER_SOUNDS=str(sounds),
        STROWGER_ESL_PASSWORD_FILE=str(switch.password_file),
        STROWGER_ESL_ADDRESS="{}:{}".format(*switch.esl),
        STROWGER_WORKER_ADDRESS=f"{host}:{port}",
        STROWGER_WORKER_HTTP=f"127.0.0.1:{free_port()}",
        **more,
    )
    made = Site(node, switch, services)
    try:
        yield made
    finally:
        made.close()
