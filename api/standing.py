"""How trunks and limits stand."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.access import Desk, Here, needs
from api.room import room
from operations import limits, trunks
from state.tokens import Role

trunk_router = room("/trunks", "trunks")
limit_router = room("/limits", "limits")


class TrunkName(BaseModel):
    """A name that calls come from."""

    name: str
    addresses: list[str]
    since: float | None
    trouble: str


class Trunk(BaseModel):
    """A trunk of the policy in force."""

    name: str
    sources: list[str]
    names: list[TrunkName] = Field(description="As the node that answers knows them.")
    registration: dict[str, Any] | None = Field(description="How it stands; null: it does not register.")


class Trunks(BaseModel):
    """All trunks."""

    trunks: list[Trunk]


class Limit(BaseModel):
    """A limit, and what is in use of it over all nodes."""

    limit: str
    calls: int
    calls_limit: int | None
    nodes: dict[str, int]
    last_second: int | None
    per_second_limit: int | None
    when_away: str
    refused: int = Field(description="In the last ten minutes.")


class Limits(BaseModel):
    """All limits; of subscribers and single prefixes, those that have calls, or had some lately."""

    redis_counts: bool | None = Field(description="Whether Redis counts for the node that answers; null: unknown.")
    limits: list[Limit]


@trunk_router.get("", operation_id="trunks.all", dependencies=[needs(Role.READ)])
def all_trunks(desk: Desk, here: Here) -> Trunks:
    """The trunks of the policy in force: their sources, names, and how registrations stand."""
    return Trunks.model_validate({"trunks": trunks.rows(desk, here)})


@limit_router.get("", operation_id="limits.all", dependencies=[needs(Role.READ)])
def all_limits(desk: Desk, here: Here) -> Limits:
    """What is in use of limits over all nodes, and what they refused lately."""
    return Limits.model_validate(limits.report(desk, here))
