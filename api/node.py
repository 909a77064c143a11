"""The node that answers: its Kamailio's RPC, and its routing code."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, Here, needs
from api.room import room
from operations import node
from state.tokens import Role

router = room("/node", "node")


class Rpc(BaseModel):
    """A call of Kamailio's RPC."""

    model_config = ConfigDict(extra="forbid")

    method: str = Field(pattern=r"^[A-Za-z0-9_]{1,40}(\.[A-Za-z0-9_]{1,60}){1,2}$", description="As core.uptime.")
    arguments: list[str | int | float] = Field([], max_length=50)


class RpcResult(BaseModel):
    """What Kamailio answered."""

    result: Any


class Reloaded(BaseModel):
    """What the workers load within their next calls."""

    node: str
    old: int = Field(description="Version of the code before.")
    new: int


@router.post("/kamcmd", operation_id="node.kamcmd", dependencies=[needs(Role.ADMIN)])
def kamcmd(desk: Desk, here: Here, rpc: Rpc) -> RpcResult:
    """Call any RPC of Kamailio."""
    return RpcResult(result=node.kamcmd(here, desk, rpc.method, tuple(rpc.arguments)))


@router.post("/reload", operation_id="node.reload", dependencies=[needs(Role.ADMIN)])
def reload(desk: Desk, here: Here) -> Reloaded:
    """Check the routing code on disk, and if it is sound have every worker load it within its next calls."""
    return Reloaded.model_validate(node.reload(here, desk))
