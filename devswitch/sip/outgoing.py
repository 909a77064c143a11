"""Calls that go out: the UAC side (RFC 3261, 13.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from devswitch.sip import causes, sdp
from devswitch.sip.call import SDP_TYPE, Call
from devswitch.sip.client_transaction import ClientTransaction, within
from devswitch.sip.dialog import MAX_FORWARDS, Dialog
from devswitch.sip.errors import SipError
from devswitch.sip.message import ALLOW, Request, Response
from devswitch.sip.timers import TIMEOUT
from devswitch.sip.udp import resolve
from devswitch.sip.uri import Address, Uri

if TYPE_CHECKING:
    from devswitch.sip.endpoint import Endpoint

log = logging.getLogger(__name__)


class OutgoingCall(Call):
    """A call that we make."""

    inbound = False

    def __init__(
        self,
        endpoint: Endpoint,
        uri: str,
        *,
        caller: str,
        caller_name: str,
        headers: Mapping[str, str],
        proxy: str | None,
    ) -> None:
        super().__init__(endpoint, call_id=endpoint.new_call_id(), tag=endpoint.new_tag())
        self.caller, self.caller_name, self.callee = caller, caller_name, Uri.parse(uri).user
        self._proxy = proxy
        self._invite = self._build(uri, headers)
        self._transaction: ClientTransaction | None = None
        self._is_provisional = False
        "Whether a provisional reply came: before, a CANCEL may not be sent (9.1)."
        self._cancel: Mapping[str, str] | None = None
        self._has_early_media = False

    async def start(self) -> None:
        """Send the INVITE."""
        uri = Uri.parse(Address.parse(self._proxy).uri if self._proxy else self._invite.uri)
        try:
            self._hop = await resolve(*uri.address)
        except (OSError, UnicodeError) as error:
            log.info("no address for %s: %s", uri.host, error)
            # FreeSWITCH's nua answers 503 DNS Error by itself.
            self._end(causes.from_status(503), 503)
            return
        if self.cause:
            return
        self.remote_address, self.remote_port = self._hop
        self._transaction = self._endpoint.send(
            self._invite, self._hop, on_response=self._response, on_timeout=self._timeout
        )

    async def pre_answer(self) -> None: ...

    async def ring(self) -> None: ...

    async def answer(self) -> None:
        await self.answered()

    async def redirect(self, uri: str) -> None: ...

    @property
    def _user(self) -> str:
        return self.caller

    def _build(self, uri: str, headers: Mapping[str, str]) -> Request:
        endpoint = self._endpoint
        ours = Address(endpoint.contact(self.caller), self.caller_name, {"tag": self.tag})
        invite = Request(method="INVITE", uri=str(Uri.parse(uri)))
        fields = {
            "Max-Forwards": MAX_FORWARDS,
            "From": str(ours),
            "To": f"<{uri}>",
            "Call-ID": self.call_id,
            "CSeq": "1 INVITE",
            "Contact": f"<{endpoint.contact(self.caller)}>",
            "Allow": ALLOW,
            "Content-Type": SDP_TYPE,
            **headers,
        }
        if self._proxy:
            fields["Route"] = f"<{self._proxy}>"
        for name, value in fields.items():
            invite.headers.add(name, value)
        invite.body = sdp.offer(endpoint.address[0], self._rtp.port, version=endpoint.next_version())
        return invite

    def _response(self, response: Response) -> None:
        if response.status < 200:
            self._progress(response)
        elif response.status < 300:
            self._success(response)
        elif not self.cause:
            self.headers = response.headers
            self._end(self._cause_of(response), response.status)

    def _progress(self, response: Response) -> None:
        self._is_provisional = True
        if self.cause:
            self._send_cancel()
            return
        if response.body and not self._has_early_media:
            self._has_early_media = self._take_answer(response)
        if response.status > 100 and self.on_progress:
            self.on_progress(response.status)

    def _success(self, response: Response) -> None:
        if self._dialog and response.to.tag == Address.parse(self._dialog.remote).tag:
            self._acknowledge()
            return
        try:
            dialog = Dialog.of_client(self._invite, response)
        except SipError as error:
            log.info("a 2xx that makes no dialog: %s", error)
            self._end("PROTOCOL_ERROR", response.status)
            return
        if self.cause or self._dialog:
            self._leave(dialog)
            return
        self._dialog, self.headers = dialog, response.headers
        self._acknowledge()
        self.is_answered = True
        if not self._take_answer(response) and not self._has_early_media:
            self._say_bye({"Reason": causes.to_reason("INCOMPATIBLE_DESTINATION")})
            self._end("INCOMPATIBLE_DESTINATION", 488)
            return
        self._changed.set()
        if self.on_answer:
            self.on_answer(response.status)

    def _take_answer(self, response: Response) -> bool:
        try:
            self._start(sdp.negotiate(sdp.parse(response.body)))
        except SipError as error:
            log.info("answer in %d not usable: %s", response.status, error)
            return False
        return True

    def _acknowledge(self) -> None:
        assert self._dialog
        self._endpoint.acknowledge(self._dialog, self._invite.cseq[0])

    def _leave(self, dialog: Dialog) -> None:
        """13.2.2.4: a 2xx of another branch, or after our CANCEL, makes a dialog that we end at once."""
        self._endpoint.acknowledge(dialog, self._invite.cseq[0])
        self._endpoint.send(dialog.request("BYE"), dialog.next_hop())

    def _cause_of(self, response: Response) -> str:
        if 300 <= response.status < 400:
            return "REDIRECTION_TO_NEW_DESTINATION"
        # sofia_handle_sip_r_invite: a Q.850 cause that the peer tells goes before what its status means.
        return causes.from_reason(response.headers.get("Reason", "")) or causes.from_status(response.status)

    def _timeout(self) -> None:
        self._end("RECOVERY_ON_TIMER_EXPIRE", 408)

    def _give_up(self, cause: str, headers: Mapping[str, str]) -> None:
        self._cancel = headers
        self._end(cause, 487)
        if self._is_provisional:
            self._send_cancel()

    def _send_cancel(self) -> None:
        if self._cancel is None or not self._transaction:
            return
        cancel = within(self._invite, "CANCEL")
        for name, value in self._cancel.items():
            cancel.headers.set(name, value)
        self._cancel = None
        self._endpoint.send(cancel, self._hop, branch=self._invite.via.branch)
        # 9.1: without a final reply the INVITE is over all the same.
        asyncio.get_running_loop().call_later(TIMEOUT, self._transaction.give_up)
