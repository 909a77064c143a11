"""Dial-in on a made-up switch: each key, each failure, and a hangup anywhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness.audio import tone, write_wav
from harness.esl_peer import CHANNEL, Command, Wire
from harness.mailbox import BOX, PIN, Boxes, make_boxes
from harness.session_peer import FakeSwitch, with_session

from media.served import ServedSession
from media.session import Session
from media.voicemail import login, pin
from media.voicemail.advanced import advanced
from media.voicemail.retrieval import retrieve
from media.voicemail.talk import Talk
from model.handover import Handover

HANG_UP = "hang up"
Steps = Sequence[tuple[str, str]]
LOGGED_IN = ("vm-password", f"{PIN}#")


class Words:
    """Says prompts by having their names played."""

    async def play(self, session: Session, *what: Any, digits: str = "any") -> bool:
        return await session.play_until(" ".join(str(part) for part in what), digits)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "REFUSED_AFTER", 0.1)
    monkeypatch.setattr(pin, "COST", 16)


@pytest.fixture
def boxes(tmp_path: Path) -> Boxes:
    return make_boxes(tmp_path / "voicemail", Words())  # type: ignore[arg-type]


class Caller:
    """Presses keys when prompts are heard, and hangs up when there is nothing left to do."""

    def __init__(self, steps: Steps) -> None:
        self.steps = list(steps)
        self.heard: list[str] = []

    def playing(self, wire: Wire, command: Command, switch: FakeSwitch) -> None:
        words = switch.ran[-1][1].split()
        self.heard += words
        if not self.steps:
            return switch.hang_up(wire)
        if not any(word.endswith(self.steps[0][0]) for word in words):
            return switch.complete(wire, command)
        _, keys = self.steps.pop(0)
        if keys == HANG_UP:
            return switch.hang_up(wire)
        switch.press(wire, keys)
        switch.complete(wire, command, {"variable_playback_terminator_used": keys[:1]} if keys else {})

    def recording(self, wire: Wire, command: Command, switch: FakeSwitch) -> None:
        write_wav(Path(switch.ran[-1][1].split()[0]), tone(600, 4.0))
        switch.press(wire, "#")
        switch.complete(wire, command, {"variable_playback_terminator_used": "#", "variable_record_samples": "32000"})


def dial_in(boxes: Boxes, *steps: tuple[str, str], offered: str = BOX) -> list[str]:
    """What a caller hears who presses, at each prompt of ``steps`` in turn, the keys beside it."""
    caller = Caller(steps)

    async def script(session: Session, switch: FakeSwitch) -> None:
        switch.apps["playback"] = lambda wire, command: caller.playing(wire, command, switch)
        switch.apps["record"] = lambda wire, command: caller.recording(wire, command, switch)
        await retrieve(session, boxes.mailboxes, boxes.speaker, offered)

    with_session(script, {**CHANNEL, "Answer-State": "answered"})
    assert not caller.steps, f"was never asked: {caller.steps}; heard {caller.heard}"
    return caller.heard


# Login


def test_the_box_and_the_pin_are_asked_for(boxes: Boxes) -> None:
    heard = dial_in(boxes, ("vm-login", f"{BOX}#"), LOGGED_IN, ("vm-opts", "#"), ("vm-goodbye", ""), offered="")
    assert heard[:2] == ["vm-login", "vm-password"]
    assert heard[-1] == "vm-goodbye"


def test_what_is_dialled_ahead_is_not_asked_for(boxes: Boxes) -> None:
    heard = dial_in(boxes, ("vm-login", f"{BOX}#{PIN}#2"), ("vm-changeto", "1"), ("vm-opts", HANG_UP), offered="")
    assert heard[:2] == ["vm-login", "vm-changeto"]


def test_another_box_than_ones_own(boxes: Boxes) -> None:
    boxes.store.set_pin("1002", "1470")
    heard = dial_in(
        boxes, ("vm-password", "*"), ("vm-login", "1002#"), ("vm-password", "1470#"), ("vm-opts", "#")
    )  # fmt: skip
    assert heard[:3] == ["vm-password", "vm-login", "vm-password"]


@pytest.mark.parametrize("offered", ["", BOX])
def test_nobody_learns_which_boxes_there_are(boxes: Boxes, offered: str) -> None:
    boxes.store.update_box("1002", pin_hash="")
    heard, seconds = {}, {}
    for number in (BOX, "1002", "7777", "no box"):
        given = number if offered else ""
        words = [("vm-password", "8642#")] * 3 if given else [
            ("vm-login", f"{number}#"), ("vm-password", "8642#"), ("vm-incorrect-mailbox", f"{number}#"),
            ("vm-password", "8642#"), ("vm-incorrect-mailbox", f"{number}#"), ("vm-password", "8642#"),
        ]  # fmt: skip
        if "box" in number and not given:
            continue
        words.append(("vm-goodbye", ""))
        began = time.monotonic()
        heard[number] = dial_in(boxes, *words, offered=given)
        seconds[number] = time.monotonic() - began
    assert len({tuple(words) for words in heard.values()}) == 1
    assert heard[BOX].count("vm-password") == 3
    assert heard[BOX][-2:] == ["vm-incorrect", "vm-goodbye"]
    # Never sooner than that; how much later, says the machine.
    assert min(seconds.values()) >= 3 * login.REFUSED_AFTER


def test_after_too_many_wrong_pins_the_right_one_does_not_help(boxes: Boxes) -> None:
    wrong = [*[("vm-password", "8642#")] * 3, ("vm-goodbye", "")]
    dial_in(boxes, *wrong)
    dial_in(boxes, *wrong)
    heard = dial_in(boxes, LOGGED_IN, LOGGED_IN, LOGGED_IN, ("vm-goodbye", ""))
    assert heard == [*["vm-password", "vm-incorrect"] * 3, "vm-goodbye"]


def test_nothing_is_logged_of_what_is_pressed(boxes: Boxes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    boxes.leave(tone(600, 1.0), caller="555123")
    dial_in(boxes, ("vm-login", f"{BOX}#"), ("vm-password", "8642#"), ("vm-incorrect-mailbox", f"{BOX}#"), LOGGED_IN,
            ("vm-opts", "1"), ("vm-advopts", "0"), ("vm-options", "5"), ("vm-newpassword", "975310#"),
            ("vm-reenterpassword", "975310#"), ("vm-options", HANG_UP), offered="")  # fmt: skip
    for secret in (BOX, PIN, "8642", "555123", "975310"):
        assert secret not in caplog.text


# Listening


def test_keys_that_do_nothing_here(boxes: Boxes) -> None:
    for key in "345678":
        assert "vm-sorry" in dial_in(boxes, LOGGED_IN, ("vm-opts", key), ("vm-opts", "#"))


def test_who_presses_nothing_is_released(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.voicemail.talk.KEY_TIMEOUT", 50)
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", ""), ("vm-opts", ""), ("vm-opts", ""), ("vm-goodbye", ""))
    assert heard.count("vm-opts") == 3


def test_what_was_heard_whole_is_saved_when_the_caller_hangs_up(boxes: Boxes) -> None:
    id = boxes.leave(tone(600, 1.0)).id
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", HANG_UP))
    assert boxes.folders() == {"new": [], "saved": [id], "deleted": []}


def test_what_was_not_heard_whole_stays_new(boxes: Boxes) -> None:
    id = boxes.leave(tone(600, 1.0)).id
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("audio.wav", HANG_UP))
    assert boxes.folders() == {"new": [id], "saved": [], "deleted": []}


@pytest.mark.parametrize("prompt", ["vm-deleted", "vm-advopts"])
def test_what_was_deleted_is_deleted_whenever_the_caller_hangs_up(boxes: Boxes, prompt: str) -> None:
    id = boxes.leave(tone(600, 1.0)).id
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "7"), (prompt, HANG_UP))
    assert boxes.folders() == {"new": [], "saved": [], "deleted": [id]}


def test_undeleted_from_the_folder_of_deleted_ones(boxes: Boxes) -> None:
    id = boxes.leave(tone(600, 1.0)).id
    boxes.store.move(BOX, id, "deleted")
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", "2"), ("vm-changeto", "2"), ("vm-opts", "1"), ("vm-undelete", "7"),
                    ("vm-delete", "#"))  # fmt: skip
    assert "vm-undeleted" in heard
    assert boxes.folders() == {"new": [], "saved": [id], "deleted": []}


def test_urgent_ones_come_first_and_then_the_oldest(boxes: Boxes) -> None:
    old, young = (boxes.leave(tone(600, 1.0)).id for _ in range(2))
    urgent = boxes.leave(tone(600, 1.0), urgent=True).id
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "6"), ("vm-advopts", "6"), ("vm-advopts", "#"))
    played = [Path(word).parent.name for word in heard if word.endswith("audio.wav")]
    assert played == [urgent, old, young]


def test_a_message_that_somebody_else_removed(boxes: Boxes) -> None:
    first, second = (boxes.leave(tone(600, 1.0)).id for _ in range(2))

    meanwhile(boxes, "vm-advopts", lambda: boxes.store.purge(BOX, second))
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "6"), ("vm-gone", "4"), ("vm-advopts", "#"))
    assert heard.count("vm-first") == 2
    assert boxes.folders()["saved"] == [first]


def meanwhile(boxes: Boxes, prompt: str, do: Callable[[], object]) -> None:
    """Have something done, once, before that prompt is heard."""
    left = [do]

    class Does(Words):
        async def play(self, session: Session, *what: Any, digits: str = "any") -> bool:
            if prompt in what and left:
                left.pop()()
            return await super().play(session, *what, digits=digits)

    boxes.speaker = Does()  # type: ignore[assignment]


def test_what_another_phone_deleted_is_not_saved(boxes: Boxes) -> None:
    id = boxes.leave(tone(600, 1.0)).id
    meanwhile(boxes, "vm-advopts", lambda: boxes.store.move(BOX, id, "deleted"))
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "#"))
    assert boxes.folders() == {"new": [], "saved": [], "deleted": [id]}


def test_what_another_phone_deletes_at_that_moment_stays_deleted(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    id, move = boxes.leave(tone(600, 1.0)).id, boxes.mailboxes.move

    async def moving(box: str, message: str, *args: Any, **more: Any) -> bool:
        boxes.store.move(box, message, "deleted")
        return await move(box, message, *args, **more)

    monkeypatch.setattr(boxes.mailboxes, "move", moving)
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "#"))
    assert boxes.folders() == {"new": [], "saved": [], "deleted": [id]}


def test_a_box_that_is_removed_meanwhile(boxes: Boxes) -> None:
    boxes.leave(tone(600, 1.0))
    meanwhile(boxes, "vm-changeto", lambda: boxes.store.remove_box(BOX))
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "2"), ("vm-changeto", "1"), ("vm-failed", ""),
                    ("vm-advopts", "#"), ("vm-goodbye", ""))  # fmt: skip
    assert heard[-1] == "vm-goodbye"


def test_a_box_that_cannot_be_walked_ends_the_call(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(boxes.store, "counts", broken)
    assert dial_in(boxes, LOGGED_IN, ("vm-failed", "")) == ["vm-password", "vm-failed"]


def test_a_store_that_fails_does_not_end_the_call(boxes: Boxes, monkeypatch: pytest.MonkeyPatch) -> None:
    boxes.leave(tone(600, 1.0))

    def broken(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(boxes.store, "move", broken)
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "7"), ("vm-failed", ""), ("vm-advopts", "#"),
                    ("vm-goodbye", ""))  # fmt: skip
    assert heard[-1] == "vm-goodbye"


# Forwarding


def test_forwarded_without_a_comment(boxes: Boxes) -> None:
    boxes.leave(tone(600, 1.0))
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "8"), ("vm-extension", "1002#"),
            ("vm-forwardoptions", "2"), ("vm-msgforwarded", ""), ("vm-advopts", "#"))  # fmt: skip
    (copy,) = boxes.folders("1002")["new"]
    assert boxes.store.message("1002", copy).message.forwarded_from == BOX


def test_forwarded_with_a_comment_in_front(boxes: Boxes) -> None:
    boxes.leave(tone(600, 1.0))
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "8"), ("vm-extension", "1002#"),
            ("vm-forwardoptions", "1"), ("vm-greeting-review", "1"), ("vm-msgforwarded", ""),
            ("vm-advopts", "#"))  # fmt: skip
    (copy,) = boxes.folders("1002")["new"]
    found = boxes.store.message("1002", copy).message
    assert found.comment
    assert found.seconds == pytest.approx(5.0, abs=0.1)
    assert list((boxes.store.folder / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    "steps",
    [
        [("vm-extension", "7777#"), ("invalid", ""), ("vm-extension", "#")],
        [("vm-extension", "1002#"), ("vm-forwardoptions", "*")],
        [("vm-extension", "1002#"), ("vm-forwardoptions", "1"), ("vm-greeting-review", "*")],
        [("vm-extension", "1002#"), ("vm-forwardoptions", "1"), ("vm-greeting-review", HANG_UP)],
    ],
)
def test_forwarding_given_up(boxes: Boxes, steps: Steps) -> None:
    id = boxes.leave(tone(600, 1.0)).id
    back = [("vm-advopts", "#")] if steps[-1][1] != HANG_UP else []
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "8"), *steps, *back)
    assert boxes.folders("1002")["new"] == []
    assert boxes.folders()["saved"] == [id]
    assert list((boxes.store.folder / "incoming").iterdir()) == []


def test_the_other_box_is_full(boxes: Boxes) -> None:
    boxes.leave(tone(600, 1.0))
    boxes.leave(tone(600, 1.0), box="1002")
    boxes.store.update_box("1002", quota_messages=1)
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "8"), ("vm-extension", "1002#"),
            ("vm-forwardoptions", "2"), ("vm-mailboxfull", ""), ("vm-advopts", "#"))  # fmt: skip
    assert len(boxes.folders("1002")["new"]) == 1


# The advanced menu


def test_the_envelope_again(boxes: Boxes) -> None:
    boxes.leave(tone(600, 1.0), caller="12")
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "3"), ("vm-tohearenv", "3"), ("vm-advopts", "#"))
    assert heard.count("vm-from-phonenumber") == 2
    # Whoever left it has no box, and a call that no SIP tier handed over cannot be sent on.
    assert "vm-toreply" not in heard
    assert "vm-tocallback" not in heard


@pytest.mark.parametrize("ending", ["1", HANG_UP])
def test_a_reply_is_a_message_of_the_other_box(boxes: Boxes, ending: str) -> None:
    boxes.leave(tone(600, 1.0), caller="1002")
    steps = [] if ending == HANG_UP else [("vm-msgsaved", ""), ("vm-advopts", "#")]
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "3"), ("vm-toreply", "1"),
            ("vm-greeting-review", ending), *steps)  # fmt: skip
    (reply,) = boxes.folders("1002")["new"]
    assert boxes.store.message("1002", reply).message.caller == BOX


def test_a_reply_that_is_too_short_is_not_dropped_in_silence(boxes: Boxes) -> None:
    boxes.store.update_box("1002", min_seconds=10)
    boxes.leave(tone(600, 1.0), caller="1002")
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "3"), ("vm-toreply", "1"),
            ("vm-greeting-review", "1"), ("vm-tooshort", ""), ("vm-greeting-review", "*"),
            ("vm-advopts", "#"))  # fmt: skip
    assert boxes.folders("1002")["new"] == []


def test_who_cannot_be_replied_to(boxes: Boxes) -> None:
    boxes.leave(tone(600, 1.0), caller="")
    dial_in(boxes, LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "3"), ("vm-tohearenv", "1"), ("vm-nobox", ""),
            ("vm-advopts", "3"), ("vm-tohearenv", "2"), ("vm-nonumber", ""), ("vm-advopts", "#"))  # fmt: skip


# Greetings and PIN


@pytest.mark.parametrize(("key", "kind"), [("1", "unavailable"), ("2", "busy"), ("3", "name"), ("4", "temporary")])
def test_a_greeting_is_recorded_heard_and_removed(boxes: Boxes, key: str, kind: Any) -> None:
    dial_in(boxes, LOGGED_IN, ("vm-opts", "0"), ("vm-options", key), ("vm-no-greeting", "1"),
            ("vm-greeting-review", "2"), ("vm-greeting-review", "3"), ("vm-greeting-review", "1"), ("vm-msgsaved", ""),
            ("vm-greeting", HANG_UP))  # fmt: skip
    assert boxes.store.greeting(BOX, kind) is not None
    heard = dial_in(boxes, LOGGED_IN, ("vm-opts", "0"), ("vm-options", key), ("vm-greeting", "2"),
                    ("vm-greeting", "3"), ("vm-greeting-removed", ""), ("vm-no-greeting", "*"), ("vm-options", "*"),
                    ("vm-opts", "#"))  # fmt: skip
    assert any(word.endswith(f"{kind}.wav") for word in heard)
    assert boxes.store.greeting(BOX, kind) is None
    assert list((boxes.store.folder / "incoming").iterdir()) == []


@pytest.mark.parametrize("ending", ["*", HANG_UP])
def test_a_greeting_that_was_not_accepted_is_not_kept(boxes: Boxes, ending: str) -> None:
    back = [] if ending == HANG_UP else [("vm-no-greeting", HANG_UP)]
    dial_in(boxes, LOGGED_IN, ("vm-opts", "0"), ("vm-options", "1"), ("vm-no-greeting", "1"),
            ("vm-greeting-review", ending), *back)  # fmt: skip
    assert boxes.store.greeting(BOX, "unavailable") is None
    assert list((boxes.store.folder / "incoming").iterdir()) == []


def change_pin(boxes: Boxes, *steps: tuple[str, str]) -> None:
    dial_in(boxes, LOGGED_IN, ("vm-opts", "0"), ("vm-options", "5"), *steps, ("vm-options", HANG_UP))


def test_the_pin_is_changed(boxes: Boxes) -> None:
    change_pin(boxes, ("vm-newpassword", "975310#"), ("vm-reenterpassword", "975310#"), ("vm-passchanged", ""))
    assert boxes.store.check_pin(BOX, "975310")


@pytest.mark.parametrize("weak", ["1111", "1234", "12", BOX])
def test_a_weak_pin_is_refused(boxes: Boxes, weak: str) -> None:
    change_pin(boxes, ("vm-newpassword", f"{weak}#"), ("vm-reenterpassword", f"{weak}#"), ("vm-weak-password", ""),
               ("vm-newpassword", "#"))  # fmt: skip
    assert boxes.store.check_pin(BOX, PIN)


def test_two_pins_that_differ(boxes: Boxes) -> None:
    change_pin(boxes, ("vm-newpassword", "975310#"), ("vm-reenterpassword", "975311#"), ("vm-mismatch", ""),
               ("vm-newpassword", "#"))  # fmt: skip
    assert boxes.store.check_pin(BOX, PIN)


TOUR = (
    LOGGED_IN, ("vm-opts", "1"), ("vm-advopts", "6"), ("vm-advopts", "7"), ("vm-deleted", ""), ("vm-undelete", "7"),
    ("vm-undeleted", ""), ("vm-advopts", "9"), ("vm-savefolder", "0"), ("vm-savedto", ""), ("vm-advopts", "8"),
    ("vm-extension", "1002#"), ("vm-forwardoptions", "1"), ("vm-record-prepend", ""), ("vm-greeting-review", "1"),
    ("vm-msgforwarded", ""), ("vm-advopts", "0"), ("vm-options", "1"), ("vm-no-greeting", "1"), ("vm-rec-unv", ""),
    ("vm-greeting-review", "1"), ("vm-msgsaved", ""), ("vm-greeting", "*"), ("vm-options", "5"),
    ("vm-newpassword", "975310#"), ("vm-reenterpassword", "975310#"), ("vm-passchanged", ""),
)  # fmt: skip
"What a caller does, and has heard confirmed."


@pytest.mark.parametrize("at", range(len(TOUR)))
def test_a_hangup_at_any_prompt_leaves_what_was_confirmed_and_no_halves(boxes: Boxes, at: int) -> None:
    ids = {boxes.leave(tone(600, 1.0)).id for _ in range(2)}
    heard = dial_in(boxes, *TOUR[:at], (TOUR[at][0], HANG_UP))
    folders = boxes.folders()
    assert {id for there in folders.values() for id in there} == ids
    assert sum(map(len, folders.values())) == 2
    assert bool(folders["deleted"]) == ("vm-deleted" in heard and "vm-undeleted" not in heard)
    assert len(boxes.folders("1002")["new"]) == heard.count("vm-msgforwarded")
    assert (boxes.store.greeting(BOX, "unavailable") is not None) == ("vm-msgsaved" in heard)
    assert boxes.store.check_pin(BOX, "975310" if "vm-passchanged" in heard else PIN)
    assert list((boxes.store.folder / "incoming").iterdir()) == []
    assert list((boxes.store.folder / "making").iterdir()) == []


def test_a_caller_who_had_no_number_that_can_be_dialled_is_not_called_back(boxes: Boxes) -> None:
    session, said = ServedSession.__new__(ServedSession), list[str]()
    session.handover = Handover(call="x", app="mailbox", caller=BOX)

    class Asked(Talk):
        """The caller chooses to call back."""

        async def choose(self, table: Any, *_: Any) -> str:
            return table["2"]

        async def say(self, *what: Any) -> None:
            said.extend(what)

    async def played() -> None:
        talk = Asked.__new__(Asked)
        talk.session = session
        message = boxes.leave(tone(440, 1.0), caller="bob&carol")
        await advanced(talk, boxes.mailboxes, boxes.store.box(BOX), message)

    asyncio.run(played())
    assert said == ["vm-nonumber"]
