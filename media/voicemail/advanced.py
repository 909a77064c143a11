"""What else may be done with a message: reply, call back, hear the envelope."""

from __future__ import annotations

from datetime import UTC, datetime

from media.esl.errors import ArgumentError
from media.served import ServedSession
from media.voicemail import envelope, keys
from media.voicemail.box import Box
from media.voicemail.draft import Draft
from media.voicemail.errors import QuotaError
from media.voicemail.login import box_of
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.message import Message
from media.voicemail.reviewing import ENDS
from media.voicemail.talk import Talk


async def advanced(talk: Talk, mailboxes: Mailboxes, box: Box, message: Message) -> None:
    """The menu, once; then the caller is behind the message again."""
    sender = await box_of(mailboxes, message.caller)
    calls_back = box.callback and _caller(talk) is not None and bool(message.caller)
    words = keys.advanced_words(reply=bool(sender), call_back=calls_back)
    match await talk.choose(keys.ADVANCED, *words):
        case "envelope":
            await talk.say(*envelope.envelope(message, box.time_zone, datetime.now(UTC)))
        case "call_back" if calls_back:
            await _call_back(talk, message.caller)
        case "reply" if sender:
            await _reply(talk, mailboxes, box, sender)
        case "reply":
            await talk.say("vm-nobox")
        case "call_back":
            await talk.say("vm-nonumber")


def _caller(talk: Talk) -> ServedSession | None:
    """The call, if it can be sent on: the SIP tier decides where a number is."""
    session = talk.session
    return session if isinstance(session, ServedSession) and session.handover else None


async def _call_back(talk: Talk, number: str) -> None:
    session = _caller(talk)
    assert session is not None
    try:
        cause = await session.send_back(number)
    except ArgumentError:
        # A caller may have had anything for a number: it cannot be dialled.
        return await talk.say("vm-nonumber")
    talk.check()
    if cause != "SUCCESS":
        await talk.say("vm-nobodyavail")


async def _reply(talk: Talk, mailboxes: Mailboxes, box: Box, target: str) -> None:
    """A message of the box's owner; as every message it is kept when they hang up."""
    try:
        recording = await mailboxes.begin(
            target, caller=box.number, caller_name=box.name, callee=target, reason="direct", call=talk.session.uuid
        )
    except QuotaError:
        await talk.say("vm-mailboxfull")
        return
    draft = Draft(mailboxes, recording, await mailboxes.box(target))
    try:
        await _said(talk, draft)
    finally:
        await draft.settle()


async def _said(talk: Talk, draft: Draft) -> None:
    # What the switch holds back would be lost where it is killed.
    await talk.session.set_variable("enable_file_write_buffering", "false")
    choice = "again"
    while choice in ("again", "listen") or (choice == "keep" and not draft.audio):
        if choice == "again":
            await talk.say("vm-intro")
            await talk.say("beep")
            await draft.take(talk.session, ENDS)
        else:
            await talk.say(draft.audio or "vm-tooshort")
        choice = await talk.choose(keys.REVIEW, "vm-greeting-review")
    if choice == "keep":
        await draft.keep()
        await talk.say("vm-msgsaved")
    else:
        await draft.drop()
