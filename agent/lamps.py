"""The notifier of message waiting (RFC 3842, RFC 6665): who is told what, and when.

Each watcher has at most one NOTIFY under way, so it never sees an older state after a newer one, and however many
changes come meanwhile, the next NOTIFY tells the last. Nobody waits for anybody else: Kamailio takes a NOTIFY at once,
sends it again where no answer comes, and a worker tells of the answer.
"""

from __future__ import annotations

import heapq
import logging
import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from agent import lamp_messages as messages
from agent.lamp_messages import RefusedError, Subscribe
from agent.lamp_notify import notify, phones, registered
from agent.lamp_watchers import MOST_PER_BOX, Watcher, Watchers
from kemi.lamps import TAG
from kemi.rpc import RpcError, RpcFault, RpcTimeout
from state import mwi
from state.location import Contact
from state.mwi import BadLampError, Lamp

log = logging.getLogger("strowger.agent")

# Seconds after which a NOTIFY counts as unanswered: Kamailio gives up after five (fr_timer in kamailio.cfg).
REPLY_WAIT = 6.0
# Seconds before each further try. Then a subscriber is given up, and a phone that never asked is left alone until
# the next change.
WAITS = (5.0, 30.0, 120.0)
# Seconds before another try where Kamailio itself is away.
AWAY_WAIT = 0.5
# Seconds for which a node that does not send unsolicited NOTIFYs remembers what it would have sent, in case that the
# one that does has died over it.
REMEMBERED = 60.0
# NOTIFYs that are sent before the next look at what came in.
BURST = 50
# RFC 6665 section 4.2.2: these say nothing of the subscription.
TRANSIENT = frozenset((408, 500, 503, 504))

Rpc = Callable[..., Any]


