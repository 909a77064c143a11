"""Whether nodes and processes are well, and nodes that take no new calls."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, Here, needs
from api.problems import documented
from api.room import room
from operations import draining, health, nodes
from state.tokens import Role

router = room("/nodes", "nodes")

Name = Annotated[str, Path(max_length=200, description="Name of a node.")]


class Drain(BaseModel):
    """A drain to be put in force."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000, description="Why, for those who read it later.")
    until: float = Field(0, ge=0, le=4e9, description="Unix time at which it ends by itself; 0: it does not.")


class Drained(BaseModel):
    """A node that takes no new calls."""

    name: str
    reason: str
    author: str
    since: float = Field(description="Unix time in seconds.")
    until: float | None = Field(description="Unix time in seconds; null: until somebody resumes it.")
    in_force: bool = Field(description="False: the node is away, and will be drained when it starts.")


class Resumed(BaseModel):
    """A node that takes calls."""

    name: str
    in_force: bool


class Nodes(BaseModel):
    """All nodes."""

    nodes: list[dict[str, Any]]


class Health(BaseModel):
    """How all is."""

    ready: bool
    node: str = Field(description="The node that was asked, whose processes these are.")
    processes: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    redis: str = Field(description="Why Redis does not answer; empty: it does.")


@router.get("", operation_id="nodes.list", dependencies=[needs(Role.READ)])
def rows(desk: Desk) -> Nodes:
    """The nodes that are live, and those that were and did not stop in order."""
    return Nodes(nodes=nodes.rows(desk))


@router.get("/health", operation_id="nodes.health", dependencies=[needs(Role.READ)])
def whole(here: Here) -> Health:
    """The processes of the node that is asked, as they say themselves, and what other nodes say of theirs."""
    return Health.model_validate(health.everything(here))


@router.post("/{name}/drain", operation_id="nodes.drain", dependencies=[needs(Role.OPERATE)],
             responses=documented(HTTPStatus.NOT_FOUND))  # fmt: skip
def drain(desk: Desk, name: Name, wanted: Drain) -> Drained:
    """Let a node take no new calls; those under way go on. Answered when it does so."""
    return Drained.model_validate(draining.drain(desk, name, wanted.reason, wanted.until))


@router.post("/{name}/resume", operation_id="nodes.resume", dependencies=[needs(Role.OPERATE)],
             responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT))  # fmt: skip
def resume(desk: Desk, name: Name) -> Resumed:
    """Let a drained node take calls again."""
    return Resumed.model_validate(draining.resume(desk, name))
