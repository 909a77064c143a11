"""`strowger demo`: it says that every call did what it should, and does not say so where one did not."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from harness.command import ROOT, demonstrate, processes_of
from harness.switches import freeswitch_program

# A SIPp that is answered otherwise than it expects waits for most of a minute.
pytestmark = pytest.mark.timeout(240)

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


Changes = dict[str, dict[str, str]]
OTHER_DIGITS = {
    'f"{digits}@100"': 'f"{digits[::-1]}@100"',
    "await session.speak(args": "await session.speak('Yes.' + args[:0]",
    "30, 200, 1)": "1, 200, 1)",
}
NO_PROMPT = {'PROMPT = "demo/': 'PROMPT = "nowhere/'}
# Nothing is left, and so nothing is to be heard.
NO_MESSAGE = {"await take_call(": "return; await take_call("}
NO_DIAL_IN = {"await retrieve(": "return; await retrieve("}
# The blocked caller's number changes under the demonstration's feet: the second call is answered then.
UNBLOCKED = "import sys; from console import demo, cli; demo.BLOCKED = '+4411'; cli.main(sys.argv[1:])"


def changed(folder: Path, changes: Changes) -> Path:
    """The call scripts, some of them changed."""
    shutil.copytree(ROOT / "scripts", folder)
    for file, words in changes.items():
        text = (folder / file).read_text()
        for old, new in words.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / file).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("command", "changes", "wrong", "right"),
    [
        (
            ("-m", "console.cli"),
            {"first_call.py": OTHER_DIGITS, "mailbox.py": NO_DIAL_IN},
            ["pressed", "was told", "recorded", "pressed", "heard", "box", "lamp"],
            5,
        ),
        (
            ("-c", UNBLOCKED),
            {"first_call.py": NO_PROMPT, "voicemail.py": NO_MESSAGE},
            ["heard", "pressed", "was told", "recorded", "heard", "said", "heard", "box"],
            3,
        ),
    ],
    ids=["other digits, no dial-in", "nobody blocked, no prompt, no message"],
)
def test_the_demonstration_fails_where_a_call_or_a_script_does_something_else(
    tmp_path: Path, command: tuple[str, ...], changes: Changes, wrong: list[str], right: int
) -> None:
    scripts = changed(tmp_path / "scripts", changes)
    done = demonstrate(tmp_path / "var", command=[sys.executable, *command], STROWGER_SCRIPTS=str(scripts))
    assert done.returncode == 1
    assert re.findall(r"^ {4}(\w+(?: \w+)?) +wrong ", done.stdout, re.MULTILINE) == wrong
    assert len(re.findall(r"^as it should be:", done.stdout, re.MULTILINE)) == right


def test_a_switch_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = demonstrate(tmp_path, "--switch", "freeswitch", PATH="/usr/bin:/bin", FREESWITCH_BIN="")
    assert done.returncode == 1
    assert "no FreeSWITCH is found" in done.stderr
    assert processes_of(tmp_path) == []
