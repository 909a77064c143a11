"""Mailboxes and their messages. The disk decides; Redis is told of each change at once, and lamps with it.

Rows of boxes and messages are made here for commands too. What is changed here stands in the audit; who only listens,
or looks, changes nothing. Coroutines ask the disk in threads. Besides what each names, functions raise OSError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from media.voicemail.box import Box, from_dict, to_dict
from media.voicemail.errors import (
    BadBoxError,
    BadPinError,
    DamagedBoxError,
    DamagedMessageError,
    NoSuchBoxError,
    NoSuchMessageError,
    VoicemailError,
)
from media.voicemail.job import DeadLetter, Job, Standing
from media.voicemail.jobs import Jobs
from media.voicemail.layout import FOLDERS, Folder
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.message import Stored
from media.voicemail.store import Store as Boxes
from model.settings import Settings
from operations.errors import AwayError, ImpossibleError, InvalidError, MissingError
from state import audit
from state.store import Store

Row = dict[str, Any]
FIELDS = tuple(field.name for field in fields(Box) if field.name not in ("number", "pin_hash"))
"Settings of a box that may be changed."


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Mailboxes]:
    """The mailboxes while the block runs, which then raises nothing but errors of :mod:`operations.errors` for them."""
    try:
        store = await asyncio.to_thread(Boxes, settings.voicemail)
        mailboxes = Mailboxes(store, settings.redis_url, transcript_wait=settings.transcript_wait)
        try:
            yield mailboxes
        finally:
            await mailboxes.close()
    except (NoSuchBoxError, NoSuchMessageError) as error:
        raise MissingError(str(error)) from None
    except (DamagedBoxError, DamagedMessageError) as error:
        raise ImpossibleError(str(error)) from None
    except (BadBoxError, BadPinError) as error:
        raise InvalidError(str(error)) from None
    except VoicemailError as error:
        raise ImpossibleError(str(error)) from None
    except RedisError as error:
        raise AwayError(f"Redis does not answer: {type(error).__name__}") from None
    except OSError as error:
        raise AwayError(f"the disk refuses: {error}") from None


# Boxes


def box_row(boxes: Boxes, number: str) -> Row:
    """A box and what it holds. Raises NoSuchBoxError, DamagedBoxError."""
    box, counts = boxes.box(number), boxes.counts(number)
    about = {"name": box.name, "email": box.email, "numbers": list(box.numbers), "pin": bool(box.pin_hash)}
    return {"number": number, **about, **asdict(counts)}


def boxes(found: Boxes, *, search: str = "", after: str = "", limit: int = 100) -> tuple[list[Row], str, list[str]]:
    """Boxes by number whose number or name holds ``search``; where the next page begins, empty where there is none;
    and what is wrong with those that cannot be read.
    """
    rows: list[Row] = []
    wrong: list[str] = []
    for number in found.boxes():
        if number <= after:
            continue
        try:
            row = box_row(found, number)
        except DamagedBoxError as error:
            wrong.append(str(error))
            continue
        if search.casefold() not in " ".join((number, row["name"], *row["numbers"])).casefold():
            continue
        if len(rows) == limit:
            return rows, str(rows[-1]["number"]), wrong
        rows.append(row)
    return rows, "", wrong


def settings_row(box: Box) -> Row:
    """The settings of a box; of PIN and webhook's secret only whether they are set."""
    data = {**to_dict(box), "webhook_secret": bool(box.webhook_secret), "pin": bool(box.pin_hash)}
    del data["pin_hash"]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}


async def add_box(mailboxes: Mailboxes, desk: Store, settings: Mapping[str, Any]) -> Row:
    """Make a box. Raises BadBoxError, BoxExistsError."""
    box = from_dict(_changes(settings, "number"))
    await mailboxes.put_box(box, new=True)
    return await _changed(desk, "mailbox added", None, box)


async def change_box(mailboxes: Mailboxes, desk: Store, number: str, settings: Mapping[str, Any]) -> Row:
    """Change some settings; all others stay. Raises NoSuchBoxError, BadBoxError."""
    before = await mailboxes.box(await mailboxes.find_box(number))
    after = await mailboxes.update_box(before.number, **_changes(settings))
    return await _changed(desk, "mailbox changed", before, after)


async def set_pin(mailboxes: Mailboxes, desk: Store, number: str, pin: str) -> Row:
    """Set the PIN, or take it away where it is empty. Raises NoSuchBoxError, BadPinError."""
    before = await mailboxes.box(await mailboxes.find_box(number))
    if pin:
        await mailboxes.set_pin(before.number, pin)
    else:
        await mailboxes.update_box(before.number, pin_hash="")
    return await _changed(desk, "mailbox PIN set", before, await mailboxes.box(before.number))


async def remove_box(mailboxes: Mailboxes, desk: Store, number: str, *, messages: bool) -> Row:
    """Remove a box with its greetings; where it holds messages only with ``messages``. Raises NoSuchBoxError."""
    box = await mailboxes.box(await mailboxes.find_box(number))
    counts = await asyncio.to_thread(mailboxes.store.counts, box.number)
    held = counts.new + counts.saved + counts.deleted
    if held and not messages:
        raise ImpossibleError(f"box {box.number} holds {held:,} messages, which would be removed too: say so")
    await mailboxes.remove_box(box.number)
    await _changed(desk, "mailbox removed", box, None)
    return {"number": box.number, "messages": held}


