"""What becomes of a message so that it shows the caller as its attempt's rule says; text in, edits out, pure.

An INVITE is presented for one branch, from the original. What that made of From stands in the dialog, and later
messages of the caller are changed alike, and those to the caller back (RFC 3323 section 5: a privacy service has to
undo towards the caller what it did).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from kemi.gateways import escaped
from kemi.plan import Identity, Plan
from model import diverting
from model.identity import GATEWAY, HEADERS, SHOW, WITHHOLD, Presentation, address, is_withheld, privacy_values, written
from model.masking import ANONYMOUS, Traces, cleaned, contact, users_of
from model.message import Edits, Message
from model.nameaddr import NameAddr, listed, parse

_DIVERSION, _HISTORY = "diversion", "history-info"
_NAMING = tuple(name.lower() for name in HEADERS.values())
_HOST = re.compile(r"sips?:[^@]*@(\[[^]]*\]|[^:;>]*)")


@dataclass(frozen=True, slots=True)
class Shown:
    """What of a call is not as the caller wrote it, for the life of the dialog."""

    sender: str
    "Address that From has for the callee, without its tag."
    own: str
    "The same as the caller wrote it."
    contact: str
    "URI of the caller's Contact, where that is hidden; else empty."
    hidden: bool
    "Whether all that names the caller is taken out."

    @property
    def plain(self) -> bool:
        """Whether later messages of the call pass as they came."""
        return self.sender == self.own and not self.hidden

    def dumps(self) -> str:
        """As text for the dialog."""
        return json.dumps([self.sender, self.own, self.contact, self.hidden], separators=(",", ":"))

    @classmethod
    def loads(cls, text: str) -> Shown:
        """From the text that :meth:`dumps` made."""
        return cls(*json.loads(text))


# What is known of a dialog that Kamailio has forgotten, but for its Route that says so.
FORGOTTEN = Shown(f"{ANONYMOUS}", "", "", hidden=True)


def invite(text: str, plan: Plan) -> tuple[Edits, Shown]:
    """What becomes of the INVITE of a call for the plan's attempt, which has a rule."""
    message, identity, rule = Message.parse(text), plan.identity, plan.attempt.identity
    assert identity is not None
    assert rule is not None
    hidden = identity.withheld and rule.privacy == WITHHOLD
    sender = parse(message.value("from")) or ANONYMOUS
    shown = _sender(message, sender, identity, rule, plan)
    lines = [] if hidden else _naming(message, shown, identity, rule, plan)
    lines += _diversions(message, identity, rule, plan, hidden=hidden)
    edits = _cleaned(message, identity.users) if hidden else Edits(remove=_replaced(message, identity, rule))
    if str(shown) != str(_plain(sender)):
        edits = _with_party(edits, message, "from", shown)
    edits = Edits(edits.remove, (*edits.append, *lines), edits.body)
    uri = next((one.uri for one in listed(message.joined("contact"))), "") if hidden else ""
    return edits, Shown(f"{shown}", f"{_plain(sender)}", uri, hidden)


def of_caller(text: str, shown: Shown) -> tuple[Edits, str]:
    """What becomes of a later request or reply of the caller, and the URI of its Contact; empty: as before."""
    message = Message.parse(text)
    party = "to" if message.first.startswith("SIP/2.0") else "from"
    if shown.hidden:
        own = parse(shown.own)
        edits = _cleaned(message, (own.user,) if own is not None else ())
    else:
        edits = Edits(remove=tuple(header.written for header in message.headers if header.name in _NAMING))
    edits = _with_party(edits, message, party, parse(shown.sender) or ANONYMOUS)
    # RFC 3261 section 12.2, RFC 3311 section 5.1: what these say of where the caller is holds from then on.
    refreshes = shown.hidden and message.value("cseq").rpartition(" ")[2] in ("INVITE", "UPDATE")
    uri = next((one.uri for one in listed(message.joined("contact"))), "") if refreshes else ""
    return edits, uri


def to_caller(text: str, shown: Shown) -> Edits:
    """What becomes of a later request to the caller."""
    own = parse(shown.own)
    return _with_party(Edits(), Message.parse(text), "to", own) if own is not None else Edits()


def _plain(one: NameAddr) -> NameAddr:
    """The same without parameters of the header."""
    return NameAddr(one.display, one.uri, "")


def _with_party(edits: Edits, message: Message, name: str, shown: NameAddr) -> Edits:
    header = next((header for header in message.headers if header.name == name), None)
    before = parse(header.value) if header is not None else None
    if header is None or before is None:
        return edits
    # RFC 3261 section 19.3: the tag makes the dialog. Other parameters are the caller's.
    tag = before.param("tag")
    line = f"{name.title()}: {shown}" + (f";tag={tag}" if tag else "")
    return Edits((*edits.remove, header.written), (*edits.append, line), edits.body)


def _cleaned(message: Message, users: tuple[str, ...]) -> Edits:
    edits = cleaned(message, Traces.of((*users, *users_of(message))))
    line = contact(message)
    return Edits(edits.remove, (f"Contact: {line}",) if line else (), edits.body)


