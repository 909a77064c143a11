"""Dialogs (RFC 3261, 12): who the two sides are, and how a request reaches the other one."""

from __future__ import annotations

from dataclasses import dataclass, field

from devswitch.sip.errors import MessageError
from devswitch.sip.headers import Headers
from devswitch.sip.message import Request, Response
from devswitch.sip.uri import Address, Uri

MAX_FORWARDS = "70"


@dataclass(kw_only=True, slots=True)
class Dialog:
    """One side's view of a dialog."""

    call_id: str
    local: str
    "From or To of our own, as written, with our tag."
    remote: str
    target: str
    "Contact of the other side."
    routes: list[str] = field(default_factory=list)
    "Values of Route for what we send."
    local_number: int
    "CSeq of our last request."
    remote_number: int = 0

    @classmethod
    def of_server(cls, invite: Request, tag: str) -> Dialog:
        """The dialog that our reply to ``invite`` makes (12.1.1); raise :class:`MessageError`."""
        return cls(
            call_id=invite.call_id,
            local=f"{invite.headers['To']};tag={tag}",
            remote=invite.headers["From"],
            target=contact_of(invite.headers),
            routes=_routes(invite.headers),
            local_number=0,
            remote_number=invite.cseq[0],
        )

    @classmethod
    def of_client(cls, invite: Request, response: Response) -> Dialog:
        """The dialog that ``response`` to our ``invite`` makes (12.1.2); raise :class:`MessageError`."""
        return cls(
            call_id=invite.call_id,
            local=invite.headers["From"],
            remote=response.headers["To"],
            target=contact_of(response.headers),
            routes=_routes(response.headers)[::-1],
            local_number=invite.cseq[0],
        )

    def request(self, method: str, number: int | None = None) -> Request:
        """A request within the dialog (12.2.1.1), still without Via; an ACK has the ``number`` of its INVITE."""
        if number is None:
            self.local_number += 1
        request = Request(method=method, uri=self.target)
        add = request.headers.add
        add("Max-Forwards", MAX_FORWARDS)
        add("From", self.local)
        add("To", self.remote)
        add("Call-ID", self.call_id)
        add("CSeq", f"{self.local_number if number is None else number} {method}")
        routes = self.routes
        if routes and not Uri.parse(Address.parse(routes[0]).uri).is_loose:
            request.uri, routes = Address.parse(routes[0]).uri, [*routes[1:], f"<{self.target}>"]
        for route in routes:
            add("Route", route)
        return request

    def next_hop(self) -> tuple[str, int]:
        """Host and port that requests go to; raise :class:`MessageError`."""
        return Uri.parse(Address.parse(self.routes[0]).uri if self.routes else self.target).address

    def accepts(self, request: Request) -> bool:
        """Whether ``request`` is newer than those before it (12.2.2)."""
        if request.cseq[0] <= self.remote_number:
            return False
        self.remote_number = request.cseq[0]
        return True

    def refresh(self, headers: Headers) -> None:
        """Take over the Contact of a target refresh (12.2.1.2), if there is one."""
        if "Contact" in headers:
            self.target = contact_of(headers)


def contact_of(headers: Headers) -> str:
    """The URI of Contact; raise :class:`MessageError`."""
    contacts = headers.values_of("Contact")
    if not contacts:
        raise MessageError("no Contact")
    uri = Address.parse(contacts[0]).uri
    Uri.parse(uri)
    return uri


def _routes(headers: Headers) -> list[str]:
    routes = headers.values_of("Record-Route")
    for route in routes:
        Uri.parse(Address.parse(route).uri)
    return routes
