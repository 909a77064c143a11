"""Audio of the embedded switch: G.711, tones, files, sources and the recorder."""

from __future__ import annotations

import asyncio
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest

from devswitch.audio import g711, speech, tones, wav
from devswitch.audio.paths import AudioError, open_source
from devswitch.audio.recorder import Recorder
from devswitch.audio.sources import Pipe, Player, PlayList, Silence
from devswitch.leg import FRAME, RATE, SILENCE, Frame, Source


def sine(frequency: float, seconds: float = 1.0, rate: int = RATE, amplitude: float = 8000) -> Frame:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def drain(source: Source) -> Frame:
    frames = []
    while (frame := source.frame()) is not None:
        assert len(frame) == FRAME
        frames.append(frame)
    return np.concatenate(frames) if frames else np.zeros(0, np.int16)


# Tables 1 and 2 of G.711, on the scale of 16 bits.
@pytest.mark.parametrize(
    ("law", "code", "value"),
    [
        (g711.ULAW, 0xFF, 0),
        (g711.ULAW, 0x80, 32124),
        (g711.ULAW, 0x00, -32124),
        (g711.ULAW, 0xFE, 8),
        (g711.ULAW, 0xEF, 132),
        (g711.ALAW, 0xD5, 8),
        (g711.ALAW, 0x55, -8),
        (g711.ALAW, 0xAA, 32256),
        (g711.ALAW, 0x2A, -32256),
    ],
)
def test_known_values_of_g711(law: int, code: int, value: int) -> None:
    assert g711.decode(bytes([code]), law).tolist() == [value]
    assert g711.encode(np.array([value], np.int16), law) == bytes([code])


@pytest.mark.parametrize("law", [g711.ULAW, g711.ALAW])
def test_g711_is_near_for_every_sample(law: int) -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    decoded = g711.decode(g711.encode(samples, law), law).astype(np.int32)
    error = np.abs(decoded - samples)
    # Half a step of the segment: at most 1/32 of the value, and the clipped ends.
    assert (error <= np.maximum(np.abs(samples.astype(np.int32)) // 32 + 8, 700 * (np.abs(decoded) > 32000))).all()


def test_silence_is_the_byte_of_silence() -> None:
    for law, code in g711.SILENCE.items():
        assert g711.encode(np.zeros(FRAME, np.int16), law) == bytes([code]) * FRAME


def test_a_tone_has_its_frequencies_length_and_level() -> None:
    samples = tones.render("%(200,100,350,440)")
    assert len(samples) == 300 * 8
    tone = samples[:1600]
    assert tones.goertzel(tone, 350) > 0.45
    assert tones.goertzel(tone, 440) > 0.45
    assert tones.goertzel(tone, 600) < 0.01
    assert not samples[1600:].any()
    # -7 dB: see teletone_dds_state_set_tx_level.
    assert np.abs(tones.render("%(1000,0,500)")).max() == pytest.approx(10186, rel=0.01)


def test_assignments_hold_for_what_follows() -> None:
    assert len(tones.render("d=100;w=50;12")) == 2 * 150 * 8
    assert len(tones.render("L=3;%(100,0,440)")) == 300 * 8
    assert len(tones.render("l=2;%(100,0,440);%(100,0,440)")) == 300 * 8
    quiet, loud = tones.render("v=-20;%(100,0,440)"), tones.render("v=0;%(100,0,440)")
    assert np.abs(loud).max() == pytest.approx(10 * np.abs(quiet).max(), rel=0.02)
    fading = tones.render("v=-7;>=50;+=3;%(1000,0,440)")
    assert np.abs(fading[:400]).max() > 3 * np.abs(fading[-400:]).max()


def test_digits_have_two_tones() -> None:
    samples = tones.render("d=100;w=0;5")
    assert tones.goertzel(samples, 770) > 0.4
    assert tones.goertzel(samples, 1336) > 0.4


def test_loops_repeat_without_a_gap() -> None:
    samples, loops = tones.parse("tone_stream://%(25,0,400);loops=4")
    assert loops == 4
    whole = drain(Player(samples, loops=loops))
    assert len(whole) == 800
    assert tones.goertzel(whole, 400) > 0.99
    assert tones.parse("tone_stream://%(25,0,400);loops=-1")[1] == -1


@pytest.mark.parametrize(
    "path", ["", "%(100)", "%(100,0)", "%(a,0,440)", "%(100,0,nan)", "!", "%(9999999,0,440)", "v=1"]
)
def test_bad_tones_are_refused(path: str) -> None:
    with pytest.raises(tones.ToneError):
        tones.parse("tone_stream://" + path)


def test_goertzel_finds_nothing_in_silence() -> None:
    assert tones.goertzel(np.zeros(FRAME, np.int16), 440) == 0


def test_silence_ends_or_does_not() -> None:
    assert len(drain(Silence(50))) == 3 * FRAME
    endless = Silence(-1, 400)
    assert all(endless.frame() is not None for _ in range(1000))
    noise = drain(Silence(1000, 400))
    assert 10 < np.abs(noise).mean() < 100


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 1), (16000, 2), (11025, 1), (44100, 2)])
def test_files_of_any_rate_are_heard_as_they_are(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sine(1000, rate=rate).repeat(channels).tobytes())
    samples = asyncio.run(wav.load(path))
    assert len(samples) == pytest.approx(RATE, abs=1)
    assert tones.goertzel(samples, 1000) > 0.98


