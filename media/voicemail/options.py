"""What a caller sets of their box: greetings, name and PIN."""

from __future__ import annotations

import asyncio

from media.voicemail import keys
from media.voicemail.box import Box
from media.voicemail.errors import BadPinError
from media.voicemail.layout import GREETINGS, GreetingKind
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.reviewing import recorded
from media.voicemail.talk import Talk

SECONDS: dict[GreetingKind, int] = {"unavailable": 180, "busy": 180, "name": 15, "temporary": 180}
"How long each may be."
_PROMPTS: dict[GreetingKind, str] = {
    "unavailable": "vm-rec-unv",
    "busy": "vm-rec-busy",
    "name": "vm-rec-name",
    "temporary": "vm-rec-temp",
}
PIN_TRIES = 3


async def options(talk: Talk, mailboxes: Mailboxes, box: Box) -> None:
    """The menu, until the caller goes back."""
    while (choice := await talk.choose(keys.OPTIONS, "vm-options")) != "back":
        if choice == "pin":
            await change_pin(talk, mailboxes, box)
        else:
            await _greeting(talk, mailboxes, box.number, next(kind for kind in GREETINGS if kind == choice))


async def _greeting(talk: Talk, mailboxes: Mailboxes, box: str, kind: GreetingKind) -> None:
    path = await mailboxes.greeting(box, kind)
    while (choice := await talk.choose(keys.GREETING, "vm-greeting" if path else "vm-no-greeting")) != "back":
        if choice == "record":
            recording = await mailboxes.begin_greeting(box, kind)
            if await recorded(talk, recording, _PROMPTS[kind], seconds=SECONDS[kind]):
                await asyncio.to_thread(recording.accept)
                await talk.say("vm-msgsaved")
        elif path is None:
            await talk.say("vm-sorry")
        elif choice == "listen":
            await talk.say(path)
        else:
            await mailboxes.remove_greeting(box, kind)
            await talk.say("vm-greeting-removed")
        path = await mailboxes.greeting(box, kind)


async def change_pin(talk: Talk, mailboxes: Mailboxes, box: Box) -> None:
    """Ask for a new PIN, twice; the old one stays where nothing comes of it."""
    for _ in range(PIN_TRIES):
        if not (pin := await talk.number("vm-newpassword")):
            return
        if pin != await talk.number("vm-reenterpassword"):
            await talk.say("vm-mismatch")
            continue
        try:
            await mailboxes.set_pin(box.number, pin)
        except BadPinError:
            await talk.say("vm-invalid-password", "vm-weak-password")
            continue
        await talk.say("vm-passchanged")
        return
