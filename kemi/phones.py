"""Subscribers' phones, towards Kamailio: who they are, that they register, and where they are called.

Given KSR by :mod:`kemi.routing`, which alone imports it. Contacts are in Kamailio's usrloc; nonces that were used and
wrong passwords are counted in tables that all workers share.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kemi import digest, refusals
from kemi.digest import Answer, Verdict
from kemi.view import View
from model.policy import Refusal, Subscribers
from model.side import Side
from model.subscriber import ALGORITHMS, Subscriber
from state import location
from state.location import Contact

# Names shared with kamailio.cfg.
TABLE, NONCES, GUESSES, REGISTRAR = "location", "nonces", "guesses", "registrar"
RECEIVED = "$avp(received)"
NAT_FLAG = 2
PROFILE = "own"
NOWHERE = "sip:nowhere.invalid"
# Flag of the registrar's save().
NO_REPLY = 2

# Authorization headers of one request that are looked at.
_HEADERS = 4
_NAME_SHOWN = 64
# Of nobody: an unknown name costs what a known one does, and says as little.
_NOBODY = dict.fromkeys(ALGORITHMS, secrets.token_hex(32))
_EXPIRES = re.compile(r";\s*expires\s*=\s*\"?([0-9]{1,10})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Demand:
    """Who sent a request has yet to prove who they are."""

    stale: bool = False


class Phones:
    """The phones of a node. ``pv`` reads a pseudo-variable as text, empty where it is null."""

    def __init__(self, ksr: Any, pv: Callable[[str], str], directory: Path) -> None:
        self._ksr, self._pv, self._directory = ksr, pv, directory
        self._key = b""

    def prove(self, view: View, header: str, now: float) -> Subscriber | Demand | Refusal:
        """Who sent this request, by the answer in ``header`` to a challenge of ours."""
        section = view.policy.subscribers
        assert section is not None
        headers = [value for index in range(_HEADERS) if (value := self._pv(f"$(hdr({header})[{index}])"))]
        known = (one for one in digest.answers(headers, section.realm))
        found = [one for one in known if one.algorithm in _algorithms(section, view.subscriber(one.username))]
        return self._judge(found[0], section, view, now) if found else Demand()

    def _judge(self, answer: Answer, section: Subscribers, view: View, now: float) -> Subscriber | Demand | Refusal:
        source, method = self._pv("$si"), self._pv("$rm")
        subscriber = view.subscriber(answer.username)
        sound = subscriber is not None and subscriber.enabled and subscriber.realm == section.realm
        known = subscriber.ha1 if sound and subscriber is not None else _NOBODY
        guesser = f"{answer.username[:_NAME_SHOWN]}@{source}"
        if int(self._ksr.htable.sht_get(GUESSES, guesser) or 0) >= section.guesses:
            return refusals.GUESSES
        verdict = digest.verdict(answer, method=method, ha1=known, key=self._secret(), source=source, now=now)
        if verdict is Verdict.RIGHT and subscriber is not None:
            return subscriber if self._is_new(answer) else Demand(stale=True)
        if verdict is Verdict.WRONG:
            # With a nonce that was sent to this very address: nobody can pretend to be there.
            count = int(self._ksr.htable.sht_inc(GUESSES, guesser))
            self._ksr.warn(f"wrong password {count}: subscriber={answer.username[:_NAME_SHOWN]!r} source={source}\n")
        return Demand(stale=verdict is Verdict.STALE)

    def _is_new(self, answer: Answer) -> bool:
        """Whether the count of an answer was not used yet under its nonce; it is then (RFC 7616 section 3.4.6)."""
        self._ksr.htable.sht_lock(NONCES, answer.nonce)
        try:
            if int(self._ksr.htable.sht_get(NONCES, answer.nonce) or 0) >= answer.count:
                return False
            self._ksr.htable.sht_seti(NONCES, answer.nonce, answer.count)
            return True
        finally:
            self._ksr.htable.sht_unlock(NONCES, answer.nonce)

    def challenge(self, view: View, demand: Demand, status: int, now: float) -> None:
        """Reply with a challenge: 401 for this server, 407 for what it passes on."""
        section = view.policy.subscribers
        assert section is not None
        # Before the answer there is only From to tell whose phone it is.
        algorithms = _algorithms(section, view.subscriber(self._pv("$fU")))
        name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
        nonce = digest.new_nonce(self._secret(), self._pv("$si"), now)
        for value in digest.challenge(section.realm, nonce, algorithms, stale=demand.stale):
            self._ksr.hdr.append_to_reply(f"{name}: {value}\r\n")
        self._ksr.sl.send_reply(status, "Unauthorized" if status == 401 else "Proxy Authentication Required")

    def register(self, section: Subscribers, subscriber: Subscriber, now: float) -> list[Contact]:
        """Take in what a REGISTER of the subscriber's says, and answer it; the phones that are new by it."""
        if self._pv("$tU").lower() != subscriber.name.lower():
            self._ksr.sl.send_reply(403, "Not Your Number")
            return []
        wanted = self._expires()
        if wanted is None or wanted > section.expires_max:
            self._ksr.pvx.xavp_child_seti(REGISTRAR, "expires", section.expires_max)
        elif 0 < wanted < section.expires_min:
            self._ksr.hdr.append_to_reply(f"Min-Expires: {section.expires_min}\r\n")
            self._ksr.sl.send_reply(423, "Interval Too Brief")
            return []
        self._ksr.pvx.xavp_child_seti(REGISTRAR, "max_contacts", section.max_contacts)
        path = self._pv("$(hdr(Path)[*])")
        if path and not self._is_edge(section):
            # RFC 3327 section 5.3, RFC 3261 section 21.4.15: without the path the phone would not be reached.
            self._ksr.hdr.append_to_reply("Unsupported: path\r\n")
            self._ksr.sl.send_reply(420, "Bad Extension")
            return []
        # Behind an edge proxy, NAT is that one's business.
        if not path and (received := self._elsewhere(section.side)):
            self._ksr.pv.sets(RECEIVED, received)
            if section.side.nat != "no":
                self._ksr.setbflag(NAT_FLAG)
        uri = _aor(subscriber.name)
        # Two phones that register at once must not write their files in another order than usrloc has them.
        self._ksr.htable.sht_lock(REGISTRAR, subscriber.name)
        try:
            # The reply comes last: what a phone is told is on the disk, and found by the next worker.
            if self._ksr.registrar.save_uri(TABLE, NO_REPLY, uri) <= 0:
                self._ksr.registrar.reg_send_reply()
                return []
            if path:
                # RFC 3327 section 5.3.
                self._ksr.hdr.append_to_reply(f"Path: {path}\r\n")
            before = {(one.uri, one.call_id) for one in location.read(self._directory, subscriber.name, now)}
            contacts = self._contacts(uri)
            try:
                location.write(self._directory, subscriber.name, contacts)
            except OSError as error:
                # A full disk costs the phone its place at the next restart, and nothing now.
                self._ksr.err(f"location of {subscriber.name} is not kept: {error}\n")
            self._ksr.registrar.reg_send_reply()
            return [one for one in contacts if (one.uri, one.call_id) not in before]
        finally:
            self._ksr.htable.sht_unlock(REGISTRAR, subscriber.name)

    def show_way(self, side: Side) -> None:
        """Let our Record-Route say where the sender of an INVITE is reached, if that is behind NAT.

        Its Contact stays as it is, which is what the phone knows itself by. Not where a proxy stands between, which
        knows the way by itself.
        """
        if self._pv("$(hdr(Via)[1])") or not self._elsewhere(side):
            return
        source = self._pv("$si")
        host = f"[{source}]" if ":" in source else source
        self._ksr.rr.add_rr_param(f";na={host}:{self._pv('$sp')}/{self._pv('$proto').lower()}")

    def forget(self) -> None:
        """Forget where the phones of an attempt are that has failed: where they were sent to, and by which proxies."""
        # What nothing else of Kamailio's takes back, a branch does that is put in the place of the first.
        self._ksr.pvx.sbranch_reset()
        self._ksr.pv.sets("$sbranch(uri)", NOWHERE)
        self._ksr.pvx.sbranch_set_ruri()
        self._ksr.resetbflag(NAT_FLAG)

    def lookup(self, name: str) -> bool:
        """Make the subscriber's phones the branches of this request; whether there is one."""
        return bool(self._ksr.registrar.lookup_uri(TABLE, _aor(name)) > 0)

    def is_at(self, name: str, source: str, now: float) -> bool:
        """Whether a phone of the subscriber has registered from this address."""
        contacts = location.read(self._directory, name, now)
        return any(source in (_host(contact.uri), _host(contact.received)) for contact in contacts)

    def _secret(self) -> bytes:
        """The key of nonces: of this run of Kamailio only, as is the memory of what was used."""
        if not self._key:
            self._ksr.htable.sht_lock(REGISTRAR, "key")
            try:
                text = self._ksr.htable.sht_get(REGISTRAR, "key")
                if text is None:
                    text = secrets.token_hex(16)
                    self._ksr.htable.sht_sets(REGISTRAR, "key", text)
                self._key = text.encode()
            finally:
                self._ksr.htable.sht_unlock(REGISTRAR, "key")
        return self._key

    def _expires(self) -> int | None:
        """Seconds for which the phone wants to be registered; None where it does not say."""
        contact, header = self._pv("$(hdr(Contact)[0])"), self._pv("$hdr(Expires)").strip()
        found = _EXPIRES.search(contact.rpartition(">")[2] if ">" in contact else contact)
        if found is not None:
            return int(found[1])
        if not contact or contact.strip() == "*":
            # It only asks, or takes everything back.
            return 0
        return int(header) if header.isascii() and header.isdigit() and len(header) <= 10 else None

    def _is_edge(self, section: Subscribers) -> bool:
        source = ipaddress.ip_address(self._pv("$si"))
        return any(source in ipaddress.ip_network(network) for network in section.edges)

    def _elsewhere(self, side: Side) -> str:
        """Where the phone is reached if not at its contact: behind NAT, or at the other end of its connection."""
        source, transport = self._pv("$si"), self._pv("$proto").lower()
        if transport == "udp" and side.nat != "yes" and _host(self._pv("$(hdr(Contact)[0])")) == source:
            return ""
        host = f"[{source}]" if ":" in source else source
        return f"sip:{host}:{self._pv('$sp')};transport={transport}"

    def _contacts(self, uri: str) -> list[Contact]:
        if self._ksr.registrar.reg_fetch_contacts(TABLE, uri, PROFILE) <= 0:
            return []
        try:
            return [self._contact(index) for index in range(int(self._pv(f"$(ulc({PROFILE}=>count))") or 0))]
        finally:
            self._ksr.registrar.reg_free_contacts(PROFILE)

    def _contact(self, index: int) -> Contact:
        def field(name: str) -> str:
            return str(self._pv(f"$(ulc({PROFILE}=>{name})[{index}])"))

        return Contact(
            uri=field("addr"), expires=int(field("expires")), received=field("received"), socket=field("socket"),
            user_agent=field("user_agent"), call_id=field("callid"), cseq=int(field("cseq") or 0),
            q=int(field("q") or -1), instance=field("instance"), ruid=field("ruid"),
            methods=_signed(int(field("methods") or -1)), path=field("path"), flags=int(field("cflags") or 0),
        )  # fmt: skip


def _algorithms(section: Subscribers, subscriber: Subscriber | None) -> tuple[str, ...]:
    return (subscriber.algorithms if subscriber is not None else ()) or section.algorithms


def _aor(name: str) -> str:
    # Kamailio looks at the user alone (use_domain).
    return f"sip:{name.replace('#', '%23')}@subscriber.invalid"


def _signed(bits: int) -> int:
    return bits - (1 << 32) if bits >= 1 << 31 else bits


def _host(uri: str) -> str:
    """The IP address in the first SIP URI of a text, as Kamailio writes addresses; empty where it is none."""
    found = re.search(r"sips?:(?:[^@\s<>]*@)?(\[[0-9A-Fa-f:.]+\]|[0-9.]+)", uri, re.IGNORECASE)
    try:
        return str(ipaddress.ip_address(found[1].strip("[]"))) if found is not None else ""
    except ValueError:
        return ""
