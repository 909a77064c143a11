"""Calls: those under way, one of them, and what can be done with it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, Here, needs
from api.files import Growing
from api.pages import LIMIT, After, Limit
from api.problems import documented
from api.room import room
from operations import call_control, calls, live_calls
from operations.live_calls import State
from operations.recordings import OTHER, TYPES
from state.recordings import MOST
from state.tokens import Role

router = room("/calls", "calls")

Id = Annotated[str, Path(max_length=256, description="A call's id or its Call-ID.")]
Text = Annotated[str, Query(max_length=100)]
TIMES = "Unix time in seconds"
AUDIO = {"Cache-Control": "private, no-cache"}
"It may be under way: asked for again, and not sent twice where it is as it was."


class LiveCall(BaseModel):
    """A call that is under way."""

    call: str
    call_id: str
    node: str
    state: State
    trunk: str
    caller: str
    callee: str
    route: str
    gateway: str = Field(description="That it is at now; empty: none was tried.")
    tried: list[str] = Field(description="Gateways in the order in which they were tried, this one last.")
    app: str = Field(description="Call script that it was handed to; empty: none.")
    emergency: bool
    began: float = Field(description=TIMES)
    answered: float | None = Field(description=TIMES)
    seconds: float = Field(description="Since the answer, or since it began.")


class LivePage(BaseModel):
    """Some live calls, the newest first."""

    calls: list[LiveCall]
    total: int = Field(description="Of all that match, on every page.")
    after: str | None = Field(description="For the next page; null: there is none.")


class Leg(BaseModel):
    """A call that media sent on for another."""

    call: str
    call_id: str
    live: bool


class Told(BaseModel):
    """An event of a call."""

    id: str
    kind: str
    at: float = Field(description=TIMES)
    data: dict[str, Any]


class RecordingFile(BaseModel):
    """What a call script recorded, or a caller left in voicemail."""

    number: int = Field(description="From 1, in the order in which they began; the message last.")
    kind: str = Field(description="recording or message.")
    name: str = Field(
        description="Path below the folder of recordings, a whole path where it is elsewhere; mailbox/id of a message."
    )
    here: bool = Field(description="Whether it can be played.")
    why: str = Field(description="Why it cannot.")
    bytes: int | None
    seconds: float | None = Field(description="null: it is no WAV file.")


class Recordings(BaseModel):
    """What a call recorded."""

    recordings: list[RecordingFile]


class Call(BaseModel):
    """A call: its record so far, as docs/records.md describes it, and more."""

    model_config = ConfigDict(extra="allow")

    call: str
    call_id: str
    node: str
    trunk: str
    caller: str
    callee: str
    route: str
    live: bool
    state: State | None = Field(description="null: it is over.")
    outcome: str | None = Field(description="null: it is not over.")
    status: int | None
    began: float = Field(description=TIMES)
    answered: float | None
    ended: float | None
    attempts: list[dict[str, Any]]
    steps: list[tuple[str, str, str]] = Field(description="What its decision read and found.")
    origin: str = Field(description="The call that media sent on as this one; empty: none.")
    legs: list[Leg] = Field(description="Calls that media sent on for this one.")
    recorded: list[RecordingFile] = Field(description="The files of its recordings.")
    events: list[Told] = Field(description="What the stream of events still has of it.")


class Trace(BaseModel):
    """A call, every call that belongs to it, and their events in order."""

    calls: list[Call]
    events: list[Told]


class HungUp(BaseModel):
    """A call whose end was asked for."""

    call: str
    call_id: str
    node: str
    how: str = Field(description="BYE: it stood; CANCEL: it was being set up.")


class Done(BaseModel):
    """A live call with which something was done."""

    call: str
    call_id: str
    worker: str = Field(description="The media worker that has it.")


class Play(BaseModel):
    """What is to be played: one of text, prompt and tone."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field("", max_length=call_control.TEXT_MAX, description="Words, spoken by machine.")
    prompt: str = Field("", max_length=100, description="Name of a prompt.")
    tone: str = Field("", max_length=200, description="%(milliseconds on, off, Hz), as FreeSWITCH has it.")
    side: str = Field("both", description="caller, callee or both.")


class Transfer(BaseModel):
    """Where a call is to be sent."""

    model_config = ConfigDict(extra="forbid")

    number: str = Field(min_length=1, max_length=64, description="Routed as the policy has it.")


class Run(BaseModel):
    """The script that is to have a call."""

    model_config = ConfigDict(extra="forbid")

    script: str = Field(min_length=1, max_length=64)
    args: str = Field("", max_length=call_control.ARGS_MAX)


