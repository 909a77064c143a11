"""PINs, settings and WAV headers of mailboxes."""

from __future__ import annotations

import json
import random
import re
import struct
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import serve
from media.voicemail import box as boxfile
from media.voicemail import layout, pin, wav
from media.voicemail.box import Box
from media.voicemail.errors import BadAudioError, BadBoxError, DamagedBoxError

SPEECH = b"".join(struct.pack("<h", round(9000 * ((n % 40) / 20 - 1))) for n in range(24000))  # 3 s


@pytest.mark.parametrize(
    "digits",
    [
        "",
        "12",
        "123",
        "0000",
        "1111",
        "1234",
        "4321",
        "7890",
        "0987",
        "9876543",
        "1001",
        "01001",
        "12a4",
        "٤٧١١",
        "1" * 17,
    ],
)
def test_a_pin_that_is_easy_to_guess_is_refused(digits: str) -> None:
    why = pin.weak(digits, "1001")
    assert why
    assert not digits or digits not in why


@pytest.mark.parametrize(("digits", "box"), [("2345", "+4930702345"), ("0123", "30123"), ("4711", "4711#")])
def test_so_is_the_end_of_the_number(digits: str, box: str) -> None:
    assert pin.weak(digits, box)


@pytest.mark.parametrize("digits", ["4711", "1357", "1122", "100100", "13579135791357"])
def test_others_are_taken(digits: str) -> None:
    assert not pin.weak(digits, "1001")


def test_a_pin_is_known_again() -> None:
    first, second = pin.hashed("4711"), pin.hashed("4711")
    assert first != second
    assert first.startswith("scrypt$16384$8$1$")
    assert "4711" not in first.split("$")
    assert pin.fits("4711", first)
    assert not pin.fits("4712", first)
    assert not pin.fits("", first)


@pytest.mark.parametrize(
    "stored", ["", "4711", "scrypt$$$$$", "scrypt$16384$8$1$!$!", "scrypt$99999999999$8$1$eA==$eA=="]
)
def test_nothing_fits_what_is_no_hash(stored: str) -> None:
    assert not pin.fits("4711", stored)
    assert not pin.fits("", stored)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"number": ""}, "number"),
        ({"number": ".."}, "number"),
        ({"number": "10/01"}, "number"),
        ({"number": "1" * 33}, "number"),
        ({"numbers": ("10 01",)}, "numbers[0]"),
        ({"numbers": ("1001",)}, "numbers"),
        ({"email": "anna"}, "email"),
        ({"email": "a@b\r\nBcc: c@d"}, "email"),
        ({"name": "a\nb"}, "name"),
        ({"webhook": "ftp://x"}, "webhook"),
        ({"webhook": "http://[x"}, "webhook"),
        ({"webhook": "https://x:99999/"}, "webhook"),
        ({"webhook": "https://:80/"}, "webhook"),
        ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
        ({"operator": "10 01"}, "operator"),
        ({"language": "english please"}, "language"),
        ({"phones": ("sip:1001@host", "1001")}, "phones[1]"),
        ({"phones": ("sip:1001@host>\r\n",)}, "phones[0]"),
        ({"max_seconds": 0}, "max_seconds"),
        ({"quota_messages": -1}, "quota_messages"),
        ({"greeting": "loud"}, "greeting"),
        ({"mail_audio": "ogg"}, "mail_audio"),
        ({"callback": 1}, "callback"),
        ({"pin_hash": "4711"}, "pin_hash"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, object], field: str) -> None:
    with pytest.raises(BadBoxError) as caught:
        boxfile.from_dict({"number": "1001", **changes}, "box 1001")
    assert str(caught.value).startswith(f"box 1001: {field}: ")
    assert "4711" not in str(caught.value)


def test_a_file_of_settings_is_read_as_it_was_written(tmp_path: Path) -> None:
    box = Box(number="1001", name="Änne", numbers=("+49301",), phones=("sip:1001@[::1]:5060;transport=tcp",))
    path = tmp_path / "1001" / "box.json"
    path.parent.mkdir()
    path.write_bytes(boxfile.encode(box))
    assert boxfile.read(path) == box


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "not JSON"),
        ("[]", "Expected"),
        ("\xff", "not JSON"),
        ('{"name": "x"}', "number"),
        ('{"number": "1001", "nmae": "x"}', "nmae: there is no such setting"),
        ('{"number": "1002"}', "number: '1002' is not the folder's name"),
        ('{"number": "1001", "max_seconds": "300"}', "max_seconds: Expected `int`"),
    ],
)
def test_a_file_with_a_mistake_is_named_with_its_field(tmp_path: Path, text: str, wrong: str) -> None:
    path = tmp_path / "1001" / "box.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedBoxError) as caught:
        boxfile.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert wrong in str(caught.value)


@given(st.text(max_size=40))
def test_a_number_makes_no_path_but_its_own(text: str) -> None:
    if layout.is_number(text):
        assert Path("/boxes", text).resolve() == Path("/boxes") / text
        assert ":" not in text


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_ids_sort_by_time(first: float, second: float) -> None:
    ids = [layout.new_id(first), layout.new_id(second)]
    assert all(map(layout.is_id, ids))
    if int(first) < int(second):
        assert ids == sorted(ids)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def opened(path: Path) -> tuple[int, int, bytes]:
    """Channels, rate and audio, as Python's own module reads them."""
    with wave.open(str(path)) as file:
        return file.getnchannels(), file.getframerate(), file.readframes(file.getnframes())


