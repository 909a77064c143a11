"""The whole site on one port: the API, and the console on it."""

from __future__ import annotations

from types import ModuleType

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from api.app import make_app
from model.settings import Settings
from web import login
from web.pages import audit, fraud, gateways, lists, nodes, overview, voicemail
from web.render import STATIC
from web.security import SecurityHeaders

PAGES: tuple[ModuleType, ...] = (overview, gateways, lists, voicemail, fraud, nodes, audit)
"Modules of pages; each has a ``router``."


def make_site(settings: Settings) -> FastAPI:
    """The API with the console on it."""
    app = make_app(settings)
    app.add_middleware(SecurityHeaders)
    app.mount("/static", StaticFiles(directory=STATIC))
    for module in (login, *PAGES):
        app.include_router(module.router)
    return app
