"""Lists a page at a time: ``after`` and ``limit`` are asked for, and an answer's ``after`` begins the next page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

LIMIT = 100
LIMIT_MAX = 1000

After = Annotated[str, Query(max_length=500, description="What the page before says.")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="At most so many.")]
