"""A client of the WebSocket of events, for tests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from websockets.sync.client import ClientConnection, connect

from harness.api import PREFIX, Api
from state.tokens import Role

PATIENCE = 20.0


class Listener:
    """One connection: what came over it."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.hello = self.message()
        assert self.hello["type"] == "hello"

    def message(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next message. Raises TimeoutError."""
        message: dict[str, Any] = json.loads(self.connection.recv(timeout))
        return message

    def event(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """The next message, which has to be an event."""
        message = self.message(timeout)
        assert message["type"] == "event", message
        return message

    def until(self, kind: str, **data: Any) -> list[dict[str, Any]]:
        """Events up to the first of a kind whose data has these values, which is the last of them."""
        found, deadline = list[dict[str, Any]](), time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline, [event["kind"] for event in found]
            found.append(self.event())
            if found[-1]["kind"] == kind and data.items() <= found[-1]["data"].items():
                return found

    def tell(self, **message: Any) -> None:
        """Send a message."""
        self.connection.send(json.dumps(message))


def url(api: Api, **query: Any) -> str:
    """Where the events are; a value may be a list."""
    base = str(api.client.base_url).replace("http:", "ws:").rstrip("/")
    return f"{base}{PREFIX}/events?{urlencode(query, doseq=True)}"


@contextmanager
def listening(api: Api, role: Role = Role.READ, **query: Any) -> Iterator[Listener]:
    """A client while the block runs."""
    headers = {"Authorization": f"Bearer {api.tokens[role]}"}
    with connect(url(api, **query), additional_headers=headers, compression=None) as connection:
        yield Listener(connection)
