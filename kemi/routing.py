"""Kamailio's side of routing, and the only file that imports KSR: facts in, a pure decision, actions out.

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
import msgspec
from msgspec import structs

from kemi import (
    credentials,
    handover,
    health,
    lamps,
    limits,
    policy,
    presenting,
    records,
    refusals,
    relay,
    route_token,
)
from kemi import hook as hooks
from kemi.anchoring import Anchoring
from kemi.asking import Asked, Asking, why_unasked
from kemi.health import Health
from kemi.leasing import Leasing
from kemi.log import Log
from kemi.phones import Demand, Phones
from kemi.plan import Attempt, Plan
from kemi.reading import RANG, RINGING_FLAG, SAID, Reading
from kemi.showing import Showing
from kemi.spool import shared_spool
from kemi.standing import Standing
from kemi.view import NoPolicyError, View
from model.call import CallFacts
from model.causes import Failure, Reason
from model.diversion import first_diversion
from model.handover import HEADERS
from model.numbers import as_dialled
from model.policy import Auth, Refusal
from model.secrets import SecretError, Secrets
from model.settings import Settings
from model.side import Side
from model.subscriber import Subscriber
from state.snapshot import NoSnapshotError, shared_reader

# What app_python3 takes for success and failure. Zero would end the cfg's route, None breaks the next message.
OK, FAILED = 1, -1

# Names shared with kamailio.cfg; what only one of the modules given KSR needs stands there.
PLAN, CALL_ID, RING = "$avp(plan)", "$avp(call)", "$avp(ring)"
CALL_OF_DIALOG = "$dlg_var(call)"
ATTEMPT, TRIAL = "$avp(attempt)", "$avp(trial)"
# Seconds; the cfg takes it where nothing is set. To look there costs less than a value that goes with the transaction.
USUAL_RING = 60.0
FAILURE_ROUTE, REPLY_ROUTE, TRIAL_REPLY_ROUTE = "GATEWAY_FAILED", "GATEWAY_REPLY", "TRIAL_REPLY"
PHONES, PHONE_REPLY_ROUTE = "$avp(phones)", "PHONE_REPLY"
ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY, MESSAGE, SUBSCRIBE"
HANDOVER, BRANCH_ROUTE = "$avp(handover)", "ATTEMPT"
CREDENTIALS, AUTH, AUTH_OF_DIALOG = "$avp(credentials)", "$avp(auth)", "$dlg_var(auth)"
CSEQ, CSEQ_OF_CALLER, CHALLENGES_OF_DIALOG = "$avp(cseq)", "$avp(cseq_own)", "$dlg_var(challenges)"
BRANCH_WITHIN_DIALOG, REPLY_WITHIN_DIALOG = "COUNTED_ON", "DIALOG_REPLY"
# Challenges of one reply that are looked at.
CHALLENGES = 4
ASKED, ANSWER, TIMED_OUT_ROUTE = "$avp(asked)", "$var(answer)", "HOOK_TIMED_OUT"
SOURCES, OF_TRUNK, OF_NOBODY = "sources", 1, 2
WAITING, DRAINED, HANGUP = "$dlg_var(asked)", "$shv(drained)", "hangup"

# tm's own status for a request that could not be sent.
NOTHING_SENT = 477
# The rank of the process that starts all others; it handles no messages, and so never reloads.
MAIN_PROCESS = 0

_settings = Settings.from_env()
_snapshot = shared_reader(_settings.snapshot)
_spool = shared_spool(_settings.spool)
_secrets = Secrets(_settings.secrets)
_asking = Asking(KSR.htable, _settings.hook_pipe)
_log = Log(KSR, _settings.node, as_json=_settings.log_format == "json", level=_settings.log_level)
# The kernel's: workers are forks of one process, and must not draw the same numbers as one another.
_random = random.SystemRandom()
# From anywhere: workers of containers that started together have the same process ids.
_calls = itertools.count(_random.getrandbits(32))
_reading = Reading(KSR, relayed=_settings.rtpengine != "")
_pv = _reading.pv
_showing = Showing(KSR, _reading, relayed=_settings.rtpengine != "")
_standing = Standing(KSR.htable, _random.random)
_phones = Phones(KSR, _pv, _settings.location)
_anchoring = Anchoring(KSR, _pv)

Decided = tuple[CallFacts, int, policy.Decision]
"What is known of a call, the version of the policy, and what that makes of it."
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
            _log.error(f"{callback.__name__} failed: error={type(error).__name__} at={where}", *_ids())
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
        marks = {name: value for name in HEADERS if (value := _pv(f"$hdr({name})"))}
        _begin_call(marks, drained=(KSR.pv.get(DRAINED) or 0) > time.time())

    @guarded
    def on_drained_call(self) -> None:
        """The same while this node takes no new calls: but for calls for help it is refused."""
        _begin_call({}, drained=True)

    @guarded
    def on_failure(self) -> None:
        """All branches of a call have failed: the next attempt, or the final reply."""
        plan = Plan.loads(KSR.pv.get(PLAN))
        failure, why = _reading.failure(plan), ""
        if plan.attempt.auth is not None and failure.status in (401, 407) and not failure.local:
            why = _challenged(plan, plan.attempt.auth, failure.status)
            if not why:
                return
        _after(plan, failure, trial=_end_trial(), why=why)

    @guarded
    def on_hook_answer(self) -> None:
        """A route hook has answered, or is known not to: the call goes on."""
        _go_on(hooks.heard(_pv(ANSWER)))

    @guarded
    def on_hook_timeout(self) -> None:
        """Nothing came of a question in time, not even that it failed."""
        _go_on(hooks.Heard("", "lost"))

    @guarded
    def on_trial_passed(self) -> None:
        """The gateway of a trial call has let something ring, or answered."""
        plan = Plan.loads(KSR.pv.get(PLAN))
        breaker = plan.attempt.breaker
        if _end_trial() and breaker is not None:
            known = _standing.change(plan.attempt.gateway, lambda known: health.passed(known, breaker, time.time()))
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
            _standing.change(Plan.loads(KSR.pv.get(PLAN)).attempt.gateway, health.freed)
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
    def on_branch(self) -> None:
        """An INVITE is on its way to somebody who has a rule of how they are told who calls."""
        _showing.invite(Plan.loads(KSR.pv.get(PLAN)))

    @guarded
    def on_shown(self) -> None:
        """A request within a dialog whose caller is shown as somebody else than they say."""
        _showing.request()

    @guarded
    def on_shown_reply(self) -> None:
        """A reply of that caller."""
        _showing.reply()

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
    def on_relayed(self) -> bool:
        """A request within a call whose sound goes through the media relay: what that is asked for now."""
        return _anchoring.within_dialog(_relay_away())

    @guarded
    def on_challenged(self) -> None:
        """A gateway that was told who calls asks again, for a request within the call: it is told once."""
        if not (known := _pv(AUTH)):
            return
        line, why = _credentials(
            msgspec.json.decode(known, type=Auth), KSR.pv.get("$T_reply_code"), _pv("$rm"), _pv("$ru")
        )
        if not line:
            _log.warning(f"a gateway asks who calls within the call: {why}", *_ids())
            return
        answered = int(_pv(CSEQ)) - int(_pv(CSEQ_OF_CALLER)) + 1
        KSR.pv.sets(CREDENTIALS, line)
        KSR.pv.sets(CSEQ, str(int(_pv(CSEQ)) + 1))
        KSR.pv.sets(CHALLENGES_OF_DIALOG, str(answered))
        # To the same place: in a failure route only what is set anew becomes a branch.
        KSR.pv.sets("$ru", _pv("$ru"))
        KSR.tm.t_on_branch(BRANCH_WITHIN_DIALOG)
        KSR.tm.t_on_reply(REPLY_WITHIN_DIALOG)
        KSR.tm.t_relay()

    @guarded
    def on_flood(self) -> None:
        """An address sends more than the guard lets pass: whether it is a trunk's."""
        KSR.htable.sht_seti(SOURCES, _pv("$si"), OF_TRUNK if _is_from_trunk() else OF_NOBODY)

    @guarded
    def on_register_answered(self) -> None:
        """A final reply to a REGISTER of the agent's."""
        with suppress(OSError):
            lamps.tell(_settings.agent_pipe, lamps.register_answered(_pv))

    @guarded
    def on_unknown_dialog(self) -> bool:
        """A request of a dialog that this node does not remember: whether it once let that call in."""
        return _call_of_route() != ""


