"""The table of causes: which failures of a gateway lead to the next one, and what the caller is told otherwise."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from harness.node import Node, at
from harness.raw import Endpoint, status

from console.ports import free_port
from console.sipp import CallResult
from model.policy import Gateway, RetryRule, Route

CALLER, CALLEE = "1001", "1002"
FAILED = "text=.gateways-failed"


class Row(NamedTuple):
    """A reply of the first gateway, and whether the second one is called."""

    status: int
    reason: str
    retried: bool
    cause: str


def q850(cause: int, location: str = "") -> str:
    """A Reason header."""
    return f"Reason: Q.850;cause={cause}" + (f";location={location}" if location else "")


def every(cause: str, retried: bool, *statuses: int, reason: str = "") -> list[Row]:
    """Rows that share everything but the status."""
    return [Row(status, reason, retried, cause) for status in statuses]


BY_STATUS = [
    *every("server-fault", True, 500, 501, 502, 503, 504, 505, 513, 580),
    *every("no-reply", True, 408),
    *every("gateway-policy", True, 401, 402, 403, 407),
    *every("loop", True, 482, 483),
    *every("ambiguous", False, 404, 480, 488),
    *every("ambiguous", False, 400, 405, 406, 413, 415, 420, 481, 485, 491, 499),
    *every("final", False, 410, 484, 486, 600, 603, 604, 606, 607, 608),
    *every("cancelled", False, 487),
    *every("identity", False, 428, 429, 436, 437, 438),
    *every("redirect", False, 300, 301, 302, 305, 380),
]
BY_Q850 = [
    *(row for cause in (102,) for row in every("no-reply", True, 480, 500, reason=q850(cause))),
    *(row for cause in (27, 38, 41) for row in every("server-fault", True, 404, 480, 499, 500, reason=q850(cause))),
    *(row for cause in (34, 42, 44, 47) for row in every("capacity", True, 480, 503, reason=q850(cause))),
    *every("gateway-policy", True, 480, 403, 500, reason=q850(57)),
    *(
        row
        for cause in (1, 2, 3, 18, 19, 20, 88)
        for row in every("ambiguous", False, 403, 500, 503, reason=q850(cause))
    ),
    *(row for cause in (17, 22, 28) for row in every("final", False, 403, 480, 503, reason=q850(cause))),
    # A cause that the table does not know leaves the status to speak.
    *every("server-fault", True, 503, reason=q850(111)),
    *every("ambiguous", False, 480, reason=q850(16)),
]
BY_LOCATION = [
    *every("final", False, 480, 500, 503, reason=q850(21)),
    *every("gateway-policy", True, 403, reason=q850(21)),
    *(row for place in ("U", "RPN", "LPN", "u") for row in every("final", False, 403, 480, reason=q850(21, place))),
    *(
        row
        for place in ("LN", "TN", "RLN", "INTL", "BI")
        for row in every("gateway-policy", True, 403, 480, 503, reason=q850(21, place))
    ),
]
STATUS_SPEAKS = [
    *every("final", False, 486, 600, 603, 410, 484, reason=q850(38)),
    *every("gateway-policy", True, 401, 402, 407, reason=q850(17)),
    *every("loop", True, 482, 483, reason=q850(17)),
    *every("identity", False, 428, 438, reason=q850(41)),
    *every("cancelled", False, 487, reason=q850(41)),
]
SPELLINGS = [
    *every("final", False, 503, reason='Reason: Q.850;cause=17;text="User, busy"'),
    *every("final", False, 503, reason="Reason: SIP;cause=404;text=none, Q.850 ; cause = 17"),
    *every("final", False, 503, reason='Reason: q.850;text="a; cause=38";cause=17'),
    *every("server-fault", True, 503, reason="Reason: SIP;cause=486"),
    *every("server-fault", True, 503, reason="Reason: Q.850;cause=seventeen"),
    *every("server-fault", True, 503, reason="Reason: Q.850"),
    *every("server-fault", True, 503, reason='Reason: ;;;,"'),
]


def route_to(node: Node, *gateways: Gateway, names: str = "", **options: Any) -> None:
    """Send every number to gateways, in the order of ``names`` if that is given."""
    order = tuple(names.split()) or tuple(gateway.name for gateway in gateways)
    node.apply([Route(name="causes", prefixes=("",), gateways=order, **options)], gateways)


def place(node: Node, status: int, retried: bool, reason: str = "") -> CallResult:
    """Place a call whose first gateway replies ``status``; a 503 is never passed on."""
    header = reason or "X-Nothing: none"
    if retried:
        return node.answered(CALLER, CALLEE, reply_header=header)
    if status == 503:
        return node.refused(CALLER, CALLEE, 500, FAILED, reply_header=header)
    return node.refused(CALLER, CALLEE, status, "As Asked", reply_header=header)


@pytest.mark.parametrize("row", BY_STATUS + BY_Q850 + BY_LOCATION + STATUS_SPEAKS + SPELLINGS, ids=str)
def test_a_reply_leads_to_the_next_gateway_or_to_the_caller(node: Node, row: Row) -> None:
    a, b = node.refusing(row.status), node.answering()
    route_to(node, at("a", a), at("b", b))
    call = place(node, row.status, row.retried, row.reason)
    assert [record["cause"] for record in node.records(call.call_id)[1:]] == [row.cause]
    assert len(b.calls(call.call_id)) == row.retried


@pytest.mark.parametrize("status", [500, 503, 408, 403, 482])
def test_what_every_gateway_refused_is_told_as_one_failure(node: Node, status: int) -> None:
    a, b = node.refusing(status), node.refusing(status)
    route_to(node, at("a", a), at("b", b))
    call = node.refused(CALLER, CALLEE, 500, "cause=38;text=.gateways-failed", reply_header=reason_for(status))
    assert node.attempts(call.call_id) == ["a", "b"]


def reason_for(status: int) -> str:
    """A Reason header that leaves the status in its class, or that the status does not hear."""
    return q850(38) if status != 403 else q850(38, "LN")


SILENT = ["nobody on its port", "never replies", "unreachable by any route"]


def silent(node: Node, kind: str) -> Gateway:
    """A gateway that says nothing, of each kind."""
    if kind == SILENT[0]:
        return Gateway("a", "127.0.0.1", free_port(), no_reply=0.3)
    if kind == SILENT[1]:
        return at("a", node.gateway("uas-never-replies.xml"), no_reply=0.3)
    return Gateway("a", "240.0.0.1", no_reply=5.0)


@pytest.mark.parametrize("kind", SILENT)
def test_a_gateway_that_says_nothing_is_passed_over(node: Node, kind: str) -> None:
    route_to(node, silent(node, kind), at("b", node.answering()))
    call = node.answered(CALLER, CALLEE)
    (record,) = node.records(call.call_id)[1:]
    assert record["local"]
    assert (record["status"], record["cause"]) == (477 if kind == SILENT[2] else 408, "no-reply")


@pytest.mark.parametrize("kind", [SILENT[0], SILENT[2]])
def test_a_call_that_no_gateway_replies_to_fails(node: Node, kind: str) -> None:
    route_to(node, silent(node, kind), max_attempts=2)
    call = node.refused(CALLER, CALLEE, 500, FAILED)
    assert node.attempts(call.call_id) == ["a", "a"]


@pytest.mark.parametrize("first", [503, 482])
def test_a_gateway_that_cannot_be_reached_is_passed_over_in_the_middle(node: Node, first: int) -> None:
    route_to(node, at("a", node.refusing(first)), Gateway("x", "240.0.0.1"), at("b", node.answering()))
    call = node.answered(CALLER, CALLEE)
    assert node.attempts(call.call_id) == ["a", "x"]


RINGING = "uas-rings-then-replies-STATUS.xml"


@pytest.mark.parametrize("provisional", ["180", "181", "182", "183"])
@pytest.mark.parametrize("status", [500, 503, 486])
def test_a_call_that_rang_is_not_retried(node: Node, provisional: str, status: int) -> None:
    a, b = node.gateway(RINGING, PROVISIONAL=provisional, STATUS=str(status)), node.answering()
    route_to(node, at("a", a), at("b", b))
    call = place(node, status, retried=False)
    assert node.records(call.call_id)[1]["ringing"]
    assert not b.calls()


@pytest.mark.parametrize("owner", ["route", "gateway"])
@pytest.mark.parametrize("provisional", ["180", "183"])
def test_a_call_that_rang_is_retried_where_the_policy_says_so(node: Node, owner: str, provisional: str) -> None:
    a, b = node.gateway(RINGING, PROVISIONAL=provisional, STATUS="503"), node.answering()
    rule = RetryRule(after_ringing=True)
    if owner == "route":
        route_to(node, at("a", a), at("b", b), retry=rule)
    else:
        route_to(node, at("a", a, retry=rule), at("b", b))
    node.answered(CALLER, CALLEE)


def test_a_gateway_may_forbid_what_its_route_allows_after_ringing(node: Node) -> None:
    a, b = node.gateway(RINGING, PROVISIONAL="180", STATUS="503"), node.answering()
    never = RetryRule(after_ringing=False)
    route_to(node, at("a", a, retry=never), at("b", b), retry=RetryRule(after_ringing=True))
    place(node, 503, retried=False)


def test_each_attempt_has_rung_for_itself_only(node: Node) -> None:
    a = node.gateway(RINGING, PROVISIONAL="180", STATUS="503")
    gateways = (at("a", a, retry=RetryRule(after_ringing=True)), at("b", node.refusing(503)), at("c", node.answering()))
    route_to(node, *gateways)
    call = node.answered(CALLER, CALLEE)
    assert [record["ringing"] for record in node.records(call.call_id)[1:]] == [True, False]


def test_a_later_attempt_that_rang_is_not_retried(node: Node) -> None:
    b, c = node.gateway(RINGING, PROVISIONAL="180", STATUS="503"), node.answering()
    route_to(node, at("a", node.refusing(503)), at("b", b), at("c", c))
    place(node, 503, retried=False)
    assert not c.calls()


@pytest.mark.parametrize("status", [482, 483])
def test_a_gateway_that_saw_a_loop_is_not_tried_again_in_the_call(node: Node, status: int) -> None:
    a, b = node.refusing(status), node.refusing(503)
    route_to(node, at("a", a), at("b", b), max_attempts=6)
    call = node.refused(CALLER, CALLEE, 500, FAILED)
    assert node.attempts(call.call_id) == ["a", "b", "b", "b"]


def test_a_loop_at_the_only_gateway_ends_the_call(node: Node) -> None:
    route_to(node, at("a", node.refusing(482)), max_attempts=3)
    call = node.refused(CALLER, CALLEE, 500, FAILED)
    assert node.attempts(call.call_id) == ["a"]


class Override(NamedTuple):
    """A rule, and what becomes of a reply under it."""

    rule: RetryRule
    status: int
    reason: str
    retried: bool


OVERRIDES = [
    Override(RetryRule(also=("ambiguous",)), 404, "", True),
    Override(RetryRule(also=("480",)), 480, "", True),
    Override(RetryRule(also=("480",)), 404, "", False),
    Override(RetryRule(also=("q850:1",)), 404, "", True),
    Override(RetryRule(also=("q850:3",)), 404, q850(3), True),
    Override(RetryRule(also=("q850:3",)), 404, q850(1), False),
    Override(RetryRule(also=("final",)), 486, "", True),
    Override(RetryRule(never=("503",)), 503, "", False),
    Override(RetryRule(never=("server-fault",)), 500, "", False),
    Override(RetryRule(never=("server-fault",)), 503, q850(34), True),
    Override(RetryRule(never=("q850:34",)), 503, q850(34), False),
    Override(RetryRule(also=("480",), never=("q850:18",)), 480, q850(18), False),
    Override(RetryRule(only=("486",)), 486, "", True),
    Override(RetryRule(only=("486",)), 503, "", False),
    Override(RetryRule(only=("q850:17",)), 486, "", True),
    Override(RetryRule(also=("487",)), 487, "", False),
]


@pytest.mark.parametrize("owner", ["route", "gateway"])
@pytest.mark.parametrize("case", OVERRIDES, ids=str)
def test_a_rule_overrides_the_table(node: Node, owner: str, case: Override) -> None:
    a, b = node.refusing(case.status), node.answering()
    if owner == "route":
        route_to(node, at("a", a), at("b", b), retry=case.rule)
    else:
        route_to(node, at("a", a, retry=case.rule), at("b", b))
    call = place(node, case.status, case.retried, case.reason)
    assert len(b.calls(call.call_id)) == case.retried


def test_the_gateways_rule_stands_before_the_routes(node: Node) -> None:
    a, b = node.refusing(480), node.answering()
    route_to(node, at("a", a, retry=RetryRule(never=("480",))), at("b", b), retry=RetryRule(also=("480",)))
    place(node, 480, retried=False)
    route_to(node, at("a", a, retry=RetryRule(also=("480",))), at("b", b), retry=RetryRule(never=("480",)))
    place(node, 480, retried=True)


def test_a_gateways_rule_is_of_its_own_failures_only(node: Node) -> None:
    a, b = node.refusing(503), node.refusing(480)
    c = node.answering()
    route_to(node, at("a", a, retry=RetryRule(also=("480",))), at("b", b), at("c", c))
    place(node, 480, retried=False)
    assert not c.calls()


# What a call script would retry on: NO_ROUTE_DESTINATION, RECOVERY_ON_TIMER_EXPIRE, INCOMPATIBLE_DESTINATION,
# CALL_REJECTED and NORMAL_TEMPORARY_FAILURE, between two gateways, at most three times.
BY_HANGUP_CAUSE = RetryRule(only=("q850:3", "q850:102", "q850:88", "q850:21", "q850:41"))
HANGUP_CAUSES = [
    *((status, "", status) for status in (485, 488, 603)),
    *((status, "", 500) for status in (408, 403, 500, 503)),
    *((480, q850(cause), 480) for cause in (3, 88, 21)),
    *((480, q850(cause), 500) for cause in (102, 41)),
]
OTHER_CAUSES = [
    *((status, "") for status in (404, 480, 486, 484, 410, 502)),
    *((480, q850(cause)) for cause in (1, 17, 18, 34)),
]


@pytest.mark.parametrize(("status", "reason", "told"), HANGUP_CAUSES)
def test_a_route_keyed_on_hangup_causes_alternates_between_two_gateways(
    node: Node, status: int, reason: str, told: int
) -> None:
    gateways = at("gw1", node.refusing(status)), at("gw2", node.refusing(status))
    route_to(node, *gateways, max_attempts=3, retry=BY_HANGUP_CAUSE)
    header = reason or "X-Nothing: none"
    call = node.refused(CALLER, CALLEE, told, FAILED if told == 500 else "As Asked", reply_header=header)
    assert node.attempts(call.call_id) == ["gw1", "gw2", "gw1"]


@pytest.mark.parametrize(("status", "reason"), OTHER_CAUSES)
def test_a_route_keyed_on_hangup_causes_ends_on_every_other_cause(node: Node, status: int, reason: str) -> None:
    gateways = at("gw1", node.refusing(status)), at("gw2", node.answering())
    route_to(node, *gateways, max_attempts=3, retry=BY_HANGUP_CAUSE)
    place(node, status, retried=False, reason=reason)


def test_a_route_keyed_on_hangup_causes_is_answered_at_the_third_attempt(node: Node) -> None:
    gateways = at("gw1", node.refusing(503)), at("gw2", node.refusing(500)), at("gw3", node.answering())
    route_to(node, *gateways, max_attempts=3, retry=BY_HANGUP_CAUSE)
    call = node.answered(CALLER, CALLEE)
    assert node.attempts(call.call_id) == ["gw1", "gw2"]


@pytest.mark.parametrize("values", [("SIP;cause=486", "Q.850;cause=17"), ("Q.850;cause=17", "SIP;cause=503")])
def test_the_cause_is_found_in_either_of_two_reason_headers(node: Node, values: tuple[str, str]) -> None:
    b = node.answering()
    with Endpoint() as caller, Endpoint() as a:
        route_to(node, Gateway("a", "127.0.0.1", a.port, no_reply=5.0), at("b", b))
        invite = caller.invite()
        caller.send(invite, node.sip)
        a.refuse_next(b"480 Unavailable", [f"Reason: {value}".encode() for value in values])
        assert status(caller.final_reply(invite, node.sip)) == 480
    assert not b.calls()


@pytest.mark.parametrize(
    "header", [b'Reason: Q.850;cause=17;text="\xff\xfe"', b"Reason: \xc3\x28", b"Retry-After: \xff"]
)
def test_a_reply_that_is_not_utf_8_is_read_all_the_same(node: Node, header: bytes) -> None:
    with Endpoint() as caller, Endpoint() as a:
        route_to(node, Gateway("a", "127.0.0.1", a.port, no_reply=5.0), max_attempts=1)
        invite = caller.invite()
        caller.send(invite, node.sip)
        a.refuse_next(b"480 Unavailable", [header])
        assert status(caller.final_reply(invite, node.sip)) == 480
