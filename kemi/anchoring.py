"""The media relay, towards Kamailio: what kamailio.cfg asks rtpengine for, attempt by attempt.

Given KSR by :mod:`kemi.routing`. The asking itself is in the cfg: what is changed in a branch's route is of that branch
alone, so each attempt begins with the session description that the caller sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kemi import relay
from kemi.plan import Plan
from kemi.relay import Caller

# Names shared with kamailio.cfg.
CALLER, RELAY, RELAY_NAT, AWAY, FAILED = (
    "$avp(relay_caller)", "$avp(relay)", "$avp(relay_nat)", "$avp(relay_away)", "$avp(relay_failed)",
)  # fmt: skip
OF_DIALOG = "$dlg_var(relay)"
RELAYED_FLAG = 3
PASS = "pass"

_CODE = re.compile(r";mr=([a-z0-9-]+)")


class Anchoring:
    """The calls of a node whose sound may go through the relay. ``pv`` reads a pseudo-variable as text."""

    def __init__(self, ksr: Any, pv: Callable[[str], str]) -> None:
        self._ksr, self._pv = ksr, pv

    def begin(self, caller: Caller) -> None:
        """Keep on the transaction what each attempt of its call needs to know."""
        self._ksr.pv.sets(CALLER, caller.dumps())

    def attempt(self, plan: Plan, away: Callable[[], str]) -> bool:
        """Say of the attempt that begins what is to be asked; whether that is anything, or may be."""
        self._ksr.resetbflag(RELAYED_FLAG)
        for name in (RELAY, RELAY_NAT, FAILED):
            self._ksr.pv.unset(name)
        text = self._ksr.pv.get(CALLER)
        if text is None:
            return False
        caller = Caller.loads(text)
        made = {RELAY: relay.anchor(caller, plan)}
        if plan.attempt.subscriber:
            made[RELAY_NAT] = relay.anchor(caller, plan, phone_nat=True)
        wanted = {name: anchor for name, anchor in made.items() if anchor is not None}
        for name, anchor in wanted.items():
            self._ksr.pv.sets(name, str(anchor))
        if wanted:
            self._ksr.pv.sets(AWAY, PASS if plan.emergency else away())
            self._ksr.pv.sets(OF_DIALOG, "1")
        return wanted != {}

    def failed(self) -> bool:
        """Whether the attempt was sent nowhere since the relay is away."""
        return self._ksr.pv.get(FAILED) is not None

    def within_dialog(self, away: str) -> bool:
        """Say the same of a request within a call, by what this node wrote into its own Record-Route."""
        found = _CODE.search(self._pv("$route_uri"))
        if found is None:
            return False
        to_callee, to_caller = relay.flags(found[1])
        upstream = self._ksr.rr.is_direction("upstream") > 0
        self._ksr.pv.sets(RELAY, f"{to_caller}|{to_callee}" if upstream else f"{to_callee}|{to_caller}")
        self._ksr.pv.sets(AWAY, away)
        return True
