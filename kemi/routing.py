"""Kamailio's side of routing, and the only file that knows KSR: facts in, a pure decision, actions out.

Kamailio enters here for requests that may start a call and for failed attempts, and to write down that a call was
answered, cancelled or ended. Other replies, CANCEL, ACK and requests within a dialog never come this way
(kamailio/kamailio.cfg).
"""

from __future__ import annotations

import itertools
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, wraps
from hashlib import blake2s
from typing import Any

import KSR
from msgspec import structs

from kemi import handover, health, lamps, limits, policy, records, refusals, route_token
from kemi.health import Health
from kemi.leasing import Leasing
from kemi.phones import Demand, Phones
from kemi.plan import Attempt, Plan
from kemi.spool import shared_spool
from kemi.view import NoPolicyError, View
from model.call import CallFacts
from model.causes import Failure, Reason, parse_reason, says_do_not_disturb
from model.diversion import first_diversion
from model.handover import HEADERS
from model.numbers import as_dialled
from model.policy import Refusal
from model.settings import Settings
from model.subscriber import Subscriber
from model.trip import Trip
from state.snapshot import NoSnapshotError, shared_reader

# What app_python3 takes for success and failure. Zero would end the cfg's route, None breaks the next message.
OK, FAILED = 1, -1

# Names and numbers shared with kamailio.cfg.
PLAN, CALL_ID, RING = "$avp(plan)", "$avp(call)", "$avp(ring)"
CALL_OF_DIALOG = "$dlg_var(call)"
ATTEMPT, RANG, TRIAL = "$avp(attempt)", "$avp(rang)", "$avp(trial)"
# The cfg puts all of these into one text, a line each; a null is written as in any text of the cfg.
INVITE, NULL = "$var(invite)", "<null>"
INVITE_ONE_BY_ONE = ("$si", "$ai", "$rU", "$fU", "$fd", "$hdr(Privacy)", "$ua", "$ft", "$ci")
FAILURE_ROUTE, REPLY_ROUTE, TRIAL_REPLY_ROUTE = "GATEWAY_FAILED", "GATEWAY_REPLY", "TRIAL_REPLY"
PHONES, SAID, PHONE_REPLY_ROUTE = "$avp(phones)", "$avp(said)", "PHONE_REPLY"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, MESSAGE, SUBSCRIBE"
HANDOVER, HANDOVER_ROUTE = "$avp(handover)", "HANDOVER"
RINGING_FLAG = 1
HEALTH, TURNS, PROBED = "health", "turns", "probed"

# tm's own status for a request that could not be sent.
NOTHING_SENT = 477
# The rank of the process that starts all others; it handles no messages, and so never reloads.
MAIN_PROCESS = 0

_settings = Settings.from_env()
_snapshot = shared_reader(_settings.snapshot)
_spool = shared_spool(_settings.spool)
_calls = itertools.count()
# The kernel's: workers are forks of one process, and must not draw the same numbers as one another.
_random = random.SystemRandom()

Callback = Callable[["Handler", Any, Any], int]


def guarded(callback: Callable[[Handler], bool | None]) -> Callback:
    """A callback as app_python3 wants it: it always returns a number, and an exception becomes one log line.

    The number is negative after an exception, and where the callback returns False.
    """

    @wraps(callback)
    def run(self: Handler, _msg: Any, _param: Any = None) -> int:
        try:
            verdict = callback(self)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
            KSR.err(f"{callback.__name__} failed: call-id={_pv('$ci')} error={type(error).__name__} at={where}\n")
            return FAILED
        return FAILED if verdict is False else OK

    return run


