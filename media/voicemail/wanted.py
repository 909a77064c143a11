"""What is still to be done with a message, by what stands beside it on the disk. Pure."""

from __future__ import annotations

from typing import Any

from media.voicemail.job import KINDS, MAIL, TRANSCRIBE, WEBHOOK, DeadLetter, Job
from media.voicemail.message import Stored

DONE, FAILED = "done", "failed"
"States of a transcript."
SENT, NOBODY, TRYING = "sent", "nobody", "trying"
"States of a mail or webhook, besides failed: delivered; the box has no address any more; neither yet."


def wanted(stored: Stored, now: float, wait: float) -> list[Job]:
    """Jobs that are to be open; mail and webhook wait for the transcript, ``wait`` seconds at most."""
    message = stored.message
    found = [kind for kind in KINDS if kind in message.wanted and is_open(stored, kind)]
    waits = TRANSCRIBE in found
    return [
        Job(
            kind=kind, message=message.id, box=message.box, since=now,
            due=now + wait if waits and kind != TRANSCRIBE else 0.0,
        )
        for kind in found
    ]  # fmt: skip


def is_open(stored: Stored, kind: str) -> bool:
    """Whether nothing came of it yet, neither well nor badly."""
    if kind == TRANSCRIBE:
        return stored.transcript is None
    return state(stored, kind).get("state") not in (SENT, FAILED, NOBODY)


def has_failed(stored: Stored, kind: str) -> bool:
    """Whether it was given up."""
    found = (stored.transcript or {}) if kind == TRANSCRIBE else state(stored, kind)
    return found.get("state") == FAILED


def letters(stored: Stored) -> list[DeadLetter]:
    """What was given up."""
    found = {TRANSCRIBE: stored.transcript or {}, MAIL: state(stored, MAIL), WEBHOOK: state(stored, WEBHOOK)}
    return [
        DeadLetter(
            kind=kind, message=stored.message.id, box=stored.message.box, reason=str(told.get("reason", "")),
            tries=int(told.get("tries", 1)), at=float(told.get("at", stored.message.received)),
        )
        for kind, told in found.items()
        if told.get("state") == FAILED
    ]  # fmt: skip


def state(stored: Stored, kind: str) -> dict[str, Any]:
    """What is known of a mail or webhook."""
    found = (stored.delivery or {}).get(kind)
    return found if isinstance(found, dict) else {}
