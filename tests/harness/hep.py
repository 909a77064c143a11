"""A collector of HEP version 3, as Homer is one: chunks of datagrams, decoded."""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

TIMEOUT = 15.0
SOURCE4, TARGET4, SOURCE_PORT, TARGET_PORT, KIND, NODE, PAYLOAD = 3, 4, 7, 8, 11, 12, 15
SIP = 1


@dataclass(frozen=True, slots=True)
class Captured:
    """A message that was captured."""

    source: tuple[str, int]
    target: tuple[str, int]
    node: int
    text: bytes

    @property
    def first(self) -> str:
        """Method, or status."""
        words = self.text.split(b" ", 2)
        return (words[1] if words[0] == b"SIP/2.0" else words[0]).decode()


class Collector:
    """A socket that takes what is captured; a context manager."""

    def __init__(self) -> None:
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.captured: list[Captured] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def until(self, enough: Callable[[list[Captured]], bool]) -> list[Captured]:
        """What was captured, once it is enough."""
        deadline = time.monotonic() + TIMEOUT
        while not enough(self.captured):
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                self.captured.append(decoded(self.socket.recv(65535)))
            except TimeoutError:
                raise AssertionError(f"not captured: {[(one.first, one.source) for one in self.captured]}") from None
        return self.captured


def decoded(packet: bytes) -> Captured:
    """A packet of HEP version 3 over IPv4."""
    assert packet[:4] == b"HEP3"
    assert struct.unpack("!H", packet[4:6])[0] == len(packet)
    chunks = {kind: value for vendor, kind, value in _chunks(packet) if vendor == 0}
    assert chunks[KIND] == bytes([SIP])
    return Captured(
        source=_address(chunks[SOURCE4], chunks[SOURCE_PORT]),
        target=_address(chunks[TARGET4], chunks[TARGET_PORT]),
        node=int.from_bytes(chunks[NODE], "big"),
        text=chunks[PAYLOAD],
    )


def _chunks(packet: bytes) -> Iterator[tuple[int, int, bytes]]:
    place = 6
    while place < len(packet):
        vendor, kind, length = struct.unpack("!HHH", packet[place : place + 6])
        yield vendor, kind, packet[place + 6 : place + length]
        place += length


def _address(host: bytes, port: bytes) -> tuple[str, int]:
    return str(ipaddress.ip_address(host)), int.from_bytes(port, "big")
