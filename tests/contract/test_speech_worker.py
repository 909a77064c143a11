"""Speech of a media worker that is a process of its own: its settings, and phrases that are edited while it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.audio import silence, tone, write_wav
from harness.media_worker import MediaWorker, handed_over, write
from harness.phone import Call, Phone
from harness.speech import found_in, through_g711
from harness.switches import Switch
from harness.talk import with_phone

from media.speech.cache import key

SCRIPT = """
    from pathlib import Path

    from media.script import script
    from media.session import load_phrases
    from media.speech import speaker
    from media.speech.speaker import Text

    PHRASES = load_phrases(Path(__file__).with_name("phrases.yaml"))

    @script("told")
    async def told(session, args):
        await session.answer()
        await PHRASES.play(session, "told", args)

    @script("speaks")
    async def speaks(session):
        await session.answer()
        session.set_tts_params("flite", "slt")
        await session.speak("one two three four five")
        await speaker.current().play(session, Text("six seven eight"))
"""
PHRASES = 'phrases: {told: [{match: "^a$", do: [{play: %s}]}, {do: [{play: vm-goodbye}]}]}\n'


@pytest.fixture
def worker(switch: Switch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MediaWorker:
    """With three recorded prompts."""
    for name, pitch in (("vm-youhave", 500), ("vm-messages", 900), ("vm-goodbye", 1300)):
        write_wav(tmp_path / "sounds" / f"{name}.wav", tone(pitch, 0.3), silence(0.1))
    monkeypatch.setenv("STROWGER_SOUNDS", str(tmp_path / "sounds"))
    monkeypatch.setenv("STROWGER_SPEECH_ENGINE", "flite:slt")
    scripts = write(tmp_path / "scripts", {"told.py": SCRIPT, "phrases.yaml": PHRASES % "vm-youhave"})
    return MediaWorker(tmp_path / "worker", switch, scripts)


def test_an_edited_phrase_is_the_next_calls_and_a_broken_one_is_refused(
    switch: Switch, tmp_path: Path, worker: MediaWorker
) -> None:
    async def scenario(phone: Phone) -> None:
        async def heard(args: str) -> list[int]:
            call = phone.call("5000", headers=dict(handed_over("told", args)))
            return await call.heard_until_end()

        assert await heard("a") == [500]
        assert await heard("b") == [1300]
        write(tmp_path / "scripts", {"phrases.yaml": PHRASES % "vm-messages"})
        assert await heard("a") == [900]
        write(tmp_path / "scripts", {"phrases.yaml": "phrases:\n  told:\n    - do: [{plays: a}]\n"})
        assert await heard("a") == [900]

    with worker:
        with_phone(switch, scenario)
        (why,) = worker.status()["refused"].values()
        assert "phrases.yaml:3: phrases.told[0].do[0].plays" in why


def test_a_workers_speech_is_heard(switch: Switch, tmp_path: Path, worker: MediaWorker) -> None:
    calls: list[Call] = []

    async def scenario(phone: Phone) -> None:
        calls.append(phone.call("5000", headers=dict(handed_over("speaks"))))
        await calls[0].ended()

    with worker:
        with_phone(switch, scenario)
    for text in ("one two three four five", "six seven eight"):
        name = key("flite", "slt", 8000, text)
        _, equal = found_in(calls[0].ear.sent, through_g711(tmp_path / "worker" / "speech" / name[:2] / f"{name}.wav"))
        assert equal >= 0.999
