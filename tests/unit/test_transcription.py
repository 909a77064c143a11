"""Parts of transcription that need no process: audio, resampling, utterances, what is believed, the HTTP engine."""

from __future__ import annotations

import json
import re
import struct
import sys
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from console.serve import ROOT
from media.transcription.audio import blocks
from media.transcription.checking import GarbageError, checked, plain
from media.transcription.engine import REASONS, Missing, Refused, Transcript, Word
from media.transcription.engines import load, name_of
from media.transcription.engines.http import Http
from media.transcription.following import tail
from media.transcription.frames import Kind, frame, header
from media.transcription.resampling import Resampler
from media.transcription.utterances import PAUSE, Utterances

GOOD = Transcript("a b", (Word("a", 0.0, 0.5, 0.5), Word("b", 0.5, 1.0, 1.0)), 0.75, "en")


# Audio


def riff(tag: int, bits: int, channels: int, rate: int, data: bytes, *, size: int | None = None) -> bytes:
    size_of = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * size_of, size_of, bits)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"LIST\3\0\0\0abc\0"
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def read(tmp_path: Path, data: bytes) -> tuple[int, list[int]]:
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    rate, found = blocks(path)
    return rate, np.frombuffer(b"".join(found), "<i2").tolist()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_pcm_of_any_rate(tmp_path: Path, rate: int) -> None:
    assert read(tmp_path, riff(1, 16, 1, rate, struct.pack("<3h", 1, -2, 3))) == (rate, [1, -2, 3])


def test_two_channels_are_mixed(tmp_path: Path) -> None:
    assert read(tmp_path, riff(1, 16, 2, 8000, struct.pack("<4h", 100, 300, -32768, -32768)))[1] == [200, -32768]


@pytest.mark.parametrize(("tag", "quiet", "loudest"), [(7, 0xFF, (0x80, 32124)), (6, 0xD5, (0xAA, 32256))])
def test_g711(tmp_path: Path, tag: int, quiet: int, loudest: tuple[int, int]) -> None:
    [silence, loud, low] = read(tmp_path, riff(tag, 8, 1, 8000, bytes((quiet, loudest[0], loudest[0] ^ 0x80))))[1]
    assert (abs(silence), loud, low) == (8 if tag == 6 else 0, loudest[1], -loudest[1])


