"""The configuration that Strowger gives FreeSWITCH; what it does is seen in tests/contract."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from console import serve

FOLDER = serve.ROOT / "media" / "freeswitch"
FILES = sorted(FOLDER.rglob("*.xml"))


def started(tmp_path: Path, password: str | None) -> subprocess.CompletedProcess[str]:
    """How `start` ends with that password, with /bin/echo for FreeSWITCH."""
    file = tmp_path / "password"
    if password is not None:
        file.write_text(password)
    environment = {
        **os.environ,
        "FREESWITCH_BIN": "/bin/echo",
        "STROWGER_FS_STATE": str(tmp_path / "state"),
        "STROWGER_ESL_PASSWORD_FILE": str(file),
    }
    return subprocess.run([FOLDER / "start"], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_xml(path: Path) -> None:
    ElementTree.parse(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_preprocessor_reads_each_directive(path: Path) -> None:
    # It goes line by line, and takes no notice of comments (preprocess in switch_xml.c).
    text = path.read_text()
    for line in text.splitlines():
        if "X-PRE-PROCESS" in line:
            assert re.fullmatch(r' *<X-PRE-PROCESS cmd="(set|env-set|exec-set|include)" data="[^"]+"/>', line), line


def test_every_variable_is_documented_and_no_other() -> None:
    read = set(re.findall(r"\$(STROWGER_\w+)", (FOLDER / "vars.xml").read_text()))
    read |= set(re.findall(r"\$\{(STROWGER_\w+)", (FOLDER / "start").read_text()))
    named: set[str] = set()
    for row in re.findall(r"^\| (`STROWGER_[^|]*) \|", (FOLDER / "README.md").read_text(), re.MULTILINE):
        names = re.findall(r"`(\S+?)`", row)
        named |= {name.replace("…", "STROWGER_FS") for name in names}
    # What `start` makes by itself.
    made = {"STROWGER_FS_ESL_ADDRESS", "STROWGER_FS_ESL_PORT", "STROWGER_WORKER_ADDRESS", "STROWGER_FS_TIMEZONES"}
    assert named == read - made


def test_no_password_stands_in_the_files() -> None:
    for path in FILES:
        for value in re.findall(r'name="[^"]*password[^"]*" value="([^"]*)"', path.read_text()):
            assert value == "$${esl_password}"


@pytest.mark.parametrize("password", ["", "short", "ClueCon", "sixteen or more, but blanks", 'a"/><param name="x'])
def test_a_password_that_is_none_stops_the_start(tmp_path: Path, password: str) -> None:
    done = started(tmp_path, password)
    assert done.returncode == 1
    assert "STROWGER_ESL_PASSWORD_FILE" in done.stderr
    assert not done.stdout


def test_the_first_start_makes_a_password_and_the_next_keeps_it(tmp_path: Path) -> None:
    assert started(tmp_path, None).returncode == 0
    made = (tmp_path / "password").read_text()
    assert re.fullmatch(r"[0-9a-f]{48}", made)
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    again = started(tmp_path, made)
    assert (again.returncode, again.stderr) == (0, "")
    assert (tmp_path / "password").read_text() == made
    assert f"-conf {FOLDER}" in again.stdout


def test_time_zones_are_those_of_the_system(tmp_path: Path) -> None:
    assert started(tmp_path, "x" * 20).returncode == 0
    zones = {
        zone.get("name"): zone.get("value")
        for zone in ElementTree.parse(tmp_path / "state" / "timezones.xml").iter("zone")
    }
    assert zones["GMT"] == "GMT0"
    assert zones["Europe/London"] == "GMT0BST,M3.5.0/1,M10.5.0"
    assert zones["Asia/Dubai"] == "STD-4"
