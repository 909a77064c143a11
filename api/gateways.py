"""Gateways: how they stand on each node, how well they carry calls, and drains."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, Here, needs
from api.problems import documented
from api.room import InForce, room
from model.quality import SLOT, WINDOW_MAX
from operations import gateways
from state.tokens import Role

router = room("/gateways", "gateways")

MISSING = documented(HTTPStatus.NOT_FOUND)
Window = Annotated[float, Query(ge=SLOT, le=WINDOW_MAX, description="Seconds that the figures go back.")]
Name = Annotated[str, Path(max_length=200, description="Of a gateway, or of one of its addresses.")]


class Breaker(BaseModel):
    """A circuit breaker on a node."""

    state: str = Field(description="off, closed, open or half-open.")
    score: int
    trip: int | None = Field(description="Points at which it opens.")
    open_until: float | None
    trials_passed: int
    failures: dict[str, int] = Field(description="Kind of failure to how many there were.")
    told_by: str | None = Field(description="The node whose breaker this node goes by.")


class Standing(BaseModel):
    """How a gateway stands on a node."""

    state: str = Field(description="up, disabled, drained, probe-down, held, open or half-open.")
    held_until: float | None = Field(description="The gateway asked to be left alone (Retry-After).")
    probed: bool
    probe_down_since: float | None
    breaker: Breaker


class Drain(BaseModel):
    """No new call is sent to it."""

    reason: str
    author: str
    since: float
    until: float | None = Field(description="null: until it is resumed.")


class Figures(BaseModel):
    """What was counted over all nodes; null: of nothing."""

    asr: float | None = Field(description="Answered attempts, in percent.")
    acd: float | None = Field(description="Average call duration, in seconds.")
    pdd: float | None = Field(description="Average post-dial delay, in seconds.")
    attempts: int
    answered: int
    ended: int


class Gateway(BaseModel):
    """A gateway, or an address of one that has several."""

    name: str
    kind: str | None = Field(description="gateway or media; null: the policy has it no more.")
    address: str | None
    transport: str | None
    enabled: bool
    state: str = Field(description="The worst of all nodes; unknown: a drain of what the policy has no more.")
    drained: Drain | None
    quality: Figures
    standing: dict[str, Standing] = Field(description="On each live node.")
    addresses: list[str] = Field([], description="Names of the rows of its addresses, where it has names or several.")
    troubles: list[str] = []
    known: str = Field("", description="Of an address: whence it is known.")


class Gateways(BaseModel):
    """All gateways, in the order of the policy."""

    gateways: list[Gateway]


class NamedFigures(Figures):
    """Figures of a gateway."""

    name: str


class Quality(BaseModel):
    """The figures of all gateways."""

    gateways: list[NamedFigures]


class MinuteFigures(Figures):
    """Figures of a minute."""

    at: float = Field(description="When the minute begins.")


class Minutes(BaseModel):
    """The figures of a gateway, minute by minute, the oldest first."""

    name: str
    minutes: list[MinuteFigures]


class NewDrain(BaseModel):
    """A drain."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=500, description="Why, for those who read it later.")
    until: float | None = Field(None, gt=0, le=1e11, description="Unix time; null: until it is resumed.")


class Drained(Drain, InForce):
    """A drain, and where it is in force."""

    name: str


class Resumed(InForce):
    """A gateway that takes calls again."""

    name: str


class NewReset(BaseModel):
    """Where a gateway's failures are to be forgotten."""

    model_config = ConfigDict(extra="forbid")

    node: str = Field("", max_length=200, description="Empty: on every live node.")


class Reset(BaseModel):
    """A gateway whose failures are forgotten."""

    name: str
    nodes: list[str] = Field(description="Nodes that forgot them.")
    troubles: dict[str, str] = Field(description="Nodes that did not, and why.")


@router.get("", operation_id="gateways.list", dependencies=[needs(Role.READ)])
def all_of_them(desk: Desk, here: Here, window: Window = gateways.WINDOW) -> Gateways:
    """All gateways, how each stands on every node, and its figures."""
    found = gateways.rows(desk, here, window=window, now=time.time())
    return Gateways.model_validate({"gateways": found})


@router.get("/quality", operation_id="gateways.quality", dependencies=[needs(Role.READ)])
def quality(desk: Desk, window: Window = gateways.WINDOW) -> Quality:
    """How well gateways carry calls, over all nodes."""
    return Quality.model_validate({"gateways": gateways.figure_rows(desk, window=window, now=time.time())})


@router.get("/quality/{name:path}", operation_id="gateways.minutes", dependencies=[needs(Role.READ)], responses=MISSING)
def minutes(desk: Desk, name: Name, window: Window = gateways.WINDOW) -> Minutes:
    """The same minute by minute."""
    found = gateways.minutes(desk, name, window=window, now=time.time())
    return Minutes.model_validate({"name": name, "minutes": found})


@router.get("/one/{name:path}", operation_id="gateways.show", dependencies=[needs(Role.READ)], responses=MISSING)
def show(desk: Desk, here: Here, name: Name, window: Window = gateways.WINDOW) -> Gateway:
    """One of them."""
    return Gateway.model_validate(gateways.row(desk, here, name, window=window, now=time.time()))


@router.put("/drains/{name:path}", operation_id="gateways.drain", dependencies=[needs(Role.OPERATE)], responses=MISSING)
def drain(desk: Desk, name: Name, wanted: NewDrain) -> Drained:
    """Let no new call go to it, on any node; answered when every live node does so. Calls under way go on."""
    done = gateways.drain(desk, name, reason=wanted.reason, until=wanted.until, now=time.time())
    return Drained.model_validate(done)


@router.delete(
    "/drains/{name:path}", operation_id="gateways.resume", dependencies=[needs(Role.OPERATE)], responses=MISSING
)
def resume(desk: Desk, name: Name) -> Resumed:
    """Let calls go to it again; answered when every live node does so."""
    return Resumed.model_validate(gateways.resume(desk, name))


@router.post(
    "/resets/{name:path}", operation_id="gateways.reset", dependencies=[needs(Role.OPERATE)], responses=MISSING
)
def reset(desk: Desk, name: Name, wanted: NewReset) -> Reset:
    """Forget what failures told of it: its breaker closes, its Retry-After is over."""
    return Reset.model_validate(gateways.reset(desk, name, wanted.node))