@pytest.mark.parametrize("size", [0, 2, 0xFFFFFFFF])
def test_the_length_in_the_header_is_not_believed(tmp_path: Path, size: int) -> None:
    assert read(tmp_path, riff(1, 16, 1, 8000, struct.pack("<3h", 1, 2, 3) + b"x", size=size))[1] == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "the file is empty"),
        (b"ID3 and so on, long enough", "not a WAV file"),
        (riff(1, 16, 1, 8000, b"")[:20], "ends before its data"),
        (riff(1, 8, 1, 8000, b"aa"), "encoding 1 with 8 bits"),
        (riff(3, 32, 1, 8000, b"aaaa"), "encoding 3 with 32 bits"),
        (riff(1, 16, 6, 8000, b"a" * 12), "6 channels"),
        (riff(1, 16, 1, 7999, b"aa"), "7999 Hz"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "without a format"),
        (b"RIFF\0\0\0\0WAVEfmt \4\0\0\0abcd" + b"data\0\0\0\0", "cut off"),
    ],
)
def test_bad_files_are_refused_by_what_is_wrong(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        read(tmp_path, data)


def test_a_growing_file_has_no_name_once_it_is_open(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    whole = riff(1, 16, 1, 8000, np.arange(4000, dtype="<i2").tobytes(), size=0)
    file = path.open("wb", buffering=0)
    looks = iter((20, 30, 40, 4001, len(whole)))
    done = 0

    def stopped(_: float) -> bool:
        nonlocal done
        until = next(looks, None)
        if until is None:
            return True
        file.write(whole[done:until])
        done = until
        return False

    rate, audio = tail(path, stopped)
    assert not path.exists()
    assert (rate, np.frombuffer(b"".join(audio), "<i2").tolist()) == (8000, list(range(4000)))
    file.close()


# Resampling


@pytest.mark.parametrize(("own", "wanted"), [(8000, 16000), (44100, 16000), (48000, 16000), (16000, 8000)])
@pytest.mark.parametrize("block", [1, 160, 100_000])
def test_a_tone_stays_a_tone(own: int, wanted: int, block: int) -> None:
    times = np.arange(own // 4 if block == 1 else own) / own
    signal = np.sin(2 * np.pi * 1000 * times).astype(np.float32)
    resampler = Resampler(own, wanted)
    parts = [resampler.feed(signal[at : at + block]) for at in range(0, len(signal), block)]
    found = np.concatenate([*parts, resampler.finish()])
    assert len(found) == pytest.approx(len(signal) * wanted / own, abs=1)
    ideal = np.sin(2 * np.pi * 1000 * np.arange(len(found)) / wanted)
    inner = slice(200, len(found) - 200)
    assert np.abs(found[inner] - ideal[inner]).max() < 0.01


def test_what_the_lower_rate_cannot_carry_does_not_come_back() -> None:
    signal = np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000).astype(np.float32)
    assert np.abs(Resampler(16000, 8000).feed(signal)[100:]).max() < 0.01


# What is believed


def test_a_transcript_comes_back() -> None:
    assert checked(json.loads(json.dumps(plain(GOOD)))) == GOOD


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"text": None}, "text: want text"),
        ({"text": "a\x1b[2J"}, "text: has characters"),
        ({"words": {}}, "words: want a list"),
        ({"words": [1]}, r"words\[0\]: want an object"),
        ({"words": [{"word": "a", "start": -1, "end": 1, "confidence": 1}]}, r"words\[0\].start"),
        ({"words": [{"word": "a", "start": True, "end": 1, "confidence": 1}]}, r"words\[0\].start: want a number"),
        ({"words": [{"word": "a" * 201, "start": 0, "end": 1, "confidence": 1}]}, r"words\[0\].word: 201 characters"),
        ({"confidence": 10**400}, "confidence"),
        ({"confidence": "1"}, "confidence"),
        ({"language": "e"}, "language"),
        ({"language": "en\n"}, "language"),
    ],
)
def test_garbage_is_named_by_its_field(change: dict[str, Any], where: str) -> None:
    with pytest.raises(GarbageError, match=where):
        checked(plain(GOOD) | change)


def test_frames() -> None:
    data = frame(Kind.DONE, b"abc")
    assert header(data[:5]) == (3, Kind.DONE)
    for bad in (b"\xff\xff\xff\xff\x01", b"\0\0\0\0\x63"):
        with pytest.raises(ValueError, match="a frame of"):
            header(bad)


def test_a_setting_names_its_engine_without_its_secrets() -> None:
    named = {setting: name_of(setting) for setting in ("pocketsphinx", "vosk:/m", "https://u:p@h/x", "a.b:C:secret")}
    assert list(named.values()) == ["pocketsphinx", "vosk", "http", "a.b:C"]


def test_the_engine_of_the_page_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "transcription.md").read_text()
    [code] = [block for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "class Shouts" in block]
    module = ModuleType("shouts")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "shouts", module)
    engine = load("shouts:Shouts:loudly")
    engine.start(8000, "en", False)
    engine.feed(b"\0\0" * 4000)
    assert engine.finish() == Transcript("AH", (Word("AH", 0.0, 0.5, 1.0),))
    for reason in REASONS:
        assert f"| `{reason}` |" in page


# Utterances


class Counts:
    def __init__(self) -> None:
        self.started = self.fed = 0

    def start(self, rate: int, language: str, live: bool) -> None:
        assert (rate, language, live) == (8000, "en", True)
        self.started += 1
        self.fed = 0

    def feed(self, pcm: bytes) -> str:
        self.fed += len(pcm) // 2
        return f"{self.started}: {self.fed // 4000}" if self.fed >= 4000 else ""

    def finish(self) -> Transcript:
        return Transcript(f"{self.started}", (Word("a", 0.1, self.fed / 8000, 1.0),))