def _changes(settings: Mapping[str, Any], *more: str) -> dict[str, Any]:
    if unknown := sorted(set(settings) - set(FIELDS) - set(more)):
        raise BadBoxError(f"{unknown[0]}: there is no such setting; there are: {', '.join(FIELDS)}")
    return dict(settings)


async def _changed(desk: Store, what: str, before: Box | None, after: Box | None) -> Row:
    rows = [settings_row(box) if box else None for box in (before, after)]
    number = (after or before or Box(number="")).number
    await asyncio.to_thread(audit.write, desk, what, number, *rows)
    return rows[1] or {}


# Messages


def message_row(stored: Stored) -> Row:
    """All about a message, its text and what became of its delivery."""
    beside = {"transcript": stored.transcript, "delivery": stored.delivery}
    return {"folder": stored.folder, **asdict(stored.message), "wanted": list(stored.message.wanted), **beside}


def messages(
    found: Boxes, box: str, folder: Folder, *, after: str = "", limit: int = 50
) -> tuple[list[Row], int, str]:  # fmt: skip
    """Messages of a folder, the newest first; how many it holds; where the next page begins, if there is one.

    Raises NoSuchBoxError.
    """
    ids = found.ids(box, folder)[::-1]
    wanted = [id for id in ids if not after or id < after]
    rows = [row for id in wanted[:limit] if (row := _row(found, box, folder, id))]
    return rows, len(ids), wanted[limit - 1] if len(wanted) > limit else ""


def _row(found: Boxes, box: str, folder: Folder, id: str) -> Row | None:
    try:
        stored = found.message(box, id)
    except NoSuchMessageError:
        # Removed since it was listed.
        return None
    except DamagedMessageError as error:
        return {"folder": folder, "id": id, "box": box, "damaged": str(error)}
    return message_row(stored) if stored.folder == folder else None


def message(found: Boxes, box: str, id: str) -> Row:
    """One of them. Raises NoSuchBoxError, NoSuchMessageError, DamagedMessageError."""
    return message_row(found.message(box, id))


def audio(found: Boxes, box: str, id: str) -> Path:
    """Its WAV file, until somebody moves the message. Raises NoSuchBoxError, NoSuchMessageError."""
    return found.message(box, id).audio


async def move(mailboxes: Mailboxes, desk: Store, box: str, id: str, folder: Folder) -> Row:
    """Move to a folder of the box: ``saved`` is what was heard. The message as it is then.

    Raises NoSuchBoxError, NoSuchMessageError; StoreError where Redis does not take what is said of it in the audit.
    """
    source = await asyncio.to_thread(mailboxes.store.where, box, id)
    if await mailboxes.move(box, id, folder):
        before, after = {"folder": source}, {"folder": folder}
        await asyncio.to_thread(audit.write, desk, "message moved", f"{box}/{id}", before, after)
    return message_row(await mailboxes.message(box, id))


async def remove(mailboxes: Mailboxes, desk: Store, box: str, id: str) -> Row:
    """Remove audio, text and all, for good. Raises as :func:`move`."""
    source = await asyncio.to_thread(mailboxes.store.where, box, id)
    await mailboxes.purge(box, id)
    await asyncio.to_thread(audit.write, desk, "message removed", f"{box}/{id}", {"folder": source}, None)
    return {"box": box, "id": id}


# What is done with messages, by services. All raise redis.exceptions.RedisError.


def letter_row(letter: DeadLetter) -> Row:
    """Something that was given up."""
    return {
        "kind": letter.kind, "message": letter.message, "box": letter.box, "reason": letter.reason,
        "tries": letter.tries, "at": letter.at,
    }  # fmt: skip


def job_row(job: Job) -> Row:
    """A job that is tried again."""
    return {"kind": job.kind, "message": job.message, "box": job.box}


def standing_row(standing: Standing) -> Row:
    """The services and their jobs."""
    return {
        "services": list(standing.services), "jobs": standing.open, "waiting": standing.waiting,
        "dead": standing.dead, "oldest": round(standing.oldest, 1), "sound": standing.sound,
    }  # fmt: skip


async def standing(jobs: Jobs) -> Row:
    """The services that are live, and how their jobs stand."""
    return standing_row(await jobs.standing())


async def dead(jobs: Jobs) -> list[Row]:
    """Transcripts, mails and webhooks that were given up, the oldest first."""
    return [letter_row(letter) for letter in await jobs.letters()]


async def again(jobs: Jobs, ids: set[str]) -> list[Job]:
    """Try again what was given up of these messages (none: of all), and at once what waits; what is tried."""
    wanted = [
        Job(kind=letter.kind, message=letter.message, box=letter.box, force=True)
        for letter in await jobs.letters()
        if not ids or letter.message in ids
    ]
    wanted += [job for job in await jobs.waiting() if job.message in ids]
    return [job for job in wanted if await jobs.add(job, force=True)]


async def retry(jobs: Jobs, desk: Store, ids: set[str]) -> list[Row]:
    """The same, written into the audit."""
    done = [job_row(job) for job in await again(jobs, ids)]
    for row in done:
        await asyncio.to_thread(audit.write, desk, "job retried", f"{row['kind']}:{row['message']}", None, row)
    return done


def aside(found: Boxes) -> list[Row]:
    """Recordings of which no message could be made; they wait for a person, and nobody removes them."""
    return [{"id": id, "reason": reason} for id, reason in found.aside()]


def folder_of(text: str) -> Folder | None:
    """The folder of this name; None where there is none."""
    return next((folder for folder in FOLDERS if folder == text), None)
