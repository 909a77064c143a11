"""Who changed what."""

from __future__ import annotations

import json
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from operations import audit
from state.tokens import Role
from web.page import Desk, needs, pages
from web.render import page

router = pages()

LIMIT = 50


@router.get("/audit", dependencies=[needs(Role.ADMIN)])
def shown(request: Request, desk: Desk, after: Annotated[str, Query(max_length=40)] = "") -> Response:
    """The changes, a page at a time."""
    found, end = audit.page(desk, after, LIMIT)
    entries = [{**entry, "before": text(entry["before"]), "after": text(entry["after"])} for entry in found]
    older = f"/audit?{urlencode({'after': end})}" if end else ""
    return page(request, "audit.html", title="Audit", entries=entries, older=older, newer="/audit" if after else "")


def text(value: Any) -> str:
    """A side of a change, as people read it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
