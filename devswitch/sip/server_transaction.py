"""Server transactions (RFC 3261, 17.2; RFC 6026, and 13.3.1.4 for the 2xx that is sent until its ACK came)."""

from __future__ import annotations

from collections.abc import Callable

from devswitch.sip.message import Request, Response
from devswitch.sip.timers import T2, T4, TIMEOUT, Clock, Retransmission, Timer

Send = Callable[[bytes], object]


class ServerTransaction:
    """A request that is not an INVITE; its last reply answers each retransmission."""

    def __init__(self, request: Request, *, clock: Clock, send: Send, on_end: Callable[[], object]) -> None:
        self.request = request
        self.status = 0
        "Of the last reply."
        self._clock, self._send, self._on_end = clock, send, on_end
        self._last = b""
        self._timer: Timer | None = None

    def reply(self, response: Response) -> None:
        """Send a reply; only the first final one counts."""
        if self.status >= 200:
            return
        self.status, self._last = response.status, bytes(response)
        self._send(self._last)
        if response.status >= 200:
            self._finished()

    def retransmitted(self) -> None:
        """The request came again."""
        if self._last:
            self._send(self._last)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _finished(self) -> None:
        self._end_after(TIMEOUT)

    def _end_after(self, delay: float) -> None:
        self.stop()
        self._timer = self._clock.call_later(delay, self._end)

    def _end(self) -> None:
        self._timer = None
        self._on_end()


class InviteServerTransaction(ServerTransaction):
    """An INVITE: its final reply is sent until it is acknowledged."""

    _retransmission: Retransmission | None = None
    on_unacknowledged: Callable[[], object] | None = None
    "Called if no ACK came for a 2xx."

    def acknowledged(self) -> None:
        """The ACK came; of a 2xx it is the dialog that knows."""
        if not self._retransmission:
            return
        self._retransmission.stop()
        self._retransmission = None
        if self.status >= 300:
            self._end_after(T4)

    def stop(self) -> None:
        super().stop()
        if self._retransmission:
            self._retransmission.stop()

    def retransmitted(self) -> None:
        # 17.2.1: once confirmed, an INVITE that comes again is an old one; RFC 6026, 7.1: so it is once accepted.
        if self.status < 200 or (self.status >= 300 and self._retransmission):
            super().retransmitted()

    def _finished(self) -> None:
        super()._finished()
        self._retransmission = Retransmission(self._clock, lambda: self._send(self._last), longest=T2)

    def _end(self) -> None:
        unacknowledged = self._retransmission is not None
        if self._retransmission:
            self._retransmission.stop()
        super()._end()
        if unacknowledged and self.status < 300 and self.on_unacknowledged:
            self.on_unacknowledged()
