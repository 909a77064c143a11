"""What was said, held against what was heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from devswitch.audio import g711
from harness.audio import Samples, read_wav
from media.speech.cache import Cache
from media.speech.engines import Engine, Flite
from media.speech.speaker import Speaker
from media.speech.speech import Speech

STEPS = 1
"""Steps of G.711 by which an equal sample may be off: FreeSWITCH and ours round differently between two steps."""


def speaker(folder: Path, sounds: Path | None = None, engine: Engine | None = None) -> Speaker:
    """One that speaks with flite, its cache below ``folder``."""
    return Speaker(Speech(Cache(folder / "speech"), engine or Flite(), "slt" if engine is None else ""), sounds)


def through_g711(path: Path | str) -> Samples:
    """The samples of a file as they come out of a phone."""
    return g711.decode(g711.encode(read_wav(Path(path)), g711.ULAW), g711.ULAW)


def found_in(heard: Samples, played: Samples) -> tuple[int, float]:
    """Where in ``heard`` ``played`` begins, and which part of its samples is equal there."""
    assert len(heard) >= len(played), f"{len(heard)} samples were heard of {len(played)}"
    size = 1 << (len(heard) + len(played)).bit_length()
    spectrum = np.fft.rfft(heard.astype(float), size) * np.conj(np.fft.rfft(played.astype(float), size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: len(heard) - len(played) + 1]))
    difference = np.abs(_steps(heard[at : at + len(played)]) - _steps(played))
    return at, float(np.mean(difference <= STEPS))


def _steps(samples: Samples) -> Samples:
    """Each as the number of its step of µ-law, in order of level."""
    levels = np.unique(g711.decode(bytes(range(256)), g711.ULAW))
    steps: Samples = np.searchsorted(levels, samples).astype(np.int16)
    return steps
