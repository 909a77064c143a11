"""When packets between switch and workers passed the loopback, by the kernel's clock."""

from __future__ import annotations

import ctypes
import socket
import struct
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ASKS = (b"Event-Name: CHANNEL_DATA\n", b"Event-Name: CHANNEL_EXECUTE_COMPLETE\n")
"What the scripts of the benchmark answer at once with a command."
_ETH_P_IP, _SO_ATTACH_FILTER, _SO_TIMESTAMPNS, _SO_RCVBUFFORCE = 0x0800, 26, 35, 33
_BUFFER = 64 << 20
_TIMESPEC = struct.Struct("@qq")
_ETHERNET, _TCP = 14, 6
# An event names itself first, behind its frame's two headers.
_NAMED = 200


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet with data in it."""

    time: float
    "Seconds, by the kernel's clock."
    connection: int
    "The switch's port."
    from_switch: bool
    data: bytes
    "Its beginning, as far as it can name an event."
    size: int = 0
    "Octets of all of it."


def latencies(packets: Iterable[Packet], asks: Sequence[bytes] = ASKS) -> list[float]:
    """Seconds from each event that asks for a command to the first command after it."""
    asked: dict[int, float] = {}
    found = []
    for packet in packets:
        if not packet.from_switch:
            if (since := asked.pop(packet.connection, None)) is not None:
                found.append(packet.time - since)
        elif any(ask in packet.data for ask in asks):
            asked.setdefault(packet.connection, packet.time)
    return found


def read(data: bytes, time: float, port: int) -> Packet | None:
    """A frame of the loopback as a packet to or from ``port``; None where it carries nothing."""
    ip = data[_ETHERNET:]
    header, total = (ip[0] & 0xF) * 4, int.from_bytes(ip[2:4])
    tcp = ip[header:]
    source, target = int.from_bytes(tcp[0:2]), int.from_bytes(tcp[2:4])
    offset = (tcp[12] >> 4) * 4
    if total <= header + offset:
        return None
    payload = tcp[offset : total - header]
    return Packet(time, target if source == port else source, target == port, payload[:_NAMED], len(payload))


class Sniffer:
    """Listens in a thread; packets wait in the kernel's buffer meanwhile, already stamped. Needs root."""

    def __init__(self, port: int) -> None:
        self.packets: list[Packet] = []
        self._port = port
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        _only(self._socket, port)
        self._socket.bind(("lo", _ETH_P_IP))
        self._socket.settimeout(0.2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> list[Packet]:
        """End; what was heard."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        return self.packets

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                data, ancillary, _, address = self._socket.recvmsg(65536, 64)
            except TimeoutError:
                continue
            if address[2] == socket.PACKET_OUTGOING:
                continue  # the loopback shows each packet twice
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2][: _TIMESPEC.size])
            # A float of seconds since 1970 has a quarter of a microsecond left.
            if packet := read(data, seconds + nanoseconds / 1e9, self._port):
                self.packets.append(packet)


def _only(sock: socket.socket, port: int) -> None:
    """Leave all but TCP with that port to the kernel: RTP is a hundred times as much (filter.txt of the kernel)."""
    code = [
        (0x30, 0, 0, _ETHERNET + 9), (0x15, 0, 6, _TCP),  # protocol
        (0xB1, 0, 0, _ETHERNET), (0x48, 0, 0, _ETHERNET), (0x15, 2, 0, port),  # source port
        (0x48, 0, 0, _ETHERNET + 2), (0x15, 0, 1, port),  # destination port
        (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0),
    ]  # fmt: skip
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program)
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", len(code), ctypes.addressof(buffer)))