class _InForce:
    """The snapshot, for one look at a time: ``with _in_force as view``. Raises NoSnapshotError and NoPolicyError.

    What was made of its policy serves the next look too, until something changes.
    """

    def __init__(self) -> None:
        self._txn: Any = None
        self._view: View | None = None
        # Here, so that a reload is refused where the reader, which stays, is of a release that does not have it.
        self._id, self._opened = -1, _snapshot.opened

    def __enter__(self) -> View:
        # One view for all: a second look within the first would turn what that sees.
        assert self._txn is None
        txn = _snapshot.begin()
        try:
            ident = txn.id()
            if self._view is None or ident != self._id or self._opened != _snapshot.opened:
                self._view, self._id, self._opened = View(txn.get), ident, _snapshot.opened
            view = self._view.at(txn.get)
        except BaseException:
            txn.abort()
            raise
        self._txn = txn
        return view

    def __exit__(self, *_: object) -> None:
        txn, self._txn = self._txn, None
        txn.abort()


_in_force = _InForce()


def _relay_away() -> str:
    """What becomes of calls that need the media relay while it is away."""
    try:
        with _in_force as view:
            return view.policy.relay_away
    except (NoSnapshotError, NoPolicyError):
        return "refuse"


def _is_from_trunk() -> bool:
    try:
        with _in_force as view:
            return view.trunk(_pv("$si")) is not None
    except (NoSnapshotError, NoPolicyError):
        return False


