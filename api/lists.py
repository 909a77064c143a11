"""The blocklist and the allow list."""

from __future__ import annotations

import ipaddress
import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, needs
from api.idempotency import IdempotentRoute
from api.problems import ProblemError, documented
from model.entries import TTL_MAX, Action, Entry, EntryError, Kind, parse_entry_value, parse_pair
from model.numbers import Dialling, normalise, normalise_beginning
from state import search as searching
from state.store import Store
from state.tokens import Role

router = APIRouter(prefix="/v1/lists", tags=["lists"], route_class=IdempotentRoute)

PAGE_MAX = 1000
List = Annotated[Action, Path(description="block, or allow, which outdoes it.")]


class NewEntry(BaseModel):
    """An entry to be put; for a pair, ``value`` is the caller and ``callee`` whom they may not call."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    value: str = Field(min_length=1, max_length=200, description="As people write it: 020 7946 0000, 10.0.0.0/8.")
    callee: str = Field("", max_length=200, description="Of a pair only.")
    ttl: float | None = Field(None, gt=0, le=TTL_MAX, description="Seconds; null: for good.")
    reason: str = Field("", max_length=1000)


class ListEntry(BaseModel):
    """An entry as it is kept."""

    list: Action
    kind: Kind
    value: str = Field(description="Normalised.")
    expires: float | None = Field(description="Unix time in seconds; null: never.")
    reason: str
    created: float = Field(description="Unix time in seconds.")


class Put(ListEntry):
    """An entry, and where it is in force."""

    nodes: list[str] = Field(description="Nodes that confirmed it.")
    missing: list[str] = Field(description="Live nodes that did not in time: calls there may be decided without it.")


class EntryPage(BaseModel):
    """Some entries, in the order of kind and value."""

    entries: list[ListEntry]
    total: int = Field(description="Of all that match, on every page.")
    after: str | None = Field(description="For the next page; null: there is none.")


class Removed(BaseModel):
    """An entry that is gone."""

    kind: Kind
    value: str
    nodes: list[str]
    missing: list[str]


def _shown(entry: Entry) -> dict[str, object]:
    return {
        "list": entry.action, "kind": entry.kind, "value": entry.value, "expires": entry.expires or None,
        "reason": entry.reason, "created": entry.created,
    }  # fmt: skip


@router.get("/{list}", dependencies=[needs(Role.READ)])
def entries(
    desk: Desk,
    list: List,
    kind: Annotated[Kind | None, Query()] = None,
    search: Annotated[str, Query(max_length=200, description="Part of a value or reason, or a number.")] = "",
    after: Annotated[str, Query(max_length=500, description="As the page before says.")] = "",
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
) -> EntryPage:
    """The entries in force, a page at a time."""
    page = searching.search(
        desk, action=list, kind=kind, texts=_spellings(desk, search), live_at=time.time(), after=after, offset=0,
        limit=limit,
    )  # fmt: skip
    found = [ListEntry.model_validate(_shown(entry)) for entry in page.entries]
    return EntryPage(entries=found, total=page.total, after=page.after or None)


@router.post("/{list}", status_code=201, dependencies=[needs(Role.OPERATE)], responses=documented(HTTPStatus.CONFLICT))
def put(desk: Desk, list: List, entry: NewEntry) -> Put:
    """Put an entry, in the place of one of the same kind and value; answered when every live node goes by it."""
    now = time.time()
    kind, value = _named(_dialling(desk), entry.kind, entry.value, entry.callee)
    made = Entry(
        kind, value, list, expires=now + entry.ttl if entry.ttl else 0.0, reason=entry.reason, created=now
    )  # fmt: skip
    confirmed = desk.confirm(desk.put(made).seq)
    return Put.model_validate({**_shown(made), "nodes": confirmed.nodes, "missing": confirmed.missing})


@router.delete(
    "/{list}/{kind}/{value:path}", dependencies=[needs(Role.OPERATE)], responses=documented(HTTPStatus.NOT_FOUND)
)
def remove(
    desk: Desk, list: List, kind: Kind, value: str, callee: Annotated[str, Query(description="Of a pair.")] = ""
) -> Removed:
    """Remove an entry; answered when no live node goes by it any more."""
    kind, value = _named(_dialling(desk), kind, value, callee)
    known = searching.one(desk, kind, value)
    change = desk.delete(kind, value) if known is not None and known.action is list else None
    if change is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"the {list} list has no entry for {kind} {value}")
    confirmed = desk.confirm(change.seq)
    return Removed(kind=kind, value=value, nodes=[*confirmed.nodes], missing=[*confirmed.missing])


@router.get("", dependencies=[needs(Role.READ)])
def met(
    response: Response,
    desk: Desk,
    caller: Annotated[str, Query(max_length=200)] = "",
    callee: Annotated[str, Query(max_length=200)] = "",
    source: Annotated[str, Query(max_length=64)] = "",
    user_agent: Annotated[str, Query(max_length=200)] = "",
) -> EntryPage:
    """The entries of either list that a call would meet, those of the allow list first."""
    dialling, now = _dialling(desk), time.time()
    found = searching.matching(
        desk,
        caller=parse_entry_value(Kind.CALLER, caller, dialling) if caller else "",
        callee=parse_entry_value(Kind.CALLEE, callee, dialling) if callee else "",
        source=_address(source) if source else "",
        user_agent=user_agent,
    )
    live = sorted((entry for entry in found if entry.live(now)), key=lambda entry: entry.action)
    shown = [ListEntry.model_validate(_shown(entry)) for entry in live]
    return EntryPage(entries=shown, total=len(shown), after=None)


def _named(dialling: Dialling, kind: Kind, value: str, callee: str) -> tuple[Kind, str]:
    if kind is not Kind.PAIR:
        if callee:
            raise EntryError(f"callee belongs to a pair, not to {kind}")
        return kind, parse_entry_value(kind, value, dialling)
    # As the lists show a pair, or its two sides apart.
    caller, _, shown = value.partition(">")
    sides = parse_entry_value(Kind.CALLER, caller, dialling), parse_entry_value(Kind.CALLEE, callee or shown, dialling)
    return kind, parse_pair(*sides)


def _dialling(desk: Store) -> Dialling:
    return desk.policy().decode()[0].dialling


def _spellings(desk: Store, text: str) -> tuple[str, ...]:
    if not text:
        return ()
    dialling = _dialling(desk)
    return tuple(dict.fromkeys((text, normalise(text, dialling), normalise_beginning(text, dialling))))


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise EntryError(f"source {text!r} is no IP address") from None