class Handler:
    """The callbacks that kamailio.cfg names."""

    def __init__(self) -> None:
        self._loaded = time.time()

    def child_init(self, rank: int) -> int:
        """Nothing is opened here: whatever a process needs, it opens at first use."""
        if rank == MAIN_PROCESS:
            # By now workers may have calls. This code was loaded before any.
            _spooled(records.started(self._loaded))
        return OK

    @guarded
    def on_call(self) -> None:
        """A request that may start a dialog: decide and act."""
        _begin_call({})

    @guarded
    def on_marked_call(self) -> None:
        """The same for one with headers of a hand-over, which the cfg has removed: back from media, or forged."""
        _begin_call({name: value for name in HEADERS if (value := _pv(f"$hdr({name})"))})

    @guarded
    def on_failure(self) -> None:
        """All branches of a call have failed: the next attempt, or the final reply."""
        plan = Plan.loads(KSR.pv.get(PLAN))
        _after(plan, _failure(plan), trial=_end_trial())

    @guarded
    def on_trial_passed(self) -> None:
        """The gateway of a trial call has let something ring, or answered."""
        plan = Plan.loads(KSR.pv.get(PLAN))
        breaker = plan.attempt.breaker
        if _end_trial() and breaker is not None:
            known = _change(plan.attempt.gateway, lambda known: health.passed(known, breaker, time.time()))
            _tell(plan.attempt, known, time.time(), trial=True)

    def on_record(self, _msg: Any, line: str) -> int:
        """A line of the spool, made by kamailio.cfg. Every answered call comes here twice, so this is not guarded."""
        try:
            _spool.write(line.encode())
        except Exception as error:
            _lost(error)
        return OK

    @guarded
    def on_cancelled(self) -> None:
        """The caller hung up before anybody answered, and has been told so."""
        if _end_trial():
            _change(Plan.loads(KSR.pv.get(PLAN)).attempt.gateway, health.freed)
        _record_cancelled()

    @guarded
    def on_calls_over(self) -> None:
        """Calls that have leases are over, however they ended, and no other call has seen to them yet."""
        _leasing.release_ended()

    @guarded
    def on_limits_timer(self) -> None:
        """In a process of its own, which may wait for Redis."""
        _leasing.tick(time.time())

    @guarded
    def on_bye(self) -> None:
        """Somebody hangs up in a dialog that this node does not remember: the route brings the call's id."""
        if call := _call_of_route():
            by = "callee" if KSR.rr.is_direction("upstream") > 0 else "caller"
            _spooled(records.ended(call, _pv("$ci"), by, time.time()))

    @guarded
    def on_register(self) -> None:
        """A REGISTER: of a subscriber's phone, if it proves that."""
        _register(time.time())

    @guarded
    def on_subscribe(self) -> None:
        """A SUBSCRIBE: the agent answers, if it comes from a trunk, or from the mailbox's own subscriber."""
        if not _is_from_trunk() and not _owns_box(time.time()):
            # It was answered there.
            return
        if KSR.tm.t_newtran() > 0:
            # Where no answer is made in time, the transaction's own timer answers 408.
            KSR.tmx.t_suspend()
            try:
                lamps.tell(_settings.agent_pipe, lamps.subscribe(_pv))
            except OSError:
                KSR.tm.t_reply(503, "Service Unavailable")

    @guarded
    def on_notified(self) -> None:
        """A final reply to a NOTIFY of the agent's."""
        with suppress(OSError):
            # Without the agent nobody waits for it.
            lamps.tell(_settings.agent_pipe, lamps.answered(_pv))

    @guarded
    def on_unknown_dialog(self) -> bool:
        """A request of a dialog that this node does not remember: whether it once let that call in."""
        return _call_of_route() != ""


def _is_from_trunk() -> bool:
    try:
        txn = _snapshot.begin()
    except NoSnapshotError:
        return False
    try:
        return _views.of(txn).trunk(_pv("$si")) is not None
    except NoPolicyError:
        return False
    finally:
        txn.abort()


def _register(now: float) -> None:
    txn = _snapshot.begin()
    try:
        view = _views.of(txn)
        section = view.policy.subscribers
        if section is None:
            KSR.hdr.append_to_reply(f"Allow: {ALLOW}\r\n")
            KSR.sl.send_reply(405, "Method Not Allowed")
        elif (subscriber := _proved(view, "Authorization", 401, now)) is not None:
            for contact in _phones.register(section, subscriber, now):
                with suppress(OSError):
                    lamps.tell(_settings.agent_pipe, lamps.registered(subscriber.name, contact.uri))
    except NoPolicyError:
        _refuse(refusals.NO_POLICY)
    finally:
        txn.abort()


