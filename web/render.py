"""Templates into pages."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from state import sessions
from state.sessions import Session
from state.store import StoreError
from web.nav import NAV

HERE = Path(__file__).parent
STATIC = HERE / "static"
THEME = "strowger_theme"
THEMES = ("auto", "light", "dark")


def page(
    request: Request, template: str, *, status: HTTPStatus = HTTPStatus.OK, title: str = "", **context: Any
) -> HTMLResponse:
    """A page, or a part of one: what ``template`` makes of ``context``."""
    session: Session | None = getattr(request.state, "session", None)
    theme = request.cookies.get(THEME, "")
    common = {
        "session": session,
        "csrf": session.csrf if session else "",
        "may": session.may if session else lambda _: False,
        "here": request.url.path,
        "whole": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "title": title,
        "theme": theme if theme in THEMES else "auto",
        "note": "" if "X-Part" in request.headers else _note(request, session),
        "now": time.time(),
    }
    return HTMLResponse(_environment().get_template(template).render({**common, **context}), status)


def error_page(request: Request, status: HTTPStatus, text: str) -> HTMLResponse:
    """What went wrong, as a page."""
    return page(request, "error.html", status=status, title=status.phrase, text=text)


def _note(request: Request, session: Session | None) -> str:
    if session is None:
        return ""
    try:
        return sessions.noted(request.app.state.store, session)
    except StoreError:
        return ""


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(nav=NAV, static=static)
    environment.filters.update(when=when, clock=clock, iso=iso, ago=ago, lasting=lasting)
    return environment


@lru_cache(maxsize=256)
def static(name: str) -> str:
    """The address of a file of ``static``; another one when the file is, so that browsers may keep it."""
    return f"/static/{name}?v={hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def when(at: float | None) -> str:
    """A Unix time for people: UTC, as the commands have it."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def clock(at: float | None) -> str:
    """The time of day of a Unix time, to the millisecond, UTC."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]


def iso(at: float | None) -> str:
    """A Unix time for programs."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def lasting(seconds: float | None) -> str:
    """How long something takes or took."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ago(at: float) -> str:
    """How long ago a Unix time was."""
    return lasting(max(0.0, time.time() - at))
