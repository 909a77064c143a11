"""The HTTP API in a thread of this process, over a Redis of the test's own or a node's."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.app import make_app
from api.protocols import options
from console.ports import free_port
from harness.node import GB, TRUNK
from harness.redis_server import RedisServer
from model.policy import Policy, Route
from model.settings import Settings
from state import tokens
from state.store import Store
from state.tokens import Role

PREFIX = "/api/v1"


@functools.cache
def document() -> dict[str, Any]:
    """The OpenAPI document: made once for all whose tests are those of its routes, as it takes half a second."""
    return make_app(Settings.from_env({})).openapi()


@dataclass(slots=True)
class Api:
    """An API, and a token of each role."""

    app: FastAPI
    client: httpx.Client
    store: Store
    tokens: Mapping[Role, str]

    def ask(self, method: str, path: str, role: Role | str = Role.ADMIN, **options: Any) -> httpx.Response:
        """Ask as the bearer of a token: that of a role, or any text; empty: without one."""
        text = self.tokens[role] if isinstance(role, Role) else role
        headers = {**({"Authorization": f"Bearer {text}"} if text else {}), **options.pop("headers", {})}
        return self.client.request(method, PREFIX + path, headers=headers, **options)

    def get(self, path: str, **query: Any) -> Any:
        """What an administrator is answered with 200."""
        response = self.ask("GET", path, params=query)
        assert response.status_code == 200, response.text
        return response.json()


def api_settings(redis_url: str, directory: Path, **more: str) -> Settings:
    """Settings of an API without a node."""
    return Settings.from_env({
        "STROWGER_NODE": "api-under-test",
        "STROWGER_REDIS_URL": redis_url,
        "STROWGER_SNAPSHOT": str(directory / "snapshot"),
        "STROWGER_SPOOL": str(directory / "spool"),
        "STROWGER_SECRETS": str(directory / "secrets"),
        "STROWGER_RUN": str(directory / "run"),
        "STROWGER_VOICEMAIL": str(directory / "voicemail"),
        "STROWGER_MEDIA_STATE": str(directory / "media"),
        "STROWGER_WEB_ADDRESS": f"127.0.0.1:{free_port()}",
        **more,
    })  # fmt: skip


@contextmanager
def api(settings: Settings) -> Iterator[Api]:
    """The API over the state of ``settings`` while the block runs."""
    store = Store(settings.redis_url, "test")
    texts = {role: tokens.make(store, f"tester-{role}", role)[1] for role in Role}
    app = make_app(settings)
    with answering(app, settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield Api(app, client, store, texts)
    store.close()


@contextmanager
def answering(app: FastAPI, settings: Settings) -> Iterator[str]:
    """An application behind a port of this machine while the block runs; its URL."""
    host, port = settings.web_address
    server = uvicorn.Server(
        uvicorn.Config(
            app, host, port, log_config=None, access_log=False, timeout_graceful_shutdown=5, **options()
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the server does not start"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.01)
        yield f"http://{settings.web_address}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def api_over(redis: RedisServer, directory: Path, **more: str) -> Iterator[Api]:
    """The API over a Redis that holds a small policy and no more."""
    with api(api_settings(redis.url, directory, **more)) as it:
        policy = Policy((TRUNK,), {}, GB)
        it.store.apply(text="", policy=policy, routes=(Route("all", ("",), ()),), expected=0, author="test")
        yield it
