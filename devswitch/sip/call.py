"""What calls of both directions have in common: audio, the requests within the dialog, and the one end they have."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from devswitch.leg import FRAME, NO_HEADERS, Frame, LegEnded, Sink, Source
from devswitch.rtp.parameters import StreamParameters
from devswitch.rtp.stream import RtpStream
from devswitch.sip import causes, sdp
from devswitch.sip.dialog import Dialog
from devswitch.sip.errors import NegotiationError, SdpError, SipError
from devswitch.sip.headers import Headers
from devswitch.sip.info_digits import digit_of
from devswitch.sip.message import Request, Response
from devswitch.sip.server_transaction import InviteServerTransaction, ServerTransaction
from devswitch.sip.uri import Address

if TYPE_CHECKING:
    from devswitch.sip.endpoint import Endpoint

log = logging.getLogger(__name__)
SDP_TYPE = "application/sdp"
REFER_TIMEOUT = 10.0
"Seconds that a peer has to tell what became of a REFER, as in FreeSWITCH."


class Call:
    """A leg, for the parts that do not depend on who called. Raises :class:`devswitch.rtp.ports.NoPortError`."""

    inbound: bool

    def __init__(self, endpoint: Endpoint, *, call_id: str, tag: str) -> None:
        self.uuid = str(uuid4())
        self.call_id, self.tag = call_id, tag
        self.headers: Mapping[str, str] = Headers()
        self.caller = self.callee = self.caller_name = self.remote_address = ""
        self.remote_port = 0
        self.source: Source | None = None
        self.sinks: list[Sink] = []
        self.on_digit: Callable[[str, int], None] | None = None
        self.on_hangup: Callable[[str, int], None] | None = None
        self.on_progress: Callable[[int], None] | None = None
        self.on_answer: Callable[[int], None] | None = None
        self.on_refer: Callable[[str], None] | None = None
        "Called with the URI that the peer refers us to; a call without it declines."
        self.cause = ""
        "Why the call ended; empty while it goes on."
        self.is_answered = False
        self._endpoint = endpoint
        self._dialog: Dialog | None = None
        self._changed = asyncio.Event()
        "Set when the call was answered (acknowledged, if it came in), and when it ended."
        self._over = asyncio.Event()
        self._refer_done = asyncio.Event()
        "Set when the peer no longer tells what becomes of our REFER."
        self._reinvite: InviteServerTransaction | None = None
        self._rtp = RtpStream(
            endpoint.open_rtp(), endpoint.ticker, pull=self._pull, push=self._push, on_digit=self._on_digit
        )

    async def answered(self) -> None:
        """Wait until the call is answered, and acknowledged; raise :class:`LegEnded` if it ends instead."""
        await self._changed.wait()
        if self.cause:
            raise LegEnded(self.cause)

    async def ended(self) -> str:
        """Wait for the end of the call; its cause."""
        await self._over.wait()
        return self.cause

    async def send_digits(self, digits: str, ms: int = 100) -> None:
        """See :class:`devswitch.leg.Leg`; raise ValueError if there are no digits in it."""
        if self.cause:
            raise LegEnded(self.cause)
        await self._rtp.digits.press(digits, ms)
        if self.cause:
            raise LegEnded(self.cause)

    async def refer(self, uri: str) -> None:
        if self.cause or not self._dialog:
            raise LegEnded(self.cause or "NORMAL_UNSPECIFIED")
        ours = f"<{self._endpoint.contact(self._user)}>"
        done = asyncio.get_running_loop().create_future()
        self._refer_done.clear()
        self._send("REFER", {"Refer-To": f"<{uri}>", "Referred-By": ours}, on_final=done.set_result)
        reply = await done
        if reply is not None and reply.status < 300 and not self.cause:
            # SWITCH_MESSAGE_INDICATE_DEFLECT of mod_sofia.c: while the peer tells how it goes.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._refer_done.wait(), REFER_TIMEOUT)

    async def hangup(self, cause: str = "NORMAL_CLEARING", headers: Mapping[str, str] = NO_HEADERS) -> None:
        if self.cause:
            return
        more = {"Reason": causes.to_reason(cause), **headers}
        if self.is_answered:
            self._say_bye(more)
            self._end(cause, 0)
        else:
            self._give_up(cause, more)

    def is_peer(self, tag: str) -> bool:
        """Whether ``tag`` is that of the other side of the dialog."""
        return self._dialog is not None and Address.parse(self._dialog.remote).tag == tag

    def receive(self, request: Request, transaction: ServerTransaction) -> None:
        """A request within the dialog."""
        if not self._dialog or self.cause:
            self._endpoint.reply(transaction, 481)
        elif not self._dialog.accepts(request):
            self._endpoint.reply(transaction, 500)
        else:
            self._handle(request, transaction)

    def acknowledged(self, ack: Request) -> None:
        """The ACK of a 2xx of ours."""
        if self._reinvite and self._reinvite.request.cseq[0] == ack.cseq[0]:
            self._take_acknowledgement(self._reinvite, ack)
            self._reinvite = None

    # What depends on the direction.

    @property
    def _user(self) -> str:
        """The user part of our Contact."""
        raise NotImplementedError

    def _give_up(self, cause: str, headers: Mapping[str, str]) -> None:
        """End a call that was not answered."""
        raise NotImplementedError

    # Requests within the dialog.

    def _handle(self, request: Request, transaction: ServerTransaction) -> None:
        reply = self._endpoint.reply
        match request.method:
            case "BYE":
                reply(transaction, 200)
                self._peer_left(request)
            case "INVITE" | "UPDATE":
                self._renegotiate(request, transaction)
            case "INFO":
                reply(transaction, 200)
                if digit := digit_of(request):
                    self._on_digit(*digit)
            case "REFER":
                self._referred(request, transaction)
            case "NOTIFY" | "OPTIONS" | "MESSAGE":
                reply(transaction, 200)
                if request.headers.get("Subscription-State", "").startswith("terminated"):
                    self._refer_done.set()
            case _:
                self._endpoint.refuse_method(transaction)

    def _peer_left(self, request: Request) -> None:
        # FreeSWITCH takes over the peer's Q.850 cause, if it tells one (sofia_handle_sip_i_bye).
        self._end(causes.from_reason(request.headers.get("Reason", "")) or "NORMAL_CLEARING", 0)

    def _renegotiate(self, request: Request, transaction: ServerTransaction) -> None:
        assert self._dialog
        if not self.is_answered or self._reinvite:
            # RFC 3261, 14.2: another one is under way.
            self._endpoint.reply(transaction, 491)
            return
        try:
            self._dialog.refresh(request.headers)
            body = self._describe(request) if request.body or request.method == "INVITE" else b""
        except SipError as error:
            log.info("%s refused: %s", request.method, error)
            self._endpoint.reply(transaction, 488)
            return
        if isinstance(transaction, InviteServerTransaction):
            self._reinvite = transaction
            transaction.on_unacknowledged = self._unacknowledged
        self._endpoint.reply(transaction, 200, contact=self._user, body=body)

    def _referred(self, request: Request, transaction: ServerTransaction) -> None:
        target = request.headers.get("Refer-To", "")
        if not self.on_refer or not target:
            self._endpoint.reply(transaction, 603 if target else 400)
            return
        self._endpoint.reply(transaction, 202, contact=self._user)
        # RFC 3515, 2.4.4: the peer hears at least once what became of it.
        state = {"Event": "refer", "Subscription-State": "terminated;reason=noresource"}
        self._send("NOTIFY", {**state, "Content-Type": "message/sipfrag"}, b"SIP/2.0 200 OK\r\n")
        self.on_refer(target.strip("<>"))

    def _unacknowledged(self) -> None:
        self._reinvite = None
        if not self.cause:
            self._say_bye({"Reason": causes.to_reason("RECOVERY_ON_TIMER_EXPIRE")})
            self._end("RECOVERY_ON_TIMER_EXPIRE", 408)

    def _send(
        self,
        method: str,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
        *,
        on_final: Callable[[Response | None], object] = lambda _: None,
    ) -> None:
        """Send a request within the dialog; ``on_final`` gets the final reply, or None if none came."""
        assert self._dialog
        request = self._dialog.request(method)
        request.headers.add("Contact", f"<{self._endpoint.contact(self._user)}>")
        for name, value in headers.items():
            request.headers.set(name, value)
        request.body = body
        self._endpoint.send(
            request,
            self._dialog.next_hop(),
            on_response=lambda response: on_final(response) if response.status >= 200 else None,
            on_timeout=lambda: on_final(None),
        )

    def _say_bye(self, headers: Mapping[str, str]) -> None:
        self._send("BYE", headers)

    # Audio.

    def _describe(self, request: Request) -> bytes:
        """Our answer to the offer in ``request``, our offer if it has none; raise :class:`SipError`."""
        host, port = self._endpoint.address[0], self._rtp.port
        if not request.body:
            return sdp.offer(host, port, version=self._endpoint.next_version())
        if request.headers.get("Content-Type", SDP_TYPE).partition(";")[0].strip().lower() != SDP_TYPE:
            raise NegotiationError("a body that is no SDP")
        offer = sdp.parse(request.body)
        stream = sdp.negotiate(offer)
        self._start(stream)
        return sdp.answer(offer, stream, host, port, version=self._endpoint.next_version())

    def _start(self, stream: StreamParameters) -> None:
        self._rtp.start(stream)

    def _take_acknowledgement(self, transaction: InviteServerTransaction, ack: Request) -> None:
        transaction.acknowledged()
        if ack.body and not transaction.request.body:
            try:
                self._start(sdp.negotiate(sdp.parse(ack.body)))
            except (SdpError, NegotiationError) as error:
                log.info("answer in ACK refused: %s", error)
                self._say_bye({"Reason": causes.to_reason("INCOMPATIBLE_DESTINATION")})
                self._end("INCOMPATIBLE_DESTINATION", 488)

    def _pull(self) -> Frame | None:
        source = self.source
        if source is None:
            return None
        try:
            frame = source.frame()
        except Exception:
            log.exception("a source of audio failed, and is no longer asked")
            frame = None
        if frame is None and self.source is source:
            self.source = None
        return frame

    def _push(self, frame: Frame) -> None:
        assert len(frame) == FRAME
        for sink in list(self.sinks):
            try:
                sink.frame(frame)
            except Exception:
                log.exception("a sink of audio failed, and gets no more")
                if sink in self.sinks:
                    self.sinks.remove(sink)

    def _on_digit(self, digit: str, duration: int) -> None:
        if self.on_digit and not self.cause:
            self.on_digit(digit, duration)

    def _end(self, cause: str, status: int) -> None:
        """The call is over; told once."""
        if self.cause:
            return
        self.cause = cause
        self._rtp.close()
        self._endpoint.forget(self)
        self._changed.set()
        self._over.set()
        self._refer_done.set()
        if self.on_hangup:
            self.on_hangup(cause, status)
