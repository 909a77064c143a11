"""Vosk (Kaldi) with a model that the operator brings; ``vosk:/path/of/model``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import vosk

from media.transcription.engine import Missing, Transcript, Word
from media.transcription.engines.tidy import transcript

vosk.SetLogLevel(-1)


class Vosk:
    """A model knows one language, and which one stands in its name: whatever a message asks for, it is used."""

    def __init__(self, options: str = "") -> None:
        if not options:
            raise Missing("vosk wants a model: vosk:/path/of/model; see https://alphacephei.com/vosk/models")
        if not Path(options, "am").is_dir() and not Path(options, "final.mdl").is_file():
            raise Missing("the folder of the model of vosk is not there, or is no model")
        try:
            self._model = vosk.Model(options)
        except Exception:  # it raises no other
            raise Missing("the model of vosk does not load") from None

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin an audio; Vosk resamples by itself."""
        self._language, self._live = language, live
        self._recognizer = vosk.KaldiRecognizer(self._model, rate)
        self._recognizer.SetWords(True)
        self._said: list[str] = []
        self._words: list[Word] = []

    def feed(self, pcm: bytes) -> str:
        """Take the next samples."""
        if self._recognizer.AcceptWaveform(pcm):
            self._take(json.loads(self._recognizer.Result()))
        if not self._live:
            return ""
        partial = json.loads(self._recognizer.PartialResult()).get("partial", "")
        return " ".join(filter(None, (*self._said, partial)))

    def finish(self) -> Transcript:
        """The whole."""
        self._take(json.loads(self._recognizer.FinalResult()))
        return transcript(" ".join(filter(None, self._said)), self._words, self._language)

    def _take(self, result: dict[str, Any]) -> None:
        # Without words a result is {"text": ""}.
        self._said.append(result.get("text", ""))
        for word in result.get("result", ()):
            self._words.append(Word(word["word"], word["start"], word["end"], word["conf"]))
