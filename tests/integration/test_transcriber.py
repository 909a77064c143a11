"""Engines in their process: what they understand, what they may take, and what becomes of those that go wrong.

STROWGER_TEST_MESSAGES is how many one process writes down.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from harness.audio import silence, tone, write_wav
from harness.engines import GARBAGE
from harness.sentences import SENTENCES, errors, spoken

from console.serve import ROOT
from media.transcription.engine import Transcript, TranscriptionError
from media.transcription.frames import Kind
from media.transcription.process import Child, Limits
from media.transcription.transcriber import Transcriber

ENGINES = "harness.engines"
MEGABYTES = 400
MESSAGES = int(os.environ.get("STROWGER_TEST_MESSAGES", "14"))
"Of one process. Each takes half a second of a processor, of which an engine gets what others leave."
WARM = 8
"Messages after which it has all the memory that it needs."
KEPT = 48
"Kilobytes that it may keep for each of those after them."


@pytest.fixture(autouse=True)
def _own_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "tone.wav", tone(440, 1.0))


def with_one(engine: str, use: Callable[[Transcriber], Awaitable[None]], seconds: int = 60) -> None:
    """``use`` with a transcriber, which is closed then."""

    async def run() -> None:
        transcriber = Transcriber(engine, seconds=seconds, megabytes=MEGABYTES)
        try:
            await use(transcriber)
        finally:
            await transcriber.aclose()

    asyncio.run(run())


def failure(engine: str, audio: Path, seconds: int = 60) -> TranscriptionError:
    """What its one transcription raises."""
    failures: list[TranscriptionError] = []

    async def use(transcriber: Transcriber) -> None:
        with pytest.raises(TranscriptionError) as raised:
            await transcriber.transcribe(audio)
        failures.append(raised.value)

    with_one(engine, use, seconds)
    return failures[0]


def resident(pid: int) -> int:
    """Kilobytes of memory that a process has."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(20):
        while alive(pid):
            await asyncio.sleep(0.02)


# What it understands


@pytest.mark.timeout(900)
def test_a_clear_voice_on_the_telephone_is_understood(tmp_path: Path) -> None:
    wrong = words = 0

    async def use(transcriber: Transcriber) -> None:
        nonlocal wrong, words
        # All of them, and more voices, are the benchmark's: bench/transcription.py.
        for number, sentence in enumerate(SENTENCES[::4]):
            path = tmp_path / f"{number}.wav"
            spoken(sentence, path, "rms")
            found = await transcriber.transcribe(path)
            bad, all_of = errors(sentence, found.text)
            wrong, words = wrong + bad, words + all_of
            assert " ".join(word.word for word in found.words) == found.text
            assert 0 < found.confidence <= 1

    with_one("pocketsphinx", use, 600)
    assert wrong / words <= 0.15, f"{wrong} of {words} words"


def test_silence_has_no_words_and_the_same_audio_the_same(tmp_path: Path) -> None:
    quiet, said = tmp_path / "quiet.wav", tmp_path / "said.wav"
    write_wav(quiet, silence(2.0))
    empty = write_wav(tmp_path / "empty.wav", silence(0.0))
    spoken("Please call me back tonight", said)
    found: list[Transcript] = []

    async def use(transcriber: Transcriber) -> None:
        for path in (said, quiet, empty, said):
            found.append(await transcriber.transcribe(path))

    with_one("pocketsphinx", use, 600)
    assert found[1].text == found[2].text == ""
    assert found[0] == found[3]


def test_it_knows_english_only(audio: Path) -> None:
    async def use(transcriber: Transcriber) -> None:
        with pytest.raises(TranscriptionError, match=r"^refused: pocketsphinx knows English only$"):
            await transcriber.transcribe(audio, "de")

    with_one("pocketsphinx", use)


# What goes wrong


def test_an_engine_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path, audio: Path) -> None:
    note = tmp_path / "pid"
    error = failure(f"{ENGINES}:Leaves:{note}", audio, 5)
    assert error.reason == "timeout"
    asyncio.run(gone(int(note.read_text())))


@pytest.mark.timeout(60)
def test_what_left_an_engine_and_holds_its_pipes_holds_up_nobody(tmp_path: Path, audio: Path) -> None:
    note = tmp_path / "pid"
    try:
        assert failure(f"{ENGINES}:Escapes:{note}", audio, 5).reason == "timeout"
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


@pytest.mark.timeout(60)
def test_what_nobody_reads_holds_up_no_end(audio: Path) -> None:
    async def run() -> None:
        child = await Child.start(f"{ENGINES}:Pours", Limits(seconds=60, megabytes=MEGABYTES))
        await child.tell(Kind.FILE, path=str(audio), language="en")
        # As where it is cancelled in the midst of a long frame: by now asyncio has stopped to read.
        while not child._from._paused:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            await child.kill()

    asyncio.run(run())


def test_an_engine_that_only_computes_is_killed(audio: Path) -> None:
    assert failure(f"{ENGINES}:Spins", audio, 3).reason == "timeout"


