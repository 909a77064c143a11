"""Ports for the RTP of hundreds of calls."""

from __future__ import annotations

import random
import socket

from console import ports

FIRST, END = 40_000, 60_000
"Up where Linux takes ports of outgoing connections from: hardly any of those is of UDP."


def wide_range(count: int) -> range:
    """More ports in a row than a block of console/ports.py has, and no other run's while this process lives; for UDP.

    Raises :class:`~console.ports.NoPortError`.
    """
    size = -(-count // ports.BLOCK) * ports.BLOCK
    starts = range(FIRST, END - size, ports.BLOCK)
    for first in random.sample(starts, len(starts)):
        run = range(first, first + size)
        if all(map(_is_free, run)) and all(ports._reserve(block) for block in run[:: ports.BLOCK]):
            return run[:count]
    raise ports.NoPortError(f"no {count} ports in a row are free")


def _is_free(port: int) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
