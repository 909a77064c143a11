"""The cache, the catalogue, engines by name, and texts, each alone."""

from __future__ import annotations

import os
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from harness.audio import frequencies, silence, tone, tones, write_wav
from hypothesis import given
from hypothesis import strategies as st

from media.speech import wav
from media.speech.cache import Cache, key
from media.speech.engines import Espeak, Flite, make_engine
from media.speech.errors import CacheError, EngineError, NoEngineError, TextError, UnknownPromptError
from media.speech.prompts import BEEP, CATALOGUE, Sounds, recording_names, text
from media.speech.service import HttpEngine
from media.speech.speaker import Text as Words
from media.speech.speaker import _flat, _lines, _runs
from media.speech.speech import TEXT_LIMIT, clean

# Texts


@pytest.mark.parametrize(
    ("given", "cleaned"),
    [
        ("a" * 130, f"{'a' * 60} {'a' * 60} {'a' * 10}"),
        ("  two\n words\t", "two words"),
        ("a\x00b\x1b[0m", "a b [0m"),
        ("e\u0301", "é"),
        ("a\u200bb", "a b"),
        ("x\ud800", "x"),
    ],
)
def test_a_text_is_one_clean_line(given: str, cleaned: str) -> None:
    assert clean(given) == cleaned


@pytest.mark.parametrize("given", ["", " \n", "\x00", "...", "-", "a" * (TEXT_LIMIT + 1)])
def test_what_cannot_be_spoken_is_refused(given: str) -> None:
    with pytest.raises(TextError):
        clean(given)


@given(st.text(max_size=200))
def test_no_text_gets_through_with_a_control_character(given: str) -> None:
    try:
        line = clean(given)
    except TextError:
        return
    assert line.isprintable() or all(char.isprintable() or char.isspace() for char in line)
    assert line == clean(line)
    line.encode()


# Keys and the cache


def test_what_differs_has_another_key() -> None:
    keys = {
        key("flite", "slt", 8000, "one"), key("flite", "rms", 8000, "one"), key("espeak-ng", "slt", 8000, "one"),
        key("flite", "slt", 16000, "one"), key("flite", "slt", 8000, "two"), key("flites", "lt", 8000, "one"),
        key("flite", "slt8", 0, "one"),
    }  # fmt: skip
    assert len(keys) == 7


def test_a_key_stays_what_it_was() -> None:
    # Else an upgrade would speak everything anew.
    assert key("flite", "slt", 8000, "Goodbye.") == "ff6eadbd1a168a0e99c55928829cd56127ed7907c5163dd1eef2ef02f35dafb0"


def put(cache: Cache, name: str, seconds: float, *, used: float = 0.0) -> Path:
    """A speech in the cache, last asked for so many seconds ago."""
    lock = cache.lock(name)
    assert lock
    shop = cache.workshop()
    path = cache.bring_in(write_wav(shop / "speech.wav", tone(500, seconds)), name, 8000)
    lock.release()
    os.utime(path, (time.time() - used,) * 2)
    return path


def test_what_is_there_is_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    name = key("flite", "slt", 8000, "one")
    assert cache.find(name) is None
    assert cache.find(name) is None
    path = put(cache, name, 0.5)
    assert Cache(tmp_path).find(name) == path


@pytest.mark.parametrize("length", [0, 10, 44, 1000])
def test_a_file_that_was_cut_off_is_not_found(tmp_path: Path, length: int) -> None:
    cache = Cache(tmp_path)
    path = put(cache, "ab" * 32, 0.5)
    os.truncate(path, length)
    assert cache.find("ab" * 32) is None


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path, size=40_000, keep=100)
    old, older, new = (put(cache, letter * 64, 1.0, used=used) for letter, used in (("a", 500), ("b", 900), ("c", 0)))
    cache.workshop()
    assert [path.exists() for path in (old, older, new)] == [True, False, True]


