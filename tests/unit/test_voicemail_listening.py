"""What is said to who dials in, and the walk through a folder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from media.speech.prompts import CATALOGUE
from media.voicemail import envelope, keys
from media.voicemail.listing import PAGE, Listing
from media.voicemail.message import Counts, Message

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def said(names: Sequence[str]) -> str:
    """The words, as a caller hears them."""
    return " ".join(CATALOGUE[name].strip(".").lower() for name in names)


def message(**fields: object) -> Message:
    values: dict[str, object] = {"id": "20260301T110500Z-0a1b2c3d", "box": "1001", "received": 0.0, "seconds": 3.0}
    return Message(**{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts(), "you have no messages"),
        (Counts(new=1), "you have one new message"),
        (Counts(new=2, saved=1), "you have two new and one old message"),
        (Counts(saved=30), "you have thirty old messages"),
        (Counts(new=3, urgent_new=1, saved=2), "you have one urgent and two new and two old messages"),
        (Counts(new=1, urgent_new=1), "you have one urgent message"),
        (Counts(deleted=4), "you have no messages"),
    ],
)
def test_how_many_there_are(counts: Counts, words: str) -> None:
    assert said(envelope.counts(counts)) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "you have no old messages"), (1, "you have one old message"), (21, "you have twenty one old messages")],
)
def test_how_many_there_are_in_a_folder(number: int, words: str) -> None:
    assert said(envelope.count_of(number, "vm-Old")) == words


@pytest.mark.parametrize(
    ("caller", "words"),
    [
        ("+4930", "message from phone number four nine three zero"),
        ("", "from an unknown caller"),
        ("${system}", "from an unknown caller"),
    ],
)
def test_from_whom_it_is(caller: str, words: str) -> None:
    assert said(envelope.caller(message(caller=caller))) == words


@pytest.mark.parametrize(
    ("at", "zone", "words"),
    [
        (datetime(2026, 3, 1, 11, 5, tzinfo=UTC), "UTC", "received today at eleven oh five a.m"),
        (datetime(2026, 3, 1, 11, 5, tzinfo=UTC), "Europe/Berlin", "received today at twelve oh five p.m"),
        (datetime(2026, 2, 28, 23, 30, tzinfo=UTC), "UTC", "received yesterday at eleven thirty p.m"),
        (datetime(2026, 2, 28, 23, 30, tzinfo=UTC), "Europe/Berlin", "received today at twelve thirty a.m"),
        (
            datetime(2025, 12, 24, 17, 0, tzinfo=UTC), "UTC",
            "received wednesday december twenty fourth two thousand twenty five at five o'clock p.m",
        ),
    ],
)  # fmt: skip
def test_when_it_came_by_the_clock_of_the_box(at: datetime, zone: str, words: str) -> None:
    assert said(envelope.received(at.timestamp(), zone, NOW)) == words


def test_the_whole_envelope() -> None:
    urgent = message(caller="12", received=NOW.timestamp(), seconds=61.2, urgent=True)
    assert said(envelope.envelope(urgent, "UTC", NOW)) == (
        "urgent message from phone number one two received today at twelve o'clock p.m "
        "this message lasts one minute one second"
    )


@pytest.mark.parametrize(
    ("number", "last", "words"),
    [(1, False, "first message"), (1, True, "first message"), (2, False, "message two"), (3, True, "last message")],
)
def test_which_it_is(number: int, last: bool, words: str) -> None:
    assert said(envelope.position(number, last=last)) == words


def test_menus_name_only_keys_that_do_something() -> None:
    first = keys.message_words(first=True, last=True, deleted=False)
    assert "vm-prev" not in first
    assert "vm-next" not in first
    assert "vm-delete" in first
    later = keys.message_words(first=False, last=False, deleted=True)
    assert "vm-prev" in later
    assert "vm-next" in later
    assert "vm-undelete" in later
    assert "vm-delete" not in later
    assert keys.advanced_words(reply=False, call_back=False) == ("vm-tohearenv", "vm-starmain")
    assert "vm-onefor" not in keys.main_words(None)
    assert said(keys.main_words("saved")).startswith("press 1 for old messages")


def test_every_word_of_the_menus_is_in_the_catalogue() -> None:
    menus = [
        *keys.main_words("new"), *keys.message_words(first=False, last=False, deleted=False),
        *keys.message_words(first=False, last=False, deleted=True), *keys.advanced_words(reply=True, call_back=True),
        *keys.folder_words(keys.CHANGE),
    ]  # fmt: skip
    assert set(menus) <= set(CATALOGUE)
    assert said(keys.folder_words(keys.SAVE)) == "press zero for new messages press one for old messages"


class Folder:
    """A folder that a walk loads from."""

    def __init__(self, *ids: str) -> None:
        self.ids = list(ids)
        self.loads: list[tuple[int, int]] = []

    async def load(self, offset: int, count: int) -> Sequence[str]:
        self.loads.append((offset, count))
        return self.ids[offset : offset + count]


def test_a_walk_through_a_folder() -> None:
    async def walk() -> None:
        listing = Listing("new", Folder("a", "b").load)
        assert listing.current is None
        assert await listing.previous() is None
        first = await listing.first()
        assert first is not None
        assert (first.id, listing.number, await listing.is_last()) == ("a", 1, False)
        second = await listing.next()
        assert second is not None
        assert (second.id, listing.number, await listing.is_last()) == ("b", 2, True)
        assert await listing.next() is None
        assert listing.current is second
        assert await listing.previous() is first

    asyncio.run(walk())


def test_an_empty_folder_has_no_first() -> None:
    async def walk() -> None:
        listing = Listing("new", Folder().load)
        assert await listing.first() is None
        assert listing.current is None

    asyncio.run(walk())


def test_a_walk_loads_no_more_than_it_needs() -> None:
    async def walk() -> None:
        folder = Folder(*(f"{n:05}" for n in range(10_000)))
        await Listing("new", folder.load).first()
        assert folder.loads == [(0, PAGE)]

    asyncio.run(walk())


def test_no_message_is_skipped_while_others_leave_the_folder() -> None:
    async def walk() -> list[str]:
        folder = Folder(*(f"{n:05}" for n in range(3 * PAGE + 7)))
        listing, seen = Listing("new", folder.load), []
        while entry := await listing.next():
            seen.append(entry.id)
            entry.folder = "deleted"
            folder.ids.remove(entry.id)
        return seen

    assert asyncio.run(walk()) == [f"{n:05}" for n in range(3 * PAGE + 7)]


def test_what_comes_in_front_meanwhile_is_not_heard_twice() -> None:
    async def walk() -> list[str]:
        folder = Folder(*(f"{n:05}" for n in range(PAGE + 2)))
        listing, seen = Listing("new", folder.load), []
        while entry := await listing.next():
            seen.append(entry.id)
            if len(seen) == 1:
                folder.ids.insert(0, "urgent")
        return seen

    assert asyncio.run(walk()) == [f"{n:05}" for n in range(PAGE + 2)]


def test_what_was_heard_is_no_longer_new_unless_it_was_decided() -> None:
    async def walk() -> None:
        entry = await Listing("new", Folder("a").load).first()
        assert entry is not None
        assert not entry.moves
        entry.heard = True
        assert entry.moves
        entry.folder = "deleted"
        assert not entry.moves
        entry.folder, entry.kept = "new", True
        assert not entry.moves

    asyncio.run(walk())
