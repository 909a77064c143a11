"""Where this system registers (RFC 3261 section 10): one REGISTER after another for each trunk that says so; pure, but
for what it is given.

Kamailio sends what it is told to by ``tm.t_uac_start``, and a worker tells of the replies. Nothing of a registration is
in Kamailio's memory, so it outlives its restarts; no password is in what Kamailio is told, only the answer to a
challenge.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kemi import credentials
from kemi.lamps import REGISTERED_TAG
from kemi.rpc import RpcError, RpcTimeout
from model.policy import Auth, Registration
from model.secrets import SecretError

log = logging.getLogger("strowger.agent")

# Seconds after which a REGISTER counts as unanswered: Kamailio gives up after five (fr_timer in kamailio.cfg).
REPLY_WAIT = 6.0
# Seconds before another try: where nobody answers or a server is at fault, doubled up to a limit; where somebody has
# said no, which a person has to look into.
AWAY_WAIT, AWAY_WAIT_MAX = 5.0, 300.0
REFUSED_WAIT, REFUSED_WAIT_MAX = 30.0, 900.0
# Seconds before another try where Kamailio itself is away, or the registrar's name is not resolved.
SOON = 1.0
# Seconds before its end in which a registration is renewed, unless half of it is less.
RENEW_BEFORE = 60.0
# Seconds by which a clock is set back that is not only adjusted.
CLOCK_SET_BACK = 1.0
# Times that a registrar is told that a contact is gone.
FAREWELLS = 3

_PARAMETER = re.compile(r";\s*expires\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)

Targets = Sequence[tuple[str, int]]
"Addresses, IPv6 in brackets, and ports."


@dataclass(frozen=True, slots=True)
class Wanted:
    """A registration that there is to be, and what is known of its registrar."""

    trunk: str
    told: Registration
    contact: str
    "Host and port of ours, for the registrar's family."
    targets: Targets
    trouble: str = ""
    "Why there are no targets."


@dataclass(slots=True)
class State:
    """One registration and how it stands."""

    wanted: Wanted
    call_id: str = field(default_factory=lambda: REGISTERED_TAG + secrets.token_hex(12))
    tag: str = field(default_factory=lambda: REGISTERED_TAG + secrets.token_hex(8))
    cseq: int = 0
    sent: float = 0.0
    "Unix time; 0: nothing is under way."
    next_at: float = 0.0
    wait: float = AWAY_WAIT
    target: int = 0
    asked: int = 0
    "Seconds; more than the policy says where the registrar wants that."
    answered: bool = False
    "The REGISTER under way brought an answer to a challenge."
    until: float = 0.0
    "Unix time until which the registrar has our contact."
    trouble: str = ""
    since: float = 0.0
    "Unix time since which it stands as it does."
    leaving: int = 0
    "How often the registrar will be told yet that the contact is gone; 0: it is to stay."

    def status(self, now: float) -> dict[str, Any]:
        """As operators see it."""
        registered = self.until > now
        state = "failing" if self.trouble else "registered" if registered else "registering"
        return {
            "state": state, "reason": self.trouble, "since": self.since, "until": self.until if registered else None,
            "contact": f"{self.wanted.told.contact_user}@{self.wanted.contact}",
            "registrar": self._place(),
        }  # fmt: skip

    def _place(self) -> str:
        if not self.wanted.targets:
            return self.wanted.told.registrar.host
        host, port = self.wanted.targets[self.target % len(self.wanted.targets)]
        return f"{host}:{port}"


class Registrations:
    """All of a node. For one thread."""

    def __init__(self, rpc: Callable[..., Any], secret: Callable[[str], str]) -> None:
        """``rpc`` calls Kamailio, raising :class:`kemi.rpc.RpcError`; ``secret`` :class:`model.secrets.SecretError`."""
        self._rpc, self._secret = rpc, secret
        self._states: dict[str, State] = {}
        "By Call-ID."
        self._looked = 0.0

    def follow(self, wanted: Sequence[Wanted], now: float) -> None:
        """Have these registrations, and no others. Those that are not wanted any more are taken back."""
        by_trunk = {one.trunk: one for one in wanted}
        for state in list(self._states.values()):
            if state.leaving:
                continue
            one = by_trunk.pop(state.wanted.trunk, None)
            if one is not None and _is_same(state.wanted, one):
                # A name that is not known any more does not change where the contact is.
                state.wanted = one if one.targets else replace(state.wanted, trouble=one.trouble)
                continue
            self._leave(state, now)
            if one is not None:
                by_trunk[one.trunk] = one
        for one in by_trunk.values():
            state = State(one, next_at=now, since=now)
            self._states[state.call_id] = state

    def abandon(self) -> None:
        """Another node registers now: what was registered here ends there, or by itself."""
        self._states.clear()

    def _leave(self, state: State, now: float) -> None:
        if state.until <= now and not state.sent:
            del self._states[state.call_id]
            return
        log.info("registration of trunk %s is taken back", state.wanted.trunk)
        state.leaving, state.sent, state.next_at, state.answered = FAREWELLS, 0.0, now, False

    def advance(self, now: float) -> None:
        """Do what is due at Unix time ``now``."""
        if now < self._looked - CLOCK_SET_BACK:
            # The registrar's clock was not: by ours, each renewal would come too late.
            for state in self._states.values():
                state.next_at, state.sent = min(state.next_at, now), min(state.sent, now)
        self._looked = now
        for state in list(self._states.values()):
            if state.sent and now >= state.sent + REPLY_WAIT:
                self._failed(state, "no answer", now, AWAY_WAIT, AWAY_WAIT_MAX)
            elif not state.sent and now >= state.next_at:
                state.answered = False
                self._send(state, "", now)

    def answered(self, reply: Mapping[str, Any], now: float) -> None:
        """Take in a final reply, as a worker tells of it."""
        state = self._states.get(str(reply["call_id"]))
        if state is None or not state.sent or int(reply["cseq"]) != state.cseq:
            return
        status = int(reply["status"])
        state.sent = 0.0
        if 200 <= status < 300:
            self._accepted(state, reply, now)
        elif status in (401, 407):
            self._challenged(state, status, reply["challenges"], now)
        elif status == 423 and state.asked < _number(reply["min_expires"]):
            state.asked = _number(reply["min_expires"])
            self._send(state, "", now)
        else:
            final = 400 <= status < 500 and status not in (408, 480)
            waits = (REFUSED_WAIT, REFUSED_WAIT_MAX) if final else (AWAY_WAIT, AWAY_WAIT_MAX)
            self._failed(state, f"{status} {reply['phrase']}".strip(), now, *waits)
            state.next_at = max(state.next_at, now + min(_number(reply["retry_after"]), AWAY_WAIT_MAX))

    def statuses(self, now: float) -> dict[str, dict[str, Any]]:
        """How each stands, by trunk."""
        return {state.wanted.trunk: state.status(now) for state in self._states.values() if not state.leaving}

    def _accepted(self, state: State, reply: Mapping[str, Any], now: float) -> None:
        if state.leaving:
            del self._states[state.call_id]
            return
        granted = granted_of(reply, state.wanted, max(state.asked, state.wanted.told.expires))
        if not granted:
            self._failed(state, "the registrar did not keep our contact", now, REFUSED_WAIT, REFUSED_WAIT_MAX)
            return
        if state.trouble or not state.until:
            log.info("trunk %s is registered for %d s", state.wanted.trunk, granted)
            state.since = now
        state.trouble, state.wait, state.until = "", AWAY_WAIT, now + granted
        state.next_at = now + max(granted / 2, granted - RENEW_BEFORE)

    def _challenged(self, state: State, status: int, challenges: Sequence[str], now: float) -> None:
        told, auth = state.wanted.told, state.wanted.told.auth
        stale = any(re.search(r"stale\s*=\s*\"?true", one, re.IGNORECASE) for one in challenges)
        if state.answered and not stale:
            why = f"the registrar does not believe that we are {auth.user}: user or secret {auth.secret} is wrong"
            self._failed(state, why, now, REFUSED_WAIT, REFUSED_WAIT_MAX)
            return
        if state.answered and state.trouble == STALE:
            self._failed(state, "the registrar takes each answer for stale", now, REFUSED_WAIT, REFUSED_WAIT_MAX)
            return
        state.trouble = STALE if state.answered else state.trouble
        try:
            line = self._answer(auth, told, status, challenges)
        except (credentials.CannotAnswer, SecretError) as error:
            self._failed(state, str(error), now, REFUSED_WAIT, REFUSED_WAIT_MAX)
            return
        state.answered = True
        self._send(state, line, now)

    def _answer(self, auth: Auth, told: Registration, status: int, challenges: Sequence[str]) -> str:
        return credentials.answer(
            challenges, auth, self._secret(auth.secret), status=status, method="REGISTER", uri=request_uri(told),
            cnonce=secrets.token_hex(8),
        )  # fmt: skip

    def _failed(self, state: State, why: str, now: float, first: float, longest: float) -> None:
        state.sent = 0.0
        if state.leaving:
            state.leaving -= 1
            if not state.leaving:
                del self._states[state.call_id]
                return
        if why != state.trouble:
            log.warning("trunk %s is not registered: %s", state.wanted.trunk, why)
            state.trouble, state.since = why, now
        state.wait = min(max(state.wait, first), longest)
        state.next_at = now + state.wait
        state.wait = min(state.wait * 2, longest)
        # The next of several addresses, if there are.
        state.target += 1

    def _send(self, state: State, credentials_line: str, now: float) -> None:
        wanted = state.wanted
        if not wanted.targets:
            state.next_at = now + SOON
            if state.trouble != wanted.trouble:
                state.trouble, state.since = wanted.trouble, now
            return
        state.cseq += 1
        host, port = wanted.targets[state.target % len(wanted.targets)]
        try:
            self._rpc("tm.t_uac_start", *register(state, f"sip:{host}:{port}", credentials_line))
        except RpcTimeout:
            log.debug("Kamailio does not say that it sends a REGISTER")
        except RpcError as error:
            log.debug("no REGISTER can be sent: %s", error)
            state.next_at = now + SOON
            return
        state.sent = now


def _is_same(before: Wanted, after: Wanted) -> bool:
    return before.told == after.told and (before.contact == after.contact or "" in (before.contact, after.contact))


STALE = "the nonce was too old"


def register(state: State, peer: str, credentials_line: str) -> tuple[str, ...]:
    """A REGISTER as tm.t_uac_start takes it: method, Request-URI, next hop, our socket, headers, body."""
    wanted, told = state.wanted, state.wanted.told
    uri = request_uri(told)
    own = f"sip:{told.user}@{told.domain or told.registrar.host}"
    transport = "" if told.transport == "udp" else f";transport={told.transport}"
    expires = 0 if state.leaving else max(state.asked, told.expires)
    headers = {
        "From": f"<{own}>;tag={state.tag}",
        "To": f"<{own}>",
        "Call-ID": state.call_id,
        "CSeq": f"{state.cseq} REGISTER",
        "Contact": f"<sip:{told.contact_user}@{wanted.contact}{transport}>;expires={expires}",
        "Expires": str(expires),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return "REGISTER", uri, f"{peer}{transport}", ".", lines + credentials_line, ""


def request_uri(told: Registration) -> str:
    """RFC 3261 section 10.2: the domain, without a user."""
    if told.domain:
        return f"sip:{told.domain}"
    return f"sip:{told.registrar.host}" + (f":{told.registrar.port}" if told.registrar.port else "")


def granted_of(reply: Mapping[str, Any], wanted: Wanted, asked: int) -> int:
    """Seconds for which the registrar keeps our contact; 0: it does not (RFC 3261 section 10.2.4)."""
    own = f"{wanted.told.contact_user}@{wanted.contact}".lower()
    for contact in str(reply["contacts"]).split(","):
        if own in contact.lower():
            found = _PARAMETER.search(contact.rpartition(">")[2] if ">" in contact else contact)
            return int(found[1]) if found else _number(reply["expires"]) or asked
    return 0


def _number(text: object) -> int:
    found = re.match(r"\s*([0-9]{1,9})", str(text))
    return int(found[1]) if found else 0
