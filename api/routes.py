"""Which prefix leads to which route."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from api import files
from api.access import Desk, needs
from api.pages import LIMIT, After, Limit
from api.room import room
from operations import routes
from state.tokens import Role

router = room("/routes", "routes")


class Prefix(BaseModel):
    """A prefix and its route."""

    prefix: str = Field(description="Empty: any number.")
    route: str
    origin: Literal["policy", "import"] = Field(alias="from")


class PrefixPage(BaseModel):
    """Some prefixes, in order."""

    prefixes: list[Prefix]
    total: int = Field(description="Of all that match, on every page.")
    after: str | None = Field(description="For the next page; null: there is none.")


@router.get("/prefixes", operation_id="routes.prefixes", dependencies=[needs(Role.READ)])
def prefixes(
    desk: Desk,
    prefix: Annotated[str, Query(max_length=64, description="Only those that begin with this one.")] = "",
    search: Annotated[str, Query(max_length=200, description="Part of a prefix or of a route's name.")] = "",
    after: After = "",
    limit: Limit = LIMIT,
) -> PrefixPage:
    """Prefixes and their routes, those of the policy and those that were imported, a page at a time."""
    found, total, end = routes.page(desk, prefix=prefix, search=search, after=after, limit=limit)
    return PrefixPage.model_validate({"prefixes": [one.row() for one in found], "total": total, "after": end or None})


@router.get(
    "/prefixes/export",
    operation_id="routes.export",
    dependencies=[needs(Role.READ)],
    response_class=StreamingResponse,
    responses=files.GIVEN,
)
def export(desk: Desk) -> StreamingResponse:
    """The imported prefixes as a CSV file."""
    return files.streamed(routes.exported(desk))


@router.post(
    "/prefixes/import",
    operation_id="routes.import",
    dependencies=[needs(Role.ADMIN)],
    openapi_extra=files.TAKEN,
    max_body_size=files.FILE_MAX,
)
def import_(
    desk: Desk, file: files.File, replace: files.Replace = False, skip_bad: files.SkipBad = False
) -> files.Imported:
    """Import a CSV file (prefix,route) for routes of the policy in force as one change."""
    return files.Imported.model_validate(routes.imported(desk, file, replace=replace, skip_bad=skip_bad))