def _register(now: float) -> None:
    try:
        with _in_force as view:
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


def _owns_box(now: float) -> bool:
    """Whether a SUBSCRIBE is a subscriber's for the mailbox of their own number; if not, it has been answered."""
    try:
        with _in_force as view:
            if view.policy.subscribers is not None:
                subscriber = _proved(view, "Authorization", 401, now)
                if subscriber is None:
                    return False
                if subscriber.owns(_pv("$rU")):
                    return True
    except (NoSnapshotError, NoPolicyError):
        pass
    KSR.sl.send_reply(403, "Forbidden")
    return False


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


def _decide_proved(facts: CallFacts, now: float) -> Decided | None:
    """What is made of a call by a subscriber; None: it has been challenged, or refused for guessing."""
    with _in_force as view:
        if (name := _calls_for_help(facts, view, now)) or (
            (subscriber := _proved(view, "Proxy-Authorization", 407, now)) and (name := subscriber.name)
        ):
            facts = _reading.with_claims(replace(facts, subscriber=name))
            # The answer to our challenge is nobody else's business.
            KSR.hdr.remove("Proxy-Authorization")
            return facts, view.version, policy.decide(facts, view, _standing, now, ask=True)
    return None


def _calls_for_help(facts: CallFacts, view: View, now: float) -> str:
    """The subscriber of an emergency call that comes from where a phone of theirs has registered; else empty."""
    emergency, subscriber = view.policy.emergency, view.subscriber(facts.caller)
    if emergency is None or subscriber is None or not emergency.number(as_dialled(facts.callee)):
        return ""
    return subscriber.name if _phones.is_at(subscriber.name, facts.source, now) else ""


