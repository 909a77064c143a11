"""`strowger demo` and `strowger up`, as `make demo` and `make run` start them."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from harness.switches import freeswitch_program

# A SIPp that is answered otherwise than it expects waits for most of a minute.
pytestmark = pytest.mark.timeout(240)

COMMAND = [sys.executable, "-m", "console.cli"]
ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("STROWGER_")}


def processes_of(directory: Path) -> list[str]:
    """Command lines of the processes that run in or name a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            surroundings = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(directory) in command or f"STROWGER_RUN={directory}" in surroundings:
            found.append(command)
    return found


def demonstrate(directory: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    """How `strowger demo` ends."""
    return subprocess.run(
        [*COMMAND, "demo", "--directory", str(directory), *options],
        env={**environment(), **more}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


SWITCHES = [
    "embedded",
    pytest.param("freeswitch", marks=pytest.mark.skipif(not freeswitch_program(), reason="no FreeSWITCH")),
]


@pytest.mark.parametrize("switch", SWITCHES)
def test_the_demonstration_says_that_every_call_did_what_it_should(tmp_path: Path, switch: str) -> None:
    done = demonstrate(tmp_path, "--switch", switch)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("as it should be:") == 7
    assert "not as it should be" not in done.stdout
    assert "answered by carrier-b" in done.stdout
    assert "403 blocked-caller" in done.stdout
    assert re.search(r"^ +pressed +ok +4271: the script has 4271$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +recorded +ok .* at -\d\d dB: 440, 554, 659 Hz$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +message +ok +in box 2001: .* from 1001, no-answer; ", done.stdout, re.MULTILINE)
    assert re.search(r'^ +transcript +ok +"please call me back .*" \(pocketsphinx\)$', done.stdout, re.MULTILINE)
    assert re.findall(r"^ +lamp +ok +(.*)$", done.stdout, re.MULTILINE) == ["on: 1 new, 0 heard", "off: 0 new, 1 heard"]
    assert "every call did what it should" in done.stdout
    assert processes_of(tmp_path) == []


def test_the_demonstration_fails_when_a_call_goes_wrong(tmp_path: Path) -> None:
    # The blocked caller's number changes under the demonstration's feet: the second call is answered then.
    program = "from console import demo, cli; demo.BLOCKED = '+4411'; cli.main(['demo', '--directory', '{}'])"
    done = subprocess.run(
        [sys.executable, "-c", program.format(tmp_path)],
        env=environment(), cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "not as it should be" in done.stdout


@pytest.mark.parametrize(
    ("file", "changes", "wrong"),
    [
        (
            "first_call.py",
            {
                'f"{digits}@100"': 'f"{digits[::-1]}@100"',
                "await session.speak(args": "await session.speak('Yes.' + args[:0]",
                "30, 200, 1)": "1, 200, 1)",
            },
            ["pressed", "was told", "recorded"],
        ),
        ("first_call.py", {'PROMPT = "demo/': 'PROMPT = "nowhere/'}, ["heard", "pressed", "was told", "recorded"]),
        # Nothing is left, and so nothing is to be heard.
        ("voicemail.py", {"await take_call(": "return; await take_call("}, ["heard", "said", "heard", "box"]),
        ("mailbox.py", {"await retrieve(": "return; await retrieve("}, ["pressed", "heard", "box", "lamp"]),
    ],
    ids=["other digits", "no prompt", "no message", "no dial-in"],
)
def test_the_demonstration_fails_when_a_script_does_something_else(
    tmp_path: Path, file: str, changes: dict[str, str], wrong: list[str]
) -> None:
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    text = (ROOT / "scripts" / file).read_text()
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (tmp_path / "scripts" / file).write_text(text)
    done = demonstrate(tmp_path / "var", STROWGER_SCRIPTS=str(tmp_path / "scripts"))
    assert done.returncode == 1
    assert re.findall(r"^ {4}(\w+(?: \w+)?) +wrong ", done.stdout, re.MULTILINE) == wrong


def test_a_switch_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = demonstrate(tmp_path, "--switch", "freeswitch", PATH="/usr/bin:/bin", FREESWITCH_BIN="")
    assert done.returncode == 1
    assert "no FreeSWITCH is found" in done.stderr
    assert processes_of(tmp_path) == []


def _with_ctrl_c() -> None:
    # A shell has what it starts with & ignore SIGINT, and that would come down through these tests.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def run(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`strowger up` in a terminal of its own, and that terminal; killed in the end if it is still there."""
    master, slave = pty.openpty()
    running = subprocess.Popen(
        [*COMMAND, "up", "--directory", str(directory)],
        env={**environment(), "TERM": "xterm", "COLUMNS": "120", "LINES": "60"},
        cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_with_ctrl_c,
    )  # fmt: skip
    os.close(slave)
    try:
        yield running, master
    finally:
        running.kill()
        running.wait()
        os.close(master)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_run_stays_up_until_stopped_and_leaves_no_process(tmp_path: Path, stop: signal.Signals) -> None:
    with run(tmp_path) as (running, terminal):
        shown = read_until(terminal, b"Ctrl-C stops everything")
        assert shown.count("as it should be:") == 7
        assert re.search(r"ok.{0,20}kamailio", shown)
        assert re.search(r"ok.{0,20}worker-\d+.* connected", shown)
        assert len(processes_of(tmp_path)) > 7
        second = subprocess.run(
            [*COMMAND, "up", "--directory", str(tmp_path)],
            env=environment(), cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert "running" in second.stderr
        running.send_signal(stop)
        read_to_end(terminal)
        assert running.wait() == 0
    assert processes_of(tmp_path) == []


def test_killed_outright_it_takes_its_processes_along(tmp_path: Path) -> None:
    with run(tmp_path) as (running, terminal):
        read_until(terminal, b"Ctrl-C stops everything")
        running.kill()
        running.wait()
    # The kernel tells them (PR_SET_PDEATHSIG); they end in their own time, within this test's.
    while processes_of(tmp_path):
        os.sched_yield()


def read_until(terminal: int, wanted: bytes) -> str:
    """What a program prints until ``wanted`` is among it; the test's own timeout bounds the wait."""
    shown = b""
    while wanted not in shown:
        shown += os.read(terminal, 65536)
    return shown.decode(errors="replace")


def read_to_end(terminal: int) -> None:
    """Read until the program has closed its terminal, so that it never waits for a reader."""
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass
