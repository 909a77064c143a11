"""The nodes and the processes on them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.access import Desk, Here, needs
from api.room import room
from operations import nodes
from state.tokens import Role

router = room("/nodes", "nodes")


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
    registers: bool | None = Field(None, description="Whether it registers trunks for all.")


class Nodes(BaseModel):
    """All nodes, by name, and what they are to have."""

    version: int = Field(description="Of the policy in force.")
    seq: int = Field(description="Number of the last change.")
    nodes: list[Node]


class Worker(BaseModel):
    """A media worker on the machine that answers. Of one that does not answer only the trouble is known."""

    name: str
    ok: bool
    trouble: str = Field(description="Empty: none.")
    address: str | None = None
    since: float | None = None
    calls: int | None = None
    draining: bool | None = None
    switch: str | None = Field(None, description="Address of its switch's event socket.")
    connected: bool | None = None
    scripts: list[str] = []
    refused: list[str] = Field([], description="Files that were refused.")


class Workers(BaseModel):
    """Media workers."""

    workers: list[Worker]


@router.get("", operation_id="nodes.list", dependencies=[needs(Role.READ)])
def all_of_them(desk: Desk) -> Nodes:
    """The nodes that are live, and those that were and did not stop in order."""
    return Nodes.model_validate({**nodes.position(desk), "nodes": nodes.rows(desk)})


@router.get("/workers", operation_id="nodes.workers", dependencies=[needs(Role.READ)])
def workers(here: Here) -> Workers:
    """The media workers on the machine that answers."""
    return Workers.model_validate({"workers": nodes.workers(here)})
