"""Client transactions (RFC 3261, 17.1; RFC 6026 for the replies after a 2xx)."""

from __future__ import annotations

from collections.abc import Callable

from devswitch.sip.message import Request, Response
from devswitch.sip.timers import T2, T4, TIMEOUT, TIMER_D, Clock, Retransmission, Timer

Send = Callable[[bytes], object]


class ClientTransaction:
    """A request that is not an INVITE, until its final reply."""

    longest = T2

    def __init__(
        self,
        request: Request,
        *,
        clock: Clock,
        send: Send,
        on_response: Callable[[Response], object],
        on_timeout: Callable[[], object],
        on_end: Callable[[], object],
    ) -> None:
        self.request = request
        self.is_final = False
        self._has_reply = False
        self._clock, self._send = clock, send
        self._on_response, self._on_timeout, self._on_end = on_response, on_timeout, on_end
        data = bytes(request)
        self._retransmission = Retransmission(clock, lambda: send(data), longest=self.longest)
        self._timer: Timer | None = clock.call_later(TIMEOUT, self._time_out)
        send(data)

    def receive(self, response: Response) -> None:
        if self.is_final:
            return
        self._has_reply = True
        if response.status < 200:
            self._retransmission.slow_down()
        else:
            self._finish(T4)
        self._on_response(response)

    def stop(self) -> None:
        """Send nothing more, and tell nobody."""
        self._retransmission.stop()
        if self._timer:
            self._timer.cancel()

    def give_up(self) -> None:
        """Wait for no final reply any more."""
        if not self.is_final:
            self.is_final = True
            self.stop()
            self._on_end()

    def fail(self) -> None:
        """The request did not reach anybody: as good as a 503 (8.1.3.1), unless a reply came before."""
        if not self.is_final and not self._has_reply:
            self.give_up()
            self._on_response(self.request.reply(503))

    def _finish(self, linger: float) -> None:
        self.is_final = True
        self.stop()
        self._timer = self._clock.call_later(linger, self._end)

    def _time_out(self) -> None:
        self._retransmission.stop()
        self.is_final = True
        self._end()
        self._on_timeout()

    def _end(self) -> None:
        self._timer = None
        self._on_end()


class InviteClientTransaction(ClientTransaction):
    """An INVITE: its failures are acknowledged here, each 2xx goes up (the dialog acknowledges it, 13.2.2.4)."""

    longest = TIMEOUT
    _status = 0

    def receive(self, response: Response) -> None:
        self._has_reply = True
        if response.status < 200:
            self._proceed(response)
        elif response.status < 300:
            self._accept(response)
        else:
            self._fail(response)

    def _proceed(self, response: Response) -> None:
        if self.is_final:
            return
        # 17.1.1.2: in Proceeding nothing is retransmitted and nothing times out; that is the caller's patience.
        self.stop()
        self._status = response.status
        self._on_response(response)

    def _accept(self, response: Response) -> None:
        if self.is_final and self._status >= 300:
            return
        if not self.is_final:
            self._finish(TIMEOUT)
        self._status = response.status
        self._on_response(response)

    def _fail(self, response: Response) -> None:
        if self.is_final and self._status < 300:
            return
        self._send(bytes(self._ack(response)))
        if not self.is_final:
            self._finish(TIMER_D)
            self._status = response.status
            self._on_response(response)

    def _ack(self, response: Response) -> Request:
        """17.1.1.3."""
        ack = within(self.request, "ACK")
        ack.headers.set("To", response.headers["To"])
        return ack


def within(invite: Request, method: str) -> Request:
    """The ACK of a failure or the CANCEL of ``invite``: same branch, same number (9.1, 17.1.1.3)."""
    kept = ("via", "from", "to", "call-id", "route", "max-forwards")
    request = Request(method=method, uri=invite.uri)
    for name, value in invite.headers.fields():
        if name.lower() in kept:
            request.headers.add(name, value)
    request.headers.add("CSeq", f"{invite.cseq[0]} {method}")
    return request
