"""What is done with a message: transcribed, mailed, told to a webhook. The disk says what was done, and is told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from media.transcription.checking import plain
from media.transcription.engine import Transcript, TranscriptionError
from media.voicemail import wanted, webhook
from media.voicemail.box import Box
from media.voicemail.job import MAIL, TRANSCRIBE, WEBHOOK, Job
from media.voicemail.mail import DeliveryError, RefusedError
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import NoSuchBoxError, NoSuchMessageError, Stored, VoicemailError
from state.events import Events
from telemetry import voicemail as metrics

TRIES = {TRANSCRIBE: 5, MAIL: 100, WEBHOOK: 30}
"Until a job is given up. With the delays below: a mail is tried for four days, a webhook for one."
FIRST, LONGEST = 5.0, 3600.0
"Seconds until the second try; doubled with each, up to the longest."
PER_HOST = 2
"Webhooks of one host under way in one service: one that hangs leaves room for the others."
BUSY = 1.0
"Seconds until one is looked at again for which there was none."

log = logging.getLogger(__name__)


class Transcriber(Protocol):
    """What writes speech down; see :class:`media.transcription.transcriber.Transcriber`."""

    engine: str

    async def transcribe(self, path: Path, language: str = "en") -> Transcript:
        """What is said in a file; raises :class:`TranscriptionError` only."""


class Sender(Protocol):
    """What sends mail; see :class:`media.voicemail.mail.Mailer`."""

    async def send(self, stored: Stored, box: Box) -> None:
        """Send a message; raises :class:`DeliveryError` and OSError."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a try."""

    state: Literal["done", "again", "dead"]
    reason: str = ""
    seconds: float = 0.0
    "Until the next try."
    promote: tuple[str, ...] = ()
    "Kinds of jobs that waited for this one."
    counts: bool = True
    "Whether it was a try."


DONE = Result("done")