def _begin_call(marks: Mapping[str, str], *, drained: bool = False) -> None:
    now = time.time()
    call = _new_id(now)
    (facts, from_tag, call_id), version = _reading.invite(), 0
    try:
        returned = _decide_marked(facts, marks, now) if marks else None
        if returned is not None:
            facts, version, decision = returned
        elif drained and not _is_emergency(facts):
            decision = policy.Decision(policy.Reject(refusals.DRAINING), (("node", _settings.node, "drained"),))
        else:
            facts, version, decision = _decide(facts, now)
    except (NoSnapshotError, NoPolicyError):
        decision = policy.Decision(policy.Reject(refusals.NO_POLICY), ())
    if isinstance(decision.outcome, policy.Reject) and decision.outcome.refusal is refusals.UNAUTHENTICATED:
        proved = _decide_proved(facts, now)
        if proved is None:
            return
        facts, version, decision = proved
    if decision.ask is not None:
        _ask(decision.ask, Asked(call, call_id, from_tag, decision.ask.hook, facts), version, decision, now)
    else:
        _carry_out(call, call_id, from_tag, facts, version, decision, now, prepared=False)


def _is_emergency(facts: CallFacts) -> bool:
    try:
        with _in_force as view:
            emergency = view.policy.emergency
            return emergency is not None and bool(emergency.number(as_dialled(facts.callee)))
    except (NoSnapshotError, NoPolicyError):
        return False


def _ask(ask: policy.Ask, asked: Asked, version: int, decision: policy.Decision, now: float) -> None:
    """Suspend the call and have its route hook asked; where that cannot be, go on without an answer."""
    # As long as this is a request route: what is changed of a request in another, the next attempt would not have.
    _prepare(asked.call, asked.call_id, asked.facts, decision.side, unasserted=ask.unasserted)
    if not _asking.may_ask(ask.hook, now):
        _decide_anew(asked, hooks.Heard(ask.hook.name, "paused"), now)
        return
    try:
        question = _asking.question(ask, asked, now)
    except OSError as error:
        _decide_anew(asked, hooks.Heard(ask.hook.name, why_unasked(error)), now)
        return
    with question:
        patience = int((ask.hook.timeout + hooks.SECONDS_LATE) * 1000)
        KSR.pv.sets(ASKED, asked.dumps())
        KSR.tm.t_on_failure(TIMED_OUT_ROUTE)
        KSR.tm.t_set_fr(patience, patience)
        if KSR.tm.t_newtran() <= 0:
            # Sent again, and taken by another worker first.
            return
        _spooled(records.asked(asked, decision, version, now))
        KSR.pv.sets(WAITING, "1")
        # First this: the answer may come at any moment. From here on the call is another process's.
        KSR.tmx.t_suspend()
        question.send(int(KSR.pv.get("$T(id_index)")), int(KSR.pv.get("$T(id_label)")))


def _go_on(found: hooks.Heard) -> None:
    """A call that waited for its route hook."""
    asked = Asked.loads(KSR.pv.get(ASKED))
    KSR.pv.unset(WAITING)
    if KSR.htable.sht_get(HANGUP, asked.call) is not None:
        # An operator hung up meanwhile: there was no branch yet that could be cancelled.
        KSR.sl.send_reply(487, "Request Terminated")
        _record_cancelled()
        return
    _decide_anew(asked, found if found.hook else structs.replace(found, hook=asked.hook.name), time.time())


def _decide_anew(asked: Asked, found: hooks.Heard, now: float) -> None:
    _asking.settled(asked.hook, found, now)
    facts, version = replace(asked.facts, hook=found.dumps()), 0
    try:
        facts, version, decision = _decide(facts, now)
    except (NoSnapshotError, NoPolicyError):
        decision = policy.Decision(policy.Reject(refusals.NO_POLICY), ())
    _carry_out(asked.call, asked.call_id, asked.from_tag, facts, version, decision, now, prepared=True)


