"""Message waiting beside Kamailio: what workers hand over and what changes in Redis, into the notifier."""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from agent.lamp_follower import Follower, Found
from agent.lamp_watchers import Watchers
from agent.lamps import Notifier
from agent.pipe import SIZE, make_pipe
from kemi.rpc import Kamcmd
from model.settings import Settings
from state import location

log = logging.getLogger("strowger.agent")

RPC_TIMEOUT = 1.0
# Seconds between two looks at whether to stop.
POLL = 0.25
# Bytes: for a thousand phones that answer at once.
# What was handed over and waits. More could not be answered before Kamailio gives up on it.
WAITING = 4096


@dataclass(slots=True)
class LampService:
    """Answers SUBSCRIBEs and sends NOTIFYs until told to stop."""

    settings: Settings
    stopped: Callable[[], bool]
    registered: Callable[[dict[str, Any]], None] = lambda message: None
    "Takes the replies to REGISTERs, which come by the same pipe."
    _inbox: queue.SimpleQueue[Found | dict[str, Any]] = field(default_factory=queue.SimpleQueue)

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        # Each has a thread of its own, so that no phone waits for Redis, and that the pipe is emptied meanwhile.
        follower = Follower(self.settings, self.stopped, self._inbox.put)
        threads = [
            threading.Thread(target=follower.run, name="lamps in Redis"),
            threading.Thread(target=self._receive, name="lamps of Kamailio"),
        ]
        for thread in threads:
            thread.start()
        try:
            self._serve(follower)
        finally:
            for thread in threads:
                thread.join()

    def _receive(self) -> None:
        while not self.stopped():
            try:
                pipe = make_pipe(self.settings.agent_pipe)
            except OSError as error:
                log.warning("message waiting: no SUBSCRIBE is answered: %s", error)
                time.sleep(POLL)
            else:
                self._read(pipe)
                os.close(pipe)

    def _read(self, pipe: int) -> None:
        rest = b""
        while not self.stopped():
            if select.select([pipe], [], [], POLL)[0]:
                *lines, rest = (rest + os.read(pipe, SIZE)).split(b"\n")
                for line in lines:
                    self._put(line)

    def _put(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            if message["kind"] == "register-answered":
                self.registered(message)
            elif self._inbox.qsize() < WAITING:
                self._inbox.put(message)
        except ValueError:
            log.warning("message waiting: a line that is no JSON")

    def _serve(self, follower: Follower) -> None:
        watchers = Watchers(self.settings.watchers)
        with Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=RPC_TIMEOUT) as kamailio:
            contacts = partial(location.read, self.settings.location)
            notifier = Notifier(watchers, kamailio.call, _addresses(self.settings), time.time(), contacts)
            while not self.stopped():
                notifier.sends_unsolicited = follower.sends_unsolicited
                try:
                    due = notifier.advance(time.time())
                    self._take(notifier, max(0.0, min(POLL, due - time.time())))
                except Exception:
                    # One message or watcher that cannot be is not the end of the others.
                    log.exception("message waiting: something went wrong")
        watchers.close()

    def _take(self, notifier: Notifier, timeout: float) -> None:
        try:
            message = self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
        except queue.Empty:
            return
        now = time.time()
        if isinstance(message, Found):
            notifier.lamps(message.lamps, now)
            notifier.complete = notifier.complete or message.whole
        elif message["kind"] == "subscribe":
            notifier.subscribe(message, now)
        elif message["kind"] == "registered":
            notifier.registered(message, now)
        elif message["kind"] == "answered":
            notifier.answered(message, now)


def _addresses(settings: Settings) -> list[str]:
    port = "" if settings.sip_port == 5060 else f":{settings.sip_port}"
    return [f"[{host}]{port}" if ":" in host else f"{host}{port}" for host in settings.sip_addresses]
