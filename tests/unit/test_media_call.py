"""What the demonstration says of its call to a script: right where the call went right, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from console import media_call, phone
from console.media_call import DIGITS, Expected, Measured, findings
from devswitch.audio import tones, wav

MELODY = np.concatenate([tones.render(f"%(500,0,{frequency})") for frequency in media_call.MELODY])
SILENCE = np.zeros(8000, dtype=np.int16)
WANTED = Expected(text="You pressed them.", prompt=1.2, spoken=4.0, melody=MELODY)
WELL = Measured(answered=True, prompt=1.2, digits=DIGITS, spoken=4.1, cause="NORMAL_CLEARING")


def wrong(measured: Measured, file: Path) -> list[str]:
    return [finding.what for finding in findings(measured, WANTED, file) if not finding.right]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    wav.write(tmp_path / "recording.wav", np.concatenate([SILENCE, MELODY, SILENCE]))
    return tmp_path / "recording.wav"


def test_a_call_that_went_well(recording: Path) -> None:
    assert wrong(WELL, recording) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"prompt": 0.0}, "heard"),
        ({"prompt": 3.0}, "heard"),
        ({"digits": ""}, "pressed"),
        ({"digits": DIGITS[::-1]}, "pressed"),
        ({"spoken": 0.1}, "was told"),
        ({"spoken": 2.0}, "was told"),
        ({"cause": "NORMAL_TEMPORARY_FAILURE"}, "ended"),
    ],
)
def test_what_was_heard_otherwise_is_named(recording: Path, change: dict[str, object], what: str) -> None:
    assert wrong(replace(WELL, **change), recording) == [what]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "samples",
    [
        SILENCE,
        MELODY[: len(MELODY) // 3],
        np.concatenate([MELODY, MELODY]),
        MELODY // 200,
        tones.render("%(1500,0,440)"),
    ],
    ids=["silence", "too short", "too long", "too quiet", "another tune"],
)
def test_a_recording_of_something_else_is_wrong(tmp_path: Path, samples: wav.Frame) -> None:
    wav.write(tmp_path / "recording.wav", np.concatenate([samples, SILENCE]))
    assert wrong(WELL, tmp_path / "recording.wav") == ["recorded"]


def test_a_recording_that_is_not_there_is_wrong(tmp_path: Path) -> None:
    assert wrong(WELL, tmp_path / "none.wav") == ["recorded"]


def test_sound_is_from_its_first_to_its_last_frame() -> None:
    assert phone.sounding(np.concatenate([SILENCE, MELODY, SILENCE, MELODY, SILENCE])) == pytest.approx(4.0)
    assert phone.sounding(SILENCE) == 0.0


def test_a_tone_is_told_from_speech_and_from_other_tones() -> None:
    tone = tones.render("%(20,0,1000)")
    assert phone.is_tone(tone, 1000)
    assert not phone.is_tone(tone, 1400)
    assert not phone.is_tone(tone // 200, 1000)
    assert not phone.is_tone(tones.render("%(20,0,1000,650)"), 1000)
