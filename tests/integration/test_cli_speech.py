"""`strowger say` and `strowger ivr check`."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.audio import read_wav
from harness.cli import Cli, fresh

from model.settings import SCRIPTS


@pytest.fixture
def cli() -> Cli:
    return Cli(
        fresh, {"STROWGER_SPEECH_ENGINE": "flite:slt", "STROWGER_SPEECH_CACHE": "/nowhere", "STROWGER_SOUNDS": ""}
    )


def test_a_text_becomes_a_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    assert cli("say", "Our lines are busy.", "-o", str(path), "--voice", "rms").out.startswith(f"{path}: ")
    assert len(read_wav(path)) > 4000


@pytest.mark.parametrize(
    ("words", "environment", "error"),
    [
        (["hello", "--voice", "nobody"], {}, "flite has no voice 'nobody'; it has kal, "),
        (["hello", "--engine", "festival"], {}, "there is no engine 'festival'"),
        (["hello"], {"STROWGER_SPEECH_ENGINE": "http://127.0.0.1:1/"}, "http://127.0.0.1:1/ is not reached"),
        (["..."], {}, "there is nothing to speak"),
        (["hello", "--rate", "44100"], {}, "speech is made at 8000 or 16000 Hz, not 44100"),
        (["hello"], {"PATH": "/nowhere"}, "flite is not installed"),
    ],
)
def test_what_cannot_be_spoken_says_why(
    cli: Cli, tmp_path: Path, words: list[str], environment: dict[str, str], error: str
) -> None:
    done = cli.where(**environment)("say", *words, "-o", str(tmp_path / "out.wav"), status=1)
    assert error in done.said
    assert not (tmp_path / "out.wav").exists()


def test_a_file_that_cannot_be_written_says_so(cli: Cli, tmp_path: Path) -> None:
    assert "No such file" in cli("say", "hello", "-o", str(tmp_path / "no" / "out.wav"), status=1).said


def test_what_is_in_order(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ivr.yaml").write_text("menus: [{name: main, greeting_sound: vm-goodbye}]\n")
    scripts = cli.where(STROWGER_SCRIPTS=str(tmp_path))
    assert scripts("ivr", "check").out == f"{tmp_path}/ivr.yaml: menus in order\n"
    assert scripts("ivr", "check", "--json").data == [
        {"file": f"{tmp_path}/ivr.yaml", "kind": "menus", "problems": [], "unchecked": []}
    ]


def test_the_menus_that_come_along_are_in_order(cli: Cli) -> None:
    done = cli.where(STROWGER_SCRIPTS=str(SCRIPTS))("ivr", "check")
    assert "ivr.yaml: menus in order" in done.out
    assert "not checked" in done.out


def test_what_is_wrong_is_named(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "ivr.yaml"
    path.write_text("menus:\n  - name: main\n    greeting_sound: vm-godbye.wav\n")
    done = cli("ivr", "check", str(path), "--sounds", str(tmp_path), status=2)
    assert f"{path}:3: menus[0].greeting_sound: there is no prompt 'vm-godbye.wav'" in done.said
    path.write_text("menus:\n  - nam: main\n")
    assert f"{path}:2: menus[0].nam: Extra inputs" in cli("ivr", "check", str(path), status=2).said
    path.write_text("a: 1\n")
    assert "has neither menus nor phrases" in cli("ivr", "check", str(path), status=2).said
    assert "No such file" in cli("ivr", "check", str(tmp_path / "gone.yaml"), status=2).said
