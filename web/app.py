"""The whole site on one port: the API, and the console on it."""

from __future__ import annotations

from types import ModuleType

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from api.app import make_app
from model.settings import Settings
from web import live, login
from web.pages import (
    audit,
    calls,
    explain,
    fraud,
    gateways,
    lists,
    nodes,
    overview,
    policy,
    subscribers,
    tokens,
    voicemail,
)
from web.render import STATIC
from web.security import SecurityHeaders

PAGES: tuple[ModuleType, ...] = (
    overview, calls, explain, policy, gateways, lists, subscribers, voicemail, fraud, nodes, audit, tokens,
)  # fmt: skip
"Modules of pages; each has a ``router``."


def make_site(settings: Settings) -> FastAPI:
    """The API with the console on it."""
    app = make_app(settings)
    app.add_middleware(SecurityHeaders)
    app.mount("/static", StaticFiles(directory=STATIC))
    for module in (login, live, *PAGES):
        app.include_router(module.router)
    return app
