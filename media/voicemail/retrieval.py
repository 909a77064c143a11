"""Dial-in: a caller listens to the messages of their box.

What the caller does with a message is done at once, in the store and in the index; so nothing is left to be done when
they hang up but one thing: a new message that was heard to its end is no longer new once the caller leaves it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from media.session import Session
from media.voicemail import envelope, keys
from media.voicemail.advanced import advanced
from media.voicemail.box import Box
from media.voicemail.destination import arguments
from media.voicemail.errors import NoSuchMessageError, VoicemailError
from media.voicemail.layout import Folder
from media.voicemail.listing import Entry, Listing
from media.voicemail.login import box_of, log_in
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.options import options
from media.voicemail.passing_on import forward
from media.voicemail.talk import REPEATS, CallOver, GoodBye, Speaks, Talk

log = logging.getLogger(__name__)


async def retrieve(session: Session, mailboxes: Mailboxes, speaker: Speaks, offered: str) -> None:
    """A whole call; ``offered``: the number whose box is not asked for, "" if there is none."""
    talk = Talk(session, speaker)
    try:
        await session.answer()
        number = await log_in(talk, mailboxes, offered)
        await Retrieval(talk, mailboxes, await mailboxes.box(number)).run()
    except GoodBye:
        with suppress(CallOver):
            await talk.say("vm-goodbye")
    except CallOver:
        pass
    except (VoicemailError, OSError) as error:
        log.error("mailbox: the call ends: %s", type(error).__name__)
        with suppress(CallOver):
            await talk.tell("vm-failed")


async def own_box(session: Session, mailboxes: Mailboxes) -> str:
    """The number of the box that is meant where nobody was asked; "" if there is none.

    The policy's ``box=`` counts, whether it is there or not; else the caller's number, if that is one of a box.
    Raises ValueError for other arguments.
    """
    if given := arguments(session.script_args).get("box"):
        return given
    return await box_of(mailboxes, session.handover.caller if session.handover else "")


class Retrieval:
    """A caller who has logged in to a box."""

    def __init__(self, talk: Talk, mailboxes: Mailboxes, box: Box) -> None:
        self._talk, self._mailboxes, self._box = talk, mailboxes, box
        self._listing = self._open("new")
        self._waiting: Folder | None = None
        "The folder at whose beginning the caller is, if there is a message in it."
        self._key = ""
        "Pressed while something played: it is the next answer."
        self._actions: dict[str, Callable[[], Awaitable[None]]] = {
            "first": self._first,
            "folders": self._folders,
            "previous": self._previous,
            "repeat": self._repeat,
            "next": self._next,
            "delete": self._delete,
            "save": self._save,
            "forward": self._forward,
            "advanced": self._advanced,
            "options": self._options,
            "help": self._help,
            "leave": self._leave,
        }

    async def run(self) -> None:
        """Until the caller is done.

        :raises GoodBye: then. :raises CallOver: when they hung up. :raises VoicemailError, OSError: the box cannot be
            walked through any more.
        """
        try:
            await self._welcome()
            while True:
                await self._do(await self._pressed())
        finally:
            await self._left()

    async def _welcome(self) -> None:
        found = await self._mailboxes.counts(self._box.number)
        if not found.new and found.saved:
            self._listing = self._open("saved")
        self._waiting = self._listing.folder if found.new or found.saved else None
        await self._talk.say(*envelope.counts(found))

    def _open(self, folder: Folder) -> Listing:
        async def load(offset: int, count: int) -> list[str]:
            return await self._mailboxes.page(self._box.number, folder, offset, count)

        return Listing(folder, load)

    # The menu

    async def _pressed(self) -> str:
        for _ in range(REPEATS):
            key, self._key = self._key, ""
            if key := key or await self._talk.key(*await self._words()):
                return key
        raise GoodBye

    async def _words(self) -> tuple[str, ...]:
        entry = self._listing.current
        if entry is None:
            return keys.main_words(self._waiting)
        return keys.message_words(
            first=self._listing.number == 1, last=await self._listing.is_last(), deleted=entry.folder == "deleted"
        )

    async def _do(self, key: str) -> None:
        action = keys.MAIN.get(key)
        if action is None or (action in keys.OF_A_MESSAGE and self._listing.current is None):
            await self._talk.say("vm-sorry")
            return
        try:
            await self._actions[action]()
        except NoSuchMessageError:
            await self._talk.say("vm-gone")  # removed meanwhile: by another phone, or since it was too old
        except (VoicemailError, OSError) as error:
            log.error("mailbox: %s failed: %s", action, type(error).__name__)
            await self._talk.say("vm-failed")

    # Walking

    async def _first(self) -> None:
        await self._show(await self._walked(self._listing.first), "vm-youhave", "vm-no", "vm-messages")

    async def _next(self) -> None:
        await self._show(await self._walked(self._listing.next), "vm-nomore")

    async def _previous(self) -> None:
        await self._show(await self._walked(self._listing.previous), "vm-nomore")

    async def _repeat(self) -> None:
        await self._show(self._listing.current)

    async def _walked(self, step: Callable[[], Awaitable[Entry | None]]) -> Entry | None:
        await self._left()
        return await step()

    async def _left(self) -> None:
        """What was heard whole is no longer new."""
        entry = self._listing.current
        if entry is not None and entry.moves:
            try:
                # Another phone may have deleted it meanwhile: so it stays.
                await self._mailboxes.move(self._box.number, entry.id, "saved", source="new")
                entry.folder = (await self._mailboxes.message(self._box.number, entry.id)).folder
            except NoSuchMessageError:
                entry.kept = True
            except (VoicemailError, OSError) as error:
                # It stays new; the caller goes where they want to.
                entry.kept = True
                log.error("mailbox: what was heard is not saved: %s", type(error).__name__)

    async def _show(self, entry: Entry | None, *otherwise: str) -> None:
        """Say what the message is, and play it; ``otherwise`` is said where there is none."""
        if entry is None:
            await self._talk.say(*otherwise)
            return
        stored = await self._mailboxes.message(self._box.number, entry.id)
        number, last = self._listing.number, await self._listing.is_last()
        await self._talk.say(
            *envelope.position(number, last=last),
            *envelope.envelope(stored.message, self._box.time_zone, datetime.now(UTC)),
        )
        pressed = await self._talk.pressed()
        if pressed and pressed != "#":
            self._key = pressed
            return
        whole, self._key = await self._talk.play(stored.audio, keys.within)
        entry.heard |= whole

    # Of the message

    async def _move(self, entry: Entry, folder: Folder) -> None:
        if entry.folder != folder:
            await self._mailboxes.move(self._box.number, entry.id, folder)
            entry.folder = folder

    def _entry(self) -> Entry:
        entry = self._listing.current
        assert entry is not None
        return entry

    async def _delete(self) -> None:
        entry = self._entry()
        if entry.folder == "deleted":
            await self._move(entry, "saved" if entry.origin == "deleted" else entry.origin)
            await self._talk.say("vm-undeleted")
        else:
            await self._move(entry, "deleted")
            await self._talk.say("vm-deleted")

    async def _save(self) -> None:
        entry = self._entry()
        words = ("vm-savefolder", *keys.folder_words(keys.SAVE))
        if not (key := await self._talk.choose(keys.SAVE, *words)):
            return
        folder = keys.FOLDERS[key]
        await self._move(entry, folder)
        entry.kept = True
        await self._talk.say("vm-savedto", keys.FOLDER_WORDS[folder], "vm-messages")

    async def _forward(self) -> None:
        await forward(self._talk, self._mailboxes, self._box, self._entry().id)

    async def _advanced(self) -> None:
        stored = await self._mailboxes.message(self._box.number, self._entry().id)
        await advanced(self._talk, self._mailboxes, self._box, stored.message)

    # Of the box

    async def _folders(self) -> None:
        await self._left()
        if not (key := await self._talk.choose(keys.CHANGE, "vm-changeto", *keys.folder_words(keys.CHANGE))):
            return
        folder = keys.FOLDERS[key]
        found = await self._mailboxes.counts(self._box.number)
        self._listing = self._open(folder)
        number: int = getattr(found, folder)
        self._waiting = folder if number else None
        await self._talk.say(*envelope.count_of(number, keys.FOLDER_WORDS[folder]))

    async def _options(self) -> None:
        await options(self._talk, self._mailboxes, self._box)

    async def _help(self) -> None:
        await self._talk.say("vm-help")

    async def _leave(self) -> None:
        raise GoodBye
