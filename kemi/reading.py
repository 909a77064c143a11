"""What Kamailio knows of the message at hand: the facts of a call, and of an attempt that failed.

Given KSR by :mod:`kemi.routing`, which alone imports it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import Any

from kemi import relay
from kemi.plan import Plan
from model.call import CallFacts
from model.causes import Failure, parse_reason, says_do_not_disturb
from model.identity import NO_CLAIMS, Claims, asserted_users, calling_parties, calling_party, is_withheld

# Names and numbers shared with kamailio.cfg.
RANG, SAID, RINGING_FLAG = "$avp(rang)", "$avp(said)", 1
# The cfg puts all of these into one text, a line each; a null is written as in any text of the cfg.
INVITE, NULL = "$var(invite)", "<null>"
INVITE_ONE_BY_ONE = ("$si", "$hdr(P-Asserted-Identity)", "$rU", "$fU", "$fd", "$hdr(Privacy)", "$ua", "$ft", "$ci")


class Reading:
    """The message that a worker is at. ``relayed``: its session description is looked at, for the media relay."""

    def __init__(self, ksr: Any, *, relayed: bool) -> None:
        self._ksr, self._get, self._relayed = ksr, ksr.pv.get, relayed

    def pv(self, name: str) -> str:
        """A pseudo-variable as text; empty where it is null."""
        try:
            return self._get(name) or ""
        except UnicodeDecodeError:
            # Bytes that are not UTF-8 fail in the binding. In hexadecimal they come through; Latin-1 keeps each byte.
            inner = name[2:-1] if name.startswith("$(") else name[1:]
            # What is too long for that is null.
            return bytes.fromhex(self._get(f"$({inner}{{s.encode.hexa}})") or "").decode("latin-1")

    def whole(self) -> str:
        """The message as it came. Raises ValueError where it cannot be read: nothing of it is to go out unchanged."""
        if text := self.pv("$mb"):
            return text
        raise ValueError("the message cannot be read")

    def invite(self) -> tuple[CallFacts, str, str]:
        """What an INVITE says, its From tag, and its Call-ID."""
        source, asserted, callee, caller, caller_host, privacy, user_agent, from_tag, call_id = self._values()
        asserted = "" if asserted == NULL else asserted
        privacy = "" if privacy == NULL else privacy
        facts = CallFacts(
            caller="" if caller == NULL else caller,
            callee="" if callee == NULL else callee,
            source=source,
            asserted=next(iter(asserted_users(asserted)), "") if asserted else "",
            user_agent="" if user_agent == NULL else user_agent,
            private=privacy != "" and _asks_for_privacy(privacy),
            caller_host="" if caller_host == NULL else caller_host,
            claims=Claims(privacy=privacy) if privacy else None,
            media=relay.media_of(self.pv("$rb")) if self._relayed else "",
        )
        if asserted and not facts.asserted:
            # Nothing that anybody could have asserted (RFC 3325 section 9.1).
            self._ksr.hdr.remove("P-Asserted-Identity")
        caller, host = facts.caller, facts.caller_host
        if facts.private or ((len(caller) in (0, 9) or len(host) == 17) and is_withheld(caller, host)):
            facts = replace(facts, claims=replace(facts.claims or NO_CLAIMS, marks=self._marks()))
        return facts, from_tag, call_id

    def with_remote(self, facts: CallFacts) -> CallFacts:
        """The same with what Remote-Party-ID says."""
        user, private = calling_party(self.pv("$(hdr(Remote-Party-ID)[*])"))
        if not user:
            return facts
        claims = replace(facts.claims or NO_CLAIMS, remote=user, marks=self._marks() if private else "")
        return replace(facts, claims=claims, private=facts.private or private)

    def with_claims(self, facts: CallFacts) -> CallFacts:
        """The same with all that a subscriber's phone says of who is calling."""
        asserted = asserted_users(self.pv("$(hdr(P-Asserted-Identity)[*])"))[1:]
        # Gateways without a rule get it as it came, and some believe it.
        asserted += calling_parties(self.pv("$(hdr(Remote-Party-ID)[*])"))
        preferred = next(iter(asserted_users(self.pv("$hdr(P-Preferred-Identity)"))), "")
        claims = replace(facts.claims or NO_CLAIMS, asserted=asserted, preferred=preferred, marks=self._marks())
        return replace(facts, claims=claims)

    def failure(self, plan: Plan) -> Failure:
        """How the attempt under way failed."""
        local = self._ksr.tm.t_branch_timeout() > 0
        reason = "" if local else self.reply_header("Reason")
        phrase = "" if local or plan.voicemail is None else self.pv("$T_rpl($rr)")
        q850, location = parse_reason(reason)
        if local and plan.attempt.subscriber and (said := self._get(SAID)) is not None:
            return Failure(status=int(said), ringing=self.rang() is not None)
        return Failure(
            status=int(self._get("$T_reply_code")),
            local=local,
            q850=q850,
            location=location,
            ringing=self._ksr.isbflagset(RINGING_FLAG) > 0
            or (plan.attempt.subscriber != "" and self.rang() is not None),
            retry_after=0.0 if local else _seconds(self.reply_header("Retry-After")),
            do_not_disturb=plan.voicemail is not None and says_do_not_disturb(f"{phrase} {reason}"),
            phrase=phrase,
        )

    def reply_header(self, name: str) -> str:
        """A header of the reply that the attempt under way ends with, where it stands twice with a comma between."""
        values = (self.pv(f"$T_rpl($hdr({name}))"), self.pv(f"$T_rpl($(hdr({name})[1]))"))
        return ",".join(value for value in values if value)

    def rang(self) -> float | None:
        """Unix time at which the attempt under way rang; None where it has not."""
        rang = self._get(RANG)
        return float(rang) if rang else None

    def _values(self) -> list[str]:
        try:
            # One look into Kamailio instead of nine.
            values: list[str] = self._get(INVITE).split("\n")
        except UnicodeDecodeError:
            values = []
        # There are more where a header was folded over several lines.
        return values if len(values) == len(INVITE_ONE_BY_ONE) else [self.pv(name) for name in INVITE_ONE_BY_ONE]

    def _marks(self) -> str:
        return "\n".join(map(self.pv, ("$ci", "$ft", "$(hdr(Via)[*])", "$(hdr(Record-Route)[*])")))


def _asks_for_privacy(header: str) -> bool:
    # RFC 3323 section 4.2: values divided by semicolons; RFC 3325 section 9.3 adds id.
    values = {value.strip().lower() for value in header.split(";")}
    return not values.isdisjoint(("id", "user", "header"))


def _seconds(header: str) -> float:
    # RFC 3261 section 20.33: delta-seconds, then maybe a comment and parameters.
    digits = "".join(takewhile("0123456789".__contains__, header.strip()))
    return float(digits[:9] or 0)
