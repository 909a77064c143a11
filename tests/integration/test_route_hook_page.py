"""The program of docs/route-hook.md answers."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from agent import hook_asking
from agent.http_client import Client
from console.ports import free_port
from kemi.hook import Heard, Question
from model.hook import Hook

PAGE = Path(__file__).parents[2] / "docs" / "route-hook.md"


def test_the_program_answers(tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    port = free_port()
    program = tmp_path / "hook.py"
    program.write_text(found[1].replace("8090", str(port)))
    with subprocess.Popen([sys.executable, str(program)], stderr=subprocess.DEVNULL) as process:
        try:
            await_listening(port, process)
            first, second = asyncio.run(asked(port, tmp_path))
        finally:
            process.kill()
    assert msgspec.json.decode(first.answer) == {"action": "gateways", "gateways": ["carrier-b"]}
    assert msgspec.json.decode(second.answer) == {"action": "reject", "status": 402, "reason": "no-credit"}


def await_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the program takes connections."""
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def asked(port: int, secrets: Path) -> list[Heard]:
    """What it says of a call to Britain, and of another, over one connection."""
    client, hook = Client(), Hook("billing", f"http://127.0.0.1:{port}/", timeout=20.0)
    try:
        return [
            await hook_asking.ask(
                Question("", hook, time.time() + 20, msgspec.Raw(msgspec.json.encode({"callee": callee}))),
                client,
                secrets,
            )
            for callee in ("+442079460000", "+15550100")
        ]
    finally:
        client.close()
