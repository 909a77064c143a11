"""Route hooks: what they do on the node that answers, and one asked by hand."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from api.access import Here, needs
from api.explain import Explanation
from api.problems import documented
from api.room import room
from operations import hooks
from state.tokens import Role

router = room("/hooks", "hooks")

Name = Annotated[str, Path(max_length=100, description="Name of the hook.")]


class Hook(BaseModel):
    """A hook of the policy in force."""

    hook: str
    url: str
    state: str = Field(description="Of its breaker: closed, open or half-open.")
    outstanding: int = Field(description="Questions without an answer so far.")
    at_most: int = Field(description="So many are asked at once.")
    p50: float | None = Field(description="Seconds to an answer; null: none came lately.")
    p99: float | None
    late: int = Field(description="Answers that came when the call had gone on.")
    answered: int
    fallbacks: dict[str, int] = Field(description="Calls that went by the fallback, by why.")


class Hooks(BaseModel):
    """All hooks."""

    process: bool = Field(description="Whether the hook process of this node runs; if not, all take their fallback.")
    hooks: list[Hook]


class Call(BaseModel):
    """A call that nobody places."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=1, max_length=200, description="User part of the Request-URI: the number dialled.")
    caller: str = Field("", max_length=200, description="User part of From.")
    source: str = Field("", max_length=64, description="IP address that it comes from; default: the first trunk's.")
    subscriber: str = Field("", max_length=64, description="Whose phone calls.")


class Tried(BaseModel):
    """What a hook was asked, what came of it, and where the call would go."""

    question: dict[str, Any]
    heard: dict[str, Any] = Field(description="The answer, or why there is none.")
    explanation: Explanation


@router.get("", operation_id="hooks.status", dependencies=[needs(Role.READ)])
def status(here: Here) -> Hooks:
    """Whether hooks are asked, how fast they answer, and what came of questions."""
    return Hooks.model_validate(hooks.report(here))


@router.post("/{name}/try", operation_id="hooks.try", dependencies=[needs(Role.OPERATE)],
             responses=documented(HTTPStatus.NOT_FOUND))  # fmt: skip
def ask(here: Here, name: Name, call: Call) -> Tried:
    """Ask a hook about a call that nobody places; it is asked as for any call."""
    found = hooks.tried(here, name, call.to, caller=call.caller, source=call.source, subscriber=call.subscriber)
    row = found.row()
    return Tried.model_validate({**row, "explanation": {**row["explanation"], "notes": []}})