def _prepare(call: str, call_id: str, facts: CallFacts, side: Side, *, unasserted: bool) -> None:
    """What all attempts of a call have."""
    KSR.pv.sets(CALL_ID, call)
    KSR.rr.add_rr_param(route_token.parameter(_secret(), call, call_id))
    KSR.dialog.dlg_manage()
    # For the BYE: no peer can alter it, unlike the id in our Record-Route.
    KSR.pv.sets(CALL_OF_DIALOG, call)
    if unasserted:
        # RFC 3325 section 5: what a peer says that is not trusted never becomes what this node says.
        KSR.hdr.remove("P-Asserted-Identity")
    if side.nat != "no":
        _phones.show_way(side)
    if facts.media:
        _anchoring.begin(relay.Caller(facts.source, facts.media, side))


def _carry_out(
    call: str, call_id: str, from_tag: str, facts: CallFacts, version: int, decision: policy.Decision, now: float, *,
    prepared: bool,
) -> None:  # fmt: skip
    taken: tuple[str, ...] = ()
    if not isinstance(decision.outcome, policy.Reject) and limits.limited(decision.outcome.plan):
        decision, taken = _admitted(call, decision, decision.outcome, now)
    took = time.time() - now
    _spooled(records.decided(call, call_id, from_tag, facts, decision, version, now, taken, took))
    if isinstance(decision.outcome, policy.Reject):
        _refuse(decision.outcome.refusal)
    else:
        plan = decision.outcome.plan
        if not prepared:
            unasserted = plan.identity is not None and plan.identity.unasserted
            _prepare(call, call_id, facts, decision.side, unasserted=unasserted)
        _relay(plan)


def _admitted(
    call: str, decision: policy.Decision, outcome: policy.Relay | policy.ToMedia, now: float
) -> tuple[policy.Decision, tuple[str, ...]]:
    """What limits make of a decision, and names of those under which the call counts now."""
    plan = outcome.plan
    found = _leasing.admit(call, plan, range(len(plan.attempts)), now, fresh=True)
    if found.plan is plan and not found.steps:
        # As nearly always.
        return decision, found.grant.names
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
    found = _leasing.admit(call, following, policy.candidates(following, _standing, now), now)
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


def _challenged(plan: Plan, auth: Auth, status: int) -> str:
    """Tell a gateway that asks who calls, once; why not, or an empty text: the attempt is under way again."""
    if plan.answered == plan.number:
        return f"it does not believe that we are {auth.user}: user or secret {auth.secret} is wrong"
    line, why = _credentials(auth, status, "INVITE", plan.attempt.uri)
    if not line:
        _log.warning(f"gateway {plan.attempt.gateway} asks who calls: {why}", *_ids())
        return why
    KSR.pv.sets(CREDENTIALS, line)
    _relay(structs.replace(plan, answered=plan.number, challenges=plan.challenges + 1), again=True)
    return ""


def _credentials(auth: Auth, status: int, method: str, uri: str) -> tuple[str, str]:
    """What answers the challenges of the reply, as a header line, and an empty text; or why there is none."""
    header = credentials.header_of(status)
    challenges = [_pv(f"$T_rpl($(hdr({header})[{index}]))") for index in range(CHALLENGES)]
    try:
        line = credentials.answer(
            challenges, auth, _secrets.read(auth.secret), status=status, method=method, uri=uri,
            cnonce=f"{_random.getrandbits(64):x}",
        )  # fmt: skip
    except (credentials.CannotAnswer, SecretError) as error:
        return "", str(error)
    return line, ""


