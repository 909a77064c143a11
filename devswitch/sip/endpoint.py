"""One UDP socket that speaks SIP: calls in and out, and the requests that are outside of calls."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import socket
from collections.abc import Callable, Coroutine, Mapping

from devswitch.leg import NO_HEADERS
from devswitch.rtp.clock import Ticker
from devswitch.rtp.ports import NoPortError, PortPool
from devswitch.sip import message as messages
from devswitch.sip.call import SDP_TYPE, Call
from devswitch.sip.client_transaction import ClientTransaction
from devswitch.sip.dialog import MAX_FORWARDS, Dialog
from devswitch.sip.errors import MessageError, NegotiationError, SipError
from devswitch.sip.incoming import IncomingCall
from devswitch.sip.message import ALLOW, MAGIC, Request, Response
from devswitch.sip.outgoing import OutgoingCall
from devswitch.sip.server_transaction import InviteServerTransaction, ServerTransaction
from devswitch.sip.transaction import HostPort, TransactionLayer
from devswitch.sip.udp import UdpTransport, resolve
from devswitch.sip.uri import Uri

log = logging.getLogger(__name__)


class Endpoint:
    """A SIP endpoint on ``host`` and ``port`` (0: any), which is the address it tells its peers.

    ``on_invite`` gets each new call before anything but 100 was replied.
    """

    def __init__(
        self, host: str, port: int, *, on_invite: Callable[[IncomingCall], None], rtp_ports: range, user_agent: str
    ) -> None:
        self.on_invite = on_invite
        self.on_request: Callable[[Request], None] | None = None
        "Called with each MESSAGE and NOTIFY outside of calls."
        self.paused = False
        "Whether OPTIONS and new calls are answered 503."
        self.address: HostPort = (host, port)
        self.ticker = Ticker()
        self._ports = PortPool(host, rtp_ports)
        self._user_agent = user_agent
        self._calls: dict[tuple[str, str], Call] = {}
        "By Call-ID and our tag."
        self._versions = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._transport = UdpTransport(
            on_data=self._receive, on_unreachable=lambda peer: self._transactions.unreachable(peer)
        )

    async def start(self) -> None:
        """Bind; raise OSError if the address is taken."""
        self._transactions = TransactionLayer(clock=asyncio.get_running_loop(), send=self._transport.send)
        self._transactions.on_request = self._request
        self._transactions.on_ack = self._ack
        self.address = await self._transport.open(self.address)

    async def stop(self) -> None:
        """End every call, and close."""
        for call in list(self._calls.values()):
            await call.hangup("SYSTEM_SHUTDOWN")
        for task in self._tasks:
            task.cancel()
        self._transactions.stop()
        await self._transport.close()

    @property
    def calls(self) -> list[Call]:
        """Those under way."""
        return [call for call in self._calls.values() if not call.cause]

    def originate(
        self,
        uri: str,
        *,
        caller: str,
        caller_name: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
        proxy: str | None = None,
    ) -> OutgoingCall:
        """Call ``uri``, by way of the SIP URI ``proxy`` if given; the INVITE goes out once you have set the callbacks.

        Raises :class:`MessageError` for what is no SIP URI, ValueError for headers with line ends, and
        :class:`NoPortError`.
        """
        _check_fields({"caller": caller, "name": caller_name, "proxy": proxy or "", **headers})
        call = OutgoingCall(self, uri, caller=caller, caller_name=caller_name, headers=headers, proxy=proxy)
        self._calls[call.call_id, call.tag] = call
        self._start_task(call.start())
        return call

    async def send_request(
        self, method: str, uri: str, headers: Mapping[str, str] = NO_HEADERS, body: bytes | str = b""
    ) -> int:
        """Send a request outside of calls (OPTIONS, MESSAGE, NOTIFY ...); the status, 408 if nobody answers.

        Raises :class:`MessageError` for what is no SIP URI, ValueError for headers with line ends, and OSError if the
        host has no address.
        """
        _check_fields(headers)
        request = Request(method=method, uri=str(Uri.parse(uri)), body=body.encode() if isinstance(body, str) else body)
        fields = {
            "Max-Forwards": MAX_FORWARDS,
            "From": f"<{self.contact('strowger')}>;tag={self.new_tag()}",
            "To": f"<{uri}>",
            "Call-ID": self.new_call_id(),
            "CSeq": f"1 {method}",
            "Contact": f"<{self.contact('strowger')}>",
            **headers,
        }
        for name, value in fields.items():
            request.headers.add(name, value)
        hop = await resolve(*Uri.parse(uri).address)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def settle(status: int) -> None:
            if status >= 200 and not done.done():
                done.set_result(status)

        self.send(request, hop, on_response=lambda reply: settle(reply.status), on_timeout=lambda: settle(408))
        return await done

    # What calls need of their endpoint.

    def open_rtp(self) -> socket.socket:
        return self._ports.open()

    def contact(self, user: str) -> str:
        """Our URI, with that user."""
        return str(Uri(self.address[0], user, self.address[1]))

    def new_tag(self) -> str:
        return secrets.token_hex(6)

    def new_call_id(self) -> str:
        return f"{secrets.token_hex(12)}@{self.address[0]}"

    def next_version(self) -> int:
        """For the o= line of a session description."""
        return next(self._versions)

    def send(
        self,
        request: Request,
        hop: HostPort,
        *,
        branch: str = "",
        on_response: Callable[[Response], object] = lambda _: None,
        on_timeout: Callable[[], object] = lambda: None,
    ) -> ClientTransaction:
        """Send a request in a transaction of its own, with our Via and User-Agent."""
        self._stamp(request, branch)
        return self._transactions.request(request, hop, on_response=on_response, on_timeout=on_timeout)

    def acknowledge(self, dialog: Dialog, number: int) -> None:
        """Send the ACK of a 2xx, which has a branch of its own and no transaction (13.2.2.4)."""
        ack = dialog.request("ACK", number)
        self._stamp(ack)
        self._transport.send(bytes(ack), dialog.next_hop())

    def reply(
        self,
        transaction: ServerTransaction,
        status: int,
        *,
        tag: str = "",
        contact: str | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
    ) -> None:
        """Reply to a request; ``contact`` is the user of our Contact."""
        response = transaction.request.reply(status, tag=tag or self.new_tag())
        if contact is not None:
            response.headers.add("Contact", f"<{self.contact(contact)}>")
            response.headers.add("Allow", ALLOW)
        response.headers.add("User-Agent", self._user_agent)
        for name, value in headers.items():
            response.headers.add(name, value)
        if body:
            response.headers.add("Content-Type", SDP_TYPE)
        response.body = body
        transaction.reply(response)

    def refuse_method(self, transaction: ServerTransaction) -> None:
        self.reply(transaction, 405, headers={"Allow": ALLOW})

    def forget(self, call: Call) -> None:
        """The call is over."""
        if not (isinstance(call, IncomingCall) and call.is_waiting):
            self._calls.pop((call.call_id, call.tag), None)

    # What comes in.

    def _receive(self, data: bytes, source: HostPort) -> None:
        try:
            self._transactions.receive(messages.parse(data), source)
        except MessageError as error:
            log.info("a message from %s was dropped: %s", source[0], error)
        except Exception:
            # asyncio would close the socket: one message may not end all calls.
            log.exception("a message from %s could not be handled", source[0])

    def _request(self, request: Request, transaction: ServerTransaction, source: HostPort) -> None:
        try:
            self._dispatch(request, transaction, source)
        except SipError as error:
            log.info("%s from %s refused: %s", request.method, source[0], error)
            self.reply(transaction, 488 if isinstance(error, NegotiationError) else 400)
        except NoPortError as error:
            log.warning("%s", error)
            self.reply(transaction, 503)
        except Exception:
            self.reply(transaction, 500)
            raise

    def _dispatch(self, request: Request, transaction: ServerTransaction, source: HostPort) -> None:
        if request.method == "CANCEL":
            self._cancel(request, transaction)
        elif request.to.tag:
            self._within(request, transaction)
        elif required := request.headers.values_of("Require"):
            # 8.2.2.3: we know no extension that a peer could insist on.
            self.reply(transaction, 420, headers={"Unsupported": ", ".join(required)})
        elif isinstance(transaction, InviteServerTransaction):
            self._invite(transaction, source)
        elif request.method == "OPTIONS":
            self.reply(transaction, 503 if self.paused else 200, contact="", headers={"Accept": SDP_TYPE})
        elif request.method in ("MESSAGE", "NOTIFY"):
            # First, so that whoever has the reply finds it done.
            if self.on_request:
                self.on_request(request)
            self.reply(transaction, 200)
        elif request.method in ALLOW.split(", "):
            self.reply(transaction, 481)
        else:
            self.refuse_method(transaction)

    def _invite(self, transaction: InviteServerTransaction, source: HostPort) -> None:
        if self.paused:
            self.reply(transaction, 503)
            return
        self.reply(transaction, 100)
        call = IncomingCall(self, transaction, source)
        self._calls[call.call_id, call.tag] = call
        self.on_invite(call)

    def _within(self, request: Request, transaction: ServerTransaction) -> None:
        call = self._calls.get((request.call_id, request.to.tag))
        if call and call.is_peer(request.from_.tag):
            call.receive(request, transaction)
        elif request.method == "NOTIFY":
            self.reply(transaction, 200)
        else:
            self.reply(transaction, 481)

    def _cancel(self, cancel: Request, transaction: ServerTransaction) -> None:
        invite = self._transactions.invite_of(cancel)
        if not invite:
            self.reply(transaction, 481)
            return
        self.reply(transaction, 200)
        for call in list(self._calls.values()):
            if isinstance(call, IncomingCall) and call.is_of(invite):
                call.cancelled()

    def _ack(self, ack: Request) -> None:
        if call := self._calls.get((ack.call_id, ack.to.tag)):
            call.acknowledged(ack)

    def _stamp(self, request: Request, branch: str = "") -> None:
        via = f"SIP/2.0/UDP {self.address[0]}:{self.address[1]};branch={branch or MAGIC + secrets.token_hex(8)};rport"
        fields = [(name, value) for name, value in request.headers.fields() if name.lower() != "via"]
        request.headers = type(request.headers)([("Via", via), *fields])
        if "User-Agent" not in request.headers:
            request.headers.add("User-Agent", self._user_agent)

    def _start_task(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_fields(fields: Mapping[str, str]) -> None:
    for name, value in fields.items():
        if any(char in name + value for char in "\r\n\0"):
            raise ValueError(f"{name!r} has a line end in its name or value")
