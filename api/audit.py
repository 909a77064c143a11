"""Who changed what."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from api.access import Desk, needs
from api.pages import LIMIT, After, Limit
from api.room import room
from operations import audit
from state.tokens import Role

router: APIRouter = room("/audit", "audit")


class AuditEntry(BaseModel):
    """One change."""

    id: str
    at: float = Field(description="Unix time in seconds.")
    who: str = Field(description="cli:USER, token:NAME, or the name of a process.")
    what: str
    subject: str
    before: Any = Field(description="null: it was not there.")
    after: Any = Field(description="null: it is gone.")


class AuditPage(BaseModel):
    """Some changes, the last one first."""

    entries: list[AuditEntry]
    after: str | None = Field(description="For the next page; null: there is none.")


@router.get("", operation_id="audit.entries", dependencies=[needs(Role.ADMIN)])
def entries(desk: Desk, after: After = "", limit: Limit = LIMIT) -> AuditPage:
    """Who changed what, the last change first."""
    found, end = audit.page(desk, after, limit)
    return AuditPage.model_validate({"entries": found, "after": end or None})
