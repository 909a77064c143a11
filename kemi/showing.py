"""Whom a caller is shown as, carried out on messages: what :mod:`kemi.presenting` would have changed of them.

Given KSR by :mod:`kemi.routing`, which alone imports it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kemi import presenting
from kemi.plan import Attempt, Plan
from kemi.reading import Reading
from model.message import Edits

# Names shared with kamailio.cfg.
IDENTITY, OWN, UNCONNECTED = "$avp(identity)", "$avp(own)", "$avp(unconnected)"
OF_DIALOG = "$dlg_var(shown)"
RELAY_WANTED, SDP = "$var(relay)", "$var(sdp)"


class Showing:
    """The callers of a node. ``relayed``: some of its calls go through the media relay."""

    def __init__(self, ksr: Any, reading: Reading, *, relayed: bool) -> None:
        self._ksr, self._reading, self._relayed = ksr, reading, relayed

    def begin(self, attempt: Attempt, number: int) -> None:
        """Have the attempt told who calls, by its rule; nothing of it is left of the attempt before."""
        if number > 1:
            for name in (OWN, UNCONNECTED, OF_DIALOG, IDENTITY):
                self._ksr.pv.unset(name)
        if attempt.identity is not None:
            self._ksr.pv.seti(IDENTITY, 1)

    def invite(self, plan: Plan) -> None:
        """The INVITE of an attempt that has a rule."""
        edits, shown = presenting.invite(self._reading.whole(), plan)
        self._edit(edits)
        if not shown.plain:
            self._ksr.rr.add_rr_param(f";shown={'hidden' if shown.hidden else 'other'}")
            self._ksr.pv.sets(OF_DIALOG, shown.dumps())
            self._ksr.pv.sets(OWN, self._reading.pv("$hdr(From)"))
        if plan.attempt.identity is not None and not plan.attempt.identity.connected:
            self._ksr.pv.seti(UNCONNECTED, 1)

    def request(self) -> None:
        """A request within a dialog whose caller is shown as somebody else than they say."""
        shown = self._shown()
        if self._ksr.rr.is_direction("upstream") > 0:
            self._edit(presenting.to_caller(self._reading.whole(), shown))
            if shown.contact:
                self._ksr.pv.sets("$ru", shown.contact)
            return
        self._ksr.pv.sets(OWN, self._reading.pv("$hdr(From)"))
        self._of_caller(shown)

    def reply(self) -> None:
        """A reply of that caller."""
        self._of_caller(self._shown())

    def _shown(self) -> presenting.Shown:
        known = self._reading.pv(OF_DIALOG)
        return presenting.Shown.loads(known) if known else presenting.FORGOTTEN

    def _of_caller(self, shown: presenting.Shown) -> None:
        edits, contact = presenting.of_caller(self._reading.whole(), shown)
        self._edit(edits)
        if contact and contact != shown.contact and shown is not presenting.FORGOTTEN:
            # RFC 3261 section 12.2: a new remote target.
            self._ksr.pv.sets(OF_DIALOG, replace(shown, contact=contact).dumps())

    def _edit(self, edits: Edits) -> None:
        for name in edits.remove:
            self._ksr.hdr.remove(name)
        for line in edits.append:
            self._ksr.hdr.append(f"{line}\r\n")
        if edits.body is not None:
            kind, text = edits.body
            if self._relayed and self._reading.pv(RELAY_WANTED):
                # The media relay makes its own of it.
                self._ksr.pv.sets(SDP, text)
            elif text:
                self._ksr.textops.set_body(text, kind)
            if not text:
                self._ksr.textopsx.remove_body()
