"""Mailboxes for tests: messages that are tones, and prompts that are tones, so that a phone hears which was played."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np

from devswitch.audio import g711
from harness.audio import RATE, Samples, silence, tone, write_wav
from harness.phone import PATIENCE, Call
from media.speech.cache import Cache
from media.speech.engines import Flite
from media.speech.prompts import CATALOGUE
from media.speech.speaker import Speaker
from media.speech.speech import Speech
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import Box, Message, Store

BOX, PIN = "1001", "2580"
_NAMED = """vm-login vm-password vm-incorrect vm-incorrect-mailbox vm-youhave vm-no vm-INBOX vm-Old vm-Urgent vm-and
    vm-message vm-messages vm-first vm-last vm-from-phonenumber vm-unknown-caller vm-received vm-duration vm-opts
    vm-advopts vm-goodbye vm-deleted vm-undeleted vm-nomore vm-changeto vm-savefolder vm-savedto vm-deleted-folder
    vm-sorry vm-extension vm-forwardoptions vm-msgforwarded vm-record-prepend vm-greeting-review vm-options vm-greeting
    vm-no-greeting vm-greeting-removed vm-rec-unv vm-msgsaved vm-newpassword vm-reenterpassword vm-mismatch
    vm-invalid-password vm-passchanged vm-tohearenv vm-nobodyavail vm-gone vm-mailboxfull invalid digits/1 digits/2
    digits/3 vm-help beep vm-tocallback"""
_FIRST, _STEP = 400, 50
FREQUENCY = {name: _FIRST + _STEP * at for at, name in enumerate(_NAMED.split())}
"Of prompts; the others are a moment of silence."
TONES = (3150, 3250, 3350, 3450)
"Of messages: no prompt has these."


def make_sounds(folder: Path) -> Path:
    """A recording of every prompt."""
    for name in CATALOGUE:
        sound = tone(FREQUENCY[name], 0.1) if name in FREQUENCY else silence(0.0)
        write_wav(folder / f"{name}.wav", sound, silence(0.1))
    return folder


def speaker_of(folder: Path) -> Speaker:
    """Says all prompts as tones."""
    sounds = make_sounds(folder / "prompts")
    return Speaker(Speech(Cache(folder / "speech"), Flite(), "slt"), sounds)


def warble(seconds: float, seed: int) -> Samples:
    """No prompt, and never twice the same: its samples tell where they stand. G.711 carries them unchanged."""
    steps = np.random.default_rng(seed).uniform(TONES[0], TONES[-1], round(seconds * 50))
    phase = np.cumsum(np.repeat(steps, RATE // 50)) * 2 * np.pi / RATE
    samples = (12000 * np.sin(phase)).astype(np.int16)
    return g711.decode(g711.encode(samples, g711.ULAW), g711.ULAW)


@dataclass(slots=True)
class Boxes:
    """A store with boxes 1001 and 1002, and a speaker."""

    store: Store
    mailboxes: Mailboxes
    speaker: Speaker
    clock: float = field(default_factory=lambda: time.time() - 3600)

    def leave(self, *audio: Samples, box: str = BOX, caller: str = "1003", urgent: bool = False) -> Message:
        """A message, a minute younger than the one before: in one second there is no order."""
        self.clock += 60
        with patch("media.voicemail.store.time.time", lambda: self.clock):
            recording = self.store.begin(box, caller=caller, callee=box, reason="no-answer", call="x")
        write_wav(recording.audio, *audio)
        return recording.accept(urgent=urgent)

    def folders(self, box: str = BOX) -> dict[str, list[str]]:
        """Ids by folder, as the disk has them."""
        return {folder: self.store.ids(box, folder) for folder in ("new", "saved", "deleted")}


def make_boxes(folder: Path, speaker: Speaker, redis_url: str | None = None) -> Boxes:
    """Boxes below ``folder``, which the switch can read."""
    store = Store(folder)
    for number in (BOX, "1002"):
        store.put_box(Box(number=number, min_seconds=0), new=True)
        store.set_pin(number, PIN)
    return Boxes(store, Mailboxes(store, redis_url), speaker)


@dataclass(slots=True)
class Listener:
    """A phone that dials in, and listens for prompts in their order."""

    call: Call
    since: float = 0.0

    async def hears(self, *names: str | int, timeout: float = PATIENCE) -> None:
        """Until these have begun, one after another: names of prompts, or frequencies; others may lie between."""
        for name in names:
            found = await self.call.hears(
                FREQUENCY[name] if isinstance(name, str) else name, since=self.since, timeout=timeout
            )
            self.since = found.start + 0.02

    async def dials(self, digits: str) -> None:
        """Press keys; what is heard from then on counts."""
        await self.call.dial(digits)
        self.since = max(self.since, self.call.ear.now - 0.1)