class Originate(BaseModel):
    """A call that is to be placed; who answers is given to a script, or bridged to a number: one of the two."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=1, max_length=64, description="Who is called, as the policy has it.")
    caller: str = Field("", max_length=64, description="The number that is shown.")
    script: str = Field("", max_length=64)
    args: str = Field("", max_length=call_control.ARGS_MAX, description="Handed to the script.")
    bridge: str = Field("", max_length=64, description="Who is called once the first has answered.")
    timeout: int = Field(call_control.RING, ge=1, le=120, description="Seconds that it may ring.")


class Originated(BaseModel):
    """A call that is being placed."""

    call: str = Field(description="The `origin` of the events that tell how it goes on.")
    worker: str


ACTS: dict[str, Any] = {
    "dependencies": [needs(Role.OPERATE)], "responses": documented(HTTPStatus.NOT_FOUND),
}  # fmt: skip


@router.get("", operation_id="calls.live", dependencies=[needs(Role.READ)])
def live(
    desk: Desk, trunk: Text = "", gateway: Text = "", caller: Text = "", callee: Text = "", node: Text = "",
    state: Annotated[State | None, Query()] = None, after: After = "", limit: Limit = LIMIT,
) -> LivePage:  # fmt: skip
    """Calls under way on all nodes, the newest first. A number with a * behind stands for all that begin with it."""
    wanted = live_calls.Filter(
        trunk=trunk, gateway=gateway, caller=caller, callee=callee, node=node, state=state or ""
    )  # fmt: skip
    return LivePage.model_validate(live_calls.page(desk, wanted, after=after, limit=limit))


@router.post("", operation_id="calls.originate", status_code=202, dependencies=[needs(Role.OPERATE)])
def originate(desk: Desk, call: Originate) -> Originated:
    """Call somebody, and give who answers to a script or bridge them to another. Answered once the call is placed."""
    done = call_control.originate(
        desk, call.to, script=call.script, args=call.args, bridge=call.bridge, caller=call.caller, timeout=call.timeout
    )
    return Originated.model_validate(done)


@router.get(
    "/{call}", operation_id="calls.show", dependencies=[needs(Role.READ)], responses=documented(HTTPStatus.NOT_FOUND)
)
def show(desk: Desk, here: Here, call: Id) -> Call:
    """One call, live or past: decision, attempts, causes, media, message, recordings, events."""
    return Call.model_validate(calls.one(desk, call, here))


@router.get(
    "/{call}/trace", operation_id="calls.trace", dependencies=[needs(Role.READ)],
    responses=documented(HTTPStatus.NOT_FOUND),
)  # fmt: skip
def trace(desk: Desk, here: Here, call: Id) -> Trace:
    """A call with every call that belongs to it, from the one that came first."""
    return Trace.model_validate(calls.trace(desk, call, here))


@router.get(
    "/{call}/recordings", operation_id="calls.recordings", dependencies=[needs(Role.READ)],
    responses=documented(HTTPStatus.NOT_FOUND),
)  # fmt: skip
def recordings(desk: Desk, here: Here, call: Id) -> Recordings:
    """What its call scripts recorded and the message that was left, and whether the files are there."""
    return Recordings.model_validate({"recordings": calls.recordings_of(desk, call, here)})


@router.get(
    "/{call}/recordings/{number}/audio", operation_id="calls.audio", dependencies=[needs(Role.OPERATE)],
    response_class=FileResponse,
    responses={**documented(HTTPStatus.NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE),
               200: {"content": {kind: {} for kind in (*TYPES.values(), OTHER)}},
               206: {"description": "Partial Content"}},
)  # fmt: skip
def audio(desk: Desk, here: Here, call: Id, number: Annotated[int, Path(ge=1, le=MOST + 1)]) -> FileResponse:
    """What was recorded; ranges of it may be asked for."""
    path = calls.audio(desk, call, number, here)
    return Growing(path, media_type=TYPES.get(path.suffix, OTHER), headers=AUDIO)


@router.delete("/{call}", operation_id="calls.hangup", **ACTS)
def hangup(desk: Desk, call: Id) -> HungUp:
    """End a live call, on whichever node it is."""
    return HungUp.model_validate(calls.hangup(desk, call))


@router.post("/{call}/play", operation_id="calls.play", **ACTS)
def play(desk: Desk, call: Id, what: Play) -> Done:
    """Play into a live call that a call script has."""
    done = call_control.play(desk, call, text=what.text, prompt=what.prompt, tone=what.tone, side=what.side)
    return Done.model_validate(done)


@router.post("/{call}/transfer", operation_id="calls.transfer", **ACTS)
def transfer(desk: Desk, call: Id, where: Transfer) -> Done:
    """Take a live call from its script, and send it on to a number."""
    return Done.model_validate(call_control.transfer(desk, call, where.number))


@router.post("/{call}/run", operation_id="calls.run", **ACTS)
def run(desk: Desk, call: Id, what: Run) -> Done:
    """Take a live call from its script, and give it to another."""
    return Done.model_validate(call_control.run(desk, call, what.script, what.args))
