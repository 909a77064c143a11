"""The records of calls that are over, of all nodes."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, Here, needs
from api.files import streamed
from api.pages import LIMIT, After, Limit
from api.problems import documented
from api.room import room
from model.record import Outcome
from operations import records
from operations.records import Filter, Format
from state.tokens import Role

router = room("/records", "records")

MEDIA_TYPES = {Format.CSV: "text/csv", Format.JSONL: "application/jsonl"}


class Record(BaseModel):
    """The record of a call; docs/records.md describes each field."""

    model_config = ConfigDict(extra="allow")

    call: str
    node: str
    call_id: str
    trunk: str
    caller: str
    callee: str
    route: str
    outcome: Outcome
    status: int | None
    began: float
    answered: float | None
    ended: float | None
    duration: float


class RecordPage(BaseModel):
    """Some records, the last one first."""

    records: list[Record]
    after: str | None = Field(description="For the next page; null: there is none.")


class CallHistory(BaseModel):
    """What is recorded of a call."""

    records: list[Record] = Field(description="One for each time that a node handled it.")
    events: list[dict[str, Any]] = Field(description="Of one that is not over, what the node that answers has of it.")


class WebhookStanding(BaseModel):
    """How far a webhook has been told of calls that are over."""

    position: str = Field(description="Id of the last record that was told.")
    number: int = Field(description="Its number, counted over all records; 0: none was told.")
    until: str = Field(description="Id of the last record of the batch that is being told; empty: none is.")
    delivered: int
    lost: int = Field(description="Records that Redis kept no more before they were told.")
    tries: int = Field(description="Of that batch, so far in vain.")
    error: str = Field(description="What the last try met.")
    at: float = Field(description="Unix time of the last delivery; 0: there was none.")
    waiting: int | None = Field(description="Records that are to be told; null: unknown.")


def _wanted(
    caller: Annotated[str, Query(max_length=200, description="Number, as the record has it.")] = "",
    callee: Annotated[str, Query(max_length=200, description="Number, as the record has it.")] = "",
    gateway: Annotated[str, Query(max_length=200, description="That was tried.")] = "",
    outcome: Annotated[Outcome | None, Query()] = None,
    route: Annotated[str, Query(max_length=200)] = "",
    since: Annotated[float, Query(ge=0, le=1e11, description="Unix time at which the call began, or later.")] = 0.0,
    until: Annotated[float, Query(ge=0, le=1e11, description="Unix time before which it began.")] = 1e11,
) -> Filter:
    return Filter(caller, callee, gateway, outcome, route, since, until)


Wanted = Annotated[Filter, Depends(_wanted)]


@router.get("", operation_id="records.page", dependencies=[needs(Role.READ)])
def page(desk: Desk, wanted: Wanted, after: After = "", limit: Limit = LIMIT) -> RecordPage:
    """The records of calls that are over, the last one first, a page at a time."""
    found, end = records.page(desk, wanted, after, limit)
    return RecordPage.model_validate({"records": found, "after": end or None})


@router.get("/webhook", operation_id="records.webhook", dependencies=[needs(Role.READ)])
def webhook(desk: Desk) -> WebhookStanding:
    """How far the webhook has been told of records, and what it met last."""
    return WebhookStanding.model_validate(records.webhook(desk))


@router.get(
    "/export",
    operation_id="records.export",
    dependencies=[needs(Role.READ)],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A row a call, or an object a line; oldest first.",
            "content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()},
        }
    },
)
def export(desk: Desk, wanted: Wanted, format: Annotated[Format, Query()] = Format.JSONL) -> StreamingResponse:
    """All records that are wanted, as CSV or as JSON lines."""
    return streamed(records.exported(desk, wanted, format), MEDIA_TYPES[format])


@router.get(
    "/calls/{call:path}",
    operation_id="records.call",
    dependencies=[needs(Role.READ)],
    responses=documented(HTTPStatus.NOT_FOUND),
)
def call(
    desk: Desk, here: Here, call: Annotated[str, Path(max_length=500, description="Its Call-ID, or our id of it.")]
) -> CallHistory:
    """How a past call was decided and what came of it."""
    return CallHistory.model_validate(records.of_call(desk, here.spool, call))
