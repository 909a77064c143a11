"""Ranges of ports for RTP."""

from __future__ import annotations

import random
import socket

from console import ports
from console.ports import free_port

WIDE_FIRST, WIDE_END = 40_000, 60_000


def free_range(count: int) -> range:
    """So many ports in a row that are free now, the first an even one."""
    if count > ports.BLOCK:
        return _wide(count)
    run: list[int] = []
    while len(run) < count:
        port = free_port()
        if run and port != run[-1] + 1:
            run = []
        if run or port % 2 == 0:
            run.append(port)
    return range(run[0], run[-1] + 1)


def _wide(count: int) -> range:
    """More than a block of console/ports.py has, and no other run's while this process lives; for UDP alone.

    Up where Linux takes ports of outgoing connections from: hardly any of those is of UDP.
    """
    size = -(-count // ports.BLOCK) * ports.BLOCK
    starts = range(WIDE_FIRST, WIDE_END - size, ports.BLOCK)
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
