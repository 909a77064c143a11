"""The nodes and the processes on them: whether they are well, and drains of nodes."""

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


class DrainInForce(BaseModel):
    """Why a node takes no new calls."""

    reason: str
    author: str
    since: float = Field(description="Unix time in seconds.")
    until: float | None = Field(description="Unix time in seconds; null: until somebody resumes it.")


class Drained(DrainInForce):
    """A node that takes no new calls."""

    name: str
    in_force: bool = Field(description="False: the node is away, and will be drained when it starts.")


class Resumed(BaseModel):
    """A node that takes calls."""

    name: str
    in_force: bool


class Node(BaseModel):
    """A node. Of one that is gone nothing but its name is known."""

    name: str
    live: bool
    version: int | None = Field(None, description="Of the policy in its snapshot.")
    seq: int | None = Field(None, description="Number of the last change in its snapshot.")
    behind: int | None = Field(None, description="Changes that its snapshot lacks; null: it copies another Redis.")
    kamailio: bool | None = Field(None, description="Whether its Kamailio answers.")
    pid: int | None = Field(None, description="Of its agent.")
    started: float | None = Field(None, description="When its agent was, in Unix time.")
    busy: bool | None = Field(None, description="Whether it brings in many changes at once.")
    draining: bool | None = Field(None, description="Whether it takes no new calls.")
    drain: DrainInForce | None = Field(None, description="Why it is to take none.")
    calls: int | None = Field(None, description="Calls under way; null: its Kamailio does not answer.")
    troubles: list[str] | None = Field(None, description="What keeps it from being ready.")
    registers: bool | None = Field(None, description="Whether it registers trunks for all.")


class Nodes(BaseModel):
    """All nodes, by name, and what they are to have."""

    version: int = Field(description="Of the policy in force.")
    seq: int = Field(description="Number of the last change.")
    nodes: list[Node]


class Health(BaseModel):
    """How all is."""

    ready: bool
    node: str = Field(description="The node that was asked, whose processes these are.")
    processes: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    redis: str = Field(description="Why Redis does not answer; empty: it does.")


@router.get("", operation_id="nodes.list", dependencies=[needs(Role.READ)])
def all_of_them(desk: Desk) -> Nodes:
    """The nodes that are live, and those that were and did not stop in order."""
    return Nodes.model_validate({**nodes.position(desk), "nodes": nodes.rows(desk)})


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