def test_what_eight_kilohertz_cannot_carry_is_left_out() -> None:
    assert np.abs(wav.resample(sine(6000, rate=16000), 16000)[200:-200]).max() < 800


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x24\0\0\0WAVEfmt ", b"no sound at all" * 10])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "broken.wav").write_bytes(content)
    with pytest.raises(AudioError, match=r"broken\.wav"):
        wav.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"none\.wav: No such file"):
        asyncio.run(open_source(str(tmp_path / "none.wav")))


def test_a_file_cut_short_plays_as_far_as_it_goes(tmp_path: Path) -> None:
    wav.write(path := tmp_path / "cut.wav", sine(440))
    path.write_bytes(path.read_bytes()[:8001])
    assert len(wav.read(path)) == (8001 - 44) // 2


def test_a_player_seeks_and_pauses() -> None:
    ramp = np.arange(1600).astype(np.int16)
    player = Player(ramp, start=320)
    frame = player.frame()
    assert frame is not None
    assert frame[0] == 320
    player.seek(-5)
    assert player.position == 0
    player.paused = True
    assert not drain_one(player).any()
    player.paused = False
    assert drain_one(player)[1] == 1
    player.seek(99999)
    assert player.frame() is None


def drain_one(source: Source) -> Frame:
    frame = source.frame()
    assert frame is not None
    return frame


@pytest.mark.parametrize(("speed", "frames"), [(-2, 20), (0, 10), (2, 7), (9, 7)])
def test_speed_changes_how_long_it_takes(speed: int, frames: int) -> None:
    player = Player(sine(400, 0.2))
    player.speed = speed
    assert len(drain(player)) == frames * FRAME


@pytest.mark.parametrize(("volume", "peak"), [(-4, 1600), (-9, 1600), (-2, 4800), (0, 8000), (1, 10400)])
def test_volume_goes_by_the_steps_of_freeswitch(volume: int, peak: int) -> None:
    player = Player(sine(400, 0.02))
    player.volume = volume
    assert np.abs(drain(player)).max() == pytest.approx(peak, abs=10)


def test_a_play_list_goes_on_and_ends(tmp_path: Path) -> None:
    wav.write(tmp_path / "a.wav", sine(440, 0.1))
    path = f"file_string://{tmp_path}/a.wav!silence_stream://100!tone_stream://%(100,0,1000)"
    heard = drain(asyncio.run(open_source(path)))
    assert len(heard) == 3 * 800
    assert tones.goertzel(heard[:800], 440) > 0.98
    assert not heard[800:1600].any()
    assert tones.goertzel(heard[1600:], 1000) > 0.98
    assert PlayList([]).frame() is None


def test_a_pipe_never_keeps_more_than_a_little() -> None:
    pipe = Pipe()
    assert not pipe.frame().any()
    for number in range(100):
        pipe.push(np.full(FRAME, number, np.int16))
    assert pipe.frame()[0] == 95


