"""The UDP socket of SIP, and what ICMP tells of peers that are not there (Linux, ip(7): IP_RECVERR)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterator
from functools import lru_cache

from devswitch.sip.transaction import HostPort

log = logging.getLogger(__name__)
# Python does not name them.
IP_RECVERR = 11
MSG_ERRQUEUE = 0x2000
# Large enough for the calls that begin while the loop is held up.
RECEIVE_BUFFER = 1 << 20
# A SIP message comes back whole with its error; only the address is of interest.
_PART, _ANCILLARY = 64, 512


class UdpTransport(asyncio.DatagramProtocol):
    """Datagrams in and out; ``on_unreachable`` is told which peers they could not be delivered to."""

    def __init__(
        self, *, on_data: Callable[[bytes, HostPort], object], on_unreachable: Callable[[HostPort], object]
    ) -> None:
        self._on_data, self._on_unreachable = on_data, on_unreachable
        self._has_error = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, address: HostPort) -> HostPort:
        """Bind, and return the address; raise OSError if it is taken."""
        self._socket = open_socket(address)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=self._socket)
        host, port = self._socket.getsockname()
        return host, port

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._transport.close()
        # asyncio closes the socket in its next round.
        await asyncio.sleep(0)

    def send(self, data: bytes, destination: HostPort) -> None:
        """Send a datagram, to a name as soon as it has an address."""
        if self._transport.is_closing():
            return
        if not _is_address(destination[0]):
            task = asyncio.get_running_loop().create_task(self._send_by_name(data, destination))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._has_error = False
        self._transport.sendto(data, destination)
        if self._has_error:
            # The error was that of an earlier datagram, and this one was not sent.
            self._transport.sendto(data, destination)

    async def _send_by_name(self, data: bytes, destination: HostPort) -> None:
        try:
            self.send(data, await resolve(*destination))
        except (OSError, UnicodeError) as error:
            log.info("no address for %s: %s", destination[0], error)

    def datagram_received(self, data: bytes, addr: HostPort) -> None:
        if data.strip(b"\r\n\0 "):
            # Else it is a keep-alive (RFC 5626, 4.4.1).
            self._on_data(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._has_error = True
        for peer in unreachable_peers(self._socket):
            log.info("nobody listens on %s:%d", *peer)
            self._on_unreachable(peer)


async def resolve(host: str, port: int) -> HostPort:
    """The IPv4 address of a host; raise OSError."""
    if _is_address(host):
        return host, port
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, family=socket.AF_INET, type=socket.SOCK_DGRAM)
    return found[0][4][0], port


def open_socket(address: HostPort) -> socket.socket:
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


def unreachable_peers(sock: socket.socket) -> Iterator[HostPort]:
    """The peers that datagrams could not be delivered to; each error is taken out of the queue."""
    with contextlib.suppress(OSError):
        while True:
            yield sock.recvmsg(_PART, _ANCILLARY, MSG_ERRQUEUE)[3]


@lru_cache(maxsize=1024)
def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
