"""Subscribers: who may register phones, where those are, and what becomes of calls to them."""

from __future__ import annotations

import asyncio
import hashlib
import json
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from model.settings import Settings
from model.subscriber import Subscriber, SubscriberError
from operations import subscribers, voicemail
from operations.errors import ImpossibleError, MissingError, OperationError
from operations.subscribers import FIELDS, FLAG_FIELDS, FORWARDS
from state.store import Store
from state.tokens import Role
from web.page import Desk, Here, after, needs, pages
from web.render import page

router = pages()

LIMIT = 50
LABELS = {
    "enabled": "May register and call", "do_not_disturb": "Do not disturb", "withhold": "Number withheld on all calls",
    "reject_anonymous": "Refuses callers who withhold theirs", "numbers": "Further numbers",
    "algorithms": "Hash functions", "calls": "Calls at once", "per_second": "Calls a second",
    "forward_always": "Forward all calls", "forward_busy": "Forward when busy",
    "forward_no_answer": "Forward when nobody answers", "forward_unreachable": "Forward when unreachable",
}  # fmt: skip
HINTS = {
    "numbers": "That they may call from, divided by blanks",
    "algorithms": "MD5, or SHA-256 MD5; empty: as the policy says",
    "calls": "0: any; empty: as the policy says", "per_second": "0: any; empty: as the policy says",
    "forward_always": "A number; empty: not", "forward_no_answer": "After the route's ringing time",
    "forward_unreachable": "No phone is registered, or none answers",
}  # fmt: skip
MEANWHILE = "Somebody else changed this subscriber meanwhile, and nothing was saved: look at it, and save it again."
From = Annotated[str, Query(alias="from", max_length=64)]
Search = Annotated[str, Query(max_length=100)]
Name = Annotated[str, Query(max_length=64)]
NameField = Annotated[str, Form(max_length=64)]


@router.get("/subscribers")
def shown(request: Request, desk: Desk, here: Here, search: Search = "", from_: From = "") -> Response:
    """Some of them, and a form for another."""
    return _list(request, desk, here, search.strip(), from_)


@router.get("/subscribers/part")
def part(request: Request, desk: Desk, here: Here, search: Search = "", from_: From = "") -> Response:
    """What of it changes."""
    return page(request, "subscribers_part.html", **_found(desk, here, search.strip(), from_))


@router.post("/subscribers", dependencies=[needs(Role.ADMIN)])
async def add(
    request: Request, desk: Desk, here: Here, name: NameField = "",
    numbers: Annotated[str, Form(max_length=2000)] = "", password: Annotated[str, Form(max_length=200)] = "",
) -> Response:  # fmt: skip
    """Add one. A password that is made is in the answer, and nowhere else."""
    name = name.strip()
    try:
        done = await run_in_threadpool(subscribers.add, desk, name, [f"numbers={numbers}"], password)
    except (SubscriberError, ImpossibleError) as error:
        why = str(error)
        place = "numbers" if why.startswith("numbers") else "password" if why.startswith("a password") else "name"
        form = {"name": name, "numbers": numbers}
        return await run_in_threadpool(_list, request, desk, here, form=form, problems={place: why})
    return await _made(request, desk, here, name, done, "added")


@router.get("/subscribers/one")
async def one(request: Request, desk: Desk, here: Here, name: Name) -> Response:
    """One of them."""
    return page(request, "subscriber.html", title=name, **await _one(desk, here, name))


@router.get("/subscribers/one/part")
async def one_part(request: Request, desk: Desk, here: Here, name: Name) -> Response:
    """What of it changes: phones and the mailbox."""
    return page(request, "subscriber_part.html", **await _one(desk, here, name))


@router.post("/subscribers/change", dependencies=[needs(Role.ADMIN)])
async def change(request: Request, desk: Desk, here: Here, name: NameField = "") -> Response:
    """Change their settings to those of the form."""
    sent = await request.form()
    form = {field: "yes" if field in sent else "no" for field in FLAG_FIELDS}
    form |= {field: str(sent.get(field, "")) for field in FIELDS if field not in FLAG_FIELDS}
    before = await run_in_threadpool(subscribers.known, desk, name)
    problems = await run_in_threadpool(_problems, desk, before, form)
    problem = "" if sent.get("seen") == _seen(before) else MEANWHILE
    if problems or problem:
        found = {**await _one(desk, here, name), "form": form, "problems": problems, "problem": problem}
        return page(request, "subscriber.html", status=HTTPStatus.UNPROCESSABLE_ENTITY, title=name, **found)
    done = await run_in_threadpool(
        subscribers.change, desk, name, [f"{field}={value}" for field, value in form.items()], password="",
        new_password=False,
    )  # fmt: skip
    return after(request, f"/subscribers/one?{urlencode({'name': name})}", f"{name} is changed{_where(done)}")


