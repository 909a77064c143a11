"""systemd's units, and the command that installs them, name only what exists and let processes do little."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import typer

from console.cli import app
from model.settings import SETTINGS, Settings

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "packaging" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
INSTALL = (ROOT / "packaging" / "install").read_text(encoding="utf-8")
KNOWN = {setting.name for setting in SETTINGS}
# What systemd-analyze calls OK; it says 9.2 of a unit that restricts nothing.
EXPOSURE = 2.0
analyze = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units, for this checkout in the place of an installed one."""
    folder = tmp_path_factory.mktemp("units")
    shutil.copytree(UNITS, folder, dirs_exist_ok=True)
    for path in folder.glob("*.service"):
        path.write_text(path.read_text(encoding="utf-8").replace("/opt/strowger/", f"{ROOT}/"), encoding="utf-8")
    return folder


def analyzed(units: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


@analyze
def test_systemd_finds_nothing_wrong(units: Path) -> None:
    done = analyzed(units, "verify", str(units / "strowger.target"), *(str(units / name) for name in SERVICES))
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "strowger" in line]
    assert (done.returncode, ours) == (0, [])


@analyze
@pytest.mark.parametrize("name", SERVICES)
def test_little_is_exposed(units: Path, name: str) -> None:
    done = analyzed(units, "security", "--offline=true", "--no-pager", str(units / name))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE, done.stdout


def test_every_process_has_a_unit_that_runs_it() -> None:
    serve = typer.main.get_command(app).get_command(click.Context(click.Command("strowger")), "serve")  # type: ignore[attr-defined]
    assert {f"strowger-{name}.service" for name in serve.commands} | {"strowger-switch.service"} == set(SERVICES)
    for name in serve.commands:
        text = (UNITS / f"strowger-{name}.service").read_text(encoding="utf-8")
        assert f"\nExecStart=/opt/strowger/.venv/bin/strowger serve {name}\n" in text
        assert "\nWantedBy=strowger.target\n" in text
        # A mailbox's folders have a bit that this forbids.
        assert ("RestrictSUIDSGID=no" in text) == (name in {"media", "voicemail", "web"})


def test_every_setting_in_units_and_scripts_is_known() -> None:
    files = [path for path in (ROOT / "packaging").rglob("*") if path.is_file()]
    named = {name for path in files for name in re.findall(r"\bSTROWGER_[A-Z_]+\b", path.read_text(encoding="utf-8"))}
    assert named
    assert named <= KNOWN


def test_the_settings_file_is_one_that_can_be(tmp_path: Path) -> None:
    (text,) = re.findall(r"<<END\n(.*?)\nEND\n", INSTALL, re.DOTALL)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    given = dict(line.split("=", 1) for line in lines)
    given |= {"STROWGER_NODE": "edge-1", "STROWGER_SIP_ADDRESS": "192.0.2.10"}
    settings = Settings.from_env({name: value.replace("$ETC", str(tmp_path)) for name, value in given.items()})
    (tmp_path / "redis-password").write_text("0123456789abcdef")
    assert settings.redis_url == "redis://:0123456789abcdef@127.0.0.1:6379/0"


def test_a_release_is_all_that_runs() -> None:
    (parts,) = re.findall(r'^PARTS="([^"]+)"', INSTALL, re.MULTILINE)
    assert [part for part in parts.split() if not (ROOT / part).exists()] == []
    copied = set(re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE))
    assert copied - {"docker/ready"} <= set(parts.split())


def test_the_same_packages_as_elsewhere() -> None:
    (here,) = re.findall(r"for package in (.*); do", INSTALL)
    (there,) = re.findall(r'^PACKAGES="([^$"]+)"', (ROOT / "tools" / "install").read_text(), re.MULTILINE)
    # SIPp plays calls for a first look.
    assert set(there.split()) - set(here.split()) == {"sip-tester"}


@pytest.mark.parametrize("script", ["packaging/install", "packaging/strowger", "docker/make-secrets"])
def test_scripts_are_shell_and_may_be_run(script: str) -> None:
    path = ROOT / script
    assert os.access(path, os.X_OK)
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


# What the first lines of an installation ask of the system, written down or done in a folder of the test's.
SYSTEM = {
    "apt-get": """
[ "$1" = install ] || exit 0
for package; do case "$package" in install | -*) ;; *) touch "$SYSTEM/$package" ;; esac; done
[ ! -e "$SYSTEM/interrupted" ] || kill -9 "$PPID"
""",
    "dpkg-query": 'for package; do :; done; [ -e "$SYSTEM/$package" ] && echo installed',
    "systemctl": 'echo "$*" >> "$SYSTEM/asked"',
    "id": "echo 0",
    "getent": "",
    "chown": "",
    "install": """
while [ $# -gt 1 ]; do case "$1" in -d) d=-d ;; -m) shift ;; -o|-g) shift ;; *) break ;; esac; shift; done
exec /usr/bin/install $d "$@"
""",
}


@pytest.fixture
def preparing(tmp_path: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Runs an installation up to the settings file on a machine with no packages, all of it below a folder."""
    (tmp_path / "etc" / "redis").mkdir(parents=True)
    (tmp_path / "etc" / "redis" / "redis.conf").touch()
    (tmp_path / "etc" / "os-release").write_text("ID=debian VERSION_ID=12")
    (tmp_path / "bin").mkdir()
    for name, script in SYSTEM.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "packaging").mkdir()
    (tmp_path / "scripts").mkdir()
    settled, rest = INSTALL.rsplit("\nrelease\n", 1)
    assert rest == "units\nrun\n"
    script = tmp_path / "packaging" / "install"
    etc = re.sub(r"(?<![\w$/])/(etc|var)/", rf"{tmp_path}/\1/", settled)
    script.write_text(etc)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "SYSTEM": str(tmp_path / "bin")}
    return lambda: subprocess.run(["sh", script], env=environment, capture_output=True, text=True, check=False)


def test_an_interrupted_installation_knows_its_own_packages(
    tmp_path: Path, preparing: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    (tmp_path / "bin" / "interrupted").touch()
    assert preparing().returncode == -signal.SIGKILL
    (tmp_path / "bin" / "interrupted").unlink()
    for _ in range(2):
        done = preparing()
        assert done.returncode == 0, done.stderr
        password = (tmp_path / "etc" / "strowger" / "redis-password").read_text()
        assert re.fullmatch("[0-9a-f]{48}", password)
        told = (tmp_path / "etc" / "redis" / "strowger.conf").read_text()
        assert told == f"requirepass {password}\nappendonly yes\n"
        assert (tmp_path / "bin" / "asked").read_text().count("disable -q kamailio") == 1


def test_what_was_there_is_left_alone(
    tmp_path: Path, preparing: Callable[[], subprocess.CompletedProcess[str]]
) -> None:
    for package in ("redis-server", "kamailio"):
        (tmp_path / "bin" / package).touch()
    (tmp_path / "bin" / "interrupted").touch()
    assert preparing().returncode == -signal.SIGKILL
    (tmp_path / "bin" / "interrupted").unlink()
    done = preparing()
    assert done.returncode == 0, done.stderr
    assert "a Redis was here before" in done.stdout
    assert (tmp_path / "etc" / "strowger" / "redis-password").read_text() == ""
    assert not (tmp_path / "etc" / "redis" / "strowger.conf").exists()
    assert not (tmp_path / "bin" / "asked").exists()