def _owns_box(now: float) -> bool:
    """Whether a SUBSCRIBE is a subscriber's for the mailbox of their own number; if not, it has been answered."""
    try:
        txn = _snapshot.begin()
    except NoSnapshotError:
        KSR.sl.send_reply(403, "Forbidden")
        return False
    try:
        view = _views.of(txn)
        if view.policy.subscribers is None:
            KSR.sl.send_reply(403, "Forbidden")
            return False
        subscriber = _proved(view, "Authorization", 401, now)
        if subscriber is None:
            return False
        if not subscriber.owns(_pv("$rU")):
            KSR.sl.send_reply(403, "Forbidden")
            return False
        return True
    except NoPolicyError:
        KSR.sl.send_reply(403, "Forbidden")
        return False
    finally:
        txn.abort()


def _proved(view: View, header: str, status: int, now: float) -> Subscriber | None:
    """The subscriber who sent this request; None: it has been answered, with a challenge of ``status`` or a refusal."""
    found = _phones.prove(view, header, now)
    if isinstance(found, Subscriber):
        return found
    if isinstance(found, Demand):
        _phones.challenge(view, found, status, now)
    else:
        _refuse(found)
    return None


def _decide_proved(facts: CallFacts, now: float) -> tuple[CallFacts, int, policy.Decision] | None:
    """What is made of a call by a subscriber; None: it has been challenged, or refused for guessing."""
    txn = _snapshot.begin()
    try:
        view = _views.of(txn)
        if (name := _calls_for_help(facts, view, now)) or (
            (subscriber := _proved(view, "Proxy-Authorization", 407, now)) and (name := subscriber.name)
        ):
            facts = replace(facts, subscriber=name)
            # The answer to our challenge is nobody else's business.
            KSR.hdr.remove("Proxy-Authorization")
            return facts, view.version, policy.decide(facts, view, _live, now)
        return None
    finally:
        txn.abort()


def _calls_for_help(facts: CallFacts, view: View, now: float) -> str:
    """The subscriber of an emergency call that comes from where a phone of theirs has registered; else empty."""
    emergency, subscriber = view.policy.emergency, view.subscriber(facts.caller)
    if emergency is None or subscriber is None or not emergency.number(as_dialled(facts.callee)):
        return ""
    return subscriber.name if _phones.is_at(subscriber.name, facts.source, now) else ""


def _begin_call(marks: Mapping[str, str]) -> None:
    now = time.time()
    call = _new_id(now)
    (facts, from_tag, call_id), version = _invite(), 0
    try:
        facts, version, decision = _decide_marked(facts, marks, now) if marks else (facts, *_decide(facts, now))
    except (NoSnapshotError, NoPolicyError):
        decision = policy.Decision(policy.Reject(refusals.NO_POLICY), ())
    if isinstance(decision.outcome, policy.Reject) and decision.outcome.refusal is refusals.UNAUTHENTICATED:
        proved = _decide_proved(facts, now)
        if proved is None:
            return
        facts, version, decision = proved
    taken: tuple[str, ...] = ()
    if not isinstance(decision.outcome, policy.Reject) and limits.limited(decision.outcome.plan):
        decision, taken = _admitted(call, decision, decision.outcome, now)
    _spooled(records.decided(call, call_id, from_tag, facts, decision, version, now, taken))
    if isinstance(decision.outcome, policy.Reject):
        _refuse(decision.outcome.refusal)
    else:
        KSR.pv.sets(CALL_ID, call)
        KSR.rr.add_rr_param(route_token.parameter(_secret(), call, call_id))
        KSR.dialog.dlg_manage()
        # For the BYE: no peer can alter it, unlike the id in our Record-Route.
        KSR.pv.sets(CALL_OF_DIALOG, call)
        _relay(decision.outcome.plan)


def _admitted(
    call: str, decision: policy.Decision, outcome: policy.Relay | policy.ToMedia, now: float
) -> tuple[policy.Decision, tuple[str, ...]]:
    """What limits make of a decision, and names of those under which the call counts now."""
    plan = outcome.plan
    found = _leasing.admit(call, plan, range(len(plan.attempts)), now, fresh=True)
    steps = (*decision.steps, *found.steps)
    if found.plan is None:
        assert found.refusal is not None
        return structs.replace(decision, outcome=policy.Reject(found.refusal), steps=steps), ()
    if found.plan is not plan:
        outcome = structs.replace(outcome, plan=found.plan)
    return structs.replace(decision, outcome=outcome, steps=steps), found.grant.names