class Work:
    """Does jobs."""

    def __init__(self, mailboxes: Mailboxes, transcriber: Transcriber, mailer: Sender, events: Events | None) -> None:
        self._mailboxes, self._transcriber, self._mailer, self._events = mailboxes, transcriber, mailer, events
        self._telling: Counter[str] = Counter()
        self._doing = {TRANSCRIBE: self._transcribe, MAIL: self._mail, WEBHOOK: self._webhook}

    async def call_of(self, job: Job) -> str:
        """Id of the call that left a job's message; empty where nobody knows."""
        try:
            return (await self._mailboxes.message(job.box, job.message)).message.call
        except (VoicemailError, OSError):
            return ""

    async def do(self, job: Job) -> Result:
        """Do a job, or find that it is done. Raises OSError where the disk does not work."""
        try:
            stored = await self._mailboxes.message(job.box, job.message)
            box = await self._mailboxes.box(job.box)
            again = job.force and wanted.has_failed(stored, job.kind)
            if wanted.is_open(stored, job.kind) or again:
                return await self._doing[job.kind](job, stored, box)
        except (NoSuchMessageError, NoSuchBoxError):
            log.info("message %s is gone: no %s", job.message, job.kind)
            return DONE
        return Result("done", promote=(MAIL, WEBHOOK) if job.kind == TRANSCRIBE else ())

    # Transcripts

    async def _transcribe(self, job: Job, stored: Stored, box: Box) -> Result:
        began = time.monotonic()
        try:
            told = {"state": wanted.DONE, **plain(await self._heard(stored, box.language))}
            if stored.message.seconds > 0:
                metrics.REAL_TIME.observe((time.monotonic() - began) / stored.message.seconds)
                metrics.AUDIO.inc(stored.message.seconds)
        except TranscriptionError as error:
            # A crash may be the machine's doing, and not the audio's.
            if error.reason == "crash" and job.tries < TRIES[TRANSCRIBE]:
                log.warning("message %s: the engine crashed, try %d", job.message, job.tries)
                return Result("again", error.reason, delay(job.tries))
            told = {"state": wanted.FAILED, "reason": error.reason, "detail": error.detail}
        told |= {"engine": self._transcriber.engine, "took": round(time.monotonic() - began, 3)}
        told |= {"at": time.time(), "tries": job.tries}
        await asyncio.to_thread(self._mailboxes.store.put_transcript, job.box, job.message, told)
        await self._tell(job, told["state"])
        log.info("message %s: transcript %s in %.1f s", job.message, told.get("reason") or "done", told["took"])
        state: Literal["dead", "done"] = "dead" if told["state"] == wanted.FAILED else "done"
        return Result(state, str(told.get("reason", "")), promote=(MAIL, WEBHOOK))

    async def _heard(self, stored: Stored, language: str) -> Transcript:
        while True:
            try:
                return await self._transcriber.transcribe(stored.audio, language)
            except TranscriptionError:
                if stored.audio.exists():
                    raise
                # Moved to another folder before the engine opened it. Where it is gone, this raises.
                message = stored.message
                stored = await self._mailboxes.message(message.box, message.id)

    async def _tell(self, job: Job, state: str) -> None:
        if self._events:
            await self._events.publish("transcript.final", {"box": job.box, "id": job.message, "state": state})

    # Deliveries

    async def _mail(self, job: Job, stored: Stored, box: Box) -> Result:
        result = await self._deliver(job, box.email, lambda: self._mailer.send(stored, box))
        if result is DONE and box.delete_after_mail and stored.folder != "deleted":
            await self._mailboxes.move(job.box, job.message, "deleted")
        return result

    async def _webhook(self, job: Job, stored: Stored, box: Box) -> Result:
        host = urlsplit(box.webhook).netloc
        if self._telling[host] >= PER_HOST:
            return Result("again", "busy", BUSY, counts=False)
        self._telling[host] += 1
        try:
            return await self._deliver(job, box.webhook, lambda: webhook.tell(stored, box))
        finally:
            self._telling[host] -= 1

    async def _deliver(self, job: Job, address: str, send: Callable[[], Awaitable[None]]) -> Result:
        if not address:
            await self._put(job, {"state": wanted.NOBODY})
            return Result("done", "nobody")
        # Where the disk does not take this, it would not take that it was sent either, and it would be sent each time.
        await self._put(job, {"state": wanted.TRYING})
        try:
            await send()
        except FileNotFoundError:
            # Moved to another folder meanwhile.
            return Result("again", "moved", 1.0)
        except DeliveryError as error:
            return await self._failed(job, error)
        await self._put(job, {"state": wanted.SENT})
        log.info("message %s: %s sent, try %d", job.message, job.kind, job.tries)
        return DONE

    async def _failed(self, job: Job, error: DeliveryError) -> Result:
        for_ever = isinstance(error, RefusedError)
        if not for_ever and job.tries < TRIES[job.kind]:
            log.warning("message %s: %s not sent, try %d", job.message, job.kind, job.tries)
            return Result("again", str(error), delay(job.tries))
        await self._put(job, {"state": wanted.FAILED, "reason": str(error)})
        log.error("message %s: %s given up, %s", job.message, job.kind, "refused" if for_ever else "too many tries")
        return Result("dead", str(error))

    async def _put(self, job: Job, told: dict[str, Any]) -> None:
        told = {job.kind: {**told, "at": time.time(), "tries": job.tries}}
        await asyncio.to_thread(self._mailboxes.store.put_delivery, job.box, job.message, told)

    async def give_up(self, job: Job) -> Result:
        """A job that was begun too often, and never ended: it, or what it needs, takes its service down."""
        reason = f"begun {job.tries - 1} times and never ended"
        log.error("message %s: %s given up, %s", job.message, job.kind, reason)
        try:
            if job.kind == TRANSCRIBE:
                told = {"state": wanted.FAILED, "reason": "crash", "detail": reason, "at": time.time()}
                await asyncio.to_thread(self._mailboxes.store.put_transcript, job.box, job.message, told)
            else:
                await self._put(job, {"state": wanted.FAILED, "reason": reason})
        except (NoSuchMessageError, NoSuchBoxError):
            return DONE
        return Result("dead", reason, promote=(MAIL, WEBHOOK) if job.kind == TRANSCRIBE else ())


def delay(tries: int) -> float:
    """Seconds until the next try, after ``tries`` of them."""
    return min(LONGEST, FIRST * 2.0 ** min(tries - 1, 20))
