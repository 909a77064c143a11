"""Why a call goes where it goes, without placing it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.access import Here, needs
from api.policy import LARGE, TEXT_MAX
from api.room import room
from operations import explain
from operations import policy as policies
from operations.explain import Question
from state.tokens import Role

router = room("/explain", "explain")


class Call(BaseModel):
    """A call that nobody places."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=1, max_length=200, description="User part of the Request-URI: the number dialled.")
    caller: str = Field("", max_length=200, description="User part of From.")
    source: str = Field("", max_length=64, description="IP address that it comes from; default: the first trunk's.")
    subscriber: str = Field("", max_length=64, description="Whose phone calls, their password being right.")
    media: str = Field("", max_length=100, description="With a media relay: what the SDP has, `10.0.0.7 RTP/AVP`.")
    asserted: str = Field("", max_length=200, description="User part of P-Asserted-Identity.")
    user_agent: str = Field("", max_length=200)
    private: bool = Field(False, description="The caller asks for privacy.")
    at: float | None = Field(None, gt=0, le=1e11, description="Unix time; default: now.")
    fail: list[str] = Field([], max_length=100, description="How gateways fail: `carrier-a=503,q850=34`, `b=timeout`.")
    draw: float = Field(0.0, ge=0, le=1, description="What a weighted route draws.")
    hook_answer: dict[str, Any] | None = Field(None, description="What the route hook of the call answers.")
    policy: str | None = Field(None, max_length=TEXT_MAX, description="Decide by this text, not by that in force.")


class Explanation(BaseModel):
    """Everything that decides a call."""

    model_config = ConfigDict(extra="allow")

    class Step(BaseModel):
        """What was read, of what, and what was found."""

        what: str
        subject: str
        found: str

    version: int = Field(description="Of the policy; 0: of a text.")
    steps: list[Step]
    route: str
    attempts: list[dict[str, Any]]
    outcome: str
    refusal: str
    limits: list[dict[str, Any]]
    guards: list[dict[str, Any]]
    notes: list[str] = Field(description="What could not be found out.")


@router.post("", operation_id="explain.call", dependencies=[needs(Role.READ)], max_body_size=LARGE)
def call(here: Here, call: Call) -> Explanation:
    """How this node would decide a call: what is read, what matches, the attempts, what each failure leads to."""
    asked = Question(
        call.to, call.caller, call.source, call.subscriber, call.media, call.asserted, call.user_agent, call.private,
        call.at or 0.0, tuple(call.fail), call.draw,
        json.dumps(call.hook_answer).encode() if call.hook_answer is not None else None,
    )  # fmt: skip
    found = explain.explained(here, asked, policies.read(call.policy) if call.policy is not None else None)
    return Explanation.model_validate({**found.row(), "notes": found.notes})
