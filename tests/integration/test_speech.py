"""Engines as they are: flite, espeak-ng where it is installed, a service, and programs that fail in every way."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from harness.audio import frequencies, read_wav, tone, tones, write_wav
from harness.load import until

from console.serve import ROOT
from media.speech import speech as speech_module
from media.speech.cache import Cache
from media.speech.engines import FLITE_VOICES, Engine, Espeak, Flite, run_program
from media.speech.errors import CacheError, EngineError, NoEngineError, SpeechError, TextError
from media.speech.service import HttpEngine
from media.speech.speaker import Speaker
from media.speech.speech import Speech

SENTENCE = "The quick brown fox jumps over the lazy dog"


def seconds(path: Path) -> float:
    """Of sound that is loud."""
    return float((np.abs(read_wav(path)) > 500).sum()) / 8000


def program(folder: Path, body: str) -> str:
    """A shell script that stands for an engine; $6 is the file that it shall write."""
    path = folder / "engine"
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(body)}\n")
    path.chmod(0o755)
    return str(path)


class Counting:
    """An engine that counts how often it was started, beside the cache, for all processes."""

    name = "counting"

    def __init__(self, folder: Path, seconds: float = 0.0) -> None:
        self.folder, self.seconds = folder, seconds

    async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
        """A tone."""
        with (self.folder / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        await asyncio.sleep(self.seconds)
        write_wav(path, tone(700, 0.5))

    @property
    def starts(self) -> list[int]:
        """The processes that started it."""
        return [int(line) for line in (self.folder / "starts").read_text().split()]


# flite and espeak-ng


@pytest.mark.parametrize("voice", [*FLITE_VOICES, ""])
def test_flite_speaks(tmp_path: Path, voice: str) -> None:
    path = asyncio.run(Speech(Cache(tmp_path), Flite(), voice).render(SENTENCE))
    assert seconds(path) > 0.5
    assert not list(tmp_path.glob("tmp/*")), "nothing is left in the workshop"
    assert not list(tmp_path.glob("*/*.lock"))


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="no espeak-ng")
def test_espeak_speaks(tmp_path: Path) -> None:
    made = Speech(Cache(tmp_path), Espeak(), "en-us")
    path = asyncio.run(made.render(SENTENCE))
    assert seconds(path) > 0.5
    # Not as phonemes, of which there are few here.
    assert seconds(asyncio.run(made.render("[[" + "hello world " * 5 + "]]"))) > 1


def test_no_text_has_phonemes_for_espeak(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    engine = Espeak(program=program(tmp_path, f'cp "$6" {kept}'))
    asyncio.run(engine.render("a [[[[b]] [c] [[", "", 8000, tmp_path / "speech.wav"))
    assert "[[" not in kept.read_text()


def test_the_wide_band_is_there_when_asked_for(tmp_path: Path) -> None:
    made = Speech(Cache(tmp_path), Flite(), "slt")
    narrow, wide = (asyncio.run(made.render(SENTENCE, rate=rate)) for rate in (8000, 16000))
    assert wide.stat().st_size == pytest.approx(2 * narrow.stat().st_size, rel=0.02)
    with pytest.raises(SpeechError, match="44100"):
        asyncio.run(made.render(SENTENCE, rate=44100))


@pytest.mark.parametrize(
    "text",
    [
        "-voice kal -o /tmp/hostile", "; touch hostile", "$(touch hostile) `touch hostile` \\\" '", "%s%n%s%n",
        "<speak>a</speak>", "a" * 1999, "1" * 400, ". a " * 400, "Zoë Müller", "| ${uuid}", "a\u202eb\x00c",
        "1e999 $5.00 1/0 0x41 192.0.2.1",
    ],
    ids=range(12),
)  # fmt: skip
def test_no_text_is_more_than_text(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert asyncio.run(Speech(Cache(tmp_path / "cache"), Flite(), "slt").render(text)).is_file()
    assert not list(tmp_path.glob("**/hostile*"))
    assert not Path("/tmp/hostile").exists()


def test_what_flite_cannot_speak_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="nothing in the text that flite can speak"):
        asyncio.run(Speech(Cache(tmp_path), Flite(), "slt").render("こんにちは"))


@pytest.mark.parametrize("voice", ["/etc/passwd", "http://example.net/a.flitevox", "nobody", "slt -o x"])
def test_a_voice_is_one_of_those_built_in(tmp_path: Path, voice: str) -> None:
    with pytest.raises(EngineError, match="has no voice"):
        asyncio.run(Speech(Cache(tmp_path), Flite()).render("a", voice=voice))
    with pytest.raises(EngineError, match="espeak-ng"):
        asyncio.run(Speech(Cache(tmp_path), Espeak()).render("a", voice=voice))


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NoEngineError, match="not-there is not installed"):
        asyncio.run(Speech(Cache(tmp_path), Flite(program="not-there")).render("a"))
    with pytest.raises(NoEngineError, match="there is no engine 'festival'; there are flite"):
        asyncio.run(Speech(Cache(tmp_path), Flite()).render("a", engine="festival"))


# Engines that fail


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("exit 3", "engine ended with status 3"),
        ("kill -9 $$", "engine was killed by SIGKILL"),
        ("kill -SEGV $$", "engine was killed by SIGSEGV"),
        ("exit 0", "flite ended well, but wrote nothing"),
        ('echo "not audio" > "$6"', "is no WAV file"),
        (': > "$6"', "is no WAV file"),
        ("sleep 60 & sleep 60", "engine took longer than 0.5 s"),
        ('exec head -c 70000000 /dev/zero > "$6"', "has more than 64000000 bytes"),
        ('exec head -c 300000000 /dev/zero > "$6"', "engine was killed by SIGXFSZ"),
    ],
)
def test_an_engine_that_fails_is_a_clear_error(tmp_path: Path, body: str, error: str) -> None:
    limit = 0.5 if "sleep" in body else 30.0
    made = Speech(Cache(tmp_path / "cache"), Flite(program=program(tmp_path, body), limit=limit))
    with pytest.raises(EngineError, match=error) as raised:
        asyncio.run(made.render("words of a caller"))
    assert "caller" not in str(raised.value)
    assert not list((tmp_path / "cache").glob("tmp/*"))
    assert not list((tmp_path / "cache").glob("*/*.wav"))
    assert not list((tmp_path / "cache").glob("*/*.lock")), "the next who asks may try again"


def test_what_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    marker = tmp_path / "pids"
    hanging = program(tmp_path, f"sleep 60 & echo $$ $! > {marker}; wait")
    with pytest.raises(EngineError, match="took longer"):
        asyncio.run(run_program([hanging], 0.5))
    for pid in marker.read_text().split():
        until(lambda pid=pid: _gone(int(pid)), f"the end of {pid}", 10)


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def test_an_engine_of_ones_own_that_raises(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
            raise RuntimeError(text)

    with pytest.raises(EngineError, match="^broken failed: RuntimeError$"):
        asyncio.run(Speech(Cache(tmp_path), Broken()).render("words of a caller"))


def test_after_a_failure_it_is_tried_again(tmp_path: Path) -> None:
    class Moody(Counting):
        async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
            await super().render(text, voice, rate, path)
            if len(self.starts) == 1:
                raise EngineError("not today")

    async def main() -> None:
        made = Speech(Cache(tmp_path / "cache"), Moody(tmp_path))
        with pytest.raises(EngineError, match="not today"):
            await made.render("a")
        assert (await made.render("a")).is_file()

    asyncio.run(main())


# Once


def test_what_is_asked_for_at_once_is_made_once(tmp_path: Path) -> None:
    engine = Counting(tmp_path, 0.2)

    async def main() -> None:
        made = Speech(Cache(tmp_path / "cache"), engine)
        paths = await asyncio.gather(*(made.render("the same", voice="a") for _ in range(50)))
        assert len(set(paths)) == 1
        await made.render("the same", voice="a")
        assert len(engine.starts) == 1
        await made.render("the same", voice="b")
        assert len(engine.starts) == 2

    asyncio.run(main())


def test_one_who_leaves_does_not_take_it_from_the_others(tmp_path: Path) -> None:
    engine = Counting(tmp_path, 0.3)

    async def main() -> None:
        made = Speech(Cache(tmp_path / "cache"), engine)
        first = asyncio.create_task(made.render("the same"))
        await asyncio.sleep(0)
        second = asyncio.create_task(made.render("the same"))
        await asyncio.sleep(0.1)
        first.cancel()
        assert (await second).is_file()
        assert len(engine.starts) == 1

    asyncio.run(main())


ASKER = """
    import asyncio, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from integration.test_speech import Counting
    from media.speech.cache import Cache
    from media.speech.speech import Speech

    async def main():
        speech = Speech(Cache(Path({folder!r}, "cache")), Counting(Path({folder!r}), {seconds}))
        print("ready", flush=True)
        sys.stdin.readline()
        print(*await asyncio.gather(*(speech.render(f"text {{n % 5}}") for n in range(20))), flush=True)

    asyncio.run(main())
