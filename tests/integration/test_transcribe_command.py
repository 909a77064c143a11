"""``strowger transcribe``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness.audio import read_wav, write_wav
from harness.sentences import errors, spoken

from console.serve import ROOT
from media.transcription.resampling import Resampler

SENTENCE = "I will come by after work"


def transcribe(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "console.main", "transcribe", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)


@pytest.mark.parametrize("rate", [8000, 48000])
def test_text_or_words_with_their_times(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "said.wav"
    spoken(SENTENCE, path)
    resampler = Resampler(8000, rate)
    samples = read_wav(path).astype(np.float32)
    wide = np.concatenate((resampler.feed(samples), resampler.finish())).clip(-32768, 32767).astype(np.int16)
    write_wav(path, wide, rate=rate)
    done = transcribe(path, "--json")
    found = json.loads(done.stdout)
    assert errors(SENTENCE, found["text"])[0] <= 1, found["text"]
    assert [word["word"] for word in found["words"]] == found["text"].split()
    assert found["words"][-1]["end"] <= len(samples) / 8000 + 0.1
    if rate == 8000:
        assert transcribe(path).stdout == found["text"] + "\n"


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("nothing of the kind")
    cases = {
        (tmp_path / "a.wav", "pocketsphinx"): (2, "refused: not a WAV file"),
        (tmp_path / "b.wav", "pocketsphinx"): (1, "missing: the file cannot be read: No such file or directory"),
        (tmp_path / "a.wav", "nobody:Class"): (1, "missing: the package nobody is not installed"),
    }
    for (path, engine), (status, why) in cases.items():
        done = transcribe(path, "--engine", engine)
        assert (done.returncode, done.stdout) == (status, "")
        assert f"{path}: {why}" in done.stderr.replace("\n", "")