@router.post("/subscribers/password", dependencies=[needs(Role.ADMIN)])
async def password(
    request: Request, desk: Desk, here: Here, name: NameField = "", password: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Set another password. One that is made is in the answer, and nowhere else."""
    try:
        done = await run_in_threadpool(
            subscribers.change, desk, name, (), password=password, new_password=not password
        )  # fmt: skip
    except SubscriberError as error:
        found = {**await _one(desk, here, name), "problems": {"password": str(error)}}
        return page(request, "subscriber.html", status=HTTPStatus.UNPROCESSABLE_ENTITY, title=name, **found)
    return await _made(request, desk, here, name, done, "given another password")


@router.post("/subscribers/remove", dependencies=[needs(Role.ADMIN)])
def remove(request: Request, desk: Desk, name: NameField = "") -> Response:
    """Remove one."""
    done = subscribers.remove(desk, name)
    return after(request, "/subscribers", f"{name} is removed{_where(done)}")


async def _made(request: Request, desk: Store, here: Settings, name: str, done: dict[str, Any], what: str) -> Response:
    said, word = f"{name} is {what}{_where(done)}", done.get("password", "")
    if not word:
        return after(request, f"/subscribers/one?{urlencode({'name': name})}", said)
    # Not by way of what is said on the next page: that is kept in Redis, and no password is.
    found = {**await _one(desk, here, name), "word": word}
    return page(request, "subscriber.html", title=name, **{**found, "said": said})


def _list(
    request: Request, desk: Store, here: Settings, search: str = "", from_: str = "", *,
    form: dict[str, str] | None = None, problems: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
    found = {**_found(desk, here, search, from_), "form": form or {}, "problems": problems or {}}
    return page(request, "subscribers.html", status=status, title="Subscribers", **found)


def _found(desk: Store, here: Settings, search: str, from_: str) -> dict[str, Any]:
    rows, total, end = subscribers.rows(desk, here, search=search, after=from_, limit=LIMIT)
    asked = {"search": search} if search else {}
    return {
        "rows": rows, "total": total, "search": search, "asked": urlencode({**asked, "from": from_}), "state": _state,
        "allowed": desk.policy().decode()[0].subscribers is not None,
        "first": f"/subscribers?{urlencode(asked)}" if from_ else "",
        "next": f"/subscribers?{urlencode({**asked, 'from': end})}" if end else "",
    }  # fmt: skip


async def _one(desk: Store, here: Settings, name: str) -> dict[str, Any]:
    row = await run_in_threadpool(subscribers.row, desk, here.location, name)
    known = await run_in_threadpool(subscribers.known, desk, name)
    return {
        "row": row, "seen": _seen(known), "form": _form(known), "problems": {}, "problem": "", "word": "", "said": "",
        "labels": LABELS, "hints": HINTS, "flags": FLAG_FIELDS, "forwards": tuple(FORWARDS), "state": _state,
        "texts": tuple(field for field in FIELDS if field not in FLAG_FIELDS), "node": here.node,
        **await _mailbox(here, name),
    }  # fmt: skip


async def _mailbox(here: Settings, name: str) -> dict[str, Any]:
    """The mailbox that a subscriber's name leads to."""
    try:
        async with voicemail.opened(here) as found:
            box = await asyncio.to_thread(voicemail.box_row, found.store, await found.find_box(name))
            return {"box": box, "trouble": ""}
    except MissingError:
        return {"box": None, "trouble": ""}
    except OperationError as error:
        return {"box": None, "trouble": str(error)}


def _form(one: Subscriber) -> dict[str, str]:
    """Their settings as the form has them."""
    return {field: subscribers.text(subscribers.value(one, field)) for field in FIELDS}


def _problems(desk: Store, one: Subscriber, form: dict[str, str]) -> dict[str, str]:
    """Each field that cannot be so, and why."""
    _, dialling = subscribers.section_in_force(desk)
    found = {}
    for field, value in form.items():
        try:
            subscribers.changed(one, [f"{field}={value}"], dialling)
        except SubscriberError as error:
            found[field] = str(error).removeprefix(f"{field}: ")
    return found


def _seen(one: Subscriber) -> str:
    """What tells whether a form was made of what there is now."""
    return hashlib.sha256(json.dumps(one.shown()).encode()).hexdigest()[:16]


def _state(row: dict[str, Any]) -> list[tuple[str, str]]:
    """What is special about a subscriber: words, and their colour."""
    words = [] if row["enabled"] else [("disabled", "bad")]
    words += [("do not disturb", "warn")] if row["do_not_disturb"] else []
    words += [("number withheld", "")] if row["withhold"] else []
    words += [("refuses anonymous callers", "")] if row["reject_anonymous"] else []
    return words + [
        (f"{'all calls' if why == 'always' else why.replace('_', ' ')}: to {number}", "warn" if why == "always" else "")
        for why, number in row["forwards"].items() if number
    ]  # fmt: skip


def _where(done: dict[str, Any]) -> str:
    missing = f"; {', '.join(done['missing'])} did not confirm it" if done["missing"] else ""
    return f": in force on {', '.join(done['nodes']) or 'no node yet'}{missing}"
