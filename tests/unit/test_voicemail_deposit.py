"""Leaving a message: which box, which greeting, and what of a recording counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from harness.audio import Samples, silence, tone, write_wav

from media.esl.message import Event, Headers
from media.session import Session
from media.session.recording import Recorded
from media.speech.speaker import Text
from media.voicemail.destination import Visit, arguments, visit
from media.voicemail.draft import Draft, is_silent
from media.voicemail.greeting import words
from media.voicemail.layout import GreetingKind
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import Box, Store
from model.handover import Handover

CHANNEL = {
    "Unique-ID": "u1",
    "Caller-Caller-ID-Number": "2001",
    "Caller-Caller-ID-Name": "Ann",
    "Caller-Destination-Number": "1001",
}


def called(handover: Handover | None = None, args: str = "", **channel: str) -> Visit:
    session = Session(None, Event(Headers.of({**CHANNEL, **channel})))
    session.handover, session.script_args = handover, args
    return visit(session)


def test_whom_a_call_is_for() -> None:
    diverted = Handover(call="c1", app="voicemail", caller="+4420", callee="1001", diverted="1002", reason="busy")
    assert called(diverted).boxes == ("1002", "1001")
    assert called(diverted, "box=1003").boxes == ("1003",)
    assert called(Handover(call="c1", app="voicemail", callee="1001")).boxes == ("1001",)
    assert called().boxes == ("1001",)
    assert called(Handover(call="c1", app="voicemail")).boxes == ()


def test_what_is_known_of_the_caller() -> None:
    handover = Handover(call="c1", app="voicemail", caller="+4420", callee="1001", reason="no-answer")
    known = {"caller_name": "Ann", "callee": "1001"}
    assert called(handover) == Visit(boxes=("1001",), caller="+4420", reason="no-answer", call="c1", **known)
    assert called() == Visit(boxes=("1001",), caller="2001", reason="direct", call="u1", **known)


def test_a_caller_who_does_not_want_to_be_known() -> None:
    hidden = called(Handover(call="c1", app="v", caller="2001"), **{"Caller-Privacy-Hide-Number": "true"})
    assert (hidden.caller, hidden.caller_name) == ("", "")
    assert called(Handover(call="c1", app="v", caller="Anonymous")).caller == ""
    assert called(**{"Caller-Caller-ID-Name": "2001"}).caller_name == ""


@pytest.mark.parametrize("text", ["1001", "box", "box=", "bax=1001", "box=1001 quick"])
def test_arguments_that_cannot_be(text: str) -> None:
    with pytest.raises(ValueError, match="arguments of voicemail: want box="):
        arguments(text)


@pytest.mark.parametrize("text", ["box=1001", "box=1001;", "  box=1001 "])
def test_arguments(text: str) -> None:
    assert arguments(text) == {"box": "1001"}


ALL: tuple[GreetingKind, ...] = ("unavailable", "busy", "temporary", "name")
UNAVAILABLE, BUSY, TEMPORARY, NAME = (Path(f"/{kind}.wav") for kind in ALL)


@pytest.mark.parametrize(
    ("settings", "reason", "recorded", "said"),
    [
        ({}, "busy", ALL, (TEMPORARY,)),
        ({}, "busy", ("unavailable", "busy", "name"), (BUSY,)),
        ({}, "busy", ("unavailable", "name"), (UNAVAILABLE,)),
        ({}, "no-answer", ("unavailable", "busy", "name"), (UNAVAILABLE,)),
        ({}, "no-answer", ("busy", "name"), (NAME, "vm-isunavail")),
        ({}, "busy", ("name",), (NAME, "vm-isonphone")),
        ({"greeting": "name"}, "busy", ("unavailable", "busy", "name"), (NAME, "vm-isonphone")),
        ({"greeting": "busy"}, "no-answer", ("unavailable", "busy", "name"), (BUSY,)),
        ({"greeting": "unavailable"}, "busy", ("busy",), ("vm-theperson", "digits/7", "digits/1", "vm-isonphone")),
        ({"greeting": "temporary"}, "busy", ("busy",), (BUSY,)),
        ({"name": "Ann Smith"}, "unreachable", (), (Text("Ann Smith"), "vm-isunavail")),
        ({}, "direct", (), ("vm-theperson", "digits/7", "digits/1", "vm-isunavail")),
        ({"number": "b.1"}, "direct", (), ("vm-theperson", "letters/b", "letters/dot", "digits/1", "vm-isunavail")),
    ],
)
def test_the_greeting(
    settings: dict[str, Any], reason: str, recorded: tuple[GreetingKind, ...], said: tuple[Any, ...]
) -> None:
    box = Box(**{"number": "71", **settings})
    assert words(box, reason, {kind: Path(f"/{kind}.wav") for kind in recorded}) == said


def test_what_is_silence(tmp_path: Path) -> None:
    assert is_silent(write_wav(tmp_path / "a.wav", silence(1.0)))
    assert is_silent(write_wav(tmp_path / "b.wav", tone(500, 1.0, level=100)))
    # A word, somewhere.
    assert not is_silent(write_wav(tmp_path / "c.wav", silence(2.0), tone(500, 0.1, level=400), silence(2.0)))
    assert is_silent(write_wav(tmp_path / "d.wav", silence(0.0)))
    # What cannot be read may be anything.
    assert not is_silent(tmp_path / "none.wav")


class Switch(Session):
    """Records what it is given, and says how that ended."""

    def __init__(self) -> None:
        super().__init__(None, Event(Headers.of(CHANNEL)))
        self.says: tuple[Samples, ...] = ()
        self.ending = Recorded(ended="digit", digit="#")

    async def record_until(self, path: str, digits: str, **_: Any) -> Recorded:
        if self.says:
            write_wav(Path(path), *self.says)
        return self.ending


def drafted(tmp_path: Path, story: Callable[[Draft, Switch], Coroutine[Any, Any, None]], **settings: Any) -> Store:
    """A draft of box 1001, settled in the end."""
    store = Store(tmp_path / "voicemail")
    store.put_box(Box(number="1001", **{"min_seconds": 2, **settings}))

    async def main() -> None:
        draft = Draft(Mailboxes(store, None), store.begin("1001"), store.box("1001"))
        try:
            await story(draft, Switch())
        finally:
            await draft.settle()

    asyncio.run(main())
    return store


def lengths(store: Store) -> list[float]:
    return [store.message("1001", id).message.seconds for id in store.ids("1001", "new")]


@pytest.mark.parametrize(
    ("says", "quiet", "ended", "kept"),
    [
        (2.0, 0.0, "digit", [2.0]), (1.9, 0.0, "digit", []), (2.0, 0.0, "hangup", [2.0]),
        (1.9, 3.0, "silence", []), (2.0, 3.0, "silence", [5.0]),
        # A phone that sends no silence, or that is gone without a BYE.
        (1.9, 0.0, "silence", []), (2.0, 0.0, "silence", [2.0]), (2.0, 0.5, "silence", [2.5]),
    ],
)  # fmt: skip
def test_silence_at_the_end_is_nothing_said(
    tmp_path: Path, says: float, quiet: float, ended: Any, kept: list[float]
) -> None:
    async def story(draft: Draft, switch: Switch) -> None:
        switch.says, switch.ending = (tone(500, says), silence(quiet)), Recorded(ended=ended)
        await draft.take(switch, "#")
        assert (draft.audio is not None) == bool(kept)

    store = drafted(tmp_path, story, silence_seconds=3)
    assert lengths(store) == kept
    assert not list((store.folder / "incoming").iterdir())


@pytest.mark.parametrize("second", [(tone(500, 1.0),), (silence(4.0),), ()])
def test_a_take_in_which_nothing_is_said_leaves_the_one_before(tmp_path: Path, second: tuple[Samples, ...]) -> None:
    async def story(draft: Draft, switch: Switch) -> None:
        for says in ((tone(500, 3.0),), second):
            switch.says = says
            await draft.take(switch, "#")

    assert lengths(drafted(tmp_path, story)) == [3.0]


def test_what_the_switch_could_not_write_is_noticed(tmp_path: Path) -> None:
    async def story(draft: Draft, switch: Switch) -> None:
        switch.says, switch.ending = (tone(500, 1.0),), Recorded(ended="digit", digit="#", samples=80_000)
        await draft.take(switch, "#")
        assert draft.incomplete

    # Ten seconds were said; the one that there is, is kept.
    assert lengths(drafted(tmp_path, story)) == [1.0]


def test_a_recording_that_ends_for_no_reason_is_noticed(tmp_path: Path) -> None:
    async def story(draft: Draft, switch: Switch) -> None:
        switch.says, switch.ending = (tone(500, 3.0),), Recorded(ended="")
        await draft.take(switch, "#")
        assert draft.incomplete

    assert lengths(drafted(tmp_path, story)) == [3.0]


def test_what_may_still_grow_is_left_to_the_reaper(tmp_path: Path) -> None:
    async def story(draft: Draft, switch: Switch) -> None:
        switch.says, switch.ending = (tone(500, 3.0),), Recorded(ended="hangup", closed=False)
        await draft.take(switch, "#")

    store = drafted(tmp_path, story)
    assert lengths(store) == []
    assert len(store.orphans()) == 1


@pytest.mark.parametrize("decision", ["keep", "drop"])
def test_what_was_decided_is_done_when_the_task_is_cancelled(tmp_path: Path, decision: str) -> None:
    async def story(draft: Draft, switch: Switch) -> None:
        switch.says = (tone(500, 3.0),)
        await draft.take(switch, "#")
        deciding = asyncio.create_task(getattr(draft, decision)())
        await asyncio.sleep(0)
        deciding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deciding

    assert lengths(drafted(tmp_path, story)) == ([3.0] if decision == "keep" else [])


def test_what_cannot_be_kept_waits_for_the_reaper(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(draft: Draft, switch: Switch) -> None:
        switch.says = (tone(500, 3.0),)
        await draft.take(switch, "#")
        (tmp_path / "voicemail" / "boxes" / "1001" / "new").rename(tmp_path / "away")

    store = drafted(tmp_path, story)
    assert len(store.orphans()) == 1
    assert "a message waits in" in caplog.text
    # Nobody learns from a log whose it is.
    assert "boxes" not in caplog.text
