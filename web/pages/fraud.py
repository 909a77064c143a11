"""Guards against fraud: whom they refuse, whom they will, what happened, and releasing somebody."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Form, Request, Response

from model.fraud import shown as counted
from operations import fraud
from state.store import Store
from state.tokens import Role
from web.page import Desk, Refused, after, needs, pages
from web.render import page

router = pages()

LIMIT = 50


@router.get("/fraud")
def shown(request: Request, desk: Desk) -> Response:
    """Trips, counts and what was."""
    return page(request, "fraud.html", title="Fraud guards", **_found(desk))


@router.get("/fraud/part")
def part(request: Request, desk: Desk) -> Response:
    """What of it changes."""
    return page(request, "fraud_part.html", **_found(desk))


@router.post("/fraud/release", dependencies=[needs(Role.OPERATE)])
def release(
    request: Request, desk: Desk, guard: Annotated[str, Form()], who: Annotated[str, Form()],
    prefix: Annotated[str, Form()] = "", reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:  # fmt: skip
    """Let somebody's calls pass again."""
    if not reason.strip():
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "say why, for those who read it later")
    done = fraud.release(desk, who, reason=reason.strip(), guard=guard, prefix=prefix)
    missing = f"; {', '.join(done['missing'])} did not confirm it" if done["missing"] else ""
    where = f"in force on {', '.join(done['nodes']) or 'no node yet'}{missing}"
    return after(request, "/fraud", f"{', '.join(done['released'])} released: {where}")


def _found(desk: Store) -> dict[str, Any]:
    return {
        "trips": fraud.trips(desk), "uses": fraud.status(desk, limit=LIMIT), "past": fraud.past(desk, LIMIT),
        "found": found, "guards": fraud.guards(desk),
    }  # fmt: skip


def found(row: dict[str, Any]) -> str:
    """What was counted, for people."""
    measure = row["measure"]
    return f"{counted(measure, row['count'])} of at most {counted(measure, row['limit'])} {measure}"
