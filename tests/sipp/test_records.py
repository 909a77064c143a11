"""Every call leaves one record, which says what became of it and of each attempt."""

from __future__ import annotations

import time

import pytest
from harness.node import Node, at

from model.entries import Entry, Kind
from model.policy import RetryRule, Route
from model.record import CallRecord, Outcome

CALLER, CALLEE = "1001", "1002"
TALK = 0.4
RINGING = "uas-rings-then-replies-STATUS.xml"


def to(node: Node, *gateways: object, **options: object) -> None:
    """Send every number to these gateways."""
    node.apply([Route("r", ("",), tuple(g.name for g in gateways), **options)], gateways)  # type: ignore


def assert_in_order(record: CallRecord) -> None:
    """Its times follow one another, and lie a short while back."""
    times = [record.began]
    for attempt in record.attempts:
        times += [attempt.began, attempt.rang or attempt.began, attempt.ended or attempt.began]
    times += [record.answered or times[-1], record.ended or times[-1]]
    assert times == sorted(times)
    assert time.time() - 60 < times[0] <= times[-1] <= time.time()


def talking(node: Node, scenario: str, gateway_scenario: str) -> CallRecord:
    """The record of a call that is answered and lasts a while."""
    to(node, at("g", node.gateway(gateway_scenario)))
    call = node.call(scenario, CALLER, CALLEE, words={"<pause/>": f'<pause milliseconds="{TALK * 1000:.0f}"/>'})
    return node.record(call.call_id)


def test_an_answered_call(node: Node) -> None:
    record = talking(node, "uac-expect-answer.xml", "uas-answers.xml")
    assert (record.outcome, record.status, record.ended_by) == (Outcome.ANSWERED, 200, "caller")
    assert (record.caller, record.callee, record.trunk, record.route) == (CALLER, CALLEE, "lab", "r")
    assert record.node == node.stack.settings.node
    assert record.version == node.store.policy_version()
    assert record.from_tag
    assert not record.refusal
    assert record.answered is not None
    assert record.ended is not None
    assert TALK <= record.duration == pytest.approx(record.ended - record.answered, abs=0.001)
    assert [(a.gateway, a.status, a.cause) for a in record.attempts] == [("g", 200, "")]
    assert ("route", "any number", "r") in record.steps
    assert_in_order(record)


def test_a_call_that_the_callee_ends(node: Node) -> None:
    record = talking(node, "uac-expect-hangup.xml", "uas-answers-then-hangs-up.xml")
    assert (record.outcome, record.ended_by) == (Outcome.ANSWERED, "callee")
    assert_in_order(record)


def test_a_refused_call(node: Node) -> None:
    to(node, at("g", node.answering()))
    node.put(Entry(Kind.CALLER, CALLER, reason="nuisance"))
    record = node.record(node.refused(CALLER, CALLEE, 403).call_id)
    assert (record.outcome, record.refusal, record.status) == (Outcome.REFUSED, "blocked-caller", 403)
    assert ("block caller", CALLER, "nuisance") in record.steps
    assert not record.attempts
    assert record.version == node.store.policy_version()
    assert (record.duration, record.answered, record.ended_by) == (0, None, "")
    assert_in_order(record)


def test_a_call_that_is_answered_at_the_second_gateway(node: Node) -> None:
    a, b = node.gateway(RINGING, PROVISIONAL="180", STATUS="503"), node.gateway("uas-answers.xml")
    to(node, at("a", a, retry=RetryRule(after_ringing=True)), at("b", b))
    record = node.record(node.answered(CALLER, CALLEE).call_id)
    assert record.outcome == Outcome.ANSWERED
    first, second = record.attempts
    assert (first.gateway, first.status, first.cause, first.local) == ("a", 503, "server-fault", False)
    assert (second.gateway, second.status, second.cause) == ("b", 200, "")
    assert first.rang is not None
    assert first.post_dial_delay is not None
    assert first.began <= first.rang <= first.ended == second.began
    assert second.rang is None or second.rang >= second.began
    assert_in_order(record)


def test_busy_is_passed_on(node: Node) -> None:
    to(node, at("a", node.refusing(486)), at("b", node.answering()))
    call = node.refused(CALLER, CALLEE, 486, reply_header="Reason: Q.850;cause=17;location=U")
    record = node.record(call.call_id)
    assert (record.outcome, record.status, record.refusal) == (Outcome.FAILED, 486, "")
    assert [(a.gateway, a.status, a.q850, a.location, a.cause) for a in record.attempts] == [
        ("a", 486, 17, "U", "final")
    ]
    assert_in_order(record)


def test_a_call_that_every_gateway_fails(node: Node) -> None:
    to(node, at("a", node.refusing(503)), at("b", node.refusing(500)))
    record = node.record(node.refused(CALLER, CALLEE, 500).call_id)
    assert (record.outcome, record.status, record.refusal) == (Outcome.FAILED, 500, "gateways-failed")
    assert [(a.gateway, a.status) for a in record.attempts] == [("a", 503), ("b", 500)]
    assert_in_order(record)


@pytest.mark.parametrize(
    ("provisional", "scenario"), [("100", "uac-cancels-while-trying.xml"), ("180", "uac-cancels-while-ringing.xml")]
)
def test_a_cancelled_call(node: Node, provisional: str, scenario: str) -> None:
    to(node, at("a", node.gateway("uas-sends-PROVISIONAL-until-cancelled-STATUS.xml",
                                  PROVISIONAL=provisional, STATUS="487")))  # fmt: skip
    record = node.record(node.call(scenario, CALLER, CALLEE, words={"PAUSE": "300"}).call_id)
    assert (record.outcome, record.status) == (Outcome.CANCELLED, 487)
    (attempt,) = record.attempts
    assert (attempt.gateway, attempt.cause) == ("a", "cancelled")
    assert (attempt.rang is not None) == (provisional == "180")
    assert_in_order(record)
