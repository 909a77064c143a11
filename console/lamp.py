"""The lamp of a telephone that is told of messages without having asked (RFC 3842): NOTIFYs, answered and kept."""

from __future__ import annotations

import asyncio
import re
from threading import Event, Thread
from types import TracebackType
from typing import Self

from devswitch.sip.endpoint import Endpoint
from devswitch.sip.message import Request
from model.settings import Address

_BODY = re.compile(r"^Messages-Waiting: (yes|no)\r?$.*^Voice-Message: (\d+)/(\d+)", re.MULTILINE | re.DOTALL)


class Lamp:
    """A telephone on 127.0.0.1 in a thread of its own; a context manager."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._ready = Event()
        self._done = asyncio.Event()
        self._thread = Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)
        self.shows: tuple[str, int, int] | None = None
        "Messages-Waiting, new messages and heard ones; None before the first NOTIFY."

    @property
    def uri(self) -> str:
        """Where it is reached."""
        return f"sip:desk@{Address('127.0.0.1', self._port)}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        endpoint = Endpoint(
            "127.0.0.1", self._port, on_invite=lambda _: None, rtp_ports=range(0), user_agent="Strowger demo phone"
        )
        endpoint.on_request = self._told
        try:
            await endpoint.start()
            self._ready.set()
            await self._done.wait()
        finally:
            self._ready.set()
            await endpoint.stop()

    def _told(self, request: Request) -> None:
        found = _BODY.search(request.body.decode(errors="replace"))
        if request.method == "NOTIFY" and found:
            self.shows = found[1], int(found[2]), int(found[3])
