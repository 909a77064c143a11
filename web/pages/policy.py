"""The policy: edited, compared, put in force, and its history."""

from __future__ import annotations

import difflib
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response

from operations import policy
from policyfile import PolicyFileError
from state.sessions import Session
from state.store import AppliedPolicy, ConflictError, NoPolicyAppliedError, NotKeptError, Store
from state.tokens import Role
from web.page import Desk, Here, after, needs, pages
from web.render import page

router = pages()

TEXT_MAX = 1 << 20
HISTORY = 50
CONTEXT = 3
"Lines around what differs."

Text = Annotated[str, Form(max_length=TEXT_MAX)]
Message = Annotated[str, Form(max_length=1000)]
Version = Annotated[int, Form(ge=0)]


@router.get("/policy")
def edit(request: Request, desk: Desk) -> Response:
    """The policy in force, to be edited."""
    applied = _in_force(desk)
    return _editor(request, text=applied.text if applied else "", expected=applied.version if applied else 0)


@router.post("/policy/check", dependencies=[needs(Role.READ)])
def check(request: Request, text: Text = "") -> Response:
    """What is wrong with a text, while it is being written; nothing is applied."""
    loaded, problems = _read(_lines(text))
    return page(request, "policy_check.html", loaded=loaded, problems=problems)


@router.post("/policy/review", dependencies=[needs(Role.ADMIN)])
def review(request: Request, desk: Desk, here: Here, text: Text, expected: Version, message: Message = "") -> Response:
    """What a text would change, before it is applied."""
    text = _lines(text)
    loaded, problems = _read(text)
    if loaded is None:
        return _editor(request, text=text, expected=expected, problems=problems)
    return _review(request, desk, here, text=text, expected=expected, message=message)


@router.post("/policy/apply", dependencies=[needs(Role.ADMIN)])
def apply(request: Request, desk: Desk, here: Here, text: Text, expected: Version, message: Message = "") -> Response:
    """Put a text in force, if nobody else has changed the policy since it was compared."""
    text = _lines(text)
    loaded, problems = _read(text)
    if loaded is None:
        return _editor(request, text=text, expected=expected, problems=problems)
    session: Session = request.state.session
    try:
        done = policy.apply(desk, loaded, expect=expected, message=message, author=session.token.name)
    except ConflictError as error:
        return _review(request, desk, here, text=text, expected=expected, message=message, conflict=str(error))
    return after(request, "/policy", _told(done))


@router.post("/policy/review-edit", dependencies=[needs(Role.ADMIN)])
def edit_again(request: Request, text: Text, expected: Version) -> Response:
    """Back from the comparison, with the text as it is."""
    text = _lines(text)
    return _editor(request, text=text, expected=expected, problems=_read(text)[1])


@router.get("/policy/history")
def history(request: Request, desk: Desk) -> Response:
    """The versions that are kept."""
    return page(request, "policy_history.html", title="Policy history", versions=policy.history(desk, HISTORY))


@router.get("/policy/version")
def version(request: Request, desk: Desk, version: Annotated[int, Query(ge=1)]) -> Response:
    """A version, and what it changed."""
    applied = policy.of(desk, version)
    before = _before(desk, version)
    changes = policy.compared(desk, loaded=None, older=version - 1, newer=version) if before else ()
    return page(
        request, "policy_version.html", title=f"Policy version {version}", applied=applied, changes=changes,
        lines=differing(before.text if before else "", applied.text), current=desk.policy_version(), before=before,
    )  # fmt: skip


def _before(desk: Store, version: int) -> AppliedPolicy | None:
    try:
        return policy.of(desk, version - 1) if version > 1 else None
    except NotKeptError:
        # It is the oldest that is kept.
        return None


@router.post("/policy/rollback", dependencies=[needs(Role.ADMIN)])
def rollback(request: Request, desk: Desk, to: Annotated[int, Form(ge=1)], message: Message = "") -> Response:
    """Put an earlier version in force again."""
    session: Session = request.state.session
    done = policy.rollback(desk, to=to, message=message, author=session.token.name)
    return after(request, "/policy/history", _told(done))


def differing(old: str, new: str) -> list[tuple[str, str]]:
    """Lines of a comparison, each with its kind: ``added``, ``removed``, ``place`` or empty."""
    kinds = {"+": "added", "-": "removed", "@": "place"}
    found = list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=CONTEXT, lineterm=""))[2:]
    return [(kinds.get(line[:1], ""), line) for line in found]


def _editor(
    request: Request, *, text: str, expected: int, problems: tuple[Any, ...] = ()
) -> Response:  # fmt: skip
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
    loaded = None if problems else _read(text)[0]
    return page(
        request, "policy.html", status=status, title="Policy", text=text, expected=expected, problems=problems,
        loaded=loaded,
    )  # fmt: skip


def _review(
    request: Request, desk: Store, here: Any, *, text: str, expected: int, message: str, conflict: str = ""
) -> Response:
    loaded = policy.read(text)
    applied = _in_force(desk)
    current = applied.version if applied else 0
    if current != expected and not conflict:
        conflict = f"version {current} was applied since you began with version {expected}"
    changes = policy.compared(desk, loaded=loaded, older=None, newer=None) if applied else ()
    return page(
        request, "policy_review.html", title="Review", status=HTTPStatus.CONFLICT if conflict else HTTPStatus.OK,
        text=text, expected=current, message=message, conflict=conflict, changes=changes, first=applied is None,
        lines=differing(applied.text if applied else "", text), warnings=policy.unresolved(loaded.policy, here),
    )  # fmt: skip


def _read(text: str) -> tuple[Any, tuple[Any, ...]]:
    """The policy in a text, or what is wrong with it."""
    try:
        return policy.read(text), ()
    except PolicyFileError as error:
        return None, error.problems


def _in_force(desk: Store) -> AppliedPolicy | None:
    try:
        return desk.policy()
    except NoPolicyAppliedError:
        return None


def _lines(text: str) -> str:
    # A form sends its lines with CR LF.
    return text.replace("\r\n", "\n")


def _told(done: Any) -> str:
    there = ", ".join(done["nodes"]) or "no node yet"
    missing = f"; not confirmed by {', '.join(done['missing'])}" if done["missing"] else ""
    return f"Version {done['version']} is in force on {there}{missing}"