@pytest.mark.parametrize("block", [100, 4001, 10**6])
def test_utterances_are_divided_by_pauses(block: int) -> None:
    loud, quiet = np.tile(np.array([2000, -2000], "<i2"), 4000), np.zeros(16000, "<i2")
    click = np.full(160, 9000, "<i2")
    pcm = np.concatenate((quiet, loud, quiet, click, quiet, loud, loud)).tobytes()
    utterances = Utterances(Counts(), 8000, "en")
    found = [one for at in range(0, len(pcm), block * 2) for one in utterances.feed(pcm[at : at + block * 2])]
    found += utterances.finish()
    finals = [one for one in found if isinstance(one, Transcript)]
    assert [final.text for final in finals] == ["1", "2"]
    first, second = (final.words[0] for final in finals)
    # A quarter of a second in front of it belongs to it, and the pause that ends it.
    assert first.start == pytest.approx(2.0 - 0.24 + 0.1, abs=0.03)
    assert first.end == pytest.approx(3.0 + PAUSE * 0.02, abs=0.03)
    assert second.start == pytest.approx(7.02 - 0.24 + 0.1, abs=0.03)
    partials = [one for one in found if isinstance(one, str)]
    assert len(partials) == len(set(partials)) > 0
    assert list(utterances.finish()) == []


def test_who_never_pauses_is_cut() -> None:
    loud = np.tile(np.array([2000, -2000], "<i2"), 8000 * 30).tobytes()
    finals = [one for one in Utterances(Counts(), 8000, "en").feed(loud) if isinstance(one, Transcript)]
    assert len(finals) == 3


# HTTP


