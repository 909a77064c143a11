"""The socket under a connection: frames in, bytes out, both bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from media.esl.errors import ConnectionClosed, EslError, ProtocolError, StalledError
from media.esl.message import Message
from media.esl.protocol import Decoder

STALL_TIMEOUT = 10.0
"Seconds for which the switch may leave what we wrote unread, once that is more than the high-water mark (64 KiB)."
CLOSE_TIMEOUT = 5.0
"Seconds that closing waits for the switch."
WRITE_LIMIT = 1024 * 1024
"Bytes that wait to be written at most."
QUIET = 64 * 1024
"Bytes of replies that wait to be read together, where only the end is of interest."
REFUSED = b"-ERR"

KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000),
)
"A machine that lost its power sends no FIN: 25 s after its last sign of life the connection is over (tcp(7))."


class Link(asyncio.Protocol):
    """Reads as fast as the switch sends, writes as fast as it reads.

    Above it: ``on_message`` for each frame, and ``on_end`` once, when nothing will come any more.
    """

    __slots__ = (
        "_closing", "_decoder", "_loop", "_on_end", "_on_message", "_room", "_stall", "_transport", "_unread",
        "_waiting", "closed", "error", "stall_timeout", "write_limit",
    )  # fmt: skip

    def __init__(
        self,
        on_message: Callable[[Message], None],
        on_end: Callable[[], None],
        *,
        stall_timeout: float = STALL_TIMEOUT,
        write_limit: int = WRITE_LIMIT,
    ) -> None:
        self._on_message, self._on_end = on_message, on_end
        self._decoder = Decoder()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unread: bytes | None = None
        "What came since :meth:`silence`."
        self._room: asyncio.Future[None] | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None
        self.stall_timeout, self.write_limit = stall_timeout, write_limit
        self.closed = False
        "Whether nothing can be written, or will be read, any more."
        self.error: BaseException | None = None
        "Why, where neither side just closed."
        self._waiting: list[asyncio.Future[None]] = []
        "For the end."

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what uvloop has is one by its methods alone

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        if self._unread is not None:
            self._unread += data
            if len(self._unread) < QUIET:
                return
            data, self._unread = self._unread, b""
        self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                if self.closed:
                    return
                self._on_message(message)
            if self._decoder.error:
                raise self._decoder.error
        except ProtocolError as error:
            self.abort(error)

    def eof_received(self) -> None:
        try:
            if self._unread and REFUSED in self._unread:
                self._read(self._unread)
            if not self.closed:
                self._decoder.eof()
        except ProtocolError as error:
            self.error = self.error or error

    def connection_lost(self, error: Exception | None) -> None:
        self.error = self.error or error
        self._end()
        for timer in (self._stall, self._closing):
            if timer:
                timer.cancel()
        self._transport = None
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.done():
                one.set_result(None)
        self._on_message = self._on_end = _nothing  # no cycle is left to the garbage collector

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()
        self._stall = self._loop.call_later(self.stall_timeout, self._stalled)

    def resume_writing(self) -> None:
        if self._stall:
            self._stall.cancel()
            self._stall = None
        if self._room and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # What the connection calls

    @property
    def full(self) -> bool:
        """Whether the switch has not read enough of what was written."""
        return self._room is not None

    async def room(self) -> None:
        """Until the switch has read enough of what was written.

        :raises ConnectionClosed: when that will not be.
        """
        while self._room:
            await asyncio.shield(self._room)
        if self.closed:
            raise self.reason()

    def write(self, data: bytes) -> None:
        """Bytes to the switch, once; :class:`ConnectionClosed` when they can go nowhere."""
        if self.closed or self._transport is None:
            raise self.reason()
        waiting = self._transport.get_write_buffer_size()
        if waiting and waiting + len(data) > self.write_limit:
            self._stalled()
            raise self.reason()
        self._transport.write(data)

    def abort(self, error: EslError) -> None:
        """End at once, what is not written yet is lost."""
        self.error = self.error or error
        if self._transport:
            self._transport.abort()
        self._end()

    async def close(self) -> None:
        """End when the switch has taken what was written, at most :data:`CLOSE_TIMEOUT` from now.

        Only our half is closed, and the switch closes the other: replies to a socket that is closed would be answered
        with a reset, which may overtake commands.
        """
        if self._transport and not self._closing:
            self._closing = self._loop.call_later(CLOSE_TIMEOUT, self._transport.abort)
            if self._transport.can_write_eof() and not self._transport.is_closing():
                with contextlib.suppress(OSError):  # the switch may have reset the connection already
                    self._transport.write_eof()
        self._end()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Until the socket is closed."""
        if self._transport:
            ended: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(ended)
            await ended

    def silence(self) -> None:
        """Wake for the end alone, and for more than anybody sends.

        What comes with it is looked at only where a command was refused.
        """
        if self._transport:
            self._unread = b""
            # socket(7); what came before the end is read with it.
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, QUIET)

    def reason(self) -> ConnectionClosed:
        """An error of its own for each who waits."""
        error = ConnectionClosed(f"the connection to the switch ended: {self.error}" if self.error else
                                 "the connection to the switch is closed")  # fmt: skip
        error.__cause__ = self.error
        return error

    def _stalled(self) -> None:
        self.abort(StalledError("the switch no longer reads"))

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self.resume_writing()
            self._on_end()


def keep_alive(sock: socket.socket) -> None:
    """Have the end of a peer that says nothing any more noticed, of a connection or of all that a door lets in."""
    for level, option, value in KEEPALIVE:
        sock.setsockopt(level, option, value)


def _nothing(*_: object) -> None:
    pass