def _admitted_next(
    call: str, plan: Plan, failure: Failure, decision: policy.FailureDecision, now: float
) -> tuple[policy.FailureDecision, tuple[str, ...]]:
    """The same of a decision that follows a failed attempt of ``plan``."""
    outcome = decision.outcome
    if not isinstance(outcome, policy.Retry) or not (limits.limited(outcome.plan) or limits.limited(plan)):
        return decision, ()
    following = outcome.plan
    found = _leasing.admit(call, following, policy.candidates(following, _live, now), now)
    if found.plan is None:
        return policy.full(failure, decision, found.steps), ()
    retry, steps = policy.Retry(found.plan), (*decision.steps, *found.steps)
    return structs.replace(decision, outcome=retry, steps=steps), found.grant.names


def _rows(table: str) -> Iterator[tuple[str, str]]:
    """Keys and values of a table in shared memory, parts of which are locked meanwhile."""
    KSR.htable.sht_iterator_start("rows", table)
    try:
        while KSR.htable.sht_iterator_next("rows") > 0:
            yield KSR.pv.get("$shtitkey(rows)"), KSR.pv.get("$shtitval(rows)")
    finally:
        KSR.htable.sht_iterator_end("rows")


def _after(plan: Plan, failure: Failure, *, trial: bool) -> None:
    now = time.time()
    if not plan.attempt.subscriber:
        known = _change(plan.attempt.gateway, lambda known: policy.judged(known, plan, failure, now, trial=trial))
        if trial or known.wait:
            _tell(plan.attempt, known, now, trial=trial)
    if plan.media is not None and failure.status // 100 == 3:
        decision = _redirected(plan, now)
    else:
        decision = policy.next_attempt(plan, failure, _live, now)
    call: str = KSR.pv.get(CALL_ID)
    decision, taken = _admitted_next(call, plan, failure, decision, now)
    if plan.forwarding is not None and not isinstance(decision.outcome, policy.Retry):
        decision = _forwarded(plan, failure, decision, now)
        decision, taken = _admitted_next(call, plan, failure, decision, now)
    if (reason := policy.voicemail_reason(plan, failure, decision)) is not None:
        decision = _to_voicemail(plan, failure, reason, decision, now)
        decision, taken = _admitted_next(call, plan, failure, decision, now)
    _spooled(records.failed(call, plan, failure, decision, _rang(), now, taken))
    match decision.outcome:
        case policy.Retry(plan=following):
            _relay(following)
        case policy.Reject(refusal=refusal):
            _refuse(refusal)
        case policy.PassOn() if failure.status == NOTHING_SENT:
            # There is no reply to pass on.
            _refuse(refusals.GATEWAYS_FAILED)


def _redirected(plan: Plan, now: float) -> policy.FailureDecision:
    user, source, call = handover.contact_user(_reply_header("Contact")), _pv("$si"), KSR.pv.get(CALL_ID)
    txn = _snapshot.begin()
    try:
        return policy.redirected(plan, user, source, call, _views.of(txn), _live, now)
    finally:
        txn.abort()


def _forwarded(
    plan: Plan, failure: Failure, decision: policy.FailureDecision, now: float
) -> policy.FailureDecision:  # fmt: skip
    txn = _snapshot.begin()
    try:
        return policy.forwarded(plan, failure, decision, _pv("$si"), _views.of(txn), _live, now)
    except NoPolicyError:
        return decision
    finally:
        txn.abort()


def _to_voicemail(
    plan: Plan, failure: Failure, reason: Reason, decision: policy.FailureDecision, now: float
) -> policy.FailureDecision:
    txn = _snapshot.begin()
    try:
        view = _views.of(txn)
        found = policy.to_voicemail(plan, failure, reason, decision, view, _live, now)
        if isinstance(found.outcome, policy.Retry):
            following, steps = _diverted(found.outcome.plan, _pv("$si"), view)
            found = structs.replace(found, outcome=policy.Retry(following), steps=(*found.steps, *steps))
        return found
    except NoPolicyError:
        return decision
    finally:
        txn.abort()


