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
TITLES = {Action.BLOCK: "Blocklist", Action.ALLOW: "Allow list"}
KINDS = {
    Kind.CALLER: "caller", Kind.CALLEE: "called number", Kind.PAIR: "caller and called number",
    Kind.CALLER_PREFIX: "caller begins with", Kind.CALLEE_PREFIX: "called number begins with",
    Kind.SOURCE: "IP address or network", Kind.USER_AGENT: "User-Agent holds",
}  # fmt: skip


@router.get("/lists/{action}")
def shown(
    request: Request, desk: Desk, action: Action, kind: str = "", search: Annotated[str, Query(max_length=200)] = "",
    from_: Annotated[str, Query(alias="from", max_length=500)] = "",
) -> Response:  # fmt: skip
    """A page of a list."""
    wanted = next((known for known in Kind if known == kind), None)
    found = _found(desk, action, wanted, search.strip(), from_)
    return page(request, "lists.html", title=TITLES[action], form={}, problems={}, **found)


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
            until = f" until {when(done['expires'])}" if done["expires"] else ""
            text = f"{action} {KINDS[kind]} {done['value']}{until}{_where(done)}"
            return after(request, f"/lists/{action.value}", text)
    form = {"kind": kind, "value": value, "callee": callee, "lasting": lasting, "reason": reason}
    found = _found(desk, action, None, "", "")
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


def _found(desk: Store, action: Action, kind: Kind | None, search: str, from_: str) -> dict[str, Any]:
    entries, total, end = lists.page(desk, action, kind=kind, search=search, after=from_, limit=LIMIT)
    asked = {"kind": kind.value if kind else "", "search": search}
    asked = {name: text for name, text in asked.items() if text}
    here = {**asked, "from": from_} if from_ else asked
    base = f"/lists/{action.value}"
    return {
        "entries": entries, "total": total, "action": action, "kinds": KINDS, "kind": kind or "", "search": search,
        "first": f"{base}?{urlencode(asked)}" if from_ else "", "back": urlencode(here),
        "next": f"{base}?{urlencode({**asked, 'from': end})}" if end else "",
        "titles": TITLES,
    }  # fmt: skip
