"""Ports for processes that run beside others: what one run was given, no other run on this machine is."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from functools import cache
from threading import Lock

# Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range, from 32768), any of which
# may be taken between the moment it was found free and the moment somebody listens on it.
FIRST, END, BLOCK = 7_000, 32_000, 100
# Blocks that one process takes before it begins again with its first: five processes have room.
MOST_BLOCKS = 50


class NoPortError(Exception):
    """Every port that this process may use is taken."""


_TURN = Lock()


def free_port(preferred: int = 0) -> int:
    """A port that is free now for both UDP and TCP on 127.0.0.1: the preferred one if it is, or any.

    No other process is given that port while this one lives, and this one only after some thousand others, or where it
    prefers it again. Raises :class:`NoPortError`.
    """
    # Threads ask as well, and a generator serves one at a time.
    with _TURN:
        return preferred if preferred and _is_free(preferred) and _is_ours(preferred) else next(_ports())


def free_range(count: int) -> range:
    """So many ports in a row that are free now, the first an even one, as RTP wants them; see :func:`free_port`."""
    run: list[int] = []
    while len(run) < count:
        port = free_port()
        if run and port != run[-1] + 1:
            run = []
        if run or port % 2 == 0:
            run.append(port)
    return range(run[0], run[-1] + 1)


@cache
def _ports() -> Iterator[int]:
    return _own_ports()


def _own_ports() -> Iterator[int]:
    ports: list[int] = []
    for first in random.sample(range(FIRST, END, BLOCK), (END - FIRST) // BLOCK):
        if len(ports) < MOST_BLOCKS * BLOCK and _reserve(first):
            block = range(first, first + BLOCK)
            ports.extend(block)
            yield from filter(_is_free, block)
    while any(map(_is_free, ports)):
        yield from filter(_is_free, ports)
    raise NoPortError(f"no port between {FIRST} and {END - 1} is free for this process")


@cache
def _is_ours(port: int) -> bool:
    return _reserve(f"port-{port}")


def _reserve(what: object) -> bool:
    # A name in Linux's abstract namespace goes with the process that bound it, however that ends.
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0strowger-ports-{what}")
    except OSError:
        lock.close()
        return False
    # Open for as long as the process lives.
    lock.detach()
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