def _diverted(plan: Plan, source: str, view: View) -> tuple[Plan, tuple[policy.Step, ...]]:
    """A plan that goes to media, and what it tells of an earlier diversion, which only a trusted peer is asked for."""
    trunk = view.trunk(source)
    # What comes back from a script is for the number that the script chose.
    if trunk is None or not trunk.trust_identity or plan.media is None or plan.media.hops > 1:
        return plan, ()
    found = first_diversion(_pv("$(hdr(Diversion)[*])"), _pv("$(hdr(History-Info)[*])"))
    return handover.diverted(plan, found, trunk.dialling)


def _relay(plan: Plan) -> None:
    now = time.time()
    attempt = plan.attempt
    KSR.pv.sets(PLAN, plan.dumps())
    KSR.pv.seti(RING, int(plan.ring * 1000))
    number = plan.number
    KSR.pv.seti(ATTEMPT, number)
    if number > 1:
        KSR.pv.unset(RANG)
        KSR.pv.unset(PHONES)
        # Where a phone behind NAT was sent to.
        KSR.pv.unset("$du")
    KSR.pv.sets("$ru", attempt.uri)
    KSR.resetbflag(RINGING_FLAG)
    KSR.tm.t_on_failure(FAILURE_ROUTE)
    if plan.media is not None:
        KSR.pv.sets(HANDOVER, handover.lines(plan, KSR.pv.get(CALL_ID), _media_secret(), now))
        KSR.tm.t_on_branch(HANDOVER_ROUTE)
    trial = KSR.htable.sht_get(HEALTH, attempt.gateway) is not None and _begin(attempt, now)
    KSR.tm.t_on_reply(TRIAL_REPLY_ROUTE if trial else REPLY_ROUTE)
    if attempt.subscriber and not _to_phones(attempt.subscriber, number):
        _after(plan, Failure(status=NOTHING_SENT, local=True), trial=False)
        return
    # At least a millisecond: for tm, zero means its own default.
    KSR.tm.t_set_fr(max(1, int(plan.progress_at(now) * 1000)), max(1, int(plan.no_reply_at(now) * 1000)))
    KSR.tm.t_set_disable_internal_reply(1)
    if KSR.tm.t_relay() >= 0:
        return
    if KSR.tm.t_is_canceled() > 0:
        if trial and _end_trial():
            _change(attempt.gateway, health.freed)
        _end_cancelled()
    else:
        _after(plan, Failure(status=NOTHING_SENT, local=True), trial=trial and _end_trial())


def _to_phones(subscriber: str, number: int) -> bool:
    """Make the subscriber's phones the branches of the attempt; whether there is one."""
    KSR.pv.seti(PHONES, number)
    KSR.pv.unset(SAID)
    KSR.tm.t_on_reply(PHONE_REPLY_ROUTE)
    return _phones.lookup(subscriber)


def _begin(attempt: Attempt, now: float) -> bool:
    """Credit an attempt to a gateway that had failures; whether it is a trial of one whose breaker is half-open."""
    known = _change(attempt.gateway, health.begun)
    if attempt.breaker is None or not known.half_open(now):
        return False
    KSR.pv.seti(TRIAL, 1)
    return True


def _end_trial() -> bool:
    """Whether the attempt under way was a trial; it is none any more."""
    if KSR.pv.get(TRIAL) is None:
        return False
    KSR.pv.unset(TRIAL)
    return True


def _change(gateway: str, change: Callable[[Health], Health | None]) -> Health:
    """Change what all workers know of a gateway, and return it; the change may be None: nothing."""
    KSR.htable.sht_lock(HEALTH, gateway)
    try:
        before = Health.loads(KSR.htable.sht_get(HEALTH, gateway)) or health.UNKNOWN
        after = change(before)
        if after is None or after == before:
            return before
        if after == health.UNKNOWN:
            KSR.htable.sht_rm(HEALTH, gateway)
        else:
            KSR.htable.sht_setxs(HEALTH, gateway, after.dumps(), max(1, int(after.expires(time.time()))))
        return after
    finally:
        KSR.htable.sht_unlock(HEALTH, gateway)


