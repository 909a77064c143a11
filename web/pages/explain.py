"""Why a call would go where it goes, without placing it."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from kemi.explain import FailureSpecError
from operations.errors import InvalidError
from operations.explain import Explained, Question, explained
from web.page import Here, pages
from web.render import page
from web.tree import tree

router = pages()

Text = Annotated[str, Query(max_length=200)]


@router.get("/explain")
def shown(
    request: Request, here: Here, callee: Text = "", caller: Text = "", source: Text = "", subscriber: Text = "",
    asserted: Text = "", user_agent: Text = "", media: Text = "", private: bool = False, at: Text = "",
    fail: Annotated[str, Query(max_length=1000)] = "", draw: Annotated[float, Query(ge=0, le=1)] = 0.0,
) -> Response:  # fmt: skip
    """The form and, where a number is given, how it would be decided."""
    fields: dict[str, Any] = {
        "callee": callee, "caller": caller, "source": source, "subscriber": subscriber, "asserted": asserted,
        "user_agent": user_agent, "media": media, "private": private, "at": at, "fail": fail, "draw": draw,
    }  # fmt: skip
    found, problem = None, ""
    if callee:
        try:
            found = explained(here, _question(fields))
        except (InvalidError, FailureSpecError) as error:
            problem = str(error)
    return page(
        request, "explain.html", title="Explain", fields=fields, problem=problem, found=found,
        status=HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK, **_drawn(found, fields),
    )  # fmt: skip


def _question(fields: dict[str, Any]) -> Question:
    return Question(**{**fields, "at": _time(fields["at"]), "fail": tuple(fields["fail"].split())})


def _time(text: str) -> float:
    if not text:
        return 0.0
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidError(f"at: {text!r} is no time as 2026-01-31T18:00") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _drawn(found: Explained | None, fields: dict[str, Any]) -> dict[str, Any]:
    if found is None:
        return {"root": None}

    def assume(spec: str) -> str:
        """The address of the same call, at which a gateway fails as ``spec`` has it."""
        gateway = spec.partition("=")[0]
        others = [one for one in fields["fail"].split() if one.partition("=")[0] != gateway]
        asked = {name: value for name, value in fields.items() if value}
        return f"/explain?{urlencode({**asked, 'fail': ' '.join([*others, spec])})}#tree"

    return {"root": tree(found.explanation), "assume": assume}
