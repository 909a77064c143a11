"""Every call leaves one record, which says what became of it and of each attempt."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from harness import dialog
from harness.node import Node, at
from harness.raw import Endpoint, status

from model.entries import Entry, Kind
from model.policy import Gateway, RetryRule, Route
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


@pytest.fixture
def caller() -> Iterator[Endpoint]:
    """A caller that sends what no SIP stack would."""
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def gateway(node: Node) -> Iterator[Endpoint]:
    """Where every call goes to."""
    with Endpoint() as endpoint:
        to(node, Gateway("g", "127.0.0.1", endpoint.port, no_reply=10.0))
        yield endpoint


def answer(node: Node, caller: Endpoint, gateway: Endpoint, invite: bytes) -> bytes:
    """Place a call that is answered; returns the reply."""
    caller.send(invite, node.sip)
    request, sender = gateway.next_invite(caller)
    gateway.send(dialog.reply(request, b"200 OK", gateway, tag=b"callee"), sender)
    established = caller.receive(b"SIP/2.0 200")
    caller.send(dialog.from_caller(b"ACK", 1, caller, established), node.sip)
    return established


def hang_up(node: Node, caller: Endpoint, gateway: Endpoint, bye: bytes) -> None:
    """Send a BYE that must reach the gateway."""
    caller.send(bye, node.sip)
    request = gateway.receive(b"BYE")
    assert dialog.header(request, b"Call-ID") == dialog.header(bye, b"Call-ID")
    gateway.send(dialog.reply(request, b"200 OK", gateway), node.sip)
    assert status(caller.receive(b"SIP/2.0")) == 200


HOSTILE = [
    b'","call":"x","at":0,"event":"ended","by":"',
    b'{"event":"ended","call":"x","at":0,"by":"caller"}',
    b"\\",
    b'\\","\\u0000',
    b"%s$ci$(ci{s.len})%0a#",
    b"\x01\x07\x1b\x7f",
    b"\xff\xfe\x80\xc3",
    b"<null>",
    b"x" * 9000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_a_hostile_call_id_has_its_one_record(node: Node, caller: Endpoint, gateway: Endpoint, text: bytes) -> None:
    call_id = b"%d-" % caller.port + text
    established = answer(node, caller, gateway, caller.invite(call_id=call_id))
    hang_up(node, caller, gateway, dialog.from_caller(b"BYE", 2, caller, established))
    try:
        known = call_id.decode()
    except UnicodeDecodeError:
        known = call_id.decode("latin-1")
    record = node.record(known)
    assert (record.outcome, record.status, record.ended_by) == (Outcome.ANSWERED, 200, "caller")
    assert record.ended is not None
    assert [event["event"] for event in node.events(known)] == ["decided", "answered", "ended"]
    assert_in_order(record)


def id_of(established: bytes) -> bytes:
    """What stands in the parameter ``call`` of our Record-Route."""
    return dialog.header(established, b"Record-Route").partition(b";call=")[2].partition(b";")[0].partition(b">")[0]


@pytest.mark.parametrize("altered", ["another's", "removed", "hostile"])
def test_a_bye_ends_the_call_it_belongs_to_whatever_id_it_brings(
    node: Node, caller: Endpoint, gateway: Endpoint, altered: str
) -> None:
    one = answer(node, caller, gateway, caller.invite())
    other = answer(node, caller, gateway, caller.invite())
    bye = dialog.from_caller(b"BYE", 2, caller, one)
    brought = {"another's": id_of(other), "removed": b"", "hostile": b"%22%5C%7D%0A%FF'$!" * 50}[altered]
    assert id_of(one) in bye
    hang_up(node, caller, gateway, bye.replace(id_of(one), brought))
    first, second = dialog.header(one, b"Call-ID").decode(), dialog.header(other, b"Call-ID").decode()
    assert node.record(first).ended_by == "caller"
    assert [event["event"] for event in node.events(second)] == ["decided", "answered"]
    hang_up(node, caller, gateway, dialog.from_caller(b"BYE", 2, caller, other))
    record = node.record(second)
    assert (record.outcome, record.ended_by) == (Outcome.ANSWERED, "caller")
    assert record.ended is not None
    assert record.ended > (node.record(first).ended or record.ended)


def test_an_answer_and_an_end_are_written_without_what_peers_sent(
    node: Node, caller: Endpoint, gateway: Endpoint
) -> None:
    established = answer(node, caller, gateway, caller.invite())
    hang_up(node, caller, gateway, dialog.from_caller(b"BYE", 2, caller, established))
    call_id = dialog.header(established, b"Call-ID").decode()
    node.record(call_id)
    _, answered, ended = node.events(call_id)
    call = id_of(established).decode().partition(".")[0]
    assert answered == {"event": "answered", "call": call, "at": answered["at"], "attempt": 1, "status": 200,
                        "rang": None}  # fmt: skip
    assert ended == {"event": "ended", "call": call, "at": ended["at"], "by": "caller"}
