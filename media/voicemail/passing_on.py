"""A message is passed on to another box, with a comment in front or without."""

from __future__ import annotations

import asyncio

from media.voicemail import keys
from media.voicemail.box import Box
from media.voicemail.errors import QuotaError
from media.voicemail.login import box_of
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.reviewing import recorded
from media.voicemail.talk import Talk

TRIES = 3


async def asked_box(talk: Talk, mailboxes: Mailboxes) -> str:
    """The box that the caller names; "" where they give up."""
    for _ in range(TRIES):
        if not (number := await talk.number("vm-extension")):
            break
        if box := await box_of(mailboxes, number):
            return box
        await talk.say("invalid")
    return ""


async def forward(talk: Talk, mailboxes: Mailboxes, box: Box, message: str) -> None:
    """Ask for a box and a comment, and pass ``message`` of ``box`` on. A message whose comment is given up stays."""
    if not (target := await asked_box(talk, mailboxes)):
        return
    choice = await talk.choose(keys.FORWARD, "vm-forwardoptions")
    if choice == "back":
        return
    comment = None
    if choice == "comment":
        comment = await mailboxes.begin_comment(box.number)
        if not await recorded(talk, comment, "vm-record-prepend", seconds=box.max_seconds):
            return
    try:
        await mailboxes.forward(box.number, message, target, comment.audio if comment else None)
    except QuotaError:
        await talk.say("vm-mailboxfull")
        return
    finally:
        if comment:
            await asyncio.to_thread(comment.discard)
    await talk.say("vm-msgforwarded")