def _tell(attempt: Attempt, known: Health, now: float, *, trial: bool) -> None:
    """Have the agent tell the other nodes, if what happened at Unix time ``now`` opened or closed a breaker."""
    if attempt.breaker is None:
        return
    shared = attempt.breaker.shared
    if health.opened(known, now):
        _spooled(records.tripped(attempt.gateway, known, now, shared=shared))
    elif trial and not known.tripped:
        _spooled(records.restored(attempt.gateway, now, shared=shared))


def _end_cancelled() -> None:
    """A CANCEL that another worker handled overtook this attempt, which therefore was sent nowhere."""
    _record_cancelled()
    if KSR.tmx.t_is_failure_route() > 0:
        KSR.tm.t_reply(487, "Request Terminated")
        return
    # Here, unlike in a failure route, this is what the caller was told: mostly 487 already.
    if (KSR.pv.get("$T_reply_code") or 0) < 200:
        KSR.tm.t_reply(487, "Request Terminated")
    KSR.tm.t_release()


def _refuse(refusal: Refusal) -> None:
    # RFC 3326: the Reason header may stand in any response; its text is the stable id.
    KSR.hdr.append_to_reply(f'Reason: Q.850;cause={refusal.cause};text="{refusal.id}"\r\n')
    if refusal.retry_after:
        KSR.hdr.append_to_reply(f"Retry-After: {refusal.retry_after}\r\n")
    KSR.sl.send_reply(refusal.status, refusal.phrase)


class _Live:
    def health(self, gateway: str) -> Health | None:
        text = KSR.htable.sht_get(HEALTH, gateway)
        return None if text is None else Health.loads(text)

    def claim(self, gateway: str, now: float, until: float) -> bool:
        # Looked at again under the lock: no two calls get the same trial.
        return _change(gateway, lambda known: health.claimed(known, now, until)).trial == until

    def told(self, gateway: str, trip: Trip, now: float) -> Health:
        return _change(gateway, lambda known: health.told(known, trip, now))

    def probe(self, uri: str) -> int:
        return int(KSR.htable.sht_get(PROBED, uri) or 0)

    def turn(self, route: str) -> int:
        return int(KSR.htable.sht_inc(TURNS, route)) - 1

    def draw(self) -> float:
        return _random.random()


_live = _Live()


class _Views:
    """The snapshot as the last call saw it: what is made of its policy serves until something changes."""

    def __init__(self) -> None:
        self._view: View | None = None
        self._id = -1

    def of(self, txn: Any) -> View:
        ident = txn.id()
        if self._view is None or ident != self._id:
            self._view, self._id = View(txn.get), ident
            return self._view
        return self._view.at(txn.get)


_views = _Views()


def _decide(facts: CallFacts, now: float) -> tuple[int, policy.Decision]:
    """The policy's version, and what it makes of a call."""
    txn = _snapshot.begin()
    try:
        view = _views.of(txn)
        decision = policy.decide(facts, view, _live, now)
        if isinstance(decision.outcome, policy.ToMedia):
            plan, steps = _diverted(decision.outcome.plan, facts.source, view)
            to_media = structs.replace(decision.outcome, plan=plan)
            decision = structs.replace(decision, outcome=to_media, steps=(*decision.steps, *steps))
        return view.version, decision
    finally:
        txn.abort()


def _decide_marked(facts: CallFacts, marks: Mapping[str, str], now: float) -> tuple[CallFacts, int, policy.Decision]:
    """The same for a call that brings ``marks`` of a hand-over, and what is to be believed of it."""
    txn = _snapshot.begin()
    try:
        view = _views.of(txn)
        facts, refusal, why = handover.returned(facts, marks, view.policy, _media_secret(), now)
        if refusal is not None:
            return facts, view.version, policy.Decision(policy.Reject(refusal), (("returned", facts.source, why),))
        return facts, view.version, policy.decide(facts, view, _live, now)
    finally:
        txn.abort()


def _invite() -> tuple[CallFacts, str, str]:
    """What an INVITE says, its From tag, and its Call-ID."""
    *nullable, from_tag, call_id = _values()
    source, asserted, callee, caller, caller_host, privacy, user_agent = (
        "" if value == NULL else value for value in nullable
    )
    facts = CallFacts(
        caller=caller,
        callee=callee,
        source=source,
        asserted=_user(asserted) if asserted else "",
        user_agent=user_agent,
        private=privacy != "" and _asks_for_privacy(privacy),
        caller_host=caller_host,
    )
    return facts, from_tag, call_id


