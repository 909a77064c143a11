"""The UDP ports that RTP uses."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator


class NoPortError(Exception):
    """Every RTP port of the range is taken."""


class PortPool:
    """Sockets on the even ports of a range, in turn, so that late packets of one call do not reach the next."""

    def __init__(self, host: str, ports: range) -> None:
        self._host = host
        self._ports = [port for port in ports if port % 2 == 0]
        self._turn: Iterator[int] = itertools.cycle(self._ports)

    def open(self) -> socket.socket:
        """A bound socket; raise :class:`NoPortError`."""
        for port in itertools.islice(self._turn, len(self._ports)):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                sock.bind((self._host, port))
            except OSError:
                sock.close()
                continue
            sock.setblocking(False)
            return sock
        raise NoPortError(f"no RTP port is free on {self._host}")
