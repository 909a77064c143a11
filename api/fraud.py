"""Guards against fraud."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, needs
from api.pages import LIMIT, Limit
from api.problems import documented
from api.room import InForce, room
from operations import fraud
from state.tokens import Role

router = room("/fraud", "fraud")


class Counted(BaseModel):
    """What was counted, and from where on something happens; null: nothing does."""

    count: str
    warn: str | None
    block: str | None


class Use(BaseModel):
    """What a guard has counted of somebody within its time."""

    guard: str
    per: str = Field(description="subscriber, trunk or caller.")
    who: str
    prefix: str = Field(description="Empty: all that the guard counts.")
    measures: dict[str, Counted]
    reached: float = Field(description="The largest part of a threshold that is reached; 1: all of it.")
    blocked: bool
    blocked_until: float | None = Field(description="null: until released.")


class Status(BaseModel):
    """Whoever is nearest to being refused comes first."""

    uses: list[Use]


class Trip(BaseModel):
    """Something that a guard did."""

    kind: str = Field(description="block, warn or release.")
    guard: str
    prefix: str
    who: str
    measure: str
    count: int = Field(description="Of minutes: milliseconds; of cost: millionths.")
    limit: int
    at: float
    until: float = Field(0.0, description="Unix time at which it is over by itself; 0: it is not.")
    calls: list[str] = Field([], description="Ids of the last calls that were counted.")
    author: str = Field("", description="Of a release; empty: time did it.")
    reason: str = ""


class Trips(BaseModel):
    """The last one first."""

    trips: list[Trip]


class Release(BaseModel):
    """Who is to be released."""

    model_config = ConfigDict(extra="forbid")

    who: str = Field(min_length=1, max_length=200, description="Subscriber, trunk or caller, as trips have it.")
    reason: str = Field(min_length=1, max_length=500, description="Why, for those who read it later.")
    guard: str = Field("", max_length=200, description="Only this guard; empty: every one that refuses them.")
    prefix: str | None = Field(None, max_length=64, description="Only this prefix; null: every one.")


class Released(InForce):
    """Who passes again."""

    released: list[str] = Field(description="guard/prefix/who of each.")


@router.get("/status", operation_id="fraud.status", dependencies=[needs(Role.READ)])
def status(
    desk: Desk, per: Literal["", "subscriber", "trunk", "caller"] = "",
    guard: Annotated[str, Query(max_length=200)] = "", limit: Limit = LIMIT,
) -> Status:  # fmt: skip
    """Who is nearest to being refused, over all nodes, and who is."""
    return Status.model_validate({"uses": fraud.status(desk, per=per, guard=guard, limit=limit)})


@router.get("/trips", operation_id="fraud.trips", dependencies=[needs(Role.READ)])
def trips(desk: Desk) -> Trips:
    """Whose calls are refused, since when and why."""
    return Trips.model_validate({"trips": fraud.trips(desk)})


@router.get("/past", operation_id="fraud.past", dependencies=[needs(Role.READ)])
def past(desk: Desk, limit: Limit = LIMIT) -> Trips:
    """Warnings, blocks and releases."""
    return Trips.model_validate({"trips": fraud.past(desk, limit)})


@router.post(
    "/release", operation_id="fraud.release", dependencies=[needs(Role.OPERATE)],
    responses=documented(HTTPStatus.NOT_FOUND),
)  # fmt: skip
def release(desk: Desk, wanted: Release) -> Released:
    """Let somebody's calls pass again, counted from nothing; answered when every live node does so."""
    done = fraud.release(desk, wanted.who, reason=wanted.reason, guard=wanted.guard, prefix=wanted.prefix)
    return Released.model_validate(done)
