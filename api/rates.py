"""What gateways charge."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from api import files
from api.access import Desk, Here, needs
from api.pages import LIMIT, After, Limit
from api.problems import documented
from api.room import InForce, room
from model import ratefile
from operations import rates
from state.tokens import Role

router = room("/rates", "rates")

Gateway = Annotated[str, Path(max_length=64, description="Name of a gateway.")]
MISSING = documented(HTTPStatus.NOT_FOUND)


def _taking(
    gateway: Gateway,
    currency: Annotated[str, Query(max_length=3, description="USD; not needed where there is a sheet.")] = "",
    starts: Annotated[str, Query(max_length=40, description="From when rows count that do not say so.")] = "",
    billing: Annotated[str, Query(max_length=20, description="Of rows that do not say so.")] = "60/60",
    e164: Annotated[bool, Query(description="Prefixes are of public numbers, without a plus.")] = False,
    replace: files.Replace = False,
    skip_bad: files.SkipBad = False,
) -> rates.Taking:
    return rates.Taking(
        gateway=gateway, currency=currency, starts=starts, billing=billing, e164=e164, replace=replace,
        skip_bad=skip_bad,
    )  # fmt: skip


Taking = Annotated[rates.Taking, Depends(_taking)]


class Sheet(BaseModel):
    """A gateway's sheet."""

    gateway: str
    currency: str
    rates: int
    imported: float = Field(description="Unix time in seconds.")
    by: str


class Sheets(BaseModel):
    """All sheets."""

    sheets: list[Sheet]


class Rate(BaseModel):
    """A rate, as a sheet says it; amounts and times are text."""

    prefix: str
    price: str = Field(description="A minute.")
    fee: str = Field(description="A call.")
    billing: str = Field(description="First and further seconds.")
    begins: str = Field(alias="from", description="Empty: always.")
    until: str = Field(description="Empty: for good.")


class RatePage(BaseModel):
    """Some rates of a sheet, in the order of prefix and time."""

    rates: list[Rate]
    total: int = Field(description="Of all that match, on every page.")
    after: str | None = Field(description="For the next page; null: there is none.")


class Quote(BaseModel):
    """What a gateway charges for a number."""

    gateway: str
    price: str
    currency: str
    fee: str
    billing: str
    prefix: str = Field(description="By which prefix; empty: that of any number.")


class Quotes(BaseModel):
    """What gateways charge, the cheapest first."""

    quotes: list[Quote]


class RatesImported(files.Imported):
    """What became of an import."""

    currency: str


class RatesCompared(BaseModel):
    """What an import would change; a rate is told by its prefix and its beginning."""

    new: int
    dearer: int
    cheaper: int
    otherwise_changed: int = Field(description="Its price is the same.")
    unchanged: int
    removed: int | None = Field(None, description="Of what the file lacks, where it becomes the whole sheet.")
    skipped: list[files.Skipped]


class SheetRemoved(InForce):
    """A sheet that is gone."""

    removed: str


@router.get("", operation_id="rates.sheets", dependencies=[needs(Role.READ)])
def sheets(desk: Desk) -> Sheets:
    """The sheets by gateway."""
    return Sheets.model_validate({"sheets": rates.sheets(desk)})


@router.get("/quotes", operation_id="rates.quotes", dependencies=[needs(Role.READ)])
def quotes(
    here: Here,
    number: Annotated[str, Query(min_length=1, max_length=64, description="A called number, as people write it.")],
    at: Annotated[float, Query(ge=0, le=4e9, description="Unix time; 0: now.")] = 0.0,
) -> Quotes:
    """What each gateway charges for a number, as the node that answers has it, the cheapest first."""
    return Quotes.model_validate({"quotes": rates.quotes(here, number, at)})


@router.get("/sheets/{gateway}", operation_id="rates.sheet", dependencies=[needs(Role.READ)], responses=MISSING)
def sheet(
    desk: Desk,
    gateway: Gateway,
    prefix: Annotated[str, Query(max_length=64, description="Only those that begin with this one.")] = "",
    after: After = "",
    limit: Limit = LIMIT,
) -> RatePage:
    """The rates of a sheet, a page at a time."""
    found, total, end = rates.page(desk, gateway, prefix=prefix, after=after, limit=limit)
    cells = [dict(zip(ratefile.COLUMNS, row, strict=True)) for row in found]
    return RatePage.model_validate({"rates": cells, "total": total, "after": end or None})


@router.get(
    "/sheets/{gateway}/export",
    operation_id="rates.export",
    dependencies=[needs(Role.READ)],
    response_class=StreamingResponse,
    responses={**files.GIVEN, **MISSING},
)
def export(desk: Desk, gateway: Gateway) -> StreamingResponse:
    """A sheet as a CSV file."""
    return files.streamed(rates.exported(desk, gateway))


@router.post(
    "/sheets/{gateway}/import",
    operation_id="rates.import",
    dependencies=[needs(Role.ADMIN)],
    openapi_extra=files.TAKEN,
    max_body_size=files.FILE_MAX,
)
def import_(desk: Desk, file: files.File, taking: Taking) -> RatesImported:
    """Import a gateway's rates (CSV: prefix,price,fee,billing,from,until) as one change."""
    return RatesImported.model_validate(rates.imported(desk, file, taking, desk.who))


@router.post(
    "/sheets/{gateway}/compare",
    operation_id="rates.compare",
    dependencies=[needs(Role.READ)],
    openapi_extra=files.TAKEN,
    max_body_size=files.FILE_MAX,
)
def compare(desk: Desk, file: files.File, taking: Taking) -> RatesCompared:
    """What an import of this file would change, as the import takes it; nothing is imported."""
    return RatesCompared.model_validate(rates.compared(desk, file, taking))


@router.delete("/sheets/{gateway}", operation_id="rates.remove", dependencies=[needs(Role.ADMIN)], responses=MISSING)
def remove(desk: Desk, gateway: Gateway) -> SheetRemoved:
    """Remove a gateway's whole sheet."""
    return SheetRemoved.model_validate(rates.remove(desk, gateway))
