"""The blocklist and the allow list."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api import files
from api.access import Desk, needs
from api.pages import LIMIT, After, Limit
from api.problems import documented
from api.room import InForce, room
from model.entries import TTL_MAX, Action, Kind
from operations import lists
from state.tokens import Role

router = room("/lists", "lists")

Which = Annotated[Action, Path(description="block; or allow, which outdoes it.")]


class NewEntry(BaseModel):
    """An entry to be put."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    value: str = Field(
        min_length=1, max_length=200,
        description="As people write it: 020 7946 0000, 10.0.0.0/8; of a pair, the caller, or both as caller>callee.",
    )  # fmt: skip
    callee: str = Field("", max_length=200, description="Of a pair: whom the caller may not call.")
    ttl: float | None = Field(None, gt=0, le=TTL_MAX, description="Seconds; null: for good.")
    reason: str = Field("", max_length=1000)


class Entry(BaseModel):
    """An entry as it is kept."""

    action: Action
    kind: Kind
    value: str = Field(description="Normalised.")
    expires: float | None = Field(description="Unix time in seconds; null: never.")
    reason: str
    created: float = Field(description="Unix time in seconds.")


class EntryPut(Entry, InForce):
    """An entry, and where it is in force."""


class EntryRemoved(InForce):
    """An entry that is gone."""

    kind: Kind
    value: str


class EntryPage(BaseModel):
    """Some entries, in the order of kind and value."""

    entries: list[Entry]
    total: int = Field(description="Of all that match, on every page.")
    after: str | None = Field(description="For the next page; null: there is none.")


class Met(BaseModel):
    """The entries that a call would meet."""

    entries: list[Entry]


@router.get("/check", operation_id="lists.check", dependencies=[needs(Role.READ)])
def check(
    desk: Desk,
    caller: Annotated[str, Query(max_length=200)] = "",
    callee: Annotated[str, Query(max_length=200)] = "",
    source: Annotated[str, Query(max_length=64, description="IP address that the call comes from.")] = "",
    user_agent: Annotated[str, Query(max_length=200)] = "",
) -> Met:
    """The entries of either list that a call would meet, those of the allow list first."""
    found = lists.met(desk, caller=caller, callee=callee, source=source, user_agent=user_agent)
    return Met.model_validate({"entries": found})


@router.get("/{action}", operation_id="lists.entries", dependencies=[needs(Role.READ)])
def entries(
    desk: Desk,
    action: Which,
    kind: Annotated[Kind | None, Query()] = None,
    search: Annotated[str, Query(max_length=200, description="Part of a value or reason, or a number.")] = "",
    after: After = "",
    limit: Limit = LIMIT,
) -> EntryPage:
    """The entries in force, a page at a time."""
    found, total, end = lists.page(desk, action, kind=kind, search=search, after=after, limit=limit)
    return EntryPage.model_validate({"entries": found, "total": total, "after": end or None})


@router.get(
    "/{action}/export",
    operation_id="lists.export",
    dependencies=[needs(Role.READ)],
    response_class=StreamingResponse,
    responses=files.GIVEN,
)
def export(desk: Desk, action: Which) -> StreamingResponse:
    """The list in force as a CSV file."""
    return files.streamed(lists.exported(desk, action))


@router.post(
    "/{action}/import",
    operation_id="lists.import",
    dependencies=[needs(Role.OPERATE)],
    openapi_extra=files.TAKEN,
    max_body_size=files.FILE_MAX,
)
def import_(
    desk: Desk, action: Which, file: files.File, replace: files.Replace = False, skip_bad: files.SkipBad = False
) -> files.Imported:
    """Import a CSV file (kind,value,expires,reason) as one change; answered when every live node has it."""
    done = lists.imported(desk, action, file, replace=replace, skip_bad=skip_bad)
    return files.Imported.model_validate(done)


@router.post("/{action}", operation_id="lists.put", status_code=201, dependencies=[needs(Role.OPERATE)])
def put(desk: Desk, action: Which, entry: NewEntry) -> EntryPut:
    """Put an entry, in the place of one of its kind and value; answered when every live node goes by it."""
    done = lists.put(
        desk, action, entry.kind, entry.value, callee=entry.callee, ttl=entry.ttl, reason=entry.reason
    )  # fmt: skip
    return EntryPut.model_validate(done)


@router.delete(
    "/{action}/{kind}/{value:path}",
    operation_id="lists.remove",
    dependencies=[needs(Role.OPERATE)],
    responses=documented(HTTPStatus.NOT_FOUND),
)
def remove(
    desk: Desk, action: Which, kind: Kind, value: str, callee: Annotated[str, Query(description="Of a pair.")] = ""
) -> EntryRemoved:
    """Remove an entry; answered when no live node goes by it any more."""
    return EntryRemoved.model_validate(lists.remove(desk, action, kind, value, callee=callee))