def _sender(message: Message, sender: NameAddr, identity: Identity, rule: Presentation, plan: Plan) -> NameAddr:
    if identity.withheld and rule.privacy != SHOW:
        return ANONYMOUS
    number = identity.number or (identity.network if rule.privacy == SHOW else "")
    if not number or (rule.number == "as_it_came" and not identity.replaced and identity.number):
        user = sender.user
    else:
        user = escaped(written(number, rule.number, rule.dialling))
    host = _domain(message, rule, plan) if rule.domain or not sender.hostport else sender.hostport
    if (user, host) == (sender.user, sender.hostport):
        return _plain(sender)
    if host.endswith("anonymous.invalid"):
        host = _domain(message, rule, plan)
    display = "" if is_withheld(sender.user, sender.host) else sender.display
    return address(user, host, display) if user else _plain(sender)


def _domain(
    message: Message, rule: Presentation, plan: Plan, came: tuple[str, ...] = ("from", "p-asserted-identity", "to")
) -> str:  # fmt: skip
    """Host of the addresses that are made here."""
    if rule.domain == GATEWAY:
        found = _HOST.match(plan.attempt.uri)
        return found[1] if found is not None else "anonymous.invalid"
    if rule.domain:
        return rule.domain
    for name in came:
        one = parse(message.value(name))
        if one is not None and one.host and not one.host.endswith(".invalid"):
            return one.host
    return "anonymous.invalid"


def _naming(message: Message, shown: NameAddr, identity: Identity, rule: Presentation, plan: Plan) -> list[str]:
    """The lines that tell the caller's number, and whether it may be shown."""
    lines: list[str] = []
    if identity.network:
        user = escaped(written(identity.network, rule.number, rule.dialling))
        display = "" if identity.withheld or is_withheld(shown.user, shown.host) else shown.display
        one = address(user, _domain(message, rule, plan), display)
        for name in rule.headers:
            private = "full" if identity.withheld else "off"
            more = f";party=calling;screen=yes;privacy={private}" if name == "rpid" else ""
            lines.append(f"{HEADERS[name]}: {one}{more}")
    if identity.withheld and "id" not in privacy_values(identity.privacy):
        # RFC 3325 section 7: that what is asserted is not to go further.
        asked = "; ".join(value for value in (identity.privacy, "id") if value and value.lower() != "none")
        lines.append(f"Privacy: {asked}")
    return lines


def _replaced(message: Message, identity: Identity, rule: Presentation) -> tuple[str, ...]:
    """The headers that are made anew, or left out."""
    gone = set(_NAMING)
    if identity.unasserted:
        # It is gone already, for all attempts.
        gone.discard("p-asserted-identity")
    gone |= {name for name in (_DIVERSION, _HISTORY) if identity.diverted or not _keeps(name, identity, rule)}
    if identity.withheld and "id" not in privacy_values(identity.privacy):
        gone.add("privacy")
    return tuple(sorted({header.written for header in message.headers if header.name in gone}))


def _keeps(name: str, identity: Identity, rule: Presentation) -> bool:
    return identity.trusted and name in rule.diversion


def _diversions(
    message: Message, identity: Identity, rule: Presentation, plan: Plan, *, hidden: bool
) -> list[str]:  # fmt: skip
    """The lines that tell of diversions: those that a trusted peer told, and our own."""
    if not identity.diverted and not hidden:
        return []
    untrusted = rule.privacy == WITHHOLD
    # Who diverts the call is ours, as is the domain that was called.
    host = _domain(message, rule, plan, ("to",))
    traces = Traces.of((*identity.users, *users_of(message))) if hidden else Traces((), ())

    def uri(number: str) -> str:
        return f"sip:{escaped(written(number, rule.number, rule.dialling))}@{host}"

    lines: list[str] = []
    for name in rule.diversion:
        header = message.joined(name) if _keeps(name, identity, rule) else ""
        known = [one for one in diverting.kept(header, hide=untrusted) if not traces.in_text(str(one))]
        if name == _DIVERSION:
            own = diverting.diversion(identity.diverted, uri, hide=untrusted)
            lines += [f"Diversion: {value}" for value in (*own, *map(str, known))]
        else:
            own = diverting.history_info(identity.diverted, identity.target, uri, known, hide=untrusted)
            lines += [f"History-Info: {value}" for value in (*map(str, known), *own)]
    return [line for line in lines if not traces.in_text(line)]


def handed(plan: Plan) -> str:
    """Lines that tell a media node by whom a call was diverted to it; empty where it was not."""
    identity, media = plan.identity, plan.media
    if identity is None or media is None or not identity.diverted:
        return ""
    found = _HOST.match(plan.attempt.uri)
    host = found[1] if found is not None else "anonymous.invalid"
    values = diverting.diversion(identity.diverted, lambda number: f"sip:{escaped(number)}@{host}", hide=False)
    return "".join(f"Diversion: {value}\r\n" for value in values)
