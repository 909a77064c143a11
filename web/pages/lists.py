"""The blocklist and the allow list: searched, added to, removed from."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response

from model.entries import Action, EntryError, Kind, parse_ttl
from operations import lists
from state.store import Store
from state.tokens import Role
from web.page import Desk, Refused, after, needs, pages
from web.render import page, when

router = pages()

LIMIT = 50
SOON = 20_000
"Entries that are looked through before anybody notices; with more the page comes first, and then what is found."
Search = Annotated[str, Query(max_length=200)]
From = Annotated[str, Query(alias="from", max_length=500)]
TITLES = {Action.BLOCK: "Blocklist", Action.ALLOW: "Allow list"}
KINDS = {
    Kind.CALLER: "caller", Kind.CALLEE: "called number", Kind.PAIR: "caller and called number",
    Kind.CALLER_PREFIX: "caller begins with", Kind.CALLEE_PREFIX: "called number begins with",
    Kind.SOURCE: "IP address or network", Kind.USER_AGENT: "User-Agent holds",
}  # fmt: skip


@router.get("/lists/{action}")
def shown(
    request: Request, desk: Desk, action: Action, kind: str = "", search: Search = "", from_: From = "",
    whole: bool = False,
) -> Response:  # fmt: skip
    """A page of a list."""
    asked, search = _asked(kind, search.strip(), from_), search.strip()
    count = lists.size(desk)
    late = count > SOON and not whole
    found = {} if late else _found(desk, action, kind, search, from_)
    base = {
        "late": late, "count": count, "met": _met(desk, search) if late else [], "back": urlencode(asked),
        "action": action, "kinds": KINDS, "kind": kind, "search": search, "titles": TITLES,
    }  # fmt: skip
    return page(request, "lists.html", title=TITLES[action], form={}, problems={}, **{**base, **found})


@router.get("/lists/{action}/part")
def part(
    request: Request, desk: Desk, action: Action, kind: str = "", search: Search = "", from_: From = ""
) -> Response:  # fmt: skip
    """What is found, which takes a while in a long list."""
    return page(request, "lists_part.html", **_found(desk, action, kind, search, from_))


@router.post("/lists/{action}", dependencies=[needs(Role.OPERATE)])
def put(
    request: Request, desk: Desk, action: Action, kind: Annotated[Kind, Form()],
    value: Annotated[str, Form(max_length=200)] = "", callee: Annotated[str, Form(max_length=200)] = "",
    lasting: Annotated[str, Form(max_length=40)] = "", reason: Annotated[str, Form(max_length=1000)] = "",
) -> Response:  # fmt: skip
    """Add an entry, or put it in the place of one of its kind and value."""
    problems: dict[str, str] = {}
    ttl = None
    try:
        ttl = parse_ttl(lasting) if lasting.strip() else None
    except EntryError as error:
        problems["lasting"] = str(error)
    if not problems:
        try:
            done = lists.put(desk, action, kind, value, callee=callee, ttl=ttl, reason=reason.strip())
        except EntryError as error:
            problems["callee" if str(error).startswith("callee") and kind is Kind.PAIR else "value"] = str(error)
        else:
            until = f" until {when(float(str(done['expires'])))}" if done["expires"] else ""
            text = f"{action} {KINDS[kind]} {done['value']}{until}{_where(done)}"
            return after(request, f"/lists/{action.value}", text)
    form = {"kind": kind, "value": value, "callee": callee, "lasting": lasting, "reason": reason}
    found = {"late": False, "met": [], **_found(desk, action, "", "", "")}
    return page(
        request, "lists.html", status=HTTPStatus.UNPROCESSABLE_ENTITY, title=TITLES[action], form=form,
        problems=problems, **found,
    )  # fmt: skip


@router.post("/lists/{action}/remove", dependencies=[needs(Role.OPERATE)])
def remove(
    request: Request, desk: Desk, action: Action, kind: Annotated[Kind, Form()],
    value: Annotated[str, Form(max_length=500)], back: Annotated[str, Form(max_length=1000)] = "",
) -> Response:  # fmt: skip
    """Remove an entry."""
    try:
        done = lists.remove(desk, action, kind, value)
    except EntryError as error:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    path = f"/lists/{action.value}{f'?{back}' if back else ''}"
    return after(request, path, f"{KINDS[kind]} {done['value']} is off the list{_where(done)}")


def _where(done: dict[str, Any]) -> str:
    missing = f"; {', '.join(done['missing'])} did not confirm it" if done["missing"] else ""
    return f": in force on {', '.join(done['nodes']) or 'no node yet'}{missing}"


def _met(desk: Store, search: str) -> list[dict[str, Any]]:
    """What a call from or to this number meets: known at once, however long the lists are."""
    try:
        return lists.met(desk, caller=search, callee=search, source="", user_agent="") if search else []
    except EntryError:
        return []


def _asked(kind: str, search: str, from_: str) -> dict[str, str]:
    return {name: text for name, text in (("kind", kind), ("search", search), ("from", from_)) if text}


def _found(desk: Store, action: Action, kind: str, search: str, from_: str) -> dict[str, Any]:
    wanted = next((known for known in Kind if known == kind), None)
    entries, total, end = lists.page(desk, action, kind=wanted, search=search, after=from_, limit=LIMIT)
    base, asked = f"/lists/{action.value}", _asked(kind, search, "")
    return {
        "entries": entries, "total": total, "action": action, "kinds": KINDS, "kind": kind, "search": search,
        "first": f"{base}?{urlencode(asked)}" if from_ else "", "back": urlencode(_asked(kind, search, from_)),
        "next": f"{base}?{urlencode({**asked, 'from': end})}" if end else "", "titles": TITLES,
    }  # fmt: skip
