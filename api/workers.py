"""The media workers on the machine that answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, Here, needs
from api.problems import documented
from api.room import room
from operations import workers
from state.tokens import Role

router = room("/workers", "workers")

Port = Annotated[int, Path(ge=0, le=65535, description="Of the one worker that is meant; 0: all of this machine.")]
MISSING = documented(HTTPStatus.NOT_FOUND)


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


class Which(BaseModel):
    """What is meant."""

    model_config = ConfigDict(extra="forbid")

    switch: bool = Field(
        False, description="Its switch instead: it answers new calls and OPTIONS with 503, Kamailio passes it over."
    )


class Drained(BaseModel):
    """A worker, or its switch, that takes no new calls."""

    worker: int = Field(description="Its port.")
    calls: int = Field(description="Calls under way.")


class AllDrained(BaseModel):
    """Of those that were meant."""

    workers: list[Drained]


class Resumed(BaseModel):
    """A worker, or its switch, that takes calls again."""

    worker: int


class AllResumed(BaseModel):
    """Of those that were meant."""

    workers: list[Resumed]


class Reloaded(BaseModel):
    """A worker that has loaded its call scripts anew."""

    worker: int
    scripts: list[str]
    refused: dict[str, str] = Field(description="File to why; what it had in force before stays.")
    trouble: str = Field(description="Why nothing could be loaded; empty: it could.")


class AllReloaded(BaseModel):
    """Of those that were meant."""

    workers: list[Reloaded]


class Script(BaseModel):
    """A call script that needs no call."""

    model_config = ConfigDict(extra="forbid")

    script: str = Field(pattern=r"^[0-9A-Za-z._+*#-]{1,64}$", description="Its name, or a number of it.")
    args: str = Field("", max_length=500, description="What it gets as args.")
    detach: bool = Field(False, description="Do not wait for it.")


class Ran(BaseModel):
    """What came of it."""

    worker: int
    output: str = Field(description="What it wrote.")


@router.get("", operation_id="workers.list", dependencies=[needs(Role.READ)])
def all_of_them(here: Here) -> Workers:
    """The media workers, their switches and scripts."""
    return Workers.model_validate({"workers": workers.rows(here)})


@router.post("/{port}/drain", operation_id="workers.drain", dependencies=[needs(Role.OPERATE)], responses=MISSING)
def drain(desk: Desk, here: Here, port: Port, wanted: Which) -> AllDrained:
    """Let a worker take no new calls; those under way go on, and FreeSWITCH tries the next worker."""
    return AllDrained.model_validate({"workers": workers.drain(here, desk, port, switch=wanted.switch)})


@router.post("/{port}/resume", operation_id="workers.resume", dependencies=[needs(Role.OPERATE)], responses=MISSING)
def resume(desk: Desk, here: Here, port: Port, wanted: Which) -> AllResumed:
    """Let it take calls again."""
    return AllResumed.model_validate({"workers": workers.resume(here, desk, port, switch=wanted.switch)})


@router.post("/{port}/reload", operation_id="workers.reload", dependencies=[needs(Role.OPERATE)], responses=MISSING)
def reload(desk: Desk, here: Here, port: Port) -> AllReloaded:
    """Have it load all call scripts anew. Edited ones serve the next call without that."""
    return AllReloaded.model_validate({"workers": workers.reload(here, desk, port)})


@router.post("/{port}/run", operation_id="workers.run", dependencies=[needs(Role.OPERATE)], responses=MISSING)
def run(desk: Desk, here: Here, port: Port, wanted: Script) -> Ran:
    """Run a call script without a call, on this worker or on one that takes calls, and answer what it writes."""
    found = workers.run(here, desk, port, wanted.script, wanted.args, detach=wanted.detach)
    return Ran.model_validate(found)