@pytest.mark.parametrize(("how", "told"), [("kill", "SIGKILL"), ("segv", "SIGSEGV"), ("exit", "status 7")])
def test_an_engine_that_dies(audio: Path, how: str, told: str) -> None:
    error = failure(f"{ENGINES}:Dies:{how}", audio)
    assert (error.reason, told in error.detail) == ("crash", True)


def test_what_an_engine_raises_is_named_and_not_quoted(audio: Path) -> None:
    error = failure(f"{ENGINES}:Raises", audio)
    assert error.reason == "crash"
    assert "RuntimeError in engines.py, line" in error.detail
    assert "private" not in error.detail


def test_an_engine_that_wants_too_much_memory(audio: Path) -> None:
    assert failure(f"{ENGINES}:Eats", audio).reason == "memory"


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_is_refused(audio: Path, kind: str) -> None:
    error = failure(f"{ENGINES}:Garbage:{kind}", audio)
    assert error.reason == "garbage"
    assert error.detail


def test_bytes_among_the_answers_are_garbage(audio: Path) -> None:
    assert failure(f"{ENGINES}:WrongFrames", audio).reason == "garbage"


def test_what_an_engine_prints_goes_nowhere(audio: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def use(transcriber: Transcriber) -> None:
        assert (await transcriber.transcribe(audio)).text == "heard"

    with_one(f"{ENGINES}:Floods:heard", use)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("engine", ["nobody", "nobody:Class", f"{ENGINES}:Nobody", "vosk", "vosk:/nowhere"])
def test_an_engine_that_is_not_there(audio: Path, engine: str) -> None:
    assert failure(engine, audio).reason == "missing"


def test_files_that_are_not_there_or_no_audio(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio at all")
    (tmp_path / "none.wav").write_bytes(b"")
    found = {name: failure(f"{ENGINES}:Good:a", tmp_path / name) for name in ("text.wav", "none.wav", "nowhere.wav")}
    assert [error.reason for error in found.values()] == ["refused", "refused", "missing"]
    assert found["text.wav"].detail == "not a WAV file"
    assert found["none.wav"].detail == "the file is empty"


def test_after_a_failure_the_next_has_a_new_process(tmp_path: Path, audio: Path) -> None:
    async def use(transcriber: Transcriber) -> None:
        first = await transcriber.transcribe(audio)
        assert (await transcriber.transcribe(audio)).text == first.text
        pid, nice = map(int, first.text.split())
        assert nice >= 10
        with pytest.raises(TranscriptionError):
            await transcriber.transcribe(tmp_path / "nowhere.wav")
        assert not alive(pid)
        second = await transcriber.transcribe(audio)
        assert second.text != first.text
        os.kill(int(second.text.split()[0]), signal.SIGKILL)
        await gone(int(second.text.split()[0]))
        assert (await transcriber.transcribe(audio)).text != second.text

    with_one(f"{ENGINES}:Pid", use)


def test_cancelled_it_leaves_nothing(tmp_path: Path, audio: Path) -> None:
    note = tmp_path / "pid"

    async def use(transcriber: Transcriber) -> None:
        task = asyncio.create_task(transcriber.transcribe(audio))
        async with asyncio.timeout(30):
            while not (note.exists() and note.read_text()):
                await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone(int(note.read_text()))

    with_one(f"{ENGINES}:Leaves:{note}", use)


def test_the_process_dies_with_its_parent(audio: Path) -> None:
    code = (
        "import asyncio, sys, pathlib, time\n"
        "from media.transcription.transcriber import Transcriber\n"
        "async def run():\n"
        f"    found = await Transcriber('{ENGINES}:Pid').transcribe(pathlib.Path(sys.argv[1]))\n"
        "    print(found.text.split()[0], flush=True)\n"
        "    time.sleep(3600)\n"
        "asyncio.run(run())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    parent = subprocess.Popen([sys.executable, "-c", code, str(audio)], stdout=subprocess.PIPE, env=environment)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    asyncio.run(gone(pid))


def test_the_loop_runs_on_meanwhile(audio: Path) -> None:
    async def use(transcriber: Transcriber) -> None:
        ticks = 0
        task = asyncio.create_task(transcriber.transcribe(audio))
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks > 50
        with pytest.raises(TranscriptionError):
            await task

    with_one(f"{ENGINES}:Hangs", use, 3)


@pytest.mark.timeout(900)
def test_many_messages_by_one_process(tmp_path: Path) -> None:
    path = tmp_path / "said.wav"
    spoken("Yes", path)
    sizes: list[int] = []

    async def use(transcriber: Transcriber) -> None:
        texts = set()
        for _ in range(MESSAGES):
            texts.add((await transcriber.transcribe(path)).text)
            assert transcriber.pid
            sizes.append(resident(transcriber.pid))
        assert len(texts) == 1

    with_one("pocketsphinx", use, 600)
    kept = (sizes[-1] - sizes[WARM - 1]) / (MESSAGES - WARM)
    assert kept <= KEPT, f"kilobytes after each message: {sizes}"


def test_two_at_once_wait_for_each_other(audio: Path) -> None:
    async def use(transcriber: Transcriber) -> None:
        found = await asyncio.gather(*(transcriber.transcribe(audio) for _ in range(5)))
        assert len({one.text for one in found}) == 1

    with_one(f"{ENGINES}:Pid", use)
