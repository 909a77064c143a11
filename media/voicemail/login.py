"""Who dials in shows a box and its PIN.

Nobody learns which boxes there are: the questions, the words and the time are the same for a box that is not there, one
that has no PIN, one that is locked, and a wrong PIN. Tries are counted for all workers together, and for numbers
without a box too.
"""

from __future__ import annotations

import asyncio
import time

from media.voicemail import pin as pins
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import NoSuchBoxError
from media.voicemail.talk import GoodBye, Talk

TRIES = 3
"In one call."
REFUSED_AFTER = 0.5
"Seconds that every refusal takes, however soon it is known: several times what hashing a PIN does."
ANOTHER_BOX = "*"
"Pressed instead of a PIN: the caller wants another box than the one that was not asked for."


async def box_of(mailboxes: Mailboxes, number: str) -> str:
    """The box that a number leads to; "" where none does."""
    try:
        return await mailboxes.find_box(number) if number else ""
    except NoSuchBoxError:
        return ""


async def log_in(talk: Talk, mailboxes: Mailboxes, offered: str) -> str:
    """The box whose PIN the caller knows; ``offered`` is the number that is not asked for, "" if there is none.

    :raises GoodBye: after too many tries. :raises CallOver: when the caller hangs up.
    """
    refused = False
    for _ in range(TRIES):
        number = offered or await talk.number("vm-incorrect-mailbox" if refused else "vm-login")
        words = ("vm-incorrect", "vm-password") if refused and offered else ("vm-password",)
        pin = await talk.number(*words, escape=ANOTHER_BOX)
        if pin == ANOTHER_BOX:
            offered, refused = "", False
        elif box := await _opened(mailboxes, number, pin):
            return box
        else:
            refused = True
    await talk.say("vm-incorrect")
    raise GoodBye


async def _opened(mailboxes: Mailboxes, number: str, pin: str) -> str:
    """The box that number and PIN open, or "", which is not known before its time."""
    began = time.monotonic()
    box = await box_of(mailboxes, number)
    try:
        if (await mailboxes.try_pin(box or number, pin)).state == "ok":
            return box
    except NoSuchBoxError:
        await asyncio.to_thread(pins.hashed, pin)  # as long as the other kind takes, on a busy machine too
    await asyncio.sleep(REFUSED_AFTER - (time.monotonic() - began))
    return ""