def test_what_was_asked_for_just_now_stays_and_nothing_more_is_made(tmp_path: Path) -> None:
    cache = Cache(tmp_path, size=10_000, keep=100)
    path = put(cache, "a" * 64, 1.0, used=500)
    assert cache.find("a" * 64)  # about to be played
    cache = Cache(tmp_path, size=10_000, keep=100)
    cache.workshop()
    assert path.exists()
    for letter in "bc":
        lock = Cache(tmp_path).lock(letter * 64)
        assert lock
        Cache(tmp_path).bring_in(write_wav(tmp_path / "speech.wav", tone(500, 1.0)), letter * 64, 8000)
    with pytest.raises(CacheError, match="full"):
        Cache(tmp_path, size=10_000, keep=100).workshop()


def test_what_is_asked_for_while_it_is_chosen_to_go_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    path = put(cache, "a" * 64, 1.0, used=5000)
    chosen = path.stat().st_mtime
    assert cache.find("a" * 64) == path
    assert not cache._remove(path, chosen)
    assert path.exists()
    assert cache._remove(path, path.stat().st_mtime)
    assert not path.exists()
    assert cache._remove(path, chosen), "another process was faster"
    assert not list(tmp_path.glob("tmp/*.*"))


def test_what_a_dead_process_left_goes(tmp_path: Path) -> None:
    shop = Cache(tmp_path).workshop()
    (shop / "speech.wav").write_text("half")
    going = tmp_path / "tmp" / "aa.123"
    going.write_text("")
    for path in (shop, going):
        os.utime(path, (time.time() - 4000,) * 2)
    Cache(tmp_path).workshop()
    assert not shop.exists()
    assert not going.exists()


def test_one_makes_it_and_others_wait(tmp_path: Path) -> None:
    first = Cache(tmp_path).lock("a" * 64)
    assert first
    assert Cache(tmp_path).lock("a" * 64) is None
    assert Cache(tmp_path).lock("b" * 64) is not None
    first.release()
    again = Cache(tmp_path).lock("a" * 64)
    assert again
    again.release()
    assert not list(tmp_path.glob("aa/*.lock"))


def test_a_directory_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no ! or @"):
        Cache(tmp_path / "a!b")
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot be written"):
        Cache(tmp_path / "file" / "cache").lock("a" * 64)
    with pytest.raises(CacheError, match="cannot be written"):
        Cache(tmp_path / "file").workshop()


# WAV


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000])
def test_any_rate_becomes_ours(tmp_path: Path, rate: int) -> None:
    source = write_wav(
        tmp_path / "in.wav", silence(1, rate=rate), tone(700, 0.5, rate=rate), silence(1, rate=rate), rate=rate
    )
    wav.convert(source, tmp_path / "out.wav", 8000)
    samples, made = wav.read(tmp_path / "out.wav")
    assert made == 8000
    assert frequencies(tones(samples)) == [700]
    assert len(samples) / 8000 == pytest.approx(0.6, abs=0.02)
    assert np.abs(samples).max() == pytest.approx(8000, rel=0.02)


def test_what_8_khz_cannot_carry_does_not_come_back(tmp_path: Path) -> None:
    for rate in (16000, 22050, 48000):
        made = wav.resampled(tone(5500, 0.5, rate=rate), rate, 8000)
        assert np.abs(made[400:-400]).max() < 100


def test_a_very_short_sound_keeps_its_length() -> None:
    for rate in (16000, 22050):
        assert len(wav.resampled(tone(500, 0.002, rate=rate), rate, 8000)) in (15, 16)


def test_two_channels_become_one(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.repeat(tone(700, 0.5), 2).astype("<i2").tobytes())
    samples, _ = wav.read(tmp_path / "in.wav")
    assert len(samples) == 4000


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"<html>", b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + b"\xff" * 40, bytes(100)]
)
def test_what_is_no_wav_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in.wav").write_bytes(data)
    with pytest.raises(EngineError):
        wav.read(tmp_path / "in.wav")