"""


def asker(folder: Path, seconds: float) -> subprocess.Popen[str]:
    """A process that asks for five texts, as soon as it is told to."""
    code = textwrap.dedent(ASKER).format(tests=str(ROOT / "tests"), folder=str(folder), seconds=seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_make_it_once_among_them(tmp_path: Path) -> None:
    askers = [asker(tmp_path, 0.3) for _ in range(3)]
    for process in askers:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0] for process in askers}
    assert len(answers) == 1
    assert all(process.returncode == 0 for process in askers)
    assert len(Counting(tmp_path).starts) == 5
    assert len(set(answers.pop().split())) == 5


def test_what_a_killed_process_was_making_another_makes(tmp_path: Path) -> None:
    dying = asker(tmp_path, 60)
    assert dying.stdin
    dying.stdin.write("go\n")
    dying.stdin.flush()
    while not (tmp_path / "starts").exists():
        assert dying.poll() is None
        os.sched_yield()

    async def main() -> None:
        made = Speech(Cache(tmp_path / "cache"), Counting(tmp_path))
        waiting = asyncio.create_task(made.render("text 0"))
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done, "the other process has it"
        os.kill(dying.pid, signal.SIGKILL)
        assert (await asyncio.wait_for(waiting, 30)).is_file()

    asyncio.run(main())
    dying.wait(30)
    for pipe in (dying.stdin, dying.stdout):
        if pipe:
            pipe.close()


def test_one_that_takes_too_long_elsewhere_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_module, "LOCK_LIMIT", 0.3)
    made = Speech(Cache(tmp_path / "cache"), Counting(tmp_path))

    async def main() -> None:
        path = await made.render("a")
        path.unlink()
        held = Cache(tmp_path / "cache").lock(path.stem)
        assert held
        with pytest.raises(CacheError, match="another process"):
            await made.render("a")

    asyncio.run(main())


# A service


Answer = Callable[[bytes], bytes | None]


async def serve(answer: Answer, ask: Callable[[str], Awaitable[None]]) -> list[bytes]:
    """Answer HTTP as ``answer`` says (None: never) while ``ask`` has the address; what was asked."""
    asked: list[bytes] = []
    silent: list[asyncio.StreamWriter] = []

    async def on_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split()[1])
        asked.append(head + await reader.readexactly(length))
        if (said := answer(asked[-1])) is not None:
            writer.write(said)
            writer.close()
        else:
            silent.append(writer)

    server = await asyncio.start_server(on_client, "127.0.0.1", 0)
    try:
        host, port = server.sockets[0].getsockname()
        await ask(f"me:secret@{host}:{port}/say")
    finally:
        server.close()
        for writer in silent:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    return asked


def ok(body: bytes, head: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_a_service_speaks(tmp_path: Path) -> None:
    sound = write_wav(tmp_path / "tone.wav", tone(700, 0.5, rate=22050), rate=22050).read_bytes()

    async def ask(address: str) -> None:
        made = Speech(Cache(tmp_path / "cache"), HttpEngine(f"http://{address}?model=a"), "jenny & co")
        paths = await asyncio.gather(made.render("Grüße"), made.render("Grüße"))
        assert paths[0] == paths[1]
        assert frequencies(tones(read_wav(paths[0]))) == [700]

    asked = asyncio.run(serve(lambda _: ok(sound), ask))
    assert len(asked) == 1
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /say?model=a&rate=8000&voice=jenny%20%26%20co HTTP/1.1")
    assert b"Basic bWU6c2VjcmV0" in head
    assert body == "Grüße".encode()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answers 503"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (ok(b"<html>"), "is no WAV file"),
        (ok(b""), "is no WAV file"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "does not speak HTTP"),
        (b"", "does not speak HTTP"),
        (None, "took longer than 1 s"),
    ],
)
def test_a_service_that_fails_is_a_clear_error(tmp_path: Path, answer: bytes | None, error: str) -> None:
    async def ask(address: str) -> None:
        with pytest.raises(EngineError, match=error) as raised:
            await Speech(Cache(tmp_path), HttpEngine(f"http://{address}", limit=1.0)).render("words of a caller")
        assert "secret" not in str(raised.value)
        assert "caller" not in str(raised.value)

    asyncio.run(serve(lambda _: answer, ask))


def test_a_service_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="http://127.0.0.1:1/ is not reached"):
        asyncio.run(Speech(Cache(tmp_path), HttpEngine("http://127.0.0.1:1/")).render("a"))


def test_an_answer_without_end_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.speech.service.SIZE_LIMIT", 1000)

    async def ask(address: str) -> None:
        with pytest.raises(EngineError, match="more than 1000 bytes"):
            await Speech(Cache(tmp_path), HttpEngine(f"http://{address}")).render("a")

    asyncio.run(serve(lambda _: b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_000), ask))


# Recorded prompts


def test_recordings_are_joined_once_and_anew_when_they_change(tmp_path: Path) -> None:
    for name, pitch in (("vm-youhave", 500), ("vm-messages", 900)):
        write_wav(tmp_path / "sounds" / f"{name}.wav", tone(pitch, 0.3))

    async def main() -> None:
        engine: Engine = Counting(tmp_path)
        made = Speaker(Speech(Cache(tmp_path / "cache"), engine), tmp_path / "sounds")
        first = await made.files("vm-youhave", "vm-messages")
        assert await made.files("vm-youhave", "vm-messages") == first
        assert frequencies(tones(read_wav(Path(first[0])))) == [500, 900]
        write_wav(tmp_path / "sounds" / "vm-youhave.wav", tone(1100, 0.4))
        again = await made.files("vm-youhave", "vm-messages")
        assert frequencies(tones(read_wav(Path(again[0])))) == [1100, 900]
        assert not (tmp_path / "starts").exists(), "no engine was needed"

    asyncio.run(main())


def test_a_recording_that_cannot_be_played_is_spoken(tmp_path: Path) -> None:
    write_wav(tmp_path / "sounds" / "vm-youhave.wav", tone(500, 0.3))
    (tmp_path / "sounds" / "vm-messages.wav").write_bytes(b"ID3, in truth")
    engine: Engine = Counting(tmp_path)
    made = Speaker(Speech(Cache(tmp_path / "cache"), engine), tmp_path / "sounds")
    (file,) = asyncio.run(made.files("vm-youhave", "vm-messages"))
    assert Path(file).is_file()
    assert (tmp_path / "starts").exists()
