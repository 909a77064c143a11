"""Leaving a message: greeting, beep, recording, review.

The keys are those of Asterisk's voicemail (play_record_review of apps/app_voicemail.c), and 7 deletes, as it does
wherever else one listens to a message. What the caller said is kept whatever happens, unless they delete it, or it is
shorter than the box takes. That it is saved is said once it is on the disk, and not before.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from media.esl.errors import ArgumentError
from media.served import ServedSession
from media.speech.prompts import BEEP
from media.speech.speaker import Part, Speaker
from media.voicemail import greeting
from media.voicemail.box import Box
from media.voicemail.destination import Visit, visit
from media.voicemail.draft import Draft, why
from media.voicemail.layout import GREETINGS
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import NoSuchBoxError, NothingRecordedError, QuotaError, VoicemailError
from media.voicemail.talk import CallOver, GoodBye, Talk

LogIn = Callable[[str], Awaitable[object]]
"Given a box's number, asks the caller for its PIN, and lets them hear the messages."
NO_BOX = "UNALLOCATED_NUMBER"
"404: nobody has that number."
TRIES = 3
"Times that a message may be too short, and that the review is offered to who presses nothing."

log = logging.getLogger(__name__)


async def take_call(session: ServedSession, mailboxes: Mailboxes, speaker: Speaker, log_in: LogIn) -> None:
    """The whole of a call that came to leave a message. Raises ValueError for arguments that cannot be."""
    came = visit(session)
    try:
        box = await _box(mailboxes, came)
    except NoSuchBoxError:
        log.warning("call %s: no box is under any of the numbers that it may be for", session.uuid)
        return await session.hangup(NO_BOX)
    except (OSError, VoicemailError) as error:
        log.error("call %s: its box cannot be read: %s", session.uuid, why(error))
        box = None
    await session.answer()
    talk = Talk(session, speaker)
    with suppress(CallOver, GoodBye):
        if box is None:
            await talk.tell("vm-cannot-record")
        else:
            await Deposit(session, mailboxes, talk, box, came, log_in).run()
        await talk.tell("vm-goodbye")
    await session.hangup()


async def _box(mailboxes: Mailboxes, came: Visit) -> Box | None:
    for number in came.boxes:
        with suppress(NoSuchBoxError):
            return await mailboxes.box(await mailboxes.find_box(number))
    raise NoSuchBoxError("no box is under any of these numbers")


class Deposit:
    """One caller before one box."""

    def __init__(
        self, session: ServedSession, mailboxes: Mailboxes, talk: Talk, box: Box, came: Visit, log_in: LogIn
    ) -> None:
        self._session, self._mailboxes, self._talk, self._box, self._came = session, mailboxes, talk, box, came
        self._log_in = log_in
        # Only the SIP tier knows the way there.
        self._operator = box.operator if session.handover else ""

    async def run(self) -> None:
        """Raises CallOver and GoodBye; what was said is kept then."""
        key = await self._greet()
        if key == "*":
            await self._log_in(self._box.number)
            raise GoodBye
        if key == "0" and self._operator:
            await self._call_operator()
        draft = await self._begin()
        if draft is None:
            return
        try:
            if await self._record(draft) == "0":
                await self._leave_to_operator(draft)
            else:
                await self._review(draft)
        finally:
            await draft.settle()

    async def _greet(self) -> str:
        """The greeting; the key that the caller pressed, which skips the rest of it."""
        await self._talk.say(await self._greeting(), *(("vm-reachoper",) if self._operator else ()), "vm-intro")
        return await self._talk.pressed()

    async def _greeting(self) -> Part:
        recorded = {}
        try:
            for kind in GREETINGS:
                if (path := await self._mailboxes.greeting(self._box.number, kind)) is not None:
                    recorded[kind] = path
        except (OSError, VoicemailError) as error:
            log.error("call %s: a box's greetings cannot be read: %s", self._session.uuid, why(error))
        return greeting.words(self._box, self._came.reason, recorded)

    async def _begin(self) -> Draft | None:
        """The intent is on the disk when this returns; None where no message can be left, and the caller knows."""
        came = self._came
        try:
            recording = await self._mailboxes.begin(
                self._box.number,
                caller=came.caller,
                caller_name=came.caller_name,
                callee=came.callee,
                reason=came.reason,
                call=came.call,
            )
        except QuotaError:
            await self._talk.tell("vm-mailboxfull")
            return None
        except (OSError, VoicemailError) as error:
            await self._fail(error)
            return None
        return Draft(self._mailboxes, recording, self._box)

    async def _record(self, draft: Draft) -> str:
        """Record until a take is long enough, or one before it was; the key that ended it."""
        await self._session.set_variable("enable_file_write_buffering", "false")
        for _ in range(TRIES):
            await self._session.stream_file(BEEP)
            self._talk.check()
            before = draft.audio
            made = await draft.take(self._session, "#0" if self._operator else "#")
            self._talk.check()
            if draft.incomplete and draft.audio == before:
                await self._fail(NothingRecordedError("the switch wrote nothing"))
                raise GoodBye
            if draft.incomplete:
                await self._talk.tell("vm-incomplete")
            if draft.audio != before or made.digit == "0":
                return made.digit
            await self._talk.tell("vm-tooshort")
            if draft.audio:
                return made.digit
        await self._talk.tell("vm-goodbye")
        raise GoodBye

    async def _review(self, draft: Draft) -> None:
        """Until the message is kept or dropped."""
        silent = 0
        while silent < TRIES:
            key = await self._talk.key(*self._offers(draft))
            silent += not key
            match key:
                case "1" | "#":
                    break
                case "2":
                    assert draft.audio
                    await self._talk.say(draft.audio)
                case "3":
                    if await self._record(draft) == "0":
                        return await self._leave_to_operator(draft)
                case "4":
                    draft.urgent = not draft.urgent
                    await self._talk.say("vm-marked-urgent" if draft.urgent else "vm-marked-nonurgent")
                case "7":
                    return await self._drop(draft)
                case "0" if self._operator:
                    return await self._leave_to_operator(draft)
                case "":
                    pass
                case _:
                    await self._talk.say("vm-sorry")
        await self._keep(draft)

    def _offers(self, draft: Draft) -> tuple[str, ...]:
        urgent = "vm-review-nonurgent" if draft.urgent else "vm-review-urgent"
        return ("vm-review", urgent, "vm-review-delete", *(("vm-reachoper",) if self._operator else ()))

    async def _keep(self, draft: Draft) -> None:
        try:
            await draft.keep()
        except (OSError, VoicemailError) as error:
            return await self._fail(error)
        await self._talk.tell("vm-msgsaved")

    async def _drop(self, draft: Draft) -> None:
        try:
            await draft.drop()
        except OSError as error:
            return await self._fail(error)
        await self._talk.tell("vm-deleted")

    async def _fail(self, error: Exception) -> None:
        log.error("call %s: a message cannot be left: %s", self._session.uuid, why(error))
        await self._talk.tell("vm-cannot-record")

    async def _leave_to_operator(self, draft: Draft) -> None:
        """Keep or drop the message as the caller says, keep it where they say nothing, and send them on."""
        if draft.audio and await self._talk.key("vm-keep-or-delete") == "7":
            await self._drop(draft)
        elif draft.audio:
            await self._keep(draft)
        await self._call_operator()

    async def _call_operator(self) -> None:
        """Returns where nobody takes the call; raises GoodBye where it was one."""
        try:
            cause = await self._session.send_back(self._operator)
        except ArgumentError as error:
            log.error("a box's operator cannot be called: %s", error)
            cause = ""
        self._talk.check()
        if cause == "SUCCESS":
            raise GoodBye
        await self._talk.tell("vm-nobodyavail")