def test_other_widths_are_refused(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(100))
    with pytest.raises(EngineError, match="8 bits"):
        wav.read(tmp_path / "in.wav")


# Engines


def test_engines_by_name() -> None:
    for spec, kind, voice in (
        ("flite", Flite, ""), ("flite:rms", Flite, "rms"), ("espeak-ng:de+f3", Espeak, "de+f3"),
        ("http://tts:5000/say?model=a", HttpEngine, ""),
    ):  # fmt: skip
        engine, found = make_engine(spec)
        assert isinstance(engine, kind)
        assert found == voice


@pytest.mark.parametrize(
    "spec",
    ["", "festival", "festival:slt", "json:dumps", "nowhere.at_all:Engine", "http://", "http://host:port", "os:getcwd"],
)
def test_what_is_no_engine_is_refused(spec: str) -> None:
    with pytest.raises(NoEngineError):
        make_engine(spec)


def test_no_secret_of_a_url_is_shown() -> None:
    engine, _ = make_engine("https://me:secret@tts.example:8443/v1/say?key=hidden")
    assert engine.name == "https://tts.example:8443/v1/say"


# Prompts


def test_every_prompt_has_words_but_the_beep() -> None:
    assert [name for name, words in CATALOGUE.items() if not words] == ["beep"]
    assert all(clean(words) == words for words in CATALOGUE.values() if words)


def test_no_text_for_what_is_not_there() -> None:
    with pytest.raises(UnknownPromptError, match="'vm-godbye'"):
        text("vm-godbye")


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("digits/5", ()), ("digits/mon-0", ("time/mon-0",)), ("digits/a-m", ("time/a-m",)),
        ("letters/a", ("ascii/97",)),
        ("phonetic/a_p", ("phonetic-ascii/97",)), ("letters/ascii44", ("ascii/44",)), ("hours", ("time/hours",)),
        ("currency/dollars", ("digits/dollars",)), ("vm-youhave", ("voicemail/vm-you_have",)),
    ],
)  # fmt: skip
def test_recordings_have_the_names_of_both(name: str, others: tuple[str, ...]) -> None:
    assert recording_names(name) == (name, *others)


@pytest.mark.parametrize(
    "place", ["vm-youhave.wav", "en/vm-youhave.wav", "en_US_f_Allison/vm-youhave.wav", "voicemail/8000/vm-you_have.wav",
              "en/us/callie/voicemail/16000/vm-you_have.wav"]
)  # fmt: skip
def test_recordings_are_found_where_packages_put_them(tmp_path: Path, place: str) -> None:
    path = write_wav(tmp_path / place, tone(500, 0.1))
    sounds = Sounds(tmp_path)
    assert sounds.find("vm-youhave") == path
    assert sounds.all(["vm-youhave"]) == [path]
    assert sounds.all(["vm-youhave", "vm-goodbye"]) is None
    assert Sounds(None).find("vm-youhave") is None
    # Taken away while calls are spoken to.
    path.unlink()
    assert sounds.all(["vm-youhave"]) is None


# What is played


def test_what_stands_in_a_row_is_one() -> None:
    parts = [
        "vm-youhave",
        ("digits/3", ("vm-messages",)),
        Path("/a.wav"),
        Words("free"),
        "beep",
        "silence_stream://9",
        "vm-and",
    ]
    assert list(_runs(_flat(parts))) == [
        ["vm-youhave", "digits/3", "vm-messages"], Path("/a.wav"), [Words("free")], ["beep"], "silence_stream://9",
        ["vm-and"],
    ]  # fmt: skip


def test_many_files_are_one_playback_where_that_can_be() -> None:
    assert list(_lines(["/a.wav"])) == ["/a.wav"]
    assert list(_lines(["/a.wav", BEEP])) == [f"file_string:///a.wav!{BEEP}"]
    assert list(_lines(["/a!b.wav", "/c.wav"])) == ["/a!b.wav", "/c.wav"]
    assert len(list(_lines(["/a.wav"] * 250))) == 3
    assert list(_lines([])) == []
