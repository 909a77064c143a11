"""What is said in a running call comes as text while it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.audio import silence, tone
from harness.phone import PATIENCE, Call
from harness.sentences import errors, spoken
from harness.switches import Switch
from harness.talk import talk

from media.session import EventConsumer, Session
from media.transcription.live import SUBCLASS, Caption, live
from model.settings import Settings

SENTENCE = "I will come by after work"
BUSY = 3 * PATIENCE
"The engine yields to everything else on the machine, so it may take its time."


def settings(folder: Path, **changed: Any) -> Settings:
    return replace(Settings.from_env({}), voicemail=folder, **changed)


def test_partial_text_comes_and_then_the_whole(switch: Switch, tmp_path: Path) -> None:
    speech = spoken(SENTENCE, tmp_path / "sentence.wav")
    heard: list[Caption] = []
    published: list[tuple[str, Mapping[str, Any]]] = []
    fired: list[dict[str, Any]] = []
    over = asyncio.Event()

    async def keep(caption: Caption) -> None:
        heard.append(caption)
        if caption.final:
            over.set()

    async def publish(kind: str, data: Mapping[str, Any]) -> None:
        published.append((kind, data))

    async def script(session: Session) -> None:
        await session.answer()
        async with EventConsumer("CUSTOM", SUBCLASS) as events:
            async with live(session, keep, publish=publish, legs=("caller",), settings=settings(tmp_path)):
                await over.wait()
            while len(fired) < len(heard):
                event = await events.pop(1, 10_000)
                assert event is not None, f"{len(fired)} of {len(heard)} captions were told to the switch"
                fired.append(json.loads(event.get_body()) | {"final": event.get_header("Transcript-Final")})
        await session.hangup()

    async def caller(call: Call) -> None:
        await call.answered()
        call.play(silence(0.5), speech, silence(90))
        await call.ended(3 * BUSY)

    talk(switch, script, caller, patience=BUSY)
    assert not heard[0].final
    final = next(caption for caption in heard if caption.final)
    wrong, words = errors(SENTENCE, final.text)
    assert wrong <= 0.3 * words, final.text
    assert final.transcript
    assert final.transcript.words[0].start > 0.3
    assert [kind for kind, _ in published] == [
        "transcript.final" if one.final else "transcript.partial" for one in heard
    ]
    assert [(one["text"], one["final"]) for one in fired] == [(one.text, str(one.final).lower()) for one in heard]
    assert not list((tmp_path / "live").iterdir())


def test_the_two_sides_are_told_apart(switch: Switch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    finals: list[Caption] = []
    both = asyncio.Event()

    async def keep(caption: Caption) -> None:
        finals.extend([caption] if caption.final else [])
        if len(finals) == 2:
            both.set()

    async def script(session: Session) -> None:
        await session.answer()
        async with live(session, keep, settings=settings(tmp_path, transcriber="harness.engines:Good:sound")):
            await session.stream_file("tone_stream://%(1000,0,1000)")
            quiet = asyncio.create_task(session.stream_file("silence_stream://60000"))
            await both.wait()
            quiet.cancel()
        await session.hangup()

    async def caller(call: Call) -> None:
        await call.answered()
        await call.hears(1000)
        call.play(silence(1.0), tone(800, 2.0), silence(30))
        await call.ended(4 * PATIENCE)

    talk(switch, script, caller)
    assert [caption.leg for caption in finals] == ["callee", "caller"]
    [heard, said] = [caption.transcript for caption in finals]
    assert heard
    assert said
    # With the quiet that ends an utterance.
    assert heard.words[0].end - heard.words[0].start == pytest.approx(1.8, abs=0.4)
    assert said.words[0].end - said.words[0].start == pytest.approx(2.8, abs=0.4)
    assert said.words[0].start > heard.words[0].start + 0.8


@pytest.mark.parametrize("engine", ["harness.engines:Dies", "harness.engines:Hangs", "harness.engines:NotThere"])
def test_an_engine_that_fails_does_not_disturb_the_call(
    switch: Switch, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.transcription.live.FINISH_LIMIT", 1.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    heard: list[Caption] = []

    async def keep(caption: Caption) -> None:
        heard.append(caption)

    async def script(session: Session) -> None:
        await session.answer()
        async with live(session, keep, settings=settings(tmp_path, transcriber=engine)):
            await session.stream_file("tone_stream://%(1000,0,1000)")
        assert session.ready()
        await session.stream_file("tone_stream://%(300,0,1500)")
        await session.hangup()

    async def caller(call: Call) -> None:
        await call.answered()
        call.play(*([silence(0.1)] * 10))
        await call.hears(1000)
        await call.hears(1500)
        await call.ended(2 * PATIENCE)

    talk(switch, script, caller)
    assert not heard
    assert not list((tmp_path / "live").iterdir())
