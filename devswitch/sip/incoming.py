"""Calls that come in: the UAS side (RFC 3261, 13.3)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from devswitch.leg import LegEnded
from devswitch.sip import causes
from devswitch.sip.call import Call
from devswitch.sip.dialog import Dialog
from devswitch.sip.message import Request
from devswitch.sip.server_transaction import InviteServerTransaction
from devswitch.sip.uri import Uri

if TYPE_CHECKING:
    from devswitch.sip.endpoint import Endpoint

log = logging.getLogger(__name__)


class IncomingCall(Call):
    """A call that came in. Raises :class:`SipError` if its INVITE has no offer that we could answer."""

    inbound = True

    def __init__(self, endpoint: Endpoint, transaction: InviteServerTransaction, source: tuple[str, int]) -> None:
        invite = transaction.request
        super().__init__(endpoint, call_id=invite.call_id, tag=endpoint.new_tag())
        self.headers = invite.headers
        self.caller, self.caller_name = _user_of(invite.from_.uri), invite.from_.name
        self.callee = _user_of(invite.uri)
        self.remote_address, self.remote_port = source
        self._invite = transaction
        self._is_acknowledged = False
        self._wants_bye: Mapping[str, str] | None = None
        try:
            self._dialog = Dialog.of_server(invite, self.tag)
            self._body = self._describe(invite) if invite.body else b""
        except Exception:
            self._rtp.close()
            raise
        transaction.on_unacknowledged = self._unacknowledged

    async def ring(self) -> None:
        self._reply(180)

    async def pre_answer(self) -> None:
        # RFC 3264, 4: an unreliable 183 may not carry an offer, so a caller that made none hears nothing yet.
        self._reply(183, self._body)

    async def answer(self) -> None:
        if not self.cause and not self.is_answered:
            self._body = self._body or self._describe(self._invite.request)
            self._reply(200, self._body)
            self.is_answered = True
        await self.answered()

    async def redirect(self, uri: str) -> None:
        """See :class:`devswitch.leg.Leg`; a call that was answered goes on."""
        if self.cause:
            raise LegEnded(self.cause)
        if not self.is_answered:
            self._endpoint.reply(self._invite, 302, tag=self.tag, headers={"Contact": f"<{uri}>"})
            self._end("NORMAL_UNSPECIFIED", 302)

    def is_of(self, invite: InviteServerTransaction) -> bool:
        return self._invite is invite

    def cancelled(self) -> None:
        """CANCEL came."""
        if not self.is_answered and not self.cause:
            self._endpoint.reply(self._invite, 487, tag=self.tag)
            self._end("ORIGINATOR_CANCEL", 487)

    def acknowledged(self, ack: Request) -> None:
        if ack.cseq[0] != self._invite.request.cseq[0]:
            super().acknowledged(ack)
        elif not self._is_acknowledged and self.is_answered:
            self._is_acknowledged = True
            self._take_acknowledgement(self._invite, ack)
            self._changed.set()
            if self._wants_bye is not None:
                self._say_bye(self._wants_bye)
                self._endpoint.forget(self)

    @property
    def _user(self) -> str:
        return self.callee

    def _reply(self, status: int, body: bytes = b"") -> None:
        if self.cause:
            raise LegEnded(self.cause)
        self._endpoint.reply(self._invite, status, tag=self.tag, contact=self._user, body=body)

    def _give_up(self, cause: str, headers: Mapping[str, str]) -> None:
        status = causes.to_status(cause)
        self._endpoint.reply(self._invite, status, tag=self.tag, headers=headers)
        self._end(cause, status)

    def _peer_left(self, request: Request) -> None:
        if not self.is_answered:
            self._endpoint.reply(self._invite, 487, tag=self.tag)
        super()._peer_left(request)

    def _say_bye(self, headers: Mapping[str, str]) -> None:
        # 15: the callee sends no BYE before its 2xx was acknowledged, or nobody would.
        if self._is_acknowledged or self._wants_bye is not None:
            super()._say_bye(headers)
        else:
            self._wants_bye = headers

    def _unacknowledged(self) -> None:
        if self._wants_bye is not None:
            self._say_bye(self._wants_bye)
            self._endpoint.forget(self)
            return
        self._wants_bye = {}
        super()._unacknowledged()

    @property
    def is_waiting(self) -> bool:
        """Whether it still waits for an ACK to say BYE."""
        return self._wants_bye is not None and not self._is_acknowledged


def _user_of(uri: str) -> str:
    return Uri.parse(uri).user if uri.lower().startswith("sip") else uri.partition(":")[2]
