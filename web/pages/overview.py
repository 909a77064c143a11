"""How calls go, as a whole."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import Query, Request, Response

from operations.overview import WINDOWS, figures
from state.store import Store
from web.charts import overview
from web.page import Desk, pages
from web.render import page

router = pages()

LABELS = {15: "15 minutes", 60: "1 hour", 360: "6 hours", 1440: "1 day"}
Minutes = Annotated[int, Query()]


@router.get("/")
def shown(request: Request, desk: Desk, minutes: Minutes = 15) -> Response:
    """The first page."""
    return page(request, "overview.html", title="Overview", windows=LABELS.items(), **_drawn(desk, minutes))


@router.get("/overview/part")
def part(request: Request, desk: Desk, minutes: Minutes = 15) -> Response:
    """What of it changes."""
    return page(request, "overview_part.html", **_drawn(desk, minutes))


def _drawn(desk: Store, minutes: int) -> dict[str, Any]:
    found = figures(desk, minutes if minutes in WINDOWS else 15, time.time())
    live, gone = desk.nodes()
    names = [node.name for node in live]
    return {
        "found": found, "drawn": overview(found), "live": names, "gone": gone, "version": desk.policy_version(),
    }  # fmt: skip
