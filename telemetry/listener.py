"""GET /metrics, /live and /ready of one process, over HTTP, in threads beside its work.

It only tells. What changes anything, such as a drain, has an author and a reason, and goes another way.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from model.settings import Address
from telemetry.health import Check, Checks, body, nothing
from telemetry.registry import REGISTRY

T = TypeVar("T")
JSON = "application/json"
PATIENCE = 5.0
"Seconds that a peer may take to ask, and an event loop to answer."
AGAIN = 10.0
"Seconds until an address is tried again that another process has."

log = logging.getLogger("strowger.telemetry")


def nothing_to_do() -> None:
    """All metrics are as they should be at any time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a process tells of itself."""

    sample: Callable[[], None] = nothing_to_do
    "Brings metrics up to date that nobody keeps so, before each scrape."
    live: Checks = nothing
    "Fails where a restart would help."
    ready: Checks = nothing
    "Fails where the process cannot do its work, or is to do no more of it."


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply."""

    status: int
    kind: str
    content: bytes


def answer(told: Told, path: str) -> Answer:
    """What is replied to a GET."""
    match path.partition("?")[0]:
        case "/metrics":
            told.sample()
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(REGISTRY))
        case "/live":
            return _checked("live", told.live)
        case "/ready":
            return _checked("ready", told.ready)
        case _:
            return Answer(404, "text/plain; charset=utf-8", b"/metrics, /live or /ready\n")


def _checked(word: str, checks: Checks) -> Answer:
    well, content = body(word, checks())
    return Answer(200 if well else 503, JSON, content)


class Listener:
    """Answers at ``address`` from :meth:`start` until the process ends; None: nowhere."""

    def __init__(self, address: Address | None, told: Told) -> None:
        self._address, self._told = address, told
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Begin. Where the address is taken that is logged, and tried again: no work waits for it."""
        if self._address is not None:
            threading.Thread(target=self._serve, args=(self._address,), name="telemetry", daemon=True).start()

    def _serve(self, address: Address) -> None:
        said = False
        while True:
            try:
                server = _Server(address, self._told)
            except OSError as error:
                if not said:
                    log.error("no metrics at %s: %s", address, error.strerror or error)
                said = True
                time.sleep(AGAIN)
            else:
                break
        log.info("metrics and health at %s", address)
        while True:
            # Without a time-out, so that nothing wakes this process for nothing.
            server.handle_request()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    timeout = None

    def __init__(self, address: Address, told: Told) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.told = told
        super().__init__((address.host, address.port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that went away is no matter; what else fails is."""
        log.debug("a request for metrics failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: _Server

    def do_GET(self) -> None:
        """All there is."""
        try:
            found = answer(self.server.told, self.path)
        except Exception as error:
            log.exception("%s cannot be answered", self.path.partition("?")[0])
            found = Answer(500, JSON, body("ready", [Check("telemetry", False, type(error).__name__)])[1])
        self.send_response(found.status)
        self.send_header("Content-Type", found.kind)
        self.send_header("Content-Length", str(len(found.content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(found.content)

    def version_string(self) -> str:
        """Of the Server header: nothing that helps an attacker."""
        return "strowger"

    def log_message(self, format: str, *args: Any) -> None:
        """Not each scrape."""


def on_loop(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What ``work`` returns, run in the event loop of another thread. Raises TimeoutError where that is blocked."""
    coroutine = work()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:
        # The loop is closed.
        coroutine.close()
        raise TimeoutError from None
    try:
        return future.result(PATIENCE)
    except TooLate:
        future.cancel()
        raise TimeoutError from None


def of_loop(
    ready: Callable[[], Coroutine[Any, Any, list[Check]]], sample: Callable[[], Coroutine[Any, Any, None]]
) -> Told:
    """The same for a process that works in the running event loop: both run there."""
    loop = asyncio.get_running_loop()

    async def turn() -> list[Check]:
        return [Check("loop", True, "the event loop takes turns")]

    def checked(work: Callable[[], Coroutine[Any, Any, list[Check]]]) -> list[Check]:
        try:
            return on_loop(loop, work)
        except TimeoutError:
            return [Check("loop", False, f"the event loop took no turn within {PATIENCE:g} s")]

    def sampled() -> None:
        try:
            on_loop(loop, sample)
        except TimeoutError:
            log.warning("metrics are old: the event loop took no turn within %g s", PATIENCE)

    return Told(sample=sampled, live=lambda: checked(turn), ready=lambda: checked(ready))
