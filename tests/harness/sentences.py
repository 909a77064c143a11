"""Everyday sentences by flite's voices, as the telephone carries them, and how well they were heard."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np

from devswitch.audio import g711
from harness.audio import RATE, Samples, write_wav
from media.transcription.resampling import Resampler

PCMU = 0
"Payload type of G.711 μ-law (RFC 3551)."
SENTENCES = (
    "Hello, this is Peter from the office, please call me back when you have a moment",
    "I am running late and will be there in twenty minutes",
    "Your order has arrived and you can pick it up tomorrow morning",
    "Can you please send me the report before the meeting on Monday",
    "I left my keys at your house and I will come by after work",
    "The doctor would like to see you next week, please call us to make an appointment",
    "We have not received your payment for the last month, please call us as soon as possible",
    "Please bring milk and bread when you come home tonight",
    "I wanted to ask if you are free for lunch on Friday",
    "Your car is ready and the bill is three hundred and fifty dollars",
    "Good morning, this is Mary from the bank, I am calling about your account",
    "We need to change the time of our meeting to three o'clock",
    "Please call the hospital about your test results",
    "Could you tell me what time the store closes on Sunday",
    "I found your wallet in the restaurant last night",
    "My flight has been delayed and I will not be home for dinner",
    "Your library books are due at the end of the month",
    "The weather is going to be bad, so please drive carefully",
    "Please leave the package with our neighbor if we are not at home",
    "The school is closed today because of the snow",
    "Can we meet at the coffee shop instead of the office",
    "I sent you an email with the pictures from our vacation",
    "Please return my call at your earliest convenience",
    "Tell your mother that we are thinking of her",
)


def spoken(text: str, path: Path, voice: str = "rms") -> Samples:
    """``text`` as a file, in what 8 kHz μ-law leaves of it."""
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, timeout=60)
    with wave.open(str(path), "rb") as file:
        resampler = Resampler(file.getframerate(), RATE)
        wide = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
    narrow = np.concatenate((resampler.feed(wide), resampler.finish())).clip(-32768, 32767).astype(np.int16)
    samples = g711.decode(g711.encode(narrow, PCMU), PCMU)
    write_wav(path, samples)
    return samples


def errors(said: str, heard: str) -> tuple[int, int]:
    """Words wrong, missing or too many (Levenshtein), and words said."""
    want, got = _words(said), _words(heard)
    row = list(range(len(got) + 1))
    for number, word in enumerate(want, 1):
        corner, row[0] = row[0], number
        for place, other in enumerate(got, 1):
            corner, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, corner + (word != other))
    return row[-1], len(want)


def _words(text: str) -> list[str]:
    return text.lower().replace(",", "").replace(".", "").split()
