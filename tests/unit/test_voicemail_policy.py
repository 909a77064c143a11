"""Calls that go to voicemail when nobody took them: the file, the decision, the plan, and what explains them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import policyfile
from agent.assembly import Assembly, parse
from kemi import dryrun, handover, policy, records
from kemi.explain import Snapshot, explain
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Cause, Failure, Reason, reason_of, says_do_not_disturb
from model.diversion import UNCONDITIONAL, Diversion
from model.handover import HOPS_MAX
from model.numbers import Dialling
from model.policy import Drain, Refusal, Route, Voicemail
from model.record import CallRecord
from policyfile.diff import FieldChange, diff
from state import codec, layout

NOW = 1_800_000_000.0
OFFICE, FS = "192.0.2.9", "203.0.113.1"
POLICY = """\
strowger: 1
dialling_plans: {gb: {country_code: "44"}}
default_dialling: gb
trunks:
  office: {sources: [192.0.2.0/24], dialling: gb, trust_identity: true}
gateways:
  a: {address: 198.51.100.1}
  b: {address: 198.51.100.2}
emergency: {numbers: ["112"], gateways: [a]}
media:
  fs-1: {address: 203.0.113.1}
  fs-2: {address: 203.0.113.2, weight: 0}
routes:
  - {name: staff, prefixes: ["1"], gateways: [a, b], ring: 20s, voicemail: {args: "k=v"}}
  - {name: sales, prefixes: ["2"], gateways: [a], voicemail: {app: sales, when: [rejected, unallocated]}}
  - {name: rest, prefixes: [default], gateways: [a]}
  - {name: mailbox, prefixes: ["5"], media: mailbox}