def test_a_file_that_is_right_is_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", wav.header(len(SPEECH)) + SPEECH)
    before = path.stat()
    shape = wav.repair(path)
    assert (shape.seconds, shape.sound) == (3.0, True)
    assert path.stat().st_ino == before.st_ino


def sizes(riff: int, data: int) -> bytes:
    head = bytearray(wav.header(0))
    head[4:8], head[40:44] = struct.pack("<I", riff), struct.pack("<I", data)
    return bytes(head)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(wav.header(0), id="never finished"),
        pytest.param(sizes(0, 0), id="no sizes"),
        pytest.param(sizes(8, 0), id="of FreeSWITCH 1.11.1, killed"),
        pytest.param(sizes(0xFFFFFFFF, 0xFFFFFFFF), id="of a stream"),
        pytest.param(sizes(36 + 8000, 8000), id="of an earlier moment"),
        pytest.param(sizes(36 + 2 * len(SPEECH), 2 * len(SPEECH)), id="cut since"),
        pytest.param(bytes(44), id="zeros after a power cut"),
        pytest.param(wav.header(0)[:12] + bytes(32), id="half of it zeros"),
        pytest.param(wav.header(0)[:36] + bytes(8), id="no data chunk"),
        pytest.param(b"RIFF" + bytes(40), id="only its first word"),
        pytest.param(b"", id="missing"),
    ],
)
def test_a_header_is_made_right(tmp_path: Path, head: bytes) -> None:
    path = written(tmp_path / "a.wav", head + SPEECH)
    assert wav.repair(path).sound
    assert opened(path) == (1, 8000, SPEECH)
    assert wav.repair(path).seconds == 3.0


def test_half_a_sample_at_the_end_goes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", wav.header(0) + SPEECH + b"\1")
    wav.repair(path)
    assert opened(path)[2] == SPEECH


def test_other_chunks_and_rates_are_understood(tmp_path: Path) -> None:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, 16000, 64000, 4, 16)
    extra = struct.pack("<4sI", b"LIST", 5) + b"abcde\0"
    head = struct.pack("<4sI4s", b"RIFF", 0, b"WAVE") + extra + form + struct.pack("<4sI", b"data", 0)
    path = written(tmp_path / "a.wav", head + SPEECH + b"\1\2\3")
    assert wav.repair(path).seconds == 0.75
    assert opened(path) == (2, 16000, SPEECH)


@pytest.mark.parametrize("size", range(0, 46))
def test_a_file_that_ends_within_its_header_holds_nothing(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "a.wav", (wav.header(0) + b"\1")[:size])
    assert wav.measure(path).seconds == 0


@pytest.mark.parametrize(
    "data",
    [
        random.Random(1).randbytes(20000),
        b"OggS\0\2" + random.Random(2).randbytes(20000),
        json.dumps({"error": "no audio at all", "why": list(range(500))}).encode(),
        wav.header(0)[:20] + struct.pack("<H", 7) + wav.header(0)[22:] + SPEECH,
    ],
)
def test_what_is_no_audio_is_refused(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path / "a.wav", data)
    with pytest.raises(BadAudioError, match=r"a\.wav"):
        wav.repair(path)
    assert path.read_bytes() == data


@given(st.binary(max_size=200), st.integers(0, 44))
def test_no_file_is_too_strange(tmp_path_factory: pytest.TempPathFactory, data: bytes, kept: int) -> None:
    path = written(tmp_path_factory.getbasetemp() / "strange.wav", wav.header(0)[:kept] + data)
    try:
        shape = wav.repair(path)
    except BadAudioError:
        return
    assert shape.seconds == 0 or wav.measure(path).sound


def test_one_after_the_other(tmp_path: Path) -> None:
    first = written(tmp_path / "a.wav", wav.header(8) + b"12345678")
    second = written(tmp_path / "b.wav", wav.header(4) + b"abcd")
    wav.joined(first, second, tmp_path / "c.wav")
    assert opened(tmp_path / "c.wav") == (1, 8000, b"12345678abcd")
    other = written(tmp_path / "d.wav", wav.header(4, rate=16000) + b"abcd")
    with pytest.raises(BadAudioError, match="differ"):
        wav.joined(first, other, tmp_path / "e.wav")


def test_the_page_names_every_setting_with_its_default() -> None:
    page = (serve.ROOT / "docs/voicemail.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| (?:`([^`]*)` )?\|", page, re.MULTILINE))
    defaults = boxfile.to_dict(Box(number="1001"))
    del defaults["number"], defaults["pin_hash"]
    said = {True: "yes", False: "no"}
    # Not by ==: 1 equals True.
    wanted = {name: said[value] if isinstance(value, bool) else str(value or "") for name, value in defaults.items()}
    assert table == wanted | dict.fromkeys(("quota_seconds", "expire_days"), "0")
