"""Calls on their way to media and back: the file, the decision, the plan, and what explains them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import policyfile
from agent.assembly import Assembly, parse
from console import cdr_output
from kemi import dryrun, handover, policy, records
from kemi.explain import Snapshot, explain
from kemi.plan import Plan
from kemi.view import View
from model import record_csv
from model.call import CallFacts
from model.causes import Cause, Failure
from model.entries import Entry, Kind
from model.handover import HOPS_MAX, VALID, Handover
from model.policy import MEDIA_RETRY, Drain, Gateway, MediaApp, Refusal, Strategy
from model.record import CallRecord
from policyfile.diff import diff
from state import codec, layout

NOW = 1_800_000_000.0
KEY = bytes(range(32))
OFFICE, FS = "192.0.2.9", "203.0.113.1"
POLICY = """\
strowger: 1
dialling_plans: {gb: {country_code: "44"}}
default_dialling: gb
trunks:
  office: {sources: [192.0.2.0/24], dialling: gb, trust_identity: true}
gateways:
  a: {address: 198.51.100.1}
emergency: {numbers: ["112"], gateways: [a]}
media:
  fs-1: {address: 203.0.113.1}
  fs-2: {address: "[2001:db8::2]:5080", weight: 3, transport: tcp}
routes:
  - {name: welcome, prefixes: ["5"], media: welcome}
  - {name: queue, prefixes: ["6"], media: {app: queue, args: "n=1 &x"}, strategy: alternate, retry: {also: [404]}}
  - {name: staff, prefixes: ["7"], trunks: [office], gateways: [a]}
  - {name: rest, prefixes: [default], gateways: [a]}
