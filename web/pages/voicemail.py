"""Mailboxes: who has messages, and listening to them. What callers said is for those who may operate."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response
from fastapi.responses import FileResponse
from redis.exceptions import RedisError

from media.voicemail.jobs import Jobs
from media.voicemail.layout import FOLDERS, Folder
from model.settings import Settings
from operations import voicemail
from operations.errors import AwayError, MissingError
from state.tokens import Role
from web.page import Desk, after, needs, pages
from web.render import page

router = pages()

BOXES, LIMIT = 100, 50
AUDIO = {"Cache-Control": "private, max-age=3600"}
"Of a message it never changes."
FolderName = Annotated[Folder, Query()]
From = Annotated[str, Query(alias="from", max_length=40)]
Search = Annotated[str, Query(max_length=100)]


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


@router.get("/voicemail")
async def boxes(request: Request, search: Search = "", from_: From = "") -> Response:
    """All boxes, a page at a time."""
    return page(request, "voicemail.html", title="Voicemail", **await _boxes(request, search.strip(), from_))


@router.get("/voicemail/part")
async def boxes_part(request: Request, search: Search = "", from_: From = "") -> Response:
    """What of it changes."""
    return page(request, "voicemail_part.html", **await _boxes(request, search, from_))


async def _boxes(request: Request, search: str, from_: str) -> dict[str, Any]:
    async with voicemail.opened(_settings(request)) as found:
        rows, end, wrong = await asyncio.to_thread(
            voicemail.boxes, found.store, search=search, after=from_, limit=BOXES
        )
    asked = {"search": search} if search else {}
    return {
        "rows": rows, "wrong": wrong, "search": search, "asked": urlencode({**asked, "from": from_}),
        "first": f"/voicemail?{urlencode(asked)}" if from_ else "",
        "next": f"/voicemail?{urlencode({**asked, 'from': end})}" if end else "",
    }  # fmt: skip


@router.get("/voicemail/box", dependencies=[needs(Role.OPERATE)])
async def box(
    request: Request, number: str, folder: FolderName = "new", message: str = "", from_: From = ""
) -> Response:
    """A folder of a box, and one of its messages."""
    found = await _folder(request, number, folder, message, from_)
    one = await _message(request, number, message) if message else None
    return page(request, "mailbox.html", title=f"Mailbox {number}", one=one, **found)


@router.get("/voicemail/box/part", dependencies=[needs(Role.OPERATE)])
async def box_part(
    request: Request, number: str, folder: FolderName = "new", message: str = "", from_: From = ""
) -> Response:
    """The list, which changes: also once the message that is shown beside it was removed."""
    return page(request, "mailbox_part.html", **await _folder(request, number, folder, message, from_))


@router.get("/voicemail/message/part", dependencies=[needs(Role.OPERATE)])
async def message_part(request: Request, number: str, message: str) -> Response:
    """The text of a message, which comes later than it does; also once the message was removed elsewhere."""
    try:
        one = await _message(request, number, message)
    except MissingError:
        one = None
    return page(request, "message_part.html", one=one)


async def _message(request: Request, number: str, id: str) -> voicemail.Row:
    async with voicemail.opened(_settings(request)) as found:
        return await asyncio.to_thread(voicemail.message, found.store, await found.find_box(number), id)


async def _folder(request: Request, number: str, folder: Folder, message: str, from_: str) -> dict[str, Any]:
    async with voicemail.opened(_settings(request)) as found:
        number = await found.find_box(number)
        about = await asyncio.to_thread(voicemail.box_row, found.store, number)
        rows, total, end = await asyncio.to_thread(
            voicemail.messages, found.store, number, folder, after=from_, limit=LIMIT
        )
    asked = {"number": number, "folder": folder}
    return {
        "box": about, "folder": folder, "folders": FOLDERS, "rows": rows, "total": total, "chosen": message,
        "asked": urlencode({**asked, "message": message, "from": from_}),
        "first": f"/voicemail/box?{urlencode(asked)}" if from_ else "",
        "next": f"/voicemail/box?{urlencode({**asked, 'from': end})}" if end else "",
        "link": lambda id: f"/voicemail/box?{urlencode({**asked, 'message': id, 'from': from_})}#message",
    }  # fmt: skip


@router.get("/voicemail/audio", dependencies=[needs(Role.OPERATE)])
async def audio(request: Request, number: str, message: str) -> Response:
    """What the caller said; ranges of it may be asked for."""
    async with voicemail.opened(_settings(request)) as found:
        path = await asyncio.to_thread(voicemail.audio, found.store, number, message)
    return FileResponse(path, media_type="audio/wav", headers=AUDIO)


@router.post("/voicemail/move", dependencies=[needs(Role.OPERATE)])
async def move(
    request: Request, desk: Desk, number: Annotated[str, Form()], message: Annotated[str, Form()],
    to: Annotated[Folder, Form()], folder: Annotated[Folder, Form()] = "new",
) -> Response:  # fmt: skip
    """To another folder; what was deleted can be had back."""
    async with voicemail.opened(_settings(request)) as found:
        await voicemail.move(found, desk, number, message, to)
    asked = urlencode({"number": number, "folder": folder})
    said = {"saved": "kept as heard", "new": "new again", "deleted": "deleted; it is in the folder deleted for a while"}
    return after(request, f"/voicemail/box?{asked}", f"Message {message} is {said[to]}")


@router.post("/voicemail/remove", dependencies=[needs(Role.OPERATE)])
async def remove(
    request: Request, desk: Desk, number: Annotated[str, Form()], message: Annotated[str, Form()]
) -> Response:  # fmt: skip
    """For good."""
    async with voicemail.opened(_settings(request)) as found:
        await voicemail.remove(found, desk, number, message)
    asked = urlencode({"number": number, "folder": "deleted"})
    return after(request, f"/voicemail/box?{asked}", f"Message {message} is removed for good")


@router.get("/voicemail/jobs")
async def jobs(request: Request) -> Response:
    """What was given up."""
    known = Jobs(request.app.state.redis, "console")
    try:
        letters, standing = await voicemail.dead(known), await voicemail.standing(known)
    except RedisError as error:
        raise AwayError(f"Redis does not answer: {type(error).__name__}") from None
    async with voicemail.opened(_settings(request)) as found:
        aside = await asyncio.to_thread(voicemail.aside, found.store)
    return page(request, "voicemail_jobs.html", title="Voicemail jobs", letters=letters, standing=standing, aside=aside)


@router.post("/voicemail/jobs/retry", dependencies=[needs(Role.OPERATE)])
async def retry(request: Request, desk: Desk, message: Annotated[str, Form()] = "") -> Response:
    """Try again what was given up: of one message, or all."""
    try:
        done = await voicemail.retry(Jobs(request.app.state.redis, "console"), desk, {message} if message else set())
    except RedisError as error:
        raise AwayError(f"Redis does not answer: {type(error).__name__}") from None
    return after(request, "/voicemail/jobs", f"{len(done)} tried again")
