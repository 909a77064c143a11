"""The transaction layer: which transaction a message belongs to (RFC 3261, 17.1.3 and 17.2.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from devswitch.sip.client_transaction import ClientTransaction, InviteClientTransaction
from devswitch.sip.message import MAGIC, Request, Response
from devswitch.sip.server_transaction import InviteServerTransaction, ServerTransaction
from devswitch.sip.timers import Clock

HostPort: TypeAlias = tuple[str, int]
Key: TypeAlias = tuple[str, ...]


def _ignore(*_: object) -> None: ...


class TransactionLayer:
    """All transactions of one endpoint.

    ``on_request`` gets each new request with its server transaction and the address it came from; an ACK of a 2xx has
    none, and goes to ``on_ack``.
    """

    def __init__(self, *, clock: Clock, send: Callable[[bytes, HostPort], object]) -> None:
        self.on_request: Callable[[Request, ServerTransaction, HostPort], object] = _ignore
        self.on_ack: Callable[[Request], object] = _ignore
        self._clock, self._send = clock, send
        self._clients: dict[Key, ClientTransaction] = {}
        self._destinations: dict[Key, HostPort] = {}
        self._servers: dict[Key, ServerTransaction] = {}

    def receive(self, message: Request | Response, source: HostPort) -> None:
        if isinstance(message, Response):
            if client := self._clients.get((message.via.branch, message.cseq[1])):
                client.receive(message)
        elif message.method == "ACK":
            self._acknowledge(message)
        elif server := self._servers.get(_key(message, message.method)):
            server.retransmitted()
        else:
            self.on_request(message, self._serve(message, source), source)

    def invite_of(self, cancel: Request) -> InviteServerTransaction | None:
        """The transaction that a CANCEL is for (9.2)."""
        found = self._servers.get(_key(cancel, "INVITE"))
        return found if isinstance(found, InviteServerTransaction) else None

    def request(
        self,
        request: Request,
        destination: HostPort,
        *,
        on_response: Callable[[Response], object] = _ignore,
        on_timeout: Callable[[], object] = _ignore,
    ) -> ClientTransaction:
        """Send a request in a transaction of its own."""
        key = (request.via.branch, request.method)
        invite = request.method == "INVITE"
        kind: type[ClientTransaction] = InviteClientTransaction if invite else ClientTransaction
        self._clients[key] = transaction = kind(
            request,
            clock=self._clock,
            send=lambda data: self._send(data, destination),
            on_response=on_response,
            on_timeout=on_timeout,
            on_end=lambda: self._forget(key),
        )
        self._destinations[key] = destination
        return transaction

    def unreachable(self, peer: HostPort) -> None:
        """Nobody listens there: requests that nobody replied to have failed (8.1.3.1, 17.1.4)."""
        for key, destination in list(self._destinations.items()):
            if destination == peer and (client := self._clients.get(key)):
                client.fail()

    def stop(self) -> None:
        """Forget everything; no timer stays."""
        for client in self._clients.values():
            client.stop()
        for server in self._servers.values():
            server.stop()
        self._clients.clear()
        self._destinations.clear()
        self._servers.clear()

    def _acknowledge(self, ack: Request) -> None:
        server = self._servers.get(_key(ack, "INVITE"))
        if isinstance(server, InviteServerTransaction) and server.status >= 300:
            server.acknowledged()
        else:
            self.on_ack(ack)

    def _forget(self, key: Key) -> None:
        self._clients.pop(key, None)
        self._destinations.pop(key, None)

    def _serve(self, request: Request, source: HostPort) -> ServerTransaction:
        key = _key(request, request.method)
        destination = reply_address(request, source)
        kind: type[ServerTransaction] = InviteServerTransaction if request.method == "INVITE" else ServerTransaction
        self._servers[key] = server = kind(
            request,
            clock=self._clock,
            send=lambda data: self._send(data, destination),
            on_end=lambda: self._servers.pop(key, None),
        )
        return server


def reply_address(request: Request, source: HostPort) -> HostPort:
    """Where replies go: back to the source, at its own port if asked so (18.2.2; RFC 3581, 4)."""
    via = request.via
    return source[0], source[1] if "rport" in via.params else via.port


def _key(request: Request, method: str) -> Key:
    via = request.via
    if via.branch.startswith(MAGIC):
        return via.branch, via.host.lower(), str(via.port), method
    # 17.2.3, for clients of RFC 2543; the To tag is left out, since the ACK has one that the INVITE has not.
    return request.uri, request.from_.tag, request.call_id, str(request.cseq[0]), str(via), method