"""


def loaded(text: str = POLICY) -> policyfile.LoadedPolicy:
    return policyfile.load(text, name="p.yaml")


def view(text: str = POLICY, *entries: Entry, drained: tuple[str, ...] = ()) -> View:
    whole = loaded(text)
    snapshot = layout.build(whole.policy, whole.routes, entries, version=7)
    index = layout.Index.decode(snapshot[layout.INDEX])
    index.drains = {name: codec.encode_drain(Drain(name, "new release", author="anna")) for name in drained}
    return View({**snapshot, layout.INDEX: index.encode()}.get)


def call(callee: str, source: str = OFFICE, **facts: object) -> CallFacts:
    return CallFacts(**{"caller": "01632960001", "callee": callee, "source": source, **facts})  # type: ignore[arg-type]


def back(callee: str, hops: int = 1) -> CallFacts:
    """A call that a media node proved to have had."""
    return call(callee, FS, caller="+441632960001", hops=hops, origin="1a-2b-3c")


def decide(facts: CallFacts, seen: View | None = None) -> policy.Decision:
    return policy.decide(facts, seen or view(), Snapshot(), NOW)


def to_media(decision: policy.Decision) -> policy.ToMedia:
    assert isinstance(decision.outcome, policy.ToMedia), decision
    return decision.outcome


def refusal(outcome: object) -> Refusal:
    assert isinstance(outcome, policy.Reject), outcome
    return outcome.refusal


# The file


def test_a_media_node_is_a_gateway_that_is_probed() -> None:
    whole = loaded()
    assert whole.policy.gateways["fs-2"] == Gateway(
        "fs-2", "[2001:db8::2]", 5080, transport="tcp", probe=True, media=True, weight=3
    )
    assert [gateway.media for gateway in whole.policy.gateways.values()] == [False, True, True]


def test_a_route_to_an_app_has_all_nodes_with_their_weights() -> None:
    welcome, queue, _, rest = loaded().routes
    assert (welcome.media, welcome.gateways, welcome.weights) == (MediaApp("welcome"), ("fs-1", "fs-2"), (1, 3))
    assert (welcome.strategy, welcome.retry) == (Strategy.WEIGHTED, MEDIA_RETRY)
    assert (queue.media, queue.strategy, queue.weights) == (MediaApp("queue", "n=1 &x"), Strategy.ALTERNATE, ())
    assert queue.retry.also == ("404",)
    assert (rest.media, rest.gateways) == (None, ("a",))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("media: welcome", "media: Wel come", "13: routes[0].media.app: 'Wel come' is not a name"),
        ("media: welcome", "media: {args: x}", "13: routes[0].media.app: is missing"),
        ("media: welcome", "media: [welcome]", "13: routes[0].media: should be a mapping"),
        ("media: welcome", "media: {app: x, arg: y}", "13: routes[0].media: unknown key 'arg' (did you mean 'args'?)"),
        ("n=1 &x", "a\\nb", "14: routes[1].media.args: 'a\\nb' is not 1 to 256 printable ASCII characters"),
        (
            "media: welcome", "media: welcome, gateways: [a]",
            "13: routes[0]: needs one of 'gateways', 'media', 'subscribers' and ",
        ),
        (
            "media: welcome", "media: welcome, weights: {fs-1: 1}",
            "13: routes[0]: the weights of media nodes stand with the nodes, so 'weights' means nothing in a route",
        ),
        ("fs-1: {", "a: {", "10: media.a: the name 'a' is taken by a gateway (line 7)"),
        ("gateways: [a]}\nmedia", "gateways: [fs-1]}\nmedia", "8: emergency.gateways[0]: 'fs-1' is a media node, "),
        ("default], gateways: [a]", "default], gateways: [fs-2]", "16: routes[3].gateways[0]: 'fs-2' is a media node"),
        ("address: 203.0.113.1}", "address: fs_example}", "10: media.fs-1.address: 'fs_example' does not begin with"),
        ("n=1 &x", " n=1", "14: routes[1].media.args: ' n=1' is not 1 to 256 printable ASCII characters"),
        ("weight: 3", "weight: -1", "11: media.fs-2.weight: should be greater than or equal to 0"),
        ("weight: 3", "rewrite: {strip: 1}", "11: media.fs-2: unknown key 'rewrite'"),
    ],
)  # fmt: skip
def test_mistakes_are_told(old: str, new: str, said: str) -> None:
    assert old in POLICY
    with pytest.raises(policyfile.PolicyFileError) as caught:
        loaded(POLICY.replace(old, new))
    assert f"p.yaml:{said}" in str(caught.value)


def test_a_route_to_media_needs_nodes_with_a_weight() -> None:
    nodes = POLICY[POLICY.index("media:\n") : POLICY.index("routes:")]
    for section, said in (
        ("", "p.yaml:10: routes[0].media: there is no media node: name one in 'media' at the top"),
        ("media: {f: {address: 203.0.113.1, weight: 0}}\n", "p.yaml:9: media: some media node needs a weight above 0"),
    ):
        with pytest.raises(policyfile.PolicyFileError) as caught:
            loaded(POLICY.replace(nodes, section))
        assert said in str(caught.value)


def test_what_is_stored_comes_back_and_takes_no_room_where_there_is_none() -> None:
    whole = loaded()
    assert codec.decode_policy(codec.encode_policy(whole.policy)) == whole.policy
    assert codec.decode_document(codec.encode_document(whole.policy, whole.routes)) == (whole.policy, whole.routes)
    assert [codec.decode_route(codec.encode_route(route)) for route in whole.routes] == list(whole.routes)
    assert "media" not in codec.encode_route(whole.routes[-1])
    assert "media" not in json.loads(codec.encode_policy(whole.policy))["gateways"]["a"]


def test_a_difference_names_the_section() -> None:
    before, after = loaded(), loaded(POLICY.replace("weight: 3", "no_reply: 1s").replace("media: welcome", "media: hi"))
    changes = diff((before.policy, before.routes), (after.policy, after.routes))
    found = {(change.section, change.name): {field.field for field in change.fields} for change in changes}
    assert found == {("media", "fs-2"): {"no_reply", "weight"}, ("route", "welcome"): {"weights", "media.app"}}


# The decision


def test_a_call_to_an_app() -> None:
    decision = decide(call("6001"))
    found = to_media(decision)
    assert (found.app, found.args) == ("queue", "n=1 &x")
    assert [attempt.uri for attempt in found.plan.attempts] == [
        "sip:6001@203.0.113.1:5060", "sip:6001@[2001:db8::2]:5080;transport=tcp",
    ]  # fmt: skip
    told = found.plan.media
    assert told is not None
    assert (told.app, told.args, told.caller, told.callee, told.hops) == ("queue", "n=1 &x", "+441632960001", "6001", 1)
    assert decision.steps[-1] == ("to media", "queue", f"hand-over 1 of at most {HOPS_MAX}")


def test_the_caller_is_who_a_trusted_peer_says() -> None:
    told = to_media(decide(call("5000", asserted="01632960002"))).plan.media
    assert told is not None
    assert told.caller == "+441632960002"


def test_a_node_that_says_to_come_back_in_five_minutes_is_called_at_once() -> None:
    # What FreeSWITCH says while it starts.
    starting = Failure(503, retry_after=300.0)
    plan = to_media(decide(call("5000"))).plan
    assert policy.hold(plan, starting) == 0.0
    outcome = decide(call("7000")).outcome
    assert isinstance(outcome, policy.Relay)
    assert policy.hold(outcome.plan, starting) == 300.0


def test_other_calls_are_told_nothing_of_media() -> None:
    outcome = decide(call("7000")).outcome
    assert isinstance(outcome, policy.Relay)
    assert outcome.plan.media is None


def test_an_emergency_call_goes_to_no_script() -> None:
    everything = POLICY.replace('["5"]', '["5", "1"]')
    outcome = decide(call("112"), view(everything)).outcome
    assert isinstance(outcome, policy.Relay)
    assert (outcome.plan.emergency, outcome.plan.media) == (True, None)
    assert [attempt.gateway for attempt in outcome.plan.attempts] == ["a"]


def test_nodes_that_are_all_away_are_told_apart_from_gateways() -> None:
    found = refusal(decide(call("5000"), view(drained=("fs-1", "fs-2"))).outcome)
    assert (found.id, found.status, found.retry_after) == ("media-down", 503, 10)
    assert refusal(decide(call("7000"), view(drained=("a",))).outcome).id == "gateways-down"


@pytest.mark.parametrize(
    ("failure", "following"),
    [
        (Failure(503), "fs-2"), (Failure(408, local=True), "fs-2"), (Failure(477, local=True), "fs-2"),
        (Failure(503, ringing=True), ""), (Failure(403), ""), (Failure(500), ""), (Failure(486), ""),
    ],
)  # fmt: skip
def test_another_node_is_for_those_that_are_silent_or_full(failure: Failure, following: str) -> None:
    plan = Plan.loads(to_media(decide(call("5000"))).plan.dumps())
    outcome = policy.next_attempt(plan, failure, Snapshot(), NOW).outcome
    if following:
        assert isinstance(outcome, policy.Retry)
        assert (outcome.plan.attempt.gateway, outcome.plan.media) == (following, plan.media)
    else:
        assert not isinstance(outcome, policy.Retry)


def test_a_plan_of_the_version_before_is_read() -> None:
    plan = to_media(decide(call("5000"))).plan
    before = json.dumps(json.loads(plan.dumps())[: Plan.__struct_fields__.index("media")])
    assert (Plan.loads(before).media, Plan.loads(before).used) == (None, 0)
    assert Plan.loads(plan.dumps()) == plan


# The way back


def signed(**fields: object) -> dict[str, str]:
    known = {"call": "1a-2b-3c", "app": "welcome", "caller": "+441632960001", "expires": int(NOW) + 9}
    return dict(Handover(**{**known, **fields}).headers(KEY))  # type: ignore[arg-type]


def returned(headers: dict[str, str], source: str = FS) -> tuple[CallFacts, Refusal | None, str]:
    return handover.returned(call("7000", source, asserted="1"), headers, view(), KEY, NOW)


def test_a_good_token_says_who_called() -> None:
    facts, refused, _ = returned(signed(hops=2))
    assert refused is None
    assert facts == call("7000", FS, caller="+441632960001", hops=2, origin="1a-2b-3c")


@pytest.mark.parametrize(
    ("headers", "source", "refused"),
    [
        (signed(expires=int(NOW) - 1), FS, "media-token"),
        ({**signed(), "X-Strowger-Caller": "+441632960002"}, FS, "media-token"),
        (signed(hops=HOPS_MAX + 1), FS, "media-loop"),
        (signed(hops=HOPS_MAX), FS, ""),
        (signed(), "2001:0db8:0:0::2", ""),
    ],
)
def test_whether_a_call_that_comes_back_is_believed(headers: dict[str, str], source: str, refused: str) -> None:
    facts, found, why = returned(headers, source)
    assert (found.id if found else "") == refused
    assert (facts.hops > 0, why == "") == (not refused, not refused)


@pytest.mark.parametrize(("headers", "source"), [(signed(), OFFICE), ({"X-Strowger-App": "x"}, FS), ({}, FS)])
def test_from_elsewhere_or_without_a_token_nothing_is_believed(headers: dict[str, str], source: str) -> None:
    facts, refused, _ = returned(headers, source)
    assert (facts, refused) == (call("7000", source, asserted="1"), None)


def test_what_comes_back_is_decided_for_who_called() -> None:
    decision = decide(back("02079460000"))
    assert isinstance(decision.outcome, policy.Relay)
    assert decision.outcome.plan.attempts[0].uri.startswith("sip:+442079460000@")
    assert decision.steps[:4] == (
        ("returned", "1a-2b-3c", "handed to media 1 times"), ("trunk", FS, "fs-1"),
        ("caller", "+441632960001", "+441632960001"), ("callee", "02079460000", "+442079460000"),
    )  # fmt: skip
    blocked = view(POLICY, Entry(Kind.CALLER, "+441632960001"))
    assert refusal(decide(back("02079460000"), blocked).outcome).id == "blocked-caller"


def test_it_is_of_no_trunk_but_its_node() -> None:
    # The route that is there for one trunk only is passed over.
    outcome = decide(back("7000")).outcome
    assert isinstance(outcome, policy.Relay)
    assert outcome.plan.route == "rest"
    assert refusal(decide(replace(back("7000"), source="203.0.113.99")).outcome).id == "unknown-source"
    assert refusal(decide(back("")).outcome).id == "invalid-number"


def test_hops_are_counted_up_to_the_limit() -> None:
    for hops in range(1, HOPS_MAX):
        told = to_media(decide(back("5000", hops))).plan.media
        assert told is not None
        assert told.hops == hops + 1
    assert refusal(decide(back("5000", HOPS_MAX)).outcome).id == "media-loop"
    assert isinstance(decide(back("7000", HOPS_MAX)).outcome, policy.Relay)


# Sent on by a 3xx


def sent_on(plan: Plan, user: str) -> policy.FailureDecision:
    return policy.redirected(plan, user, OFFICE, "9f-1-0", view(), Snapshot(), NOW)


def test_a_redirection_is_decided_anew_for_the_trunk_of_the_caller() -> None:
    found = sent_on(to_media(decide(call("5000"))).plan, "7001")
    assert isinstance(found.outcome, policy.Retry)
    assert (found.outcome.plan.route, found.outcome.plan.media, found.outcome.plan.number) == ("staff", None, 2)
    assert (found.cause, found.why) == (Cause.REDIRECT, "sent on to 7001")
    assert ("caller", "+441632960001", "+441632960001") in found.steps


def test_redirections_in_a_circle_end() -> None:
    plan, hops = to_media(decide(call("5000"))).plan, []
    while isinstance((outcome := sent_on(plan, "5000").outcome), policy.Retry):
        plan = outcome.plan
        assert plan.media is not None
        hops.append(plan.media.hops)
    assert hops == list(range(2, HOPS_MAX + 1))
    assert refusal(outcome).id == "media-loop"


def test_no_call_has_more_branches_than_a_transaction_may_have() -> None:
    plan = to_media(decide(call("5000"))).plan
    many = policy.structs.replace(plan, used=policy.BRANCHES - 2)
    outcome = sent_on(many, "5000").outcome
    assert isinstance(outcome, policy.Retry)
    assert len(outcome.plan.attempts) == 1
    full = policy.structs.replace(plan, used=policy.BRANCHES - 1)
    assert refusal(sent_on(full, "5000").outcome).id == "gateways-failed"


@pytest.mark.parametrize(
    ("header", "user"),
    [
        ("<sip:5001@192.0.2.1>", "5001"),
        ("sip:+441632960001@192.0.2.1;q=0.5", "+441632960001"),
        ('"A, B" <sips:x%20y@h:5061;transport=tcp>;expires=1', "x%20y"),
        ("<sip:5001:secret@h>, <sip:5002@h>", "5001"),
        ("<tel:+44-1632-960001;phone-context=x>", "+44-1632-960001"),
        ("<SIP:5001@h>", "5001"),
        ("<sip:h.example>", ""),
        ("*", ""),
        ("", ""),
    ],
)
def test_the_user_of_a_contact(header: str, user: str) -> None:
    assert handover.contact_user(header) == user


@given(st.text(max_size=200))
def test_no_contact_raises(header: str) -> None:
    assert isinstance(handover.contact_user(header), str)


# What goes out


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=256).map(str.strip))
def test_the_lines_of_an_attempt_prove_its_handover(args: str) -> None:
    plan = to_media(decide(call("6001"))).plan
    assert plan.media is not None
    plan = policy.structs.replace(plan, media=policy.structs.replace(plan.media, args=args))
    lines = handover.lines(plan, "9f-1-0", KEY, NOW).split("\r\n")
    assert lines.pop() == ""
    headers = dict(line.split(": ", 1) for line in lines)
    assert Handover.parse(headers, KEY, NOW + VALID) == Handover(
        call="9f-1-0", app="queue", args=args, caller="+441632960001", callee="6001", reason="direct",
        expires=int(NOW + VALID),
    )  # fmt: skip


# What tells of it


def test_an_explanation_names_app_and_nodes() -> None:
    found = explain(call("6001"), view(), Snapshot(), NOW, {"fs-1": Failure(503)})
    assert (found.app, found.route, found.gateway) == ("queue", "queue", "fs-2")
    assert found.attempts[0].following == "fs-2"
    sent = explain(call("6001"), view(), Snapshot(), NOW, {"fs-1": Failure(302)})
    assert (sent.outcome, sent.attempts[0].following) == ("decided anew", "decided anew")
    assert explain(call("7000"), view(), Snapshot(), NOW, {}).app == ""


def test_a_dry_run_sees_that_the_app_changes() -> None:
    past = dryrun.PastCall("c", NOW, call("5000"))
    before, after = dryrun.outcome(past, view()), dryrun.outcome(past, view(POLICY.replace("welcome}", "hello}")))
    assert (str(before), str(after)) == ("app welcome on fs-1, fs-2", "app hello on fs-1, fs-2")


def test_a_record_tells_of_the_app_and_of_being_sent_on() -> None:
    facts, decision = call("5000"), decide(call("5000"))
    plan = to_media(decision).plan
    after = sent_on(plan, "7001")
    events = (
        records.decided("c", "x@y", "t", facts, decision, 7, NOW),
        records.failed("c", plan, Failure(302), after, None, NOW + 1),
        {"event": "answered", "call": "c", "at": NOW + 2, "attempt": 2, "status": 200, "rang": None},
        {"event": "ended", "call": "c", "at": NOW + 9, "by": "caller"},
    )
    assembly = Assembly("edge-1")
    lines = [msgspec.json.encode(event) for event in events]
    assembly.feed(event for line in lines if (event := parse(line)))
    assembly.close(NOW + 20)
    (record,) = assembly.finished
    assert CallRecord.decode(record.encode()) == record
    assert record.app == "welcome"
    assert [(attempt.gateway, attempt.why) for attempt in record.attempts] == [("fs-1", "sent on to 7001"), ("a", "")]
    assert record.steps == (*decision.steps, *after.steps)
    row = dict(zip(record_csv.COLUMNS, record_csv.row(record), strict=True))
    assert (row["app"], row["reason"]) == ("welcome", "direct")
    assert "app welcome" in cdr_output.explained(record)[1]


def test_a_record_of_the_version_before_is_read() -> None:
    path = Path(__file__).parents[2] / "docs" / "records.md"
    assert "| `app` |" in path.read_text()
    record = CallRecord.decode(
        '{"call":"c","node":"n","call_id":"x","from_tag":"t","trunk":"","caller":"","callee":"","route":"","version":1,'
        '"emergency":false,"outcome":"refused","refusal":"","status":403,"began":1,"answered":null,"ended":1,'
        '"duration":0,"ended_by":"","attempts":[],"steps":[]}'
    )
    assert (record.app, record.reason) == ("", "")
