"""Commands about what is done with voicemail messages: the index made anew, and jobs that were given up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import typer
from redis.asyncio import Redis
from redis.exceptions import RedisError

from console.output import FAILED, CommandFailed, Json, out, print_json, print_table, when
from console.voicemail_boxes import store
from media.voicemail.job import Standing
from media.voicemail.jobs import Jobs
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.reconcile import Reconciler
from model.settings import Settings
from operations import voicemail
from state.clients import connect
from state.store import StoreAwayError

T = TypeVar("T")
PATIENCE = 10.0
"Seconds that Redis has for an answer: to replace a large box takes it a while."


def status(json: Json = False) -> None:
    """The services that transcribe and deliver, and their jobs; exit status 1 if none is live."""
    standing = _with_redis(lambda _, jobs: jobs.standing())
    if json:
        print_json(voicemail.standing_row(standing))
    else:
        out.print(text(standing))
    if not (standing.services and standing.sound):
        raise typer.Exit(FAILED)


def reindex(json: Json = False) -> None:
    """Make what Redis knows of mailboxes anew from the disk; what is still to be done with messages is done then."""
    rebuilt = _with_redis(lambda client, jobs: Reconciler(_mailboxes(), client, jobs).rebuild())
    if json:
        print_json({"boxes": rebuilt.boxes, "messages": rebuilt.messages, "jobs": rebuilt.jobs})
    else:
        out.print(f"{rebuilt.boxes} boxes with {rebuilt.messages} messages; {rebuilt.jobs} jobs were missing")


def dead(json: Json = False) -> None:
    """Transcripts, mails and webhooks that were given up, the oldest first."""
    letters = _with_redis(lambda _, jobs: jobs.letters())
    if json:
        print_json([voicemail.letter_row(letter) for letter in letters])
        return
    rows = [
        (letter.message, letter.kind, letter.box, letter.tries, when(letter.at), letter.reason) for letter in letters
    ]
    print_table(("message", "kind", "box", "tries", "since", "reason"), rows, empty="nothing was given up")


def retry(
    ids: Annotated[list[str] | None, typer.Argument(help="Messages, as `strowger voicemail dead` names them.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All that was given up.")] = False,
    json: Json = False,
) -> None:
    """Try again what was given up, and at once what waits for its next try."""
    if bool(ids) == all_:
        raise typer.BadParameter("either name messages, or say --all")
    done = _with_redis(lambda _, jobs: voicemail.again(jobs, set(ids or ())))
    if missing := sorted(set(ids or ()) - {job.message for job in done}):
        raise CommandFailed(f"nothing to try again: {', '.join(missing)}")
    if json:
        print_json([voicemail.job_row(job) for job in done])
        return
    for job in done:
        out.print(f"{job.message} {job.kind} is tried again")


def aside(json: Json = False) -> None:
    """Recordings of which no message could be made; they wait for a person, and nobody removes them."""
    found = _mailboxes().store.aside()
    if json:
        print_json([{"id": id, "reason": reason} for id, reason in found])
    else:
        print_table(("recording", "reason"), found, empty="none")


def node_status(settings: Settings) -> dict[str, dict[str, Any]]:
    """How the voicemail services stand: ``ok``, ``text`` for people, and figures; nothing where there are no boxes."""
    try:
        standing, boxes = asyncio.run(_standing(settings))
    except (RedisError, OSError):
        return {}
    if not boxes and not standing.services:
        return {}
    well = bool(standing.services) and standing.sound
    return {"voicemail": {"ok": well, "text": text(standing), **voicemail.standing_row(standing)}}


def text(standing: Standing) -> str:
    """For people."""
    count = len(standing.services)
    open_jobs = ", ".join(f"{number} {kind}" for kind, number in standing.open.items() if number) or "no"
    said = f"{count} service{'' if count == 1 else 's'}; {open_jobs} jobs"
    said += f", the oldest wanted for {standing.oldest:.0f} s" if standing.oldest else ""
    said += f", {standing.waiting} wait for a time" if standing.waiting else ""
    said += f"; {standing.dead} given up (`strowger voicemail dead`)" if standing.dead else ""
    return said + ("" if standing.sound else "; the index is being made anew")


def service_pids(settings: Settings) -> set[int]:
    """Process ids of this node's live services."""
    try:
        standing, _ = asyncio.run(_standing(settings))
    except (RedisError, OSError):
        return set()
    names = [name.rsplit("-", 2) for name in standing.services]
    return {int(pid) for node, pid, _ in names if node == settings.node}


async def _standing(settings: Settings) -> tuple[Standing, int]:
    async with _redis(settings) as (_, jobs):
        return await jobs.standing(), await jobs.boxes()


def _mailboxes() -> Mailboxes:
    settings = Settings.from_env()
    return Mailboxes(store(), settings.redis_url, transcript_wait=settings.transcript_wait)


def _with_redis(command: Callable[[Redis, Jobs], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        async with _redis(Settings.from_env()) as (client, jobs):
            return await command(client, jobs)

    try:
        return asyncio.run(run())
    except RedisError as error:
        raise StoreAwayError(f"Redis does not answer: {type(error).__name__}") from None


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[tuple[Redis, Jobs]]:
    client = connect(settings.redis_url, timeout=PATIENCE)
    try:
        yield client, Jobs(client, f"command-{os.getpid()}-0")
    finally:
        await client.aclose()