"""


def loaded(text: str = POLICY) -> policyfile.LoadedPolicy:
    return policyfile.load(text, name="p.yaml")


def view(text: str = POLICY, *drained: str) -> View:
    whole = loaded(text)
    snapshot = layout.build(whole.policy, whole.routes, (), version=7)
    index = layout.Index.decode(snapshot[layout.INDEX])
    index.drains = {name: codec.encode_drain(Drain(name, "new release", author="anna")) for name in drained}
    return View({**snapshot, layout.INDEX: index.encode()}.get)


def call(callee: str = "1001", **facts: object) -> CallFacts:
    return CallFacts(**{"caller": "01632960001", "callee": callee, "source": OFFICE, **facts})  # type: ignore[arg-type]


def planned(callee: str = "1001", seen: View | None = None, **facts: object) -> Plan:
    """The plan of a call, as it comes back from a transaction."""
    outcome = policy.decide(call(callee, **facts), seen or view(), Snapshot(), NOW).outcome
    assert not isinstance(outcome, policy.Reject)
    return Plan.loads(outcome.plan.dumps())


def after(plan: Plan, failure: Failure, seen: View | None = None) -> policy.FailureDecision:
    """What follows a failure, as the routing code asks for it."""
    decision = policy.next_attempt(plan, failure, Snapshot(), NOW)
    reason = policy.voicemail_reason(plan, failure, decision)
    if reason is None:
        return decision
    return policy.to_voicemail(plan, failure, reason, decision, seen or view(), Snapshot(), NOW)


def at_voicemail(decision: policy.FailureDecision) -> Plan:
    assert isinstance(decision.outcome, policy.Retry), decision
    return Plan.loads(decision.outcome.plan.dumps())


def refusal(outcome: object) -> Refusal:
    assert isinstance(outcome, policy.Reject), outcome
    return outcome.refusal


NO_ANSWER = Failure(408, local=True, ringing=True)
BUSY = Failure(486, phrase="Gone Fishing")

# The reasons


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (NO_ANSWER, Reason.NO_ANSWER),
        (Failure(408, ringing=True), Reason.NO_ANSWER),
        (Failure(480, ringing=True), Reason.NO_ANSWER),
        (Failure(480, q850=19), Reason.NO_ANSWER),
        (Failure(500, q850=19), Reason.NO_ANSWER),
        (Failure(480, q850=18, ringing=True), Reason.NO_ANSWER),
        *((Failure(status), Reason.BUSY) for status in (486, 600)),
        (Failure(486, q850=21, ringing=True), Reason.BUSY),
        *((Failure(status, q850=17), Reason.BUSY) for status in (403, 480, 503, 603)),
        (Failure(408, local=True), Reason.UNREACHABLE),
        (Failure(477, local=True), Reason.UNREACHABLE),
        *((Failure(status), Reason.UNREACHABLE) for status in (408, 480, 500, 502, 503, 504)),
        (Failure(503, ringing=True), Reason.UNREACHABLE),
        (Failure(480, q850=34), Reason.UNREACHABLE),
        (Failure(480, q850=18), Reason.UNREACHABLE),
        *((Failure(404, q850=20, ringing=ringing), Reason.UNREACHABLE) for ringing in (False, True)),
        (Failure(603), Reason.DO_NOT_DISTURB),
        (Failure(480, q850=21, location="U"), Reason.DO_NOT_DISTURB),
        *((Failure(status, do_not_disturb=True), Reason.DO_NOT_DISTURB) for status in (480, 486, 600, 603)),
        (Failure(603, ringing=True), Reason.REJECTED),
        (Failure(480, q850=21, ringing=True), Reason.REJECTED),
        (Failure(603, q850=21, location="RPN", ringing=True), Reason.REJECTED),
        *((Failure(status), Reason.UNALLOCATED) for status in (404, 410, 484, 485, 604)),
        *((Failure(480, q850=cause), Reason.UNALLOCATED) for cause in (1, 2, 3, 22, 28)),
        (Failure(410, q850=17), Reason.UNALLOCATED),
        # Nothing of the called user, or the word of somebody else.
        (Failure(603, q850=21, location="LN"), None),
        (Failure(480, q850=21, location="TN"), None),
        *((Failure(status), None) for status in (302, 400, 401, 403, 407, 428, 482, 487, 488, 606, 607, 608)),
        (Failure(503, q850=57, do_not_disturb=True), None),
    ],
    ids=str,
)  # fmt: skip
def test_the_reason_of_a_failure(failure: Failure, reason: Reason | None) -> None:
    assert reason_of(failure) is reason


@given(st.integers(300, 699), st.none() | st.integers(0, 999), st.text(max_size=3), st.booleans(), st.booleans())
def test_no_failure_has_no_verdict(status: int, q850: int | None, location: str, ringing: bool, words: bool) -> None:
    failure = Failure(status, q850=q850, location=location, ringing=ringing, do_not_disturb=words)
    assert reason_of(failure) in (None, *Reason)
    assert status != 487 or reason_of(failure) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Do Not Disturb", True), ('SIP;cause=480;text="DND active"', True), ("do_not_disturb", True),
        ("donotdisturb", True), ("Busy Here", False), ("Dndx", False), ("", False), ("x" * 1000 + "DND", False),
    ],
)  # fmt: skip
def test_words_for_do_not_disturb(text: str, said: bool) -> None:
    assert says_do_not_disturb(text) is said


# The file


def test_what_a_route_says_and_what_it_may_leave_out() -> None:
    staff, sales, rest, _ = loaded().routes
    assert staff.voicemail == Voicemail("voicemail", "k=v", ("no-answer", "busy", "unreachable", "do-not-disturb"))
    assert (sales.voicemail, rest.voicemail) == (Voicemail("sales", when=("rejected", "unallocated")), None)
    for short in ("voicemail: {}", "voicemail: voicemail"):
        found = loaded(POLICY.replace('voicemail: {args: "k=v"}', short)).routes[0].voicemail
        assert found == Voicemail()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('{args: "k=v"}', "{when: [bussy]}",
         "p.yaml:14: routes[0].voicemail.when[0]: 'bussy' is none of no-answer, busy, unreachable, do-not-disturb, "
         "rejected, unallocated (did you mean 'busy'?)"),
        ('{args: "k=v"}', "{when: []}", "14: routes[0].voicemail.when: should not be empty"),
        ('{args: "k=v"}', "{when: busy}", "14: routes[0].voicemail.when: should be a list"),
        ('{args: "k=v"}', "{app: Voice Mail}", "14: routes[0].voicemail.app: 'Voice Mail' is not a name"),
        ('{args: "k=v"}', '{args: " x"}', "14: routes[0].voicemail.args: ' x' is not 1 to 256 printable"),
        ('{args: "k=v"}', "{wen: [busy]}", "14: routes[0].voicemail: unknown key 'wen' (did you mean 'when'?)"),
        ("media: mailbox", "media: mailbox, voicemail: {}", "17: routes[3]: a route with 'media' is at its script"),
        ("media: mailbox", "reject: {id: x, status: 403, phrase: X}, voicemail: {}",
         "17: routes[3]: a route with 'reject' calls nobody, so 'voicemail' means nothing in it"),
        ("emergency: {", "emergency: {voicemail: {}, ", "9: emergency: unknown key 'voicemail'"),
    ],
)  # fmt: skip
def test_mistakes_are_told(old: str, new: str, said: str) -> None:
    assert old in POLICY
    with pytest.raises(policyfile.PolicyFileError) as caught:
        loaded(POLICY.replace(old, new))
    assert said in str(caught.value)


def test_voicemail_needs_a_media_node() -> None:
    nodes = POLICY[POLICY.index("media:\n") : POLICY.index("routes:")]
    with pytest.raises(policyfile.PolicyFileError) as caught:
        loaded(POLICY.replace(nodes, ""))
    assert "p.yaml:11: routes[0].voicemail: there is no media node: name one in 'media'" in str(caught.value)


def test_what_is_stored_comes_back_and_takes_no_room_where_there_is_none() -> None:
    whole = loaded()
    assert [codec.decode_route(codec.encode_route(route)) for route in whole.routes] == list(whole.routes)
    assert codec.decode_document(codec.encode_document(whole.policy, whole.routes)) == (whole.policy, whole.routes)
    assert "voicemail" not in codec.encode_route(whole.routes[2])
    assert "weight" not in json.loads(codec.encode_policy(whole.policy))["gateways"]["a"]
    assert "voicemail" not in codec.encode_route(Route("x", ("",)))


def test_a_difference_is_one_of_reasons_and_not_of_their_order() -> None:
    before = loaded()
    same = loaded(POLICY.replace("[rejected, unallocated]", "[unallocated, rejected]"))
    assert diff((before.policy, before.routes), (same.policy, same.routes)) == ()
    other = loaded(POLICY.replace("[rejected, unallocated]", "[rejected]"))
    (change,) = diff((before.policy, before.routes), (other.policy, other.routes))
    assert change.fields == (FieldChange("voicemail.when", ["rejected", "unallocated"], ["rejected"]),)


# After the attempts failed


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (NO_ANSWER, "no-answer"),
        (BUSY, "busy"),
        (Failure(480), "unreachable"),
        (Failure(603), "do-not-disturb"),
    ],
)
def test_a_call_that_nobody_took(failure: Failure, reason: str) -> None:
    decision = after(planned(), failure)
    plan = at_voicemail(decision)
    assert decision.why == f"{reason}: to app voicemail"
    assert decision.steps[0] == ("voicemail", reason, "to app voicemail")
    assert [attempt.uri for attempt in plan.attempts] == ["sip:1001@203.0.113.1:5060", "sip:1001@203.0.113.2:5060"]
    assert plan.media is not None
    told = plan.media
    assert (told.app, told.args, told.caller, told.callee) == ("voicemail", "k=v", "+441632960001", "1001")
    assert (told.hops, told.reason, told.diverted) == (1, reason, "")
    assert (plan.number, plan.route, plan.deadline, plan.voicemail) == (2, "staff", NOW + 20, None)


@pytest.mark.parametrize(
    "failure", [Failure(404), Failure(603, ringing=True), Failure(403), Failure(488), Failure(487)]
)
def test_what_is_not_asked_for_ends_as_ever(failure: Failure) -> None:
    first = planned()
    last = structs.replace(first, current=len(first.attempts) - 1)
    assert after(last, failure) == policy.next_attempt(last, failure, Snapshot(), NOW)


def test_what_is_asked_for_goes() -> None:
    for failure, reason in ((Failure(404), "unallocated"), (Failure(603, ringing=True), "rejected")):
        told = at_voicemail(after(planned("2001"), failure)).media
        assert told is not None
        assert (told.app, told.reason) == ("sales", reason)
    assert isinstance(after(planned("2001"), BUSY).outcome, policy.PassOn)
    assert isinstance(after(planned("0201"), BUSY).outcome, policy.PassOn)


def test_other_gateways_come_first() -> None:
    second = at_voicemail(after(planned(), Failure(503)))
    assert (second.attempt.gateway, second.media) == ("b", None)
    third = at_voicemail(after(second, Failure(503)))
    assert (third.attempt.gateway, third.number) == ("fs-1", 3)
    assert third.media is not None
    assert third.media.reason == "unreachable"


def test_when_the_time_is_used_up_it_goes_too() -> None:
    plan = structs.replace(planned(), deadline=NOW)
    assert at_voicemail(after(plan, Failure(408, local=True))).deadline == NOW + 20


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (BUSY, Refusal("busy", 486, "Gone Fishing", 17)),
        (replace(BUSY, phrase="Besetzt\u00e9"), Refusal("busy", 486, "Busy Here", 17)),
        (Failure(600, retry_after=60.0), Refusal("busy", 600, "Busy Here", 17, retry_after=60)),
        (NO_ANSWER, Refusal("no-answer", 408, "No Answer", 102)),
        (Failure(480, q850=20), Refusal("unreachable", 480, "Temporarily Unavailable", 20)),
        (Failure(603), Refusal("do-not-disturb", 603, "Do Not Disturb", 21)),
    ],
)
@pytest.mark.parametrize("then", [Failure(500), Failure(404), Failure(486), Failure(487), Failure(603)])
def test_voicemail_that_fails_leaves_what_the_caller_would_have_been_told(
    failure: Failure, told: Refusal, then: Failure
) -> None:
    plan = at_voicemail(after(planned(), failure))
    assert refusal(after(plan, then).outcome) == told


def test_another_node_is_tried_before_that() -> None:
    plan = at_voicemail(after(planned(), BUSY))
    second = at_voicemail(after(plan, Failure(503)))
    assert (second.attempt.gateway, second.media) == ("fs-2", plan.media)
    assert refusal(after(second, Failure(408, local=True)).outcome).id == "busy"


def test_gateways_that_all_failed_are_told_where_voicemail_fails() -> None:
    last = at_voicemail(after(planned(), Failure(503)))
    plan = at_voicemail(after(last, Failure(477, local=True)))
    assert refusal(after(plan, Failure(500)).outcome).id == "gateways-failed"


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (view(POLICY, "fs-1", "fs-2"), "there is no media node to call"),
        (view(POLICY.replace("203.0.113.1}", "203.0.113.1, enabled: false}").replace("weight: 0", "enabled: false")),
         "there is no media node to call"),
    ],
)  # fmt: skip
def test_where_no_node_is_there_the_reply_passes(seen: View, step: str) -> None:
    found = after(planned(), BUSY, seen)
    assert isinstance(found.outcome, policy.PassOn)
    assert found.steps[-1] == ("to media", "voicemail", step)


def test_nodes_are_those_of_the_policy_in_force_by_then() -> None:
    moved = POLICY.replace("203.0.113.1}", "203.0.113.99}")
    assert at_voicemail(after(planned(), BUSY, view(moved))).attempt.uri == "sip:1001@203.0.113.99:5060"
    nodes = POLICY[POLICY.index("media:\n") : POLICY.index("routes:")]
    gone = POLICY[: POLICY.index("media:\n")] + "routes:\n  - {name: rest, prefixes: [default], gateways: [a]}\n"
    assert nodes not in gone
    assert isinstance(after(planned(), BUSY, view(gone)).outcome, policy.PassOn)


@pytest.mark.parametrize(("used", "attempts"), [(policy.BRANCHES - 2, 1), (policy.BRANCHES - 1, 0)])
def test_no_call_has_more_branches_than_a_transaction_may_have(used: int, attempts: int) -> None:
    found = after(structs.replace(planned(), used=used), BUSY)
    if attempts:
        assert len(at_voicemail(found).attempts) == attempts
    else:
        assert isinstance(found.outcome, policy.PassOn)


def test_an_emergency_call_never_goes() -> None:
    plan = planned("112")
    assert (plan.emergency, plan.voicemail) == (True, None)


def test_hops_are_counted_up_to_the_limit() -> None:
    for hops in range(1, HOPS_MAX):
        plan = planned(source=FS, hops=hops, origin="x", caller="+441632960001")
        told = at_voicemail(after(plan, BUSY)).media
        assert told is not None
        assert told.hops == hops + 1
    full = planned(source=FS, hops=HOPS_MAX, origin="x", caller="+441632960001")
    assert isinstance(after(full, BUSY).outcome, policy.PassOn)


def test_a_script_may_send_the_call_on_from_there() -> None:
    plan = at_voicemail(after(planned(), BUSY))
    for user, expected in (("1002", ""), ("", "busy")):
        outcome = policy.redirected(plan, user, OFFICE, "9f-1-0", view(), Snapshot(), NOW).outcome
        if expected:
            assert refusal(outcome).id == expected
        else:
            assert isinstance(outcome, policy.Retry)
            assert (outcome.plan.attempt.gateway, outcome.plan.original) == ("a", None)


def test_a_transaction_lives_as_long_as_the_longest_call_rings() -> None:
    longest = POLICY.replace("ring: 20s", "post_dial_delay: 3m, ring: 5m")
    plan = planned(seen=view(longest))
    cfg = (Path(__file__).parents[2] / "kamailio" / "kamailio.cfg").read_text()
    lifetime = re.search(r'"tm", "max_inv_lifetime", (\d+)\)', cfg)
    assert lifetime is not None
    assert int(lifetime[1]) >= 1000 * (HOPS_MAX + 1) * (plan.deadline - NOW + plan.ring)


def test_a_plan_of_the_version_before_is_read() -> None:
    plan = planned()
    before = json.dumps(json.loads(plan.dumps())[: Plan.__struct_fields__.index("voicemail")])
    assert (Plan.loads(before).voicemail, Plan.loads(before).original) == (None, None)


# Where no gateway may be called at all


def test_gateways_that_are_down_lead_there_at_once() -> None:
    decision = policy.decide(call(), view(POLICY, "a", "b"), Snapshot(), NOW)
    assert isinstance(decision.outcome, policy.ToMedia)
    plan = decision.outcome.plan
    assert plan.media is not None
    assert (plan.media.reason, plan.attempt.gateway, plan.number) == ("unreachable", "fs-1", 1)
    assert ("voicemail", "unreachable", "to app voicemail") in decision.steps
    assert refusal(policy.next_attempt(plan, Failure(500), Snapshot(), NOW).outcome).id == "gateways-down"


def test_gateways_that_are_down_are_told_where_voicemail_is_too_or_is_not_for_them() -> None:
    for callee, drained in (("1001", ("a", "b", "fs-1", "fs-2")), ("2001", ("a",))):
        decision = policy.decide(call(callee), view(POLICY, *drained), Snapshot(), NOW)
        assert refusal(decision.outcome).id == "gateways-down"


# An earlier diversion

GB = Dialling(country_code="44")
DIVERTED = Diversion(number="020 7946 0001", reason="no-answer")


def test_a_diversion_is_told_by_the_plan_of_the_peer() -> None:
    plan, steps = handover.diverted(planned("5000"), DIVERTED, GB)
    assert plan.media is not None
    assert (plan.media.diverted, plan.media.reason) == ("+442079460001", "no-answer")
    assert steps == (("diverted", "020 7946 0001", "+442079460001: no-answer"),)


def test_how_the_call_ended_here_is_the_reason() -> None:
    plan, _ = handover.diverted(at_voicemail(after(planned(), BUSY)), DIVERTED, GB)
    assert plan.media is not None
    assert (plan.media.diverted, plan.media.reason) == ("+442079460001", "busy")


@pytest.mark.parametrize("number", ["", "+", "9" * 65])
def test_what_is_no_number_is_not_told(number: str) -> None:
    plan, _ = handover.diverted(planned("5000"), Diversion(number=number, reason=UNCONDITIONAL), GB)
    assert plan.media is not None
    assert (plan.media.diverted, plan.media.reason) == ("", UNCONDITIONAL)


def test_no_diversion_changes_nothing() -> None:
    plan = planned("5000")
    assert handover.diverted(plan, None, GB) == (plan, ())


def test_the_lines_of_an_attempt_tell_both() -> None:
    plan, _ = handover.diverted(at_voicemail(after(planned(), BUSY)), DIVERTED, GB)
    lines = handover.lines(plan, "9f-1-0", bytes(32), NOW).split("\r\n")
    assert "X-Strowger-Diverted: +442079460001" in lines
    assert "X-Strowger-Reason: busy" in lines


# What tells of it


def test_an_explanation_walks_there() -> None:
    found = explain(call(), view(), Snapshot(), NOW, {"a": NO_ANSWER})
    assert [attempt.gateway for attempt in found.attempts] == ["a", "fs-1"]
    assert (found.app, found.reason, found.gateway, found.status) == ("voicemail", "no-answer", "fs-1", 200)
    assert (found.attempts[0].why, found.attempts[0].following) == ("no-answer: to app voicemail", "fs-1")
    assert ("voicemail", "no-answer", "to app voicemail") in found.steps
    consequences = found.attempts[0].consequences
    assert consequences["no-answer"] == consequences["final"] == "app voicemail"
    assert (consequences["ambiguous"], consequences["no-reply"]) == ("reply passed on", "b")
    down = explain(call(), view(), Snapshot(), NOW, {"a": BUSY, "fs-1": Failure(503), "fs-2": Failure(500)})
    assert (down.outcome, down.refusal, down.status) == ("refused", "busy", 486)


def test_a_dry_run_sees_that_voicemail_changes() -> None:
    past = dryrun.PastCall("c", NOW, call("2001"))
    before = dryrun.outcome(past, view())
    assert str(before) == "a, else app sales"
    report = dryrun.Report()
    dryrun._count(report, past, before, dryrun.outcome(past, view(POLICY.replace("[rejected, un", "[busy, un"))))
    dryrun._count(report, past, before, dryrun.outcome(past, view(POLICY.replace("{app: sales, ", "{app: other, "))))
    dryrun._count(report, past, before, dryrun.outcome(past, view(POLICY, "a")))
    assert [(group.old, group.new) for group in report.groups.values()] == [
        ("a, else app sales", "a, else app sales, but voicemail otherwise"),
        ("a, else app sales", "a, else app other"),
        ("a, else app sales", "refused 503 gateways-down"),
    ]


def test_a_record_tells_of_it() -> None:
    decision = policy.decide(call(), view(), Snapshot(), NOW)
    assert isinstance(decision.outcome, policy.Relay)
    found = after(decision.outcome.plan, replace(BUSY, do_not_disturb=True))
    events = (
        records.decided("c", "x@y", "t", call(), decision, 7, NOW),
        records.failed("c", decision.outcome.plan, replace(BUSY, do_not_disturb=True), found, None, NOW + 1),
        records.failed("c", at_voicemail(found), Failure(500), after(at_voicemail(found), Failure(500)), None, NOW + 2),
    )
    assert events[1]["do_not_disturb"] is True
    assembly = Assembly("edge-1")
    assembly.feed(event for line in map(msgspec.json.encode, events) if (event := parse(line)))
    (record,) = assembly.finished
    assert CallRecord.decode(record.encode()) == record
    assert (record.app, record.reason, record.refusal, record.status) == (
        "voicemail", "do-not-disturb", "do-not-disturb", 486,
    )  # fmt: skip
    assert [(attempt.gateway, attempt.cause) for attempt in record.attempts] == [
        ("a", Cause.FINAL), ("fs-1", Cause.SERVER_FAULT),
    ]  # fmt: skip
    assert record.attempts[0].why == "do-not-disturb: to app voicemail"
    assert ("voicemail", "do-not-disturb", "to app voicemail") in record.steps


def test_the_pages_tell_of_it() -> None:
    docs = Path(__file__).parents[2] / "docs"
    assert "| `reason` |" in (docs / "records.md").read_text()
    page = (docs / "policy.md").read_text()
    assert all(f"| `{reason}` |" in page for reason in Reason)