def record(path: Path, frames: list[Frame], **options: float) -> tuple[Recorder, list[str]]:
    why: list[str] = []

    async def run() -> Recorder:
        recorder = Recorder(path, on_end=why.append, **options)  # type: ignore[arg-type]
        await recorder.open()
        for frame in frames:
            recorder.frame(frame)
        await recorder.close()
        return recorder

    return asyncio.run(run()), why


def frames_of(samples: Frame) -> list[Frame]:
    return list(samples.reshape(-1, FRAME))


def test_what_is_recorded_is_what_was_heard(tmp_path: Path) -> None:
    heard = sine(440, 2.5)[: 124 * FRAME]
    recorder, why = record(tmp_path / "r.wav", frames_of(heard))
    assert not why
    assert recorder.samples == len(heard)
    assert (wav.read(tmp_path / "r.wav") == heard).all()


@pytest.mark.parametrize(("gaps", "kept"), [(True, 7), (False, 5)])
def test_frames_in_which_nothing_was_received(tmp_path: Path, gaps: bool, kept: int) -> None:
    heard = frames_of(sine(440, 4 / 50))
    quiet = np.zeros(FRAME, np.int16)
    frames = [*heard[:2], SILENCE, SILENCE, quiet, *heard[2:]]
    recorder, why = record(tmp_path / "r.wav", frames, gaps=gaps, limit=7 / 50)
    assert recorder.samples == kept * FRAME
    # Time passes in them.
    assert why == ["limit"]


@pytest.mark.parametrize(("buffered", "kept"), [(True, 50), (False, 60)])
def test_what_the_end_of_the_process_may_lose(tmp_path: Path, buffered: bool, kept: int) -> None:
    async def run() -> bytes:
        recorder = Recorder(tmp_path / "r.wav", buffered=buffered)
        await recorder.open()
        for frame in frames_of(sine(440, 64 / 50)):
            recorder.frame(frame)
        # Opening another waits for what the only thread has to write.
        other = Recorder(tmp_path / "other.wav")
        await other.open()
        written = (tmp_path / "r.wav").read_bytes()
        await other.close()
        await recorder.close()
        return written

    assert len(asyncio.run(run())) == 44 + kept * FRAME * 2


def test_recording_ends_after_silence(tmp_path: Path) -> None:
    speech_then_silence = np.concatenate([sine(440, 1.0), np.zeros(3 * RATE, np.int16)])
    recorder, why = record(tmp_path / "r.wav", frames_of(speech_then_silence), threshold=200, silence=2)
    assert (why, recorder.end) == (["silence"], "silence")
    assert len(wav.read(tmp_path / "r.wav")) == 3 * RATE


def test_sound_begins_the_count_of_silence_anew(tmp_path: Path) -> None:
    pause = np.zeros(int(1.5 * RATE), np.int16)
    _, why = record(tmp_path / "r.wav", frames_of(np.concatenate([pause, sine(440), pause])), threshold=200, silence=2)
    assert not why


def test_recording_ends_at_its_limit_even_when_paused(tmp_path: Path) -> None:
    _, why = record(tmp_path / "r.wav", frames_of(sine(440, 2.0)), limit=1)
    assert why == ["limit"]
    assert len(wav.read(tmp_path / "r.wav")) == RATE


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        record(tmp_path / "none" / "r.wav", [])


def test_a_full_disk_ends_the_recording() -> None:
    async def run() -> str:
        ended = asyncio.Event()
        recorder = Recorder(Path("/dev/full"), on_end=lambda _: ended.set())
        await recorder.open()
        for _ in range(20):
            for frame in frames_of(sine(440)):
                recorder.frame(frame)
        await asyncio.wait_for(ended.wait(), 20)
        await recorder.close()
        return recorder.end

    assert asyncio.run(run()) == "disk"


@pytest.mark.skipif(not shutil.which("flite") and not shutil.which("espeak-ng"), reason="no speech engine")
def test_speech_is_sound() -> None:
    samples = asyncio.run(speech.speak("-h one two three", engine="unknown", voice="nobody"))
    assert len(samples) > RATE // 2
    assert np.abs(samples).max() > 1000


def test_without_an_engine_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="no speech engine is installed"):
        asyncio.run(speech.speak("hello"))
