"""Message waiting beside Kamailio: what workers hand over and what changes in Redis, into the notifier."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.lamp_follower import Follower, Found
from agent.lamp_watchers import Watchers
from agent.lamps import Notifier
from kemi.lamps import tell
from kemi.rpc import Kamcmd
from model.settings import Settings

log = logging.getLogger("strowger.agent")

RPC_TIMEOUT = 1.0
# Seconds between two looks at whether to stop.
POLL = 0.25
# Longer than any SUBSCRIBE that Kamailio takes.
DATAGRAM = 65536


@dataclass(slots=True)
class LampService:
    """Answers SUBSCRIBEs and sends NOTIFYs until told to stop."""

    settings: Settings
    stopped: Callable[[], bool]

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        changes: queue.SimpleQueue[Found] = queue.SimpleQueue()
        follower = Follower(self.settings, self.stopped, lambda found: self._deliver(changes, found))
        # Redis is waited for in a thread of its own, so that no phone waits for it.
        following = threading.Thread(target=follower.run, name="lamps in Redis")
        following.start()
        try:
            with _listening(self.settings) as sock, self._kamailio() as kamailio:
                self._serve(sock, kamailio, changes, follower)
        finally:
            following.join()

    def _serve(
        self, sock: socket.socket, kamailio: Kamcmd, changes: queue.SimpleQueue[Found], follower: Follower
    ) -> None:
        watchers = Watchers(self.settings.watchers)
        notifier = Notifier(watchers, kamailio.call, _address(self.settings), time.time())
        try:
            while not self.stopped():
                notifier.sends_unsolicited = follower.sends_unsolicited
                try:
                    sock.settimeout(max(0.001, min(POLL, notifier.advance(time.time()) - time.time())))
                    self._take(notifier, changes, sock)
                except Exception:
                    # One message or watcher that cannot be is not the end of the others.
                    log.exception("message waiting: something went wrong")
        finally:
            watchers.close()

    def _take(self, notifier: Notifier, changes: queue.SimpleQueue[Found], sock: socket.socket) -> None:
        # In this order: what changes make due is done before the next wait.
        message = _received(sock)
        if message["kind"] == "subscribe":
            notifier.subscribe(message, time.time())
        elif message["kind"] == "answered":
            notifier.answered(message, time.time())
        while not changes.empty():
            found = changes.get()
            notifier.lamps(found.lamps, time.time())
            notifier.complete = notifier.complete or found.whole

    def _deliver(self, changes: queue.SimpleQueue[Found], found: Found) -> None:
        changes.put(found)
        with contextlib.suppress(OSError):
            # Wakes the other thread; where its queue is full it is awake.
            tell(self.settings.agent_socket, {"kind": "changes"})

    def _kamailio(self) -> Kamcmd:
        return Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=RPC_TIMEOUT)


def _listening(settings: Settings) -> socket.socket:
    path = settings.agent_socket
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of an agent that was killed.
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(path))
    path.chmod(0o660)
    return sock


def _received(sock: socket.socket) -> dict[str, Any]:
    try:
        message: dict[str, Any] = json.loads(sock.recv(DATAGRAM))
    except TimeoutError:
        return {"kind": "nothing"}
    return message


def _address(settings: Settings) -> str:
    host = settings.sip_addresses[0]
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if settings.sip_port == 5060 else f"{bracketed}:{settings.sip_port}"
