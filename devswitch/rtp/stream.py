"""RTP (RFC 3550): one socket for each stream."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable

from devswitch.audio import g711, tones
from devswitch.leg import FRAME, SILENCE, Frame
from devswitch.rtp.clock import Ticker
from devswitch.rtp.dtmf import DIGITS, DigitReceiver, DigitSender
from devswitch.rtp.jitter import JitterBuffer
from devswitch.rtp.parameters import StreamParameters
from devswitch.rtp.peer import Peer

_HEADER = struct.Struct("!BBHII")
VERSION = 0x80
MARKER = 0x80
MAX_PACKET = 2048
# Datagrams read at a time: one peer that floods its port shall not stop the clock.
BURST = 32


class RtpStream:
    """The RTP of one call: sends what ``pull`` gives, hands what it hears to ``push``, frame by frame."""

    def __init__(
        self,
        sock: socket.socket,
        ticker: Ticker,
        *,
        pull: Callable[[], Frame | None],
        push: Callable[[Frame], object],
        on_digit: Callable[[str, int], object],
    ) -> None:
        self.port: int = sock.getsockname()[1]
        self.digits = DigitSender()
        self._socket, self._ticker = sock, ticker
        self._pull, self._push, self._on_digit = pull, push, on_digit
        self._stream: StreamParameters | None = None
        self._peer = Peer(("", 0))
        self._jitter, self._receiver = JitterBuffer(), DigitReceiver()
        self._ssrc, self._sequence = random.getrandbits(32), random.getrandbits(16)
        self._timestamp = random.getrandbits(31)
        self._heard_ssrc: int | None = None
        self._marker = MARKER

    def start(self, stream: StreamParameters) -> None:
        """Begin, or go on with what was agreed on anew."""
        if self._socket.fileno() < 0:
            return
        if self._stream is None:
            asyncio.get_running_loop().add_reader(self._socket, self._readable)
            self._ticker.add(self)
        if self._stream is None or (self._stream.host, self._stream.port) != (stream.host, stream.port):
            self._peer = Peer((stream.host, stream.port))
        self._stream = stream

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            for frame in self._jitter.rest():
                self._push(frame)
            if self._stream:
                asyncio.get_running_loop().remove_reader(self._socket)
            self._ticker.remove(self)
            self._socket.close()
            self.digits.cancel()

    def send_frame(self) -> None:
        """Send the next 20 ms, of a digit if one is pressed."""
        stream = self._stream
        if not stream:
            return
        frame = self._pull()
        self._timestamp = self._timestamp + FRAME & 0xFFFFFFFF
        if not stream.sends:
            return
        if stream.events is not None and self._send_digit(stream.events):
            return
        samples = SILENCE if frame is None else frame
        if stream.events is None and (tone := self._digit_tone()) is not None:
            samples = tone
        self._send(stream.codec, self._timestamp, g711.encode(samples, stream.codec), self._marker)
        self._marker = 0

    def hear_frame(self) -> None:
        """Hand on the next 20 ms of what was received."""
        if self._socket.fileno() >= 0:
            for digit, duration in self._receiver.tick():
                self._on_digit(digit, duration)
            self._push(self._jitter.take())

    def _send_digit(self, payload_type: int) -> bool:
        began = self.digits.is_pressing()
        timestamp, payloads = self.digits.packets(self._timestamp)
        for payload in payloads:
            self._send(payload_type, timestamp, payload, 0 if began else MARKER)
        return bool(payloads)

    def _digit_tone(self) -> Frame | None:
        """The digit that is pressed as sound, for a peer that knows no events."""
        timestamp, payloads = self.digits.packets(self._timestamp)
        began = self._timestamp - timestamp & 0xFFFFFFFF
        return tones.digit_frame(DIGITS[payloads[0][0]], began) if payloads else None

    def _send(self, payload_type: int, timestamp: int, payload: bytes, marker: int) -> None:
        self._sequence = self._sequence + 1 & 0xFFFF
        header = _HEADER.pack(VERSION, payload_type | marker, self._sequence, timestamp, self._ssrc)
        # A full buffer or a peer that is gone (ICMP): as good as a lost packet.
        with contextlib.suppress(OSError):
            self._socket.sendto(header + payload, self._peer.address)

    def _readable(self) -> None:
        for _ in range(BURST):
            try:
                data, source = self._socket.recvfrom(MAX_PACKET)
            except OSError:
                return
            self._receive(data, source)
            if self._socket.fileno() < 0:
                return

    def _receive(self, data: bytes, source: tuple[str, int]) -> None:
        payload = payload_of(data)
        stream = self._stream
        if payload is None or stream is None:
            return
        _, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        payload_type = second & 0x7F
        if payload_type not in (stream.events, *g711.SILENCE) or not self._peer.takes(source):
            return
        if ssrc != self._heard_ssrc:
            self._jitter.restart()
            self._heard_ssrc = ssrc
        if payload_type != stream.events:
            self._jitter.put(sequence, lambda: g711.decode(payload, payload_type))
            return
        self._jitter.put(sequence, None)
        for digit, duration in self._receiver.packet(timestamp, payload):
            self._on_digit(digit, duration)


def payload_of(data: bytes) -> bytes | None:
    """The payload of an RTP packet, past CSRCs and extension and without padding (5.1); None if it is none."""
    if len(data) <= _HEADER.size or data[0] & 0xC0 != VERSION:
        return None
    start, end = _HEADER.size + 4 * (data[0] & 0x0F), len(data)
    if data[0] & 0x10:
        if len(data) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if data[0] & 0x20:
        end -= data[-1]
    return data[start:end] if start < end else None
