"""What the documentation tells an operator to type works, page by page, on one running node.

How a page says what is particular about a block: tests/harness/pages.py.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.cli import STROWGER, Runner, forking
from harness.node import Node
from harness.pages import ROOT, Block, blocks, pages

from console import demo, phone
from console.ports import free_port
from console.switch import Switch
from devswitch.audio import speech, wav
from media.voicemail.store import Message, Store
from state import tokens
from state.tokens import Role

pytestmark = pytest.mark.timeout(240)
PIN = "7203"
GOES_ON = re.compile(r"--follow\b|^strowger top$")
"Commands that go on until they are interrupted."
META = set("|<>;&$`\n")


@dataclass(slots=True)
class Desk:
    """A node with everything, and a directory in which somebody types."""

    node: Node
    folder: Path
    run: Runner
    call_id: str = ""
    "Of a past call."
    ports: dict[str, str] = field(default_factory=dict)
    "Of pages, and what they are here."
    policy: str = ""
    "That of the first calls."
    token: str = ""
    "That `make run` writes into a file."

    @property
    def environment(self) -> dict[str, str]:
        """What `. var/env` sets, and a PATH on which `strowger` is."""
        path = f"{STROWGER.parent}{os.pathsep}{os.environ['PATH']}"
        return {**self.node.stack.settings.to_env(), "PATH": path, "PYTHON": sys.executable}

    def type(self, line: str) -> tuple[int, str]:
        """Type a command line; its exit status, and all that it printed."""
        line = self.here(line.replace("CALL-ID", self.call_id))
        if GOES_ON.search(line):
            return self._until_interrupted(line)
        words = [] if META & set(line) else shlex.split(line, comments=True)
        # Without a terminal, so that a PIN is read, twice, from standard input.
        if words[:1] == ["strowger"]:
            done = self.run(tuple(words[1:]), self.environment, f"{PIN}\n{PIN}\n")
            return done.status, done.out + done.err
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], cwd=self.folder, input=f"{PIN}\n{PIN}\n", start_new_session=True,
            env={**os.environ, **self.environment}, capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
        return ran.returncode, ran.stdout + ran.stderr

    def _until_interrupted(self, line: str) -> tuple[int, str]:
        with subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **self.environment}, text=True,
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(timeout=2)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                said, _ = process.communicate(timeout=20)
                return (0 if process.returncode in (0, -2, 130) else process.returncode), said
        return process.returncode, f"it should have gone on: {said}"

    def tidy(self) -> None:
        """The node as a page finds it: as after the first calls."""
        for path in self.folder.iterdir():
            path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
        (self.folder / "examples").symlink_to(ROOT / "examples")
        (self.folder / "scripts").symlink_to(self.node.stack.settings.scripts)
        for name in {block.file for page in pages() for block in blocks(page) if block.file.startswith("scripts/")}:
            (self.folder / name).unlink(missing_ok=True)
        (self.folder / "var").mkdir()
        (self.folder / "var" / "env").touch()
        (self.folder / "var" / "admin-token").write_text(self.token + "\n")
        self.node.clear_entries()
        for subscriber in self.node.store.subscribers():
            self.node.store.remove_subscriber(subscriber)
        for gateway in self.node.store.drains():
            self.node.store.resume(gateway)
        demo.apply(self.node.stack.settings, self.policy)
        self.boxes()

    def here(self, text: str) -> str:
        """A file or command with the addresses of this node in the place of those on the page."""
        for port, actual in self.ports.items():
            text = re.sub(rf"\b{port}\b", actual, text)
        text = re.sub(r"^  fs-2:.*\n", "", text, flags=re.MULTILINE)
        text = text.replace("203.0.113.11:5070", f"127.0.0.1:{self.ports['15070']}")
        return text.replace("192.0.2.0/24", "127.0.0.0/8")

    def boxes(self) -> None:
        """Box 2001 with a message, as the first calls leave it; 1001 is still to be made."""
        shutil.rmtree(self.store.folder / "boxes" / "1001", ignore_errors=True)
        if not self.store.ids("2001", "new"):
            self.leave("2001")

    def leave(self, box: str) -> Message:
        """A message, as the switch and a caller would leave it."""
        self.store.update_box(box, min_seconds=0)
        with closing(self.store.begin(box, caller="1002")) as recording:
            wav.write(recording.audio, asyncio.run(speech.speak("Please call me back.")))
            return recording.accept()

    @property
    def store(self) -> Store:
        """The mailboxes."""
        return Store(self.node.stack.settings.voicemail)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    directory = tmp_path_factory.mktemp("documents")
    folder = directory / "typed-here"
    folder.mkdir()
    shutil.copytree(ROOT / "scripts", directory / "scripts")
    write_scripts(directory / "scripts")
    node = Node.create(
        directory,
        STROWGER_SCRIPTS=str(directory / "scripts"),
        STROWGER_ESL_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_ESL_PASSWORD_FILE=str(directory / "esl-password"),
        STROWGER_WORKER_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_HTTP=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_DRAIN="0",
        STROWGER_WEB_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_MEDIA_STATE=str(directory / "media"),
        STROWGER_SPEECH_CACHE=str(directory / "speech"),
    )
    node.stack.switch = Switch(sip_port=free_port(), directory=directory / "switch")
    node.stack.hook = node.stack.web = True
    with ExitStack() as ending:
        ending.callback(node.close)
        node.stack.start()
        run = ending.enter_context(forking(directory, folder))
        ending.enter_context(demo.carriers(node.stack, directory / "demo"))
        policy = node.store.policy().text
        found = [re.findall(r"127\.0\.0\.1:(\d+)", text) for text in (demo.POLICY.read_text(), policy)]
        ports = dict(zip(*found, strict=True))
        ports |= dict.fromkeys(("8088", "15088"), str(node.stack.settings.web_address.port))
        token = tokens.make(node.store, "reader", Role.ADMIN)[1]
        made = Desk(node, folder, run, ports=ports, policy=policy, token=token)
        made.tidy()
        made.call_id = node.call(
            "uac-expect-STATUS.xml", demo.BLOCKED, "02079460000", words={"STATUS": "403", "REASON": "blocked-caller"}
        ).call_id
        yield made


def write_scripts(folder: Path) -> None:
    """The call scripts of all pages, beside those that are shipped; of two with one name the first."""
    known: set[str] = set(re.findall(r'@script\("([\w-]+)"', "".join(one.read_text() for one in folder.glob("*.py"))))
    for page in pages():
        for number, block in enumerate(blocks(page)):
            names = set(re.findall(r'@script\("([\w-]+)"', block.text)) if block.language == "python" else set()
            if names and not names & known and not block.file and "load_phrases" not in block.text:
                known |= names
                (folder / f"{Path(page).stem.lower().replace('-', '_')}_{number}.py").write_text(block.text)


RUN = [page for page in pages() if any(one.language in ("console", "sh") and not one.not_run for one in blocks(page))]


@pytest.mark.parametrize("page", RUN)
def test_what_a_page_has_typed_ends_well(desk: Desk, page: str) -> None:
    desk.tidy()
    for block in blocks(page):
        for line in block.before:
            status, said = desk.type(line)
            assert status == 0, f"{block}: {line}: {said}"
        if block.file:
            path = desk.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(desk.here(block.text))
        if block.not_run:
            continue
        if block.language == "console":
            type_all(desk, block)
        elif block.language == "sh":
            status, said = desk.type(block.text)
            assert status == block.status, f"{block}: {said}"


def type_all(desk: Desk, block: Block) -> None:
    for number, (line, shown) in enumerate(block.commands, 1):
        status, said = desk.type(line)
        expected = block.status if number == len(block.commands) else 0
        assert status == expected, f"{block}: {line}: {said}"
        if block.shows and shown:
            assert_shown(said, shown, f"{block}: {line}")
        if line.startswith("strowger voicemail box pin"):
            desk.leave(shlex.split(line)[4])


def assert_shown(said: str, shown: list[str], where: str) -> None:
    """The lines on the page stand in what was printed, in this order; ``...`` is anything."""
    rest = re.sub(r"[ \t]+", " ", said)
    for line in filter(None, (re.sub(r"[ \t]+", " ", line).strip() for line in shown)):
        pattern = ".*?".join(map(re.escape, re.split(r"\s*(?:\.\.\.|…)\s*", line)))
        found = re.search(pattern, rest)
        assert found, f"{where}: there is no {line!r} in:\n{said}"
        rest = rest[found.end() :]


def test_the_script_of_the_readme_has_five_lines_and_answers(desk: Desk) -> None:
    (script,) = [one for one in blocks("README.md") if one.language == "python"]
    code = [line for line in script.text.splitlines() if line and not line.startswith("from")]
    assert len(code) == 5
    (said,) = re.findall(r'speak\("(.*)"\)', code[-1])
    (policy,) = [one for one in blocks("README.md") if one.language == "yaml" and "media: hours" in one.text]
    # Here, with its first switch only.
    demo.apply(desk.node.stack.settings, desk.here(policy.text))

    async def call() -> float:
        async with phone.call("5010", desk.node.sip, caller="1001") as made:
            await made.answered()
            assert await made.ended() == "NORMAL_CLEARING"
            return made.sound(0)

    heard = asyncio.run(asyncio.wait_for(call(), 60))
    assert heard == pytest.approx(phone.sounding(asyncio.run(speech.speak(said))), rel=0.2)


def test_a_mailbox_that_a_page_made_takes_its_pin_and_exports_its_message(desk: Desk) -> None:
    desk.tidy()
    assert desk.type("strowger voicemail box add 1001")[0] == 0
    assert desk.type("strowger voicemail box pin 1001")[0] == 0
    left = desk.leave("1001")
    assert desk.store.check_pin("1001", PIN)
    assert desk.type("strowger voicemail export 1001 -o message.wav")[0] == 0
    assert (desk.folder / "message.wav").read_bytes() == desk.store.message("1001", left.id).audio.read_bytes()


def test_a_worker_that_was_killed_can_be_started_again(desk: Desk) -> None:
    worker = f"worker-{desk.node.stack.settings.worker_address.port}"
    desk.node.stack.processes["media"].kill()
    status, said = desk.type("strowger status")
    assert status == 1
    assert re.search(rf"^down {worker} .* does not answer", said, re.MULTILINE)
    desk.node.stack.start_media()
    status, said = desk.type("strowger status")
    assert status == 0, said
    assert re.search(rf"^ok   {worker} .* connected$", said, re.MULTILINE)