def _after(plan: Plan, failure: Failure, *, trial: bool, why: str = "") -> None:
    now, gateway = time.time(), plan.attempt.gateway
    if not plan.attempt.subscriber and not failure.relay:
        known = _standing.change(gateway, lambda known: policy.judged(known, plan, failure, now, trial=trial))
        if trial or known.wait:
            _tell(plan.attempt, known, now, trial=trial)
    if plan.media is not None and failure.status // 100 == 3:
        decision = _redirected(plan, now)
    else:
        decision = policy.next_attempt(plan, failure, _standing, now)
    if why:
        decision = structs.replace(decision, why=why, steps=(("auth", gateway, why), *decision.steps))
    call: str = KSR.pv.get(CALL_ID)
    decision, taken = _admitted_next(call, plan, failure, decision, now)
    if plan.forwarding is not None and not isinstance(decision.outcome, policy.Retry):
        decision = _forwarded(plan, failure, decision, now)
        decision, taken = _admitted_next(call, plan, failure, decision, now)
    if (reason := policy.voicemail_reason(plan, failure, decision)) is not None:
        decision = _to_voicemail(plan, failure, reason, decision, now)
        decision, taken = _admitted_next(call, plan, failure, decision, now)
    if failure.relay and not isinstance(decision.outcome, policy.Retry):
        decision = structs.replace(decision, outcome=policy.Reject(refusals.RELAY_DOWN))
    _spooled(records.failed(call, plan, failure, decision, _reading.rang(), now, taken))
    match decision.outcome:
        case policy.Retry(plan=following):
            _relay(following)
        case policy.Reject(refusal=refusal):
            _refuse(refusal)
        case policy.PassOn() if failure.status == NOTHING_SENT:
            # There is no reply to pass on.
            _refuse(refusals.GATEWAYS_FAILED)


def _redirected(plan: Plan, now: float) -> policy.FailureDecision:
    user, source, call = handover.contact_user(_reading.reply_header("Contact")), _pv("$si"), KSR.pv.get(CALL_ID)
    with _in_force as view:
        return policy.redirected(plan, user, source, call, view, _standing, now)


def _forwarded(
    plan: Plan, failure: Failure, decision: policy.FailureDecision, now: float
) -> policy.FailureDecision:  # fmt: skip
    try:
        with _in_force as view:
            return policy.forwarded(plan, failure, decision, _pv("$si"), view, _standing, now)
    except NoPolicyError:
        return decision


def _to_voicemail(
    plan: Plan, failure: Failure, reason: Reason, decision: policy.FailureDecision, now: float
) -> policy.FailureDecision:
    try:
        with _in_force as view:
            found = policy.to_voicemail(plan, failure, reason, decision, view, _standing, now)
            if isinstance(found.outcome, policy.Retry):
                following, steps = _diverted(found.outcome.plan, _pv("$si"), view)
                found = structs.replace(found, outcome=policy.Retry(following), steps=(*found.steps, *steps))
            return found
    except NoPolicyError:
        return decision


def _diverted(plan: Plan, source: str, view: View) -> tuple[Plan, tuple[policy.Step, ...]]:
    """A plan that goes to media, and what it tells of an earlier diversion, which only a trusted peer is asked for."""
    trunk = view.trunk(source)
    # What comes back from a script is for the number that the script chose.
    if trunk is None or not trunk.trust_identity or plan.media is None or plan.media.hops > 1:
        return plan, ()
    found = first_diversion(_pv("$(hdr(Diversion)[*])"), _pv("$(hdr(History-Info)[*])"))
    return handover.diverted(plan, found, trunk.dialling)


def _count_challenges(plan: Plan, number: int) -> None:
    """Have what is sent of this call counted on by the challenges that were answered (RFC 3261 section 22.2)."""
    if plan.challenges:
        own = _pv("$cs")
        KSR.pv.sets(CSEQ, str(int(own) + plan.challenges))
        KSR.pv.sets(CSEQ_OF_CALLER, own)
        KSR.pv.sets(CHALLENGES_OF_DIALOG, str(plan.challenges))
        KSR.pv.sets(AUTH_OF_DIALOG, msgspec.json.encode(plan.attempt.auth).decode() if plan.attempt.auth else "")
        if plan.answered != number:
            KSR.pv.sets(CREDENTIALS, "")
    elif number > 1 and KSR.pv.get(CSEQ) is not None:
        KSR.pv.unset(CSEQ)
        KSR.pv.unset(CHALLENGES_OF_DIALOG)
        KSR.pv.unset(AUTH_OF_DIALOG)