@contextmanager
def service(
    status: int, answer: bytes, **headers: str
) -> Iterator[tuple[str, list[tuple[str, dict[str, str], bytes]]]]:
    """A service that gives one answer; its address, and what it was asked."""
    asked: list[tuple[str, dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, dict(self.headers), body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(url: str, language: str = "en") -> Transcript:
    engine = Http(url)
    engine.start(8000, language, False)
    assert engine.feed(b"\1\0" * 8000) == ""
    return engine.finish()


def test_the_plain_form() -> None:
    words = [{"word": "hi", "start": 0.1, "end": 0.2}]
    with service(200, json.dumps({"text": "hi", "words": words, "confidence": 0.5}).encode()) as (url, asked):
        assert ask(f"{url.replace('//', '//me:p%40ss@')}/stt?x=1", "pt-BR") == Transcript(
            "hi", (Word("hi", 0.1, 0.2, 1.0),), 0.5, "pt-BR"
        )
    [(path, headers, body)] = asked
    assert path == "/stt?x=1"
    assert (headers["Content-Type"], headers["Content-Language"]) == ("audio/wav", "pt-BR")
    assert headers["Authorization"] == "Basic bWU6cEBzcw=="
    with wave.open(BytesIO(body)) as file:
        assert (file.getframerate(), file.getnframes()) == (8000, 8000)


def test_the_form_of_openai(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame\n")
    with service(200, b'{"text": "hi", "language": "english"}') as (url, asked):
        found = ask(f"{url}/v1/audio/transcriptions#model=tiny&token={tmp_path / 'token'}", "en-US")
    assert found == Transcript("hi", (), 1.0, "en-US")
    [(path, headers, body)] = asked
    assert path == "/v1/audio/transcriptions"
    assert headers["Authorization"] == "Bearer sesame"
    assert b'name="model"\r\n\r\ntiny\r\n' in body
    assert b'name="language"\r\n\r\nen\r\n' in body
    assert b"RIFF" in body


@pytest.mark.parametrize(
    ("status", "answer", "error"),
    [
        (401, b"", Refused),
        (302, b"", Refused),
        (503, b"", Missing),
        (429, b"", Missing),
        (200, b"<html>", GarbageError),
        (200, b"[1]", GarbageError),
        (200, b'{"words": [1]}', GarbageError),
        (200, b'{"text": 1}', GarbageError),
        (200, b"[" * 100_000, GarbageError),
    ],
)
def test_a_service_that_does_not_do_it(status: int, answer: bytes, error: type[Exception]) -> None:
    with service(status, answer, Location="http://127.0.0.1:1/") as (url, _), pytest.raises(error):
        ask(f"{url}/stt")


def test_a_service_that_is_not_there_or_silent() -> None:
    with service(200, b"") as (url, _):
        pass
    with pytest.raises(Missing, match="ConnectionRefusedError"):
        ask(url)


@pytest.mark.parametrize("url", ["http://h/#tokn=/x", "http://h/#seconds=0", "http:///x"])
def test_an_address_that_is_wrong(url: str) -> None:
    with pytest.raises(Refused):
        load(url)


# Adapters, by stand-ins that have the interface of vosk 0.3.45 and faster-whisper 1.2.1


class Recognizer:
    def __init__(self, model: object, rate: int) -> None:
        self.rate, self.fed = rate, 0

    def SetWords(self, on: bool) -> None:
        assert on

    def AcceptWaveform(self, pcm: bytes) -> int:
        self.fed += 1
        return int(self.fed == 2)

    def Result(self) -> str:
        return json.dumps(
            {"text": "hello there", "result": [
                {"word": "hello", "start": 0.1, "end": 0.5, "conf": 0.9},
                {"word": "there", "start": 0.5, "end": 0.8, "conf": 1.000001},
            ]}
        )  # fmt: skip

    def PartialResult(self) -> str:
        return json.dumps({"partial": "hel" if self.fed == 1 else ""})

    def FinalResult(self) -> str:
        return '{"text": ""}'


def test_vosk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("vosk")
    module.SetLogLevel, module.Model, module.KaldiRecognizer = lambda _: None, lambda path: path, Recognizer
    monkeypatch.setitem(sys.modules, "vosk", module)
    monkeypatch.delitem(sys.modules, "media.transcription.engines.vosk", raising=False)
    with pytest.raises(Missing):
        load("vosk")
    with pytest.raises(Missing):
        load(f"vosk:{tmp_path}")
    (tmp_path / "am").mkdir()
    engine = load(f"vosk:{tmp_path}")
    for _ in range(2):
        engine.start(8000, "en", True)
        assert [engine.feed(b"\0\0") for _ in range(2)] == ["hel", "hello there"]
        assert engine.finish() == Transcript(
            "hello there", (Word("hello", 0.1, 0.5, 0.9), Word("there", 0.5, 0.8, 1.0)), 0.95, "en"
        )
    monkeypatch.delitem(sys.modules, "media.transcription.engines.vosk")


class Whisper:
    supported_languages = ("en", "de")

    def __init__(self, model: str, device: str, compute_type: str, cpu_threads: int) -> None:
        if model == "nowhere":
            raise RuntimeError("Unable to open file")

    def transcribe(self, audio: Any, **options: Any) -> tuple[Any, Any]:
        assert audio.dtype == np.float32
        words = [
            SimpleNamespace(word=" Hello", start=np.float64(0.1), end=np.float64(0.5), probability=np.float64(0.9)),
            SimpleNamespace(word=" there.", start=np.float64(0.05), end=np.float64(0.8), probability=np.float64(0.7)),
        ]
        segment = SimpleNamespace(
            text=" Hello there.", avg_logprob=-0.5, words=words if options["word_timestamps"] else None
        )
        return iter([segment] if len(audio) else []), None


def test_faster_whisper(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("faster_whisper")
    module.WhisperModel = Whisper
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    monkeypatch.delitem(sys.modules, "media.transcription.engines.faster_whisper", raising=False)
    for missing in ("faster-whisper", "faster-whisper:nowhere"):
        with pytest.raises(Missing):
            load(missing)
    engine = load("faster-whisper:small")
    with pytest.raises(Refused):
        engine.start(8000, "xx", False)
    engine.start(8000, "en-US", True)
    assert [engine.feed(b"\0\0" * 16000) for _ in range(2)] == ["", "Hello there."]
    found = engine.finish()
    assert (found.text, found.language) == ("Hello there.", "en")
    assert [(word.word, word.start) for word in found.words] == [("Hello", 0.1), ("there.", 0.1)]
    assert checked(json.loads(json.dumps(plain(found)))) == found
    monkeypatch.delitem(sys.modules, "media.transcription.engines.faster_whisper")
