"""The policy: checked, compared, put in force, and its history."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from api.access import Desk, Here, needs
from api.problems import documented
from api.room import InForce, room
from operations import dryrun
from operations import policy as operations
from state.store import HISTORY_KEPT
from state.tokens import Role

router = room("/policy", "policy")

TEXT_MAX = 4_000_000
VERSION_MAX = 2**31 - 1
BACK_MAX = 366 * 86_400

Version = Annotated[int | None, Query(ge=1, le=VERSION_MAX, description="Default: the one in force.")]


class Draft(BaseModel):
    """A policy that is not in force."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=TEXT_MAX, description="The policy file, YAML.")


class Application(Draft):
    """A policy to be put in force."""

    expect: int | None = Field(
        None, ge=0, le=VERSION_MAX,
        description="Apply only if this version is in force (0: none), so that nobody else's change is undone.",
    )  # fmt: skip
    message: str = Field("", max_length=1000, description="Why, for the history.")


class Rollback(BaseModel):
    """The way back."""

    model_config = ConfigDict(extra="forbid")

    to: int | None = Field(None, ge=1, le=VERSION_MAX, description="Default: the version before the one in force.")
    message: str = Field("", max_length=1000, description="Why, for the history.")


class Comparison(BaseModel):
    """What is compared: a text or a version, with an older version."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(None, max_length=TEXT_MAX, description="The newer side, instead of `to`.")
    older: int | None = Field(None, ge=1, le=VERSION_MAX, description="Default: the version in force.")
    newer: int | None = Field(None, ge=1, le=VERSION_MAX, description="Default: the version in force.")


class Trial(Draft):
    """A policy by which past calls are decided anew."""

    seconds: float = Field(3600, gt=0, le=BACK_MAX, description="How far back.")
    numbers: bool = Field(False, description="Whole numbers; otherwise they are masked.")


class VersionInfo(BaseModel):
    """A version of the policy."""

    version: int
    applied: float = Field(description="Unix time in seconds.")
    author: str
    message: str


class History(BaseModel):
    """The versions that are kept, newest first."""

    versions: list[VersionInfo]


class Policy(VersionInfo):
    """A policy as it was applied."""

    text: str


class Validated(BaseModel):
    """A policy that may be applied."""

    valid: bool
    trunks: int
    gateways: int
    routes: int
    warnings: list[str] = Field(description="Names that have no address now.")


class Applied(InForce):
    """A version, and where it is in force."""

    version: int


class RolledBack(Applied):
    """A version that says what an earlier one did."""

    rolled_back_to: int


class Difference(BaseModel):
    """What is decided otherwise."""

    class Part(BaseModel):
        """A part of the policy that is not what it was."""

        section: str
        name: str
        kind: str
        fields: list[dict[str, Any]]

    same: bool
    changes: list[Part]


class TrialResult(BaseModel):
    """Which past calls of this node would have gone elsewhere."""

    class Group(BaseModel):
        """Calls that would have gone the same other way."""

        old: str
        new: str
        calls: int
        examples: list[dict[str, Any]]

    version: int = Field(description="Of the policy in force.")
    since: float
    calls: int
    changed: int
    skipped: int
    groups: list[Group]


LARGE = 2 * TEXT_MAX


@router.get("", operation_id="policy.show", dependencies=[needs(Role.READ)],
            responses=documented(HTTPStatus.NOT_FOUND))  # fmt: skip
def show(desk: Desk, version: Version = None) -> Policy:
    """The policy in force, or an earlier one, as it was applied."""
    return Policy.model_validate(operations.shown(operations.of(desk, version)))


@router.put("", operation_id="policy.apply", dependencies=[needs(Role.ADMIN)], max_body_size=LARGE)
def apply(desk: Desk, application: Application) -> Applied:
    """Put a policy in force on every node; answered when every live node decides by it."""
    loaded = operations.read(application.text)
    done = operations.apply(
        desk, loaded, expect=application.expect, message=application.message, author=desk.who
    )  # fmt: skip
    return Applied.model_validate(done)


@router.get("/history", operation_id="policy.history", dependencies=[needs(Role.READ)])
def history(desk: Desk, limit: Annotated[int, Query(ge=1, le=HISTORY_KEPT)] = 20) -> History:
    """The versions that are kept, newest first: the one in force is at the top."""
    return History.model_validate({"versions": operations.history(desk, limit)})


@router.post("/validate", operation_id="policy.validate", dependencies=[needs(Role.READ)], max_body_size=LARGE)
def validate(here: Here, draft: Draft) -> Validated:
    """Check a policy; nothing is applied. What is wrong is an error, whose `errors` say where."""
    return Validated.model_validate(operations.validated(operations.read(draft.text), here))


@router.post("/diff", operation_id="policy.diff", dependencies=[needs(Role.READ)],
             responses=documented(HTTPStatus.NOT_FOUND), max_body_size=LARGE)  # fmt: skip
def diff(desk: Desk, comparison: Comparison) -> Difference:
    """What a policy, or a version, decides otherwise than the one in force, or than an earlier one."""
    loaded = operations.read(comparison.text) if comparison.text is not None else None
    changes = operations.compared(desk, loaded=loaded, older=comparison.older, newer=comparison.newer)
    return Difference.model_validate(operations.diff_row(changes))


@router.post("/try", operation_id="policy.try", dependencies=[needs(Role.READ)], max_body_size=LARGE)
def try_(here: Here, trial: Trial) -> TrialResult:
    """Which past calls of this node would have gone elsewhere; nothing is applied."""
    since = time.time() - trial.seconds
    report, version = dryrun.compared(operations.read(trial.text), here, since)
    return TrialResult.model_validate(dryrun.row(report, version, since, numbers=trial.numbers))


@router.post("/rollback", operation_id="policy.rollback", dependencies=[needs(Role.ADMIN)],
             responses=documented(HTTPStatus.NOT_FOUND))  # fmt: skip
def rollback(desk: Desk, back: Rollback) -> RolledBack:
    """Put an earlier policy in force again, as a new version: the history is never rewritten."""
    return RolledBack.model_validate(operations.rollback(desk, to=back.to, message=back.message, author=desk.who))
