"""What the README shows works: its policies load, its commands end well, its files are there."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from harness.node import Node

import policyfile
from console import demo, phone
from console.ports import free_port
from console.switch import Switch
from devswitch.audio import speech, wav
from kemi import refusals
from media.voicemail.store import Box, Message, Store
from model.policy import Refusal

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")

pytestmark = pytest.mark.timeout(120)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(README) if kind == language]


def commands() -> list[list[str]]:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ strowger")]
    return [shlex.split(line)[1:] for line in lines]


def leave(store: Store, box: str) -> Message:
    """A message, as the switch and a caller would leave it."""
    store.update_box(box, min_seconds=0)
    with closing(store.begin(box, caller="1002")) as recording:
        wav.write(recording.audio, asyncio.run(speech.speak("Please call me back.")))
        return recording.accept()


@pytest.fixture(scope="module")
def media_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with the embedded switch and a worker, which has the README's script beside those that are shipped."""
    directory = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "scripts", directory / "scripts")
    (text,) = blocks("python")
    (directory / "scripts" / "hours.py").write_text(text)
    node = Node.create(
        directory,
        STROWGER_SCRIPTS=str(directory / "scripts"),
        STROWGER_ESL_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_ESL_PASSWORD_FILE=str(directory / "esl-password"),
        STROWGER_WORKER_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_HTTP=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_DRAIN="0",
        STROWGER_MEDIA_STATE=str(directory / "media"),
        STROWGER_VOICEMAIL=str(directory / "voicemail"),
        STROWGER_SPEECH_CACHE=str(directory / "speech"),
    )
    node.stack.switch = Switch(sip_port=free_port(), directory=directory / "switch")
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


def test_its_call_script_has_five_lines_and_answers(media_node: Node) -> None:
    code = [line for line in blocks("python")[0].splitlines() if line and not line.startswith("from")]
    assert len(code) == 5
    (said,) = re.findall(r'speak\("(.*)"\)', code[-1])
    stack = media_node.stack
    assert stack.switch
    # Here, with its first switch only.
    policy = re.sub(r"^  fs-2:.*\n", "", blocks("yaml")[1], flags=re.MULTILINE)
    policy = policy.replace("192.0.2.0/24", "127.0.0.0/8")
    demo.apply(stack.settings, policy.replace("203.0.113.11:5070", f"127.0.0.1:{stack.switch.sip_port}"))

    async def call() -> float:
        async with phone.call("5010", media_node.sip, caller="1001") as made:
            await made.answered()
            assert await made.ended() == "NORMAL_CLEARING"
            return made.sound(0)

    heard = asyncio.run(asyncio.wait_for(call(), 60))
    assert heard == pytest.approx(phone.sounding(asyncio.run(speech.speak(said))), rel=0.2)


def test_a_worker_that_was_killed_can_be_started_again(media_node: Node) -> None:
    def status() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "console.cli", "status"],
            env={**os.environ, **media_node.stack.settings.to_env()}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    worker = f"worker-{media_node.stack.settings.worker_address.port}"
    media_node.stack.processes["media"].kill()
    down = status()
    assert down.returncode == 1
    assert re.search(rf"^down {worker} .* does not answer", down.stdout, re.MULTILINE)
    media_node.stack.start_media()
    up = status()
    assert up.returncode == 0, up.stdout
    assert re.search(rf"^ok   {worker} .* connected$", up.stdout, re.MULTILINE)


def test_its_policies_load() -> None:
    policies = blocks("yaml")
    assert policies
    for number, text in enumerate(policies):
        assert policyfile.load(text, name=f"README block {number}").routes


def test_its_commands_end_well_on_a_running_node(media_node: Node, tmp_path: Path) -> None:
    demo.apply(media_node.stack.settings, demo.POLICY.read_text())
    (tmp_path / "policy.yaml").write_text(blocks("yaml")[0])
    # As the first calls leave it.
    store = Store(media_node.stack.settings.voicemail)
    store.put_box(Box(number="2001"))
    leave(store, "2001")
    environment = {**os.environ, **media_node.stack.settings.to_env()}
    ran = commands()
    assert len(ran) > 12
    for arguments in ran:
        # Without a terminal, so that the PIN is read, twice, from standard input.
        done = subprocess.run(
            [sys.executable, "-m", "console.cli", *arguments], input="7203\n7203\n", start_new_session=True,
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"strowger {shlex.join(arguments)}: {done.stdout}{done.stderr}"
        if arguments[:3] == ["voicemail", "box", "pin"]:
            leave(store, arguments[3])
    assert store.check_pin("1001", "7203")
    (left,) = store.ids("1001", "new")
    assert (tmp_path / "message.wav").read_bytes() == store.message("1001", left).audio.read_bytes()


def test_its_make_targets_and_files_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for pair in re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE) for word in pair if word}
    assert named <= targets
    for path in sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")):
        for target in LINK.findall(path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} names {target}"


def test_every_refusal_is_in_the_table() -> None:
    table = (ROOT / "docs" / "refusals.md").read_text()
    rows = {row[0]: row for row in re.findall(r"^\| `([\w-]+)` \| (\d+) \| (\d+) \|", table, re.MULTILINE)}
    own = [value for value in vars(refusals).values() if isinstance(value, Refusal)]
    for refusal in (*own, *refusals.BLOCKED.values()):
        assert rows.pop(refusal.id) == (refusal.id, str(refusal.status), str(refusal.cause))
    # Made by kamailio.cfg, before any Python.
    assert set(rows) == {"too-many-hops"}