def _values() -> list[str]:
    try:
        # One look into Kamailio instead of nine.
        values: list[str] = KSR.pv.get(INVITE).split("\n")
    except UnicodeDecodeError:
        values = []
    # There are more where a header was folded over several lines.
    return values if len(values) == len(INVITE_ONE_BY_ONE) else [_pv(name) for name in INVITE_ONE_BY_ONE]


def _asks_for_privacy(header: str) -> bool:
    # RFC 3323 section 4.2: values divided by semicolons; RFC 3325 section 9.3 adds id.
    values = {value.strip().lower() for value in header.split(";")}
    return not values.isdisjoint(("id", "user", "header"))


def _failure(plan: Plan) -> Failure:
    local = KSR.tm.t_branch_timeout() > 0
    reason = "" if local else _reply_header("Reason")
    phrase = "" if local or plan.voicemail is None else _pv("$T_rpl($rr)")
    q850, location = parse_reason(reason)
    if local and plan.attempt.subscriber and (said := KSR.pv.get(SAID)) is not None:
        return Failure(status=int(said), ringing=_rang() is not None)
    return Failure(
        status=int(KSR.pv.get("$T_reply_code")),
        local=local,
        q850=q850,
        location=location,
        ringing=KSR.isbflagset(RINGING_FLAG) > 0 or (plan.attempt.subscriber != "" and _rang() is not None),
        retry_after=0.0 if local else _seconds(_reply_header("Retry-After")),
        do_not_disturb=plan.voicemail is not None and says_do_not_disturb(f"{phrase} {reason}"),
        phrase=phrase,
    )


def _reply_header(name: str) -> str:
    values = (_pv(f"$T_rpl($hdr({name}))"), _pv(f"$T_rpl($(hdr({name})[1]))"))
    return ",".join(value for value in values if value)


def _user(uri: str) -> str:
    scheme, _, rest = uri.partition(":")
    return rest if scheme == "tel" else rest.rpartition("@")[0].partition(":")[0]


def _seconds(header: str) -> float:
    # RFC 3261 section 20.33: delta-seconds, then maybe a comment and parameters.
    digits = "".join(itertools.takewhile("0123456789".__contains__, header.strip()))
    return float(digits[:9] or 0)


def _pv(name: str) -> str:
    """A pseudo-variable as text; empty where it is null."""
    try:
        return KSR.pv.get(name) or ""
    except UnicodeDecodeError:
        # Bytes that are not UTF-8 fail in the binding. In hexadecimal they come through, and Latin-1 keeps each byte.
        inner = name[2:-1] if name.startswith("$(") else name[1:]
        # What is too long for that is null.
        return bytes.fromhex(KSR.pv.get(f"$({inner}{{s.encode.hexa}})") or "").decode("latin-1")


def _call_of_route() -> str:
    return route_token.call_of(_secret(), _pv("$route_uri"), _pv("$ci"))


_leasing = Leasing(
    KSR.htable, _rows, lambda: KSR.pv.get("$shtcn(ended=>**)"), _settings.node, _settings.redis_url, KSR.err
)  # fmt: skip
_phones = Phones(KSR, _pv, _settings.location)


@cache
def _secret() -> bytes:
    return _settings.secret_file.read_bytes()[: blake2s.MAX_KEY_SIZE]


@cache
def _media_secret() -> bytes:
    return _settings.media_secret_file.read_bytes()


def _new_id(now: float) -> str:
    return f"{int(now * 1000):x}-{os.getpid():x}-{next(_calls):x}"


def _spooled(record: dict[str, object]) -> None:
    try:
        _spool.append(record)
    except OSError as error:
        _lost(error)


def _lost(error: Exception) -> None:
    # A full disk loses records, not calls.
    KSR.err(f"call record lost: {error}\n")


def _record_cancelled() -> None:
    _spooled(records.cancelled(KSR.pv.get(CALL_ID), _rang(), time.time()))


def _rang() -> float | None:
    """Unix time at which the attempt under way rang; None where it has not."""
    rang = KSR.pv.get(RANG)
    return float(rang) if rang and rang != "null" else None