def _relay(plan: Plan, *, again: bool = False) -> None:
    """Begin the plan's attempt; ``again``: with an answer to its gateway's challenge."""
    now = time.time()
    attempt = plan.attempt
    KSR.pv.sets(PLAN, plan.dumps())
    number = plan.number
    if number > 1 or plan.ring != USUAL_RING:
        KSR.pv.seti(RING, int(plan.ring * 1000))
    if number > 1:
        KSR.pv.seti(ATTEMPT, number)
        KSR.resetbflag(RINGING_FLAG)
        KSR.pv.unset(RANG)
        if KSR.pv.get(PHONES) is not None:
            KSR.pv.unset(PHONES)
            _phones.forget()
    KSR.pv.sets("$ru", attempt.uri)
    KSR.tm.t_on_failure(FAILURE_ROUTE)
    _count_challenges(plan, number)
    if plan.identity is not None:
        _showing.begin(attempt, number)
    if plan.media is not None:
        lines = handover.lines(plan, KSR.pv.get(CALL_ID), _media_secret(), now)
        KSR.pv.sets(HANDOVER, lines + presenting.handed(plan))
    elif number > 1:
        KSR.pv.unset(HANDOVER)
    anchored = _settings.rtpengine != "" and _anchoring.attempt(plan, _relay_away)
    if anchored or plan.media is not None or attempt.subscriber or attempt.identity is not None or plan.challenges:
        KSR.tm.t_on_branch(BRANCH_ROUTE)
    trial = KSR.pv.get(TRIAL) is not None if again else _begin(attempt, now)
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
            _standing.change(attempt.gateway, health.freed)
        _end_cancelled()
    elif anchored and _anchoring.failed():
        _after(plan, Failure(status=NOTHING_SENT, local=True, relay=True), trial=trial and _end_trial())
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
    if not _standing.had_failures(attempt.gateway):
        return False
    known = _standing.change(attempt.gateway, health.begun)
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


def _decide(facts: CallFacts, now: float) -> Decided:
    """What is known of a call, the policy's version, and what it makes of it."""
    with _in_force as view:
        if view.asks and (trunk := view.trunk(facts.source)) is not None and trunk.name in view.asks:
            facts = _reading.with_remote(facts)
        decision = policy.decide(facts, view, _standing, now, ask=True)
        if isinstance(decision.outcome, policy.ToMedia):
            plan, steps = _diverted(decision.outcome.plan, facts.source, view)
            to_media = structs.replace(decision.outcome, plan=plan)
            decision = structs.replace(decision, outcome=to_media, steps=(*decision.steps, *steps))
        return facts, view.version, decision


def _decide_marked(facts: CallFacts, marks: Mapping[str, str], now: float) -> Decided | None:
    """The same for a call that brings ``marks`` of a hand-over; None: they are worth nothing."""
    with _in_force as view:
        facts, refusal, why = handover.returned(facts, marks, view, _media_secret(), now)
        if refusal is not None:
            return facts, view.version, policy.Decision(policy.Reject(refusal), (("returned", facts.source, why),))
        if not facts.hops:
            return None
        return facts, view.version, policy.decide(facts, view, _standing, now, ask=True)


def _call_of_route() -> str:
    return route_token.call_of(_secret(), _pv("$route_uri"), _pv("$ci"))


_leasing = Leasing(
    KSR.htable, _rows, lambda: KSR.pv.get("$shtcn(ended=>**)"), _settings.node, _settings.redis_url, KSR.err
)  # fmt: skip


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
        _lost(error, str(record.get("call", "")))


def _lost(error: Exception, call: str = "") -> None:
    # A full disk loses records, not calls.
    known, call_id = _ids()
    _log.error(f"call record lost: {error}", call or known, call_id)


def _ids() -> tuple[str, str]:
    """The call's id and Call-ID, as far as they are known."""
    return _pv(CALL_ID) or _pv(CALL_OF_DIALOG), _pv("$ci")


def _record_cancelled() -> None:
    _spooled(records.cancelled(KSR.pv.get(CALL_ID), _reading.rang(), time.time()))
