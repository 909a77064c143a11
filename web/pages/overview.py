"""How calls go, as a whole."""

from __future__ import annotations

from fastapi import Request, Response

from web.page import pages
from web.render import page

router = pages()


@router.get("/")
def shown(request: Request) -> Response:
    """The first page."""
    return page(request, "overview.html", title="Overview")
