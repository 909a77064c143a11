"""The UDP socket of SIP, and what ICMP tells of peers that are not there (Linux, ip(7): IP_RECVERR)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

# Python does not name them.
IP_RECVERR = 11
MSG_ERRQUEUE = 0x2000
# Large enough for the calls that begin while the loop is held up.
RECEIVE_BUFFER = 1 << 20
# A SIP message comes back whole with its error; only the address is of interest.
_PART, _ANCILLARY = 64, 512


def open_socket(address: tuple[str, int]) -> socket.socket:
    """A bound socket; raise OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def unreachable_peers(sock: socket.socket) -> Iterator[tuple[str, int]]:
    """The peers that datagrams could not be delivered to; each error is taken out of the queue."""
    with contextlib.suppress(OSError):
        while True:
            yield sock.recvmsg(_PART, _ANCILLARY, MSG_ERRQUEUE)[3]
