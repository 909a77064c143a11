"""Where connections come in.

asyncio's own server loses those that come while it closes: the kernel resets what nobody accepted yet, and what was
accepted but has no transport yet is dropped without a word (Server._attach of asyncio/base_events.py), so that the
switch waits for ever. Here all who came before the door was closed are let in.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from media.esl.link import keep_alive

BACKLOG = 1024
PAUSE = 1.0
"Seconds until the next try where the process may open no more files."
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger(__name__)


class Door:
    """A listening socket; ``come`` gets the socket of each who comes."""

    def __init__(self, host: str, port: int, come: Callable[[socket.socket], object]) -> None:
        """Listen. :class:`OSError` where that is taken."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        keep_alive(self._socket)  # Linux hands it down
        self.port: int = self._socket.getsockname()[1]
        self._come = come
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._one)

    def close(self) -> None:
        """Let in who has come, and nobody more."""
        if self._socket.fileno() < 0:
            return
        self._let_in()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _let_in(self) -> None:
        while self._one():
            pass

    def _one(self) -> bool:
        """Let in the next; False where there is none, or none can be."""
        # One for each time that the socket is said to be readable: a second look finds nobody, nearly always.
        try:
            peer, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            self._wait(error)
            return False
        self._come(peer)
        return True

    def _wait(self, error: OSError) -> None:
        if error.errno not in _SHORT:
            raise error
        log.error("no connection can be taken: %s", error)
        self._loop.remove_reader(self._socket)
        self._loop.call_later(PAUSE, self._again)

    def _again(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._one)
