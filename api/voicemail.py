"""Mailboxes and their messages. What callers said is for those who may operate."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Body, Path, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.requests import Request

from api.access import Desk, Here, needs
from api.pages import LIMIT, After, Limit
from api.problems import documented
from api.room import room
from media.voicemail.jobs import Jobs
from media.voicemail.layout import Folder
from operations import voicemail
from operations.errors import AwayError
from state.tokens import Role

router = room("/voicemail", "voicemail")

MISSING = documented(HTTPStatus.NOT_FOUND)
READ, OPERATE, ADMIN = [needs(Role.READ)], [needs(Role.OPERATE)], [needs(Role.ADMIN)]
AUDIO = {"Cache-Control": "private, max-age=3600"}
"Of a message it never changes."
Number = Annotated[str, Path(max_length=64, description="Of the box, or one that leads to it.")]
Id = Annotated[str, Path(max_length=64)]
Settings = Annotated[dict[str, Any], Body(description="Settings of a box, as docs/voicemail.md names them.")]


class Box(BaseModel):
    """A box and how many messages it holds; new and saved ones include urgent ones."""

    number: str
    name: str
    email: str
    numbers: list[str]
    pin: bool = Field(description="Whether one is set; without, nobody can dial in.")
    new: int
    saved: int
    urgent_new: int
    urgent_saved: int
    deleted: int


class Boxes(BaseModel):
    """Some boxes, by number."""

    boxes: list[Box]
    after: str | None = Field(description="For the next page; null: there is none.")
    damaged: list[str] = Field(description="What is wrong with boxes that cannot be read.")


class BoxSettings(BaseModel):
    """The settings of a box; of its PIN and its webhook's secret only whether they are set."""

    model_config = ConfigDict(extra="allow")

    number: str
    pin: bool
    webhook_secret: bool


class NewPin(BaseModel):
    """A PIN."""

    model_config = ConfigDict(extra="forbid")

    pin: str = Field(max_length=16, description="4 to 16 digits; empty: the box has none.")


class Message(BaseModel):
    """A message; of one that cannot be read, what is damaged."""

    id: str
    box: str
    folder: Folder
    damaged: str = ""
    caller: str = Field("", description="Number; empty: withheld.")
    caller_name: str = ""
    callee: str = Field("", description="The number that was dialled.")
    reason: str = Field("", description="Why the call came: no-answer, busy, unreachable, …")
    call: str = Field("", description="Id of the call's record.")
    received: float | None = Field(None, description="Unix time at which recording began.")
    seconds: float | None = None
    urgent: bool = False
    forwarded_from: str = ""
    comment: bool = False
    adopted: bool = False
    sha256: str = Field("", description="Of the audio.")
    wanted: list[str] = Field([], description="What is to be done with it: transcribe, mail, webhook.")
    transcript: dict[str, Any] | None = Field(None, description="state, text, words with start and end in seconds.")
    delivery: dict[str, Any] | None = None


class Messages(BaseModel):
    """Some messages of a folder, the newest first."""

    messages: list[Message]
    total: int = Field(description="In the folder.")
    after: str | None = Field(description="For the next page; null: there is none.")


class Move(BaseModel):
    """Where to; saved is what was heard."""

    model_config = ConfigDict(extra="forbid")

    folder: Folder


class Removed(BaseModel):
    """A message that is gone."""

    box: str
    id: str


class RemovedBox(BaseModel):
    """A box that is gone."""

    number: str
    messages: int = Field(description="That went with it.")


class Standing(BaseModel):
    """The services, and their jobs."""

    services: list[str]
    jobs: dict[str, int] = Field(description="Open ones by kind.")
    waiting: int
    dead: int
    oldest: float = Field(description="Seconds that the oldest open job is wanted.")
    sound: bool = Field(description="Whether the index in Redis agrees with the disk.")


class Letter(BaseModel):
    """Something that was given up."""

    kind: str
    message: str
    box: str
    reason: str
    tries: int
    at: float


class Letters(BaseModel):
    """The oldest first."""

    jobs: list[Letter]


class Retry(BaseModel):
    """What is to be tried again."""

    model_config = ConfigDict(extra="forbid")

    messages: list[str] = Field(min_length=0, max_length=1000, description="Ids of messages; none: all.")


class Job(BaseModel):
    """A job that is tried again."""

    kind: str
    message: str
    box: str


class Retried(BaseModel):
    """What is tried again."""

    jobs: list[Job]


class Aside(BaseModel):
    """A recording of which no message could be made."""

    id: str
    reason: str


class Asides(BaseModel):
    """They wait for a person."""

    recordings: list[Aside]


@router.get("/boxes", operation_id="voicemail.boxes", dependencies=READ)
async def boxes(
    here: Here, search: Annotated[str, Query(max_length=100, description="Part of a number or name.")] = "",
    after: After = "", limit: Limit = LIMIT,
) -> Boxes:  # fmt: skip
    """The boxes and what they hold, a page at a time."""
    async with voicemail.opened(here) as found:
        rows, end, damaged = await asyncio.to_thread(
            voicemail.boxes, found.store, search=search, after=after, limit=limit
        )
    return Boxes.model_validate({"boxes": rows, "after": end or None, "damaged": damaged})


@router.post("/boxes", operation_id="voicemail.add_box", status_code=201, dependencies=ADMIN)
async def add_box(desk: Desk, here: Here, settings: Settings) -> BoxSettings:
    """Make a box; its settings with its number. Without a PIN nobody can dial in to it."""
    async with voicemail.opened(here) as found:
        return BoxSettings.model_validate(await voicemail.add_box(found, desk, settings))


