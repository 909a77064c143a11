"""Calls: those under way, those that are over, and one of them with all that is known."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request, Response

from agent import assembly
from api.files import Growing
from model.record import CallRecord, Outcome
from model.settings import Settings
from operations import calls, live_calls
from operations.live_calls import Filter
from operations.recordings import OTHER, TYPES
from state import records
from state.store import Store
from state.tokens import Role
from web.ladder import Ladder, ladder
from web.page import Desk, Here, after, needs, pages
from web.render import page

router = pages()

LIVE, PAST = 25, 50
"Calls on a page."
AUDIO = {"Cache-Control": "private, no-cache"}
"A recording may be under way."

Text = Annotated[str, Query(max_length=200)]


@router.get("/calls")
def shown(
    request: Request, desk: Desk, caller: Text = "", callee: Text = "", gateway: Text = "", after: Text = ""
) -> Response:
    """Those under way."""
    return page(request, "calls.html", title="Live calls", **_live(desk, caller, callee, gateway, after))


@router.get("/calls/live")
def part(
    request: Request, desk: Desk, caller: Text = "", callee: Text = "", gateway: Text = "", after: Text = ""
) -> Response:
    """What of it changes."""
    return page(request, "calls_part.html", **_live(desk, caller, callee, gateway, after))


@router.get("/calls/past")
def past(request: Request, desk: Desk, search: Text = "", outcome: Text = "", after: Text = "") -> Response:
    """Those that are over, the last one first; ``search`` is a number, a Call-ID or part of either."""
    wanted = (item for item in _newest(desk, search, after) if outcome in ("", item[1].outcome))
    found = list(islice(wanted, PAST + 1))
    query = {"search": search, "outcome": outcome}
    older = f"/calls/past?{urlencode({**query, 'after': found[PAST - 1][0]})}" if len(found) > PAST else ""
    return page(
        request, "calls_past.html", title="Past calls", records=[record for _, record in found[:PAST]], older=older,
        newer=f"/calls/past?{urlencode(query)}" if after else "", search=search, outcome=outcome,
        outcomes=[("", "any"), *((one.value, one.value) for one in Outcome)],
    )  # fmt: skip


@router.get("/calls/one")
def one(request: Request, desk: Desk, here: Here, call: Text) -> Response:
    """One call, by its id or Call-ID."""
    return page(request, "call.html", title="A call", **_one(desk, here, call))


@router.get("/calls/one/part")
def one_part(request: Request, desk: Desk, here: Here, call: Text) -> Response:
    """What of it changes."""
    return page(request, "call_part.html", **_one(desk, here, call))


@router.get("/calls/recording", dependencies=[needs(Role.OPERATE)])
def recording(desk: Desk, here: Here, call: Text, number: int) -> Response:
    """What a call script recorded; ranges of it may be asked for."""
    path = calls.audio(desk, call, number, here)
    return Growing(path, media_type=TYPES.get(path.suffix, OTHER), headers=AUDIO)


@router.post("/calls/hangup", dependencies=[needs(Role.OPERATE)])
def hangup(request: Request, desk: Desk, call: Annotated[str, Form(max_length=200)]) -> Response:
    """End a call."""
    done = calls.hangup(desk, call)
    return after(request, f"/calls/one?{urlencode({'call': call})}", f"{done['how']} was sent from {done['node']}")


def _live(desk: Store, caller: str, callee: str, gateway: str, after: str) -> dict[str, Any]:
    fields = {"caller": caller, "callee": callee, "gateway": gateway}
    found = live_calls.page(desk, Filter(**fields), after=after, limit=LIVE)
    rows = [{**row, "ladder": _drawn(desk, str(row["call"]))} for row in found["calls"]]
    more = f"/calls?{urlencode({**fields, 'after': found['after']})}" if found["after"] else ""
    return {
        "rows": rows, "total": found["total"], "older": more, "newer": f"/calls?{urlencode(fields)}" if after else "",
        "fields": fields, "address": f"/calls/live?{urlencode({**fields, 'after': after})}",
    }  # fmt: skip


def _drawn(desk: Store, call: str) -> Ladder | None:
    """The ladder of a live call; None where it has ended meanwhile."""
    live = live_calls.find(desk, call)
    return ladder(assembly.record(live.node, live.call, live.events), live=True) if live is not None else None


def _newest(desk: Store, search: str, after: str) -> Any:
    # Ids sort as numbers do, which their texts do not.
    begin = _position(after)
    return (item for item in records.newest(desk, search) if begin is None or _position(item[0]) < begin)


def _position(id: str) -> Any:
    at, _, number = id.partition("-")
    return (int(at), int(number)) if at.isdecimal() and number.isdecimal() else None


def _one(desk: Store, here: Settings, call: str) -> dict[str, Any]:
    found = calls.one(desk, call, here)
    record = record_of(found)
    return {
        "call": found, "record": record, "ladder": ladder(record, live=found["live"]), "now": time.time(),
        "raw": json.dumps(found, indent=1, ensure_ascii=False),
    }  # fmt: skip


def record_of(found: Mapping[str, Any]) -> CallRecord:
    """The record in what operations/calls.py gives; one that is not over counts as interrupted."""
    return CallRecord.decode(json.dumps({**found, "outcome": found["outcome"] or Outcome.INTERRUPTED}))
