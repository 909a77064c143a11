"""How calls go, as a whole."""

from __future__ import annotations

import time
from enum import IntEnum

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.access import Desk, needs
from api.room import room
from operations import overview
from state.tokens import Role

router: APIRouter = room("/overview", "overview")


class Minutes(IntEnum):
    """How far back."""

    QUARTER = 15
    HOUR = 60
    SIX_HOURS = 360
    DAY = 1440


class Now(BaseModel):
    """Of the whole time, but for the first two."""

    calls_per_second: float = Field(description="In the last point.")
    concurrent: int = Field(description="Calls that are not over.")
    asr: float | None = Field(description="Answer-seizure ratio in percent; null: no call's fate became known.")
    pdd: float | None = Field(description="Average post-dial delay in seconds; null: nothing rang.")
    calls: int = Field(description="That began.")
    failures: int = Field(description="Calls refused or failed.")


class Overview(BaseModel):
    """Figures of all nodes, a value for each point of time."""

    minutes: int
    begin: float = Field(description="Unix time in seconds at which the first point begins.")
    end: float = Field(description="Unix time in seconds at which the last one ends.")
    step: int = Field(description="Seconds of a point.")
    calls_per_second: list[float]
    concurrent: list[int] = Field(description="At the end of the point.")
    asr: list[float | None]
    pdd: list[float | None]
    failures: dict[str, list[int]] = Field(description="By cause: of the last gateway, or by what a call was refused.")
    now: Now


@router.get("", operation_id="overview.figures", dependencies=[needs(Role.READ)])
def figures(desk: Desk, minutes: Minutes = Minutes.QUARTER) -> Overview:
    """Calls a second, calls under way, answer-seizure ratio, post-dial delay, and failures by cause."""
    return Overview.model_validate(overview.figures(desk, minutes, time.time()))
