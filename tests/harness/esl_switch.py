"""A FreeSWITCH without SIP: its event socket, and calls by mod_loopback that go to ``socket``."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from console.ports import free_port
from console.process import Process
from harness.redis_server import READY_TIMEOUT

MODULES = ("event_socket", "commands", "dptools", "dialplan_xml", "loopback", "tone_stream")
ANSWERED = "<action application='answer'/><action application='park'/>"
CONFIGURATION = """<?xml version="1.0"?>
<document type="freeswitch/xml">
  <section name="configuration">
    <configuration name="switch.conf"><settings>
      <param name="max-sessions" value="200"/><param name="sessions-per-second" value="200"/>
      <param name="rtp-start-port" value="{rtp}"/><param name="rtp-end-port" value="{rtp}"/>
      <param name="loglevel" value="debug"/>
    </settings></configuration>
    <configuration name="modules.conf"><modules>{modules}</modules></configuration>
    <configuration name="acl.conf"><network-lists>
      <list name="nobody" default="deny"/>
    </network-lists></configuration>
    <configuration name="event_socket.conf"><settings>
      <param name="listen-ip" value="127.0.0.1"/><param name="listen-port" value="{port}"/>
      <param name="password" value="{password}"/>{more}
    </settings></configuration>
  </section>
  <section name="dialplan"><context name="default">
    <extension name="static"><condition field="destination_number" expression="^static$">
      <action application="socket" data="127.0.0.1:{worker} async"/>
    </condition></extension>
    <extension name="answered"><condition field="destination_number" expression="^answered$">
      <action application="answer"/><action application="park"/>
    </condition></extension>
    <extension name="worker"><condition field="destination_number" expression="^worker$">
      <action application="socket" data="127.0.0.1:{worker} async full"/><action application="park"/>
    </condition></extension>
  </context></section>
</document>
"""


def program() -> str | None:
    """FreeSWITCH, where there is one."""
    return os.environ.get("FREESWITCH_BIN") or shutil.which("freeswitch")


@dataclass(frozen=True, slots=True)
class Switch:
    """A FreeSWITCH that runs."""

    port: int
    worker: int
    "Where calls to ``worker`` (async full) and ``static`` (async) go."
    password: str
    process: Process


@contextmanager
def freeswitch(directory: Path, *, more: str = "") -> Iterator[Switch]:
    """FreeSWITCH while the block runs; ``more``: settings of the event socket."""
    found = program()
    assert found, "no FreeSWITCH"
    port, worker, password = free_port(), free_port(), "a secret of the test"
    (directory / "freeswitch.xml").write_text(
        CONFIGURATION.format(
            port=port, worker=worker, password=password, more=more, rtp=free_port(),
            modules="".join(f'<load module="mod_{name}"/>' for name in MODULES),
        )
    )  # fmt: skip
    folders = [f"-{name}" for name in ("conf", "log", "run", "db", "scripts", "temp", "recordings", "storage", "cache")]
    places = [word for option in folders for word in (option, str(directory))]
    command = [found, "-nf", "-nc", "-nonat", "-nosql", *places]
    process = Process("freeswitch", command, os.environ, directory / "output.log")
    process.start()
    try:
        _wait(process, port)
        yield Switch(port, worker, password, process)
    finally:
        process.kill()


def _wait(process: Process, port: int) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.running, process.log.read_text()
            assert time.monotonic() < deadline, process.log.read_text()
            time.sleep(0.05)
        else:
            return