class Notifier:
    """Tells watchers of lamps. For one thread; ``rpc`` calls Kamailio, and raises :class:`kemi.rpc.RpcError`."""

    def __init__(
        self,
        watchers: Watchers,
        rpc: Rpc,
        addresses: Sequence[str],
        now: float,
        contacts: Callable[[str, float], Iterable[Contact]] = lambda box, now: (),
    ) -> None:
        """``addresses`` are ours, one of each family, as URIs have them: ``192.0.2.1:5070``, ``[2001:db8::1]``.

        ``contacts`` tells which phones of a mailbox's subscriber are registered here at a Unix time.
        """
        self._watchers, self._rpc, self._addresses, self._contacts = watchers, rpc, addresses, contacts
        self._lamps: dict[str, Lamp] = {}
        self._changed: dict[str, float] = {}
        "Mailbox to when its lamp was last changed."
        self._timers: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        "Key to the time of the timer that counts; the heap may hold later ones that do not."
        self.sends_unsolicited = False
        "Whether it is this node that tells the phones that never asked."
        self.complete = False
        "Whether all mailboxes are known: nothing was read from Redis yet where not."
        for box, text in watchers.lamps().items():
            self._decoded(box, text)
        for watcher in watchers:
            self._look_at(watcher, now)

    def lamps(self, found: Mapping[str, str | None], now: float) -> None:
        """Take in lamps as Redis has them, None for mailboxes that are gone."""
        for box, text in found.items():
            before = self._lamps.get(box)
            if text is None:
                self._gone(box, now)
            elif self._decoded(box, text) and self._lamps[box] != before:
                self._watchers.save_lamp(box, text)
                self._change(self._lamps[box], now)

    def subscribe(self, data: Mapping[str, Any], now: float) -> None:
        """Answer a SUBSCRIBE that a worker handed over, and send the NOTIFY that goes with it."""
        try:
            request = messages.parse(data)
            watcher = self._renewed(request, now) if request.tag else self._begun(request, now)
        except RefusedError as refused:
            self._reply(messages.transaction(data), refused.status, refused.phrase, "", refused.headers)
            return
        headers = f"Expires: {request.expires}\r\nContact: {watcher.contact}\r\n"
        if not self._reply(request.transaction, 200, "OK", _tag(watcher), headers):
            # The phone will be told 408 and ask again, maybe in another dialog.
            return
        watcher.owed, watcher.not_before, watcher.failed = True, 0.0, 0
        watcher.expires = now + request.expires
        watcher.ended = "" if request.expires else "timeout"
        self._watchers.save(watcher)
        self._step(watcher, now)

    def answered(self, data: Mapping[str, Any], now: float) -> None:
        """Take in what was answered to a NOTIFY, as a worker tells it."""
        watcher = self._watchers.get(_key(str(data["call_id"]), str(data["tag"])))
        if watcher is None or int(data["cseq"]) != watcher.cseq or not watcher.sent:
            return
        status = int(data["status"])
        if status in TRANSIENT:
            self._unanswered(watcher, now)
        elif status >= 300 and watcher.solicited:
            self._watchers.remove(watcher)
        else:
            # A phone that refuses is told of the next change all the same: it may be another phone by then.
            self._done(watcher, now)

    def registered(self, data: Mapping[str, Any], now: float) -> None:
        """A phone has registered anew: it hears of its mailbox, whatever it was told before."""
        box, contact = str(data["box"]), str(data["contact"])
        if (lamp := self._lamps.get(box)) is None:
            return
        for watcher in self._watchers.of(box):
            if watcher.registered and watcher.target == contact:
                watcher.told = ()
        self._change(lamp, now, changed=False)

    def advance(self, now: float) -> float:
        """Do what is due, in small bites; the Unix time at which to call this again."""
        for _ in range(BURST):
            if not self._timers or self._timers[0][0] > now:
                break
            at, key = heapq.heappop(self._timers)
            watcher = self._watchers.get(key)
            if self._due.get(key) != at:
                continue
            del self._due[key]
            if watcher is not None:
                self._step(watcher, now)
        return self._timers[0][0] if self._timers else now + 3600.0

    def _begun(self, request: Subscribe, now: float) -> Watcher:
        if request.box not in self._lamps:
            if not self.complete:
                raise RefusedError(503, "Not Ready", "Retry-After: 5\r\n")
            raise RefusedError(404, "No Such Mailbox")
        self._make_room(request)
        tag = TAG + secrets.token_hex(8)
        return Watcher(
            key=_key(request.call_id, tag),
            box=request.box,
            host=request.host,
            target=request.contact,
            peer=request.peer,
            other=request.other_peer,
            socket=request.socket,
            sender=f"<{request.callee}>;tag={tag}",
            receiver=f"<{request.caller}>" + (f";tag={request.caller_tag}" if request.caller_tag else ""),
            caller_tag=request.caller_tag,
            call_id=request.call_id,
            event=request.event,
            contact=messages.contact(request.box, request.socket),
            routes=request.routes,
            heard=request.cseq,
        )

    def _make_room(self, request: Subscribe) -> None:
        kept = [watcher for watcher in self._watchers.of(request.box) if watcher.solicited]
        if len(kept) < MOST_PER_BOX:
            return
        # A phone that was started anew, once too often; of its dialogs before it knows nothing.
        own = [watcher for watcher in kept if watcher.target == request.contact]
        if not own:
            raise RefusedError(403, "Too Many Subscriptions")
        self._watchers.remove(min(own, key=lambda watcher: watcher.expires))

    def _renewed(self, request: Subscribe, now: float) -> Watcher:
        watcher = self._watchers.get(_key(request.call_id, request.tag))
        known = watcher is not None and watcher.caller_tag == request.caller_tag and watcher.event == request.event
        if watcher is None or not known or watcher.ended or now >= watcher.expires:
            raise RefusedError(481, "Subscription Does Not Exist")
        if request.cseq <= watcher.heard:
            # RFC 3261 section 12.2.2.
            raise RefusedError(500, "Out of Order")
        watcher.heard = request.cseq
        watcher.target, watcher.socket = request.contact, request.socket
        if {watcher.peer, watcher.other} != {request.peer, request.other_peer}:
            watcher.peer, watcher.other = request.peer, request.other_peer
        return watcher

    def _decoded(self, box: str, text: str) -> bool:
        try:
            self._lamps[box] = mwi.decode(box, text)
        except BadLampError as error:
            log.warning("%s; its phones keep what they show", error.flaw)
            return False
        return True

    def _change(self, lamp: Lamp, now: float, *, changed: bool = True) -> None:
        if changed:
            self._changed[lamp.box] = now
        wanted, here = phones(lamp), registered(self._contacts(lamp.box, now))
        known = {watcher.target for watcher in self._watchers.of(lamp.box) if not watcher.solicited}
        asked = {watcher.target for watcher in self._watchers.of(lamp.box) if watcher.solicited}
        for uri in wanted:
            if uri not in known:
                self._watchers.save(self._phone(lamp.box, uri))
        for uri, contact in here.items():
            # One that has subscribed is told already.
            if uri not in (*known, *wanted, *asked):
                phone = self._phone(lamp.box, uri)
                phone.peer, phone.socket, phone.registered = contact.hop, contact.socket, True
                phone.routes = contact.path
                self._watchers.save(phone)
        for watcher in self._watchers.of(lamp.box):
            if not watcher.solicited and watcher.target not in wanted and watcher.target not in here:
                self._watchers.remove(watcher)
                continue
            watcher.failed, watcher.not_before = 0, 0.0
            self._look_at(watcher, now)

    def _phone(self, box: str, uri: str) -> Watcher:
        six = "[" in uri
        host = next((address for address in self._addresses if ("[" in address) == six), self._addresses[0])
        own = f"<sip:{messages.user(box)}@{host}>"
        call_id, tag = TAG + secrets.token_hex(12), TAG + secrets.token_hex(8)
        return Watcher(
            key=_key(call_id, tag),
            box=box,
            host=host,
            target=uri,
            sender=f"{own};tag={tag}",
            receiver=f"<{uri}>",
            call_id=call_id,
            event=messages.EVENT,
            contact=own,
        )

    def _gone(self, box: str, now: float) -> None:
        self._lamps.pop(box, None)
        self._watchers.save_lamp(box, None)
        for watcher in self._watchers.of(box):
            if watcher.solicited:
                watcher.owed, watcher.ended, watcher.not_before = True, "noresource", 0.0
                self._look_at(watcher, now)
            else:
                self._watchers.remove(watcher)

    def _look_at(self, watcher: Watcher, at: float) -> None:
        if at < self._due.get(watcher.key, math.inf):
            self._due[watcher.key] = at
            heapq.heappush(self._timers, (at, watcher.key))

    def _step(self, watcher: Watcher, now: float) -> None:
        """Do what is to be done for a watcher now, and set the time of the next look at it."""
        if watcher.sent:
            if now < watcher.sent + REPLY_WAIT:
                self._look_at(watcher, watcher.sent + REPLY_WAIT)
            else:
                self._unanswered(watcher, now)
            return
        if watcher.solicited and now >= watcher.expires and not watcher.ended:
            watcher.ended, watcher.owed = "timeout", True
        lamp = self._lamps.get(watcher.box)
        news = lamp is not None and watcher.told != lamp.counts
        if not watcher.owed and not news:
            if watcher.solicited:
                self._look_at(watcher, watcher.expires)
        elif now < watcher.not_before:
            self._look_at(watcher, watcher.not_before)
        elif watcher.solicited or watcher.registered or self.sends_unsolicited:
            self._send(watcher, lamp or Lamp(box=watcher.box), now)
        elif now < self._changed.get(watcher.box, 0.0) + REMEMBERED:
            self._look_at(watcher, now + AWAY_WAIT)
        else:
            watcher.told, watcher.owed = lamp.counts if lamp else (), False
            self._watchers.save(watcher)

    def _send(self, watcher: Watcher, lamp: Lamp, now: float) -> None:
        watcher.cseq += 1
        try:
            self._rpc("tm.t_uac_start", *notify(watcher, lamp, now))
        except RpcFault:
            log.info("no NOTIFY can be sent to a watcher of a mailbox")
            self._unanswered(watcher, now)
            return
        except RpcTimeout:
            # A Kamailio that is just starting finds the request in its socket, and sends it then.
            log.debug("Kamailio does not say that it sends a NOTIFY")
        except RpcError as error:
            log.debug("Kamailio is away: %s", error)
            watcher.owed = True
            self._look_at(watcher, now + AWAY_WAIT)
            return
        watcher.told, watcher.owed, watcher.sent = lamp.counts, False, now
        self._watchers.save(watcher)
        self._look_at(watcher, now + REPLY_WAIT)

    def _done(self, watcher: Watcher, now: float) -> None:
        if watcher.ended and not watcher.owed:
            self._watchers.remove(watcher)
            return
        watcher.sent, watcher.failed = 0.0, 0
        self._watchers.save(watcher)
        self._step(watcher, now)

    def _unanswered(self, watcher: Watcher, now: float) -> None:
        watcher.sent = 0.0
        if watcher.failed < len(WAITS) and not watcher.ended:
            watcher.owed, watcher.not_before = True, now + WAITS[watcher.failed]
            if watcher.other:
                watcher.peer, watcher.other = watcher.other, watcher.peer
            watcher.failed += 1
            self._look_at(watcher, watcher.not_before)
        elif watcher.solicited:
            self._watchers.remove(watcher)
            return
        else:
            watcher.failed, watcher.owed = 0, False
        self._watchers.save(watcher)

    def _reply(self, transaction: str, status: int, phrase: str, tag: str, headers: str) -> bool:
        try:
            self._rpc("tm.reply", status, phrase, transaction, tag or TAG + secrets.token_hex(8), headers, "")
        except RpcError as error:
            log.warning("a SUBSCRIBE stays without our reply: %s", error)
            return False
        return True


def _key(call_id: str, tag: str) -> str:
    return f"{call_id} {tag}"


def _tag(watcher: Watcher) -> str:
    return watcher.sender.rpartition("tag=")[2]