@router.get("/boxes/{box}", operation_id="voicemail.box", dependencies=READ, responses=MISSING)
async def box(here: Here, box: Number) -> BoxSettings:
    """The settings of a box."""
    async with voicemail.opened(here) as found:
        return BoxSettings.model_validate(voicemail.settings_row(await found.box(await found.find_box(box))))


@router.patch("/boxes/{box}", operation_id="voicemail.change_box", dependencies=ADMIN, responses=MISSING)
async def change_box(desk: Desk, here: Here, box: Number, settings: Settings) -> BoxSettings:
    """Change some settings of a box; all others stay."""
    async with voicemail.opened(here) as found:
        return BoxSettings.model_validate(await voicemail.change_box(found, desk, box, settings))


@router.put("/boxes/{box}/pin", operation_id="voicemail.set_pin", dependencies=ADMIN, responses=MISSING)
async def set_pin(desk: Desk, here: Here, box: Number, wanted: NewPin) -> BoxSettings:
    """Set the PIN of a box, or take it away."""
    async with voicemail.opened(here) as found:
        return BoxSettings.model_validate(await voicemail.set_pin(found, desk, box, wanted.pin))


@router.delete("/boxes/{box}", operation_id="voicemail.remove_box", dependencies=ADMIN, responses=MISSING)
async def remove_box(
    desk: Desk, here: Here, box: Number,
    messages: Annotated[bool, Query(description="Also if it holds messages, which go with it.")] = False,
) -> RemovedBox:  # fmt: skip
    """Remove a box with its greetings. Nothing of it can be had back."""
    async with voicemail.opened(here) as found:
        return RemovedBox.model_validate(await voicemail.remove_box(found, desk, box, messages=messages))


@router.get("/boxes/{box}/messages", operation_id="voicemail.messages", dependencies=OPERATE, responses=MISSING)
async def messages(
    here: Here, box: Number, folder: Folder = "new", after: After = "", limit: Limit = LIMIT
) -> Messages:  # fmt: skip
    """The messages of a folder, a page at a time."""
    async with voicemail.opened(here) as found:
        number = await found.find_box(box)
        rows, total, end = await asyncio.to_thread(
            voicemail.messages, found.store, number, folder, after=after, limit=limit
        )
    return Messages.model_validate({"messages": rows, "total": total, "after": end or None})


@router.get("/boxes/{box}/messages/{id}", operation_id="voicemail.message", dependencies=OPERATE, responses=MISSING)
async def message(here: Here, box: Number, id: Id) -> Message:
    """One of them, with its text."""
    async with voicemail.opened(here) as found:
        number = await found.find_box(box)
        return Message.model_validate(await asyncio.to_thread(voicemail.message, found.store, number, id))


@router.get(
    "/boxes/{box}/messages/{id}/audio", operation_id="voicemail.audio", dependencies=OPERATE,
    response_class=FileResponse,
    responses={**MISSING, **documented(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
               200: {"content": {"audio/wav": {}}}, 206: {"description": "Partial Content"}},
)  # fmt: skip
async def audio(here: Here, box: Number, id: Id) -> FileResponse:
    """What the caller said; ranges of it may be asked for."""
    async with voicemail.opened(here) as found:
        number = await found.find_box(box)
        path = await asyncio.to_thread(voicemail.audio, found.store, number, id)
    return FileResponse(path, media_type="audio/wav", headers=AUDIO)


@router.post("/boxes/{box}/messages/{id}/move", operation_id="voicemail.move", dependencies=OPERATE, responses=MISSING)
async def move(desk: Desk, here: Here, box: Number, id: Id, to: Move) -> Message:
    """Move it to another folder of its box, deleted ones back too."""
    async with voicemail.opened(here) as found:
        number = await found.find_box(box)
        return Message.model_validate(await voicemail.move(found, desk, number, id, to.folder))


@router.delete("/boxes/{box}/messages/{id}", operation_id="voicemail.remove", dependencies=OPERATE, responses=MISSING)
async def remove(desk: Desk, here: Here, box: Number, id: Id) -> Removed:
    """Remove audio, text and all, for good."""
    async with voicemail.opened(here) as found:
        number = await found.find_box(box)
        return Removed.model_validate(await voicemail.remove(found, desk, number, id))


@router.get("/standing", operation_id="voicemail.standing", dependencies=READ)
async def standing(request: Request) -> Standing:
    """The services that transcribe and deliver, and their jobs."""
    try:
        return Standing.model_validate(await voicemail.standing(_jobs(request)))
    except RedisError as error:
        raise _away(error) from None


@router.get("/dead", operation_id="voicemail.dead", dependencies=READ)
async def dead(request: Request) -> Letters:
    """Transcripts, mails and webhooks that were given up."""
    try:
        return Letters.model_validate({"jobs": await voicemail.dead(_jobs(request))})
    except RedisError as error:
        raise _away(error) from None


@router.post("/retry", operation_id="voicemail.retry", dependencies=OPERATE)
async def retry(request: Request, desk: Desk, wanted: Retry) -> Retried:
    """Try again what was given up, and at once what waits for its next try."""
    try:
        done = await voicemail.retry(_jobs(request), desk, set(wanted.messages))
    except RedisError as error:
        raise _away(error) from None
    return Retried.model_validate({"jobs": done})


@router.get("/aside", operation_id="voicemail.aside", dependencies=READ)
async def aside(here: Here) -> Asides:
    """Recordings of which no message could be made."""
    async with voicemail.opened(here) as found:
        return Asides.model_validate({"recordings": await asyncio.to_thread(voicemail.aside, found.store)})


def _jobs(request: Request) -> Jobs:
    redis: Redis = request.app.state.redis
    return Jobs(redis, "api")


def _away(error: RedisError) -> AwayError:
    return AwayError(f"Redis does not answer: {type(error).__name__}")
