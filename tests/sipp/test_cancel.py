"""A caller who hangs up is called nowhere else, whatever the gateways say then."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import pytest
from harness.node import Node, at
from harness.raw import Endpoint, cancel
from harness.raw import status as status_of

from console.sipp import SippGateway
from model.policy import RetryRule, Route

CALLER, CALLEE = "1001", "1002"
PENDING = "uas-sends-PROVISIONAL-until-cancelled-STATUS.xml"


def to_both(node: Node, gateways: Sequence[SippGateway], **options: float) -> None:
    """Send every number to gateways, each of which may be tried twice and after it has rung."""
    policy = [at(f"g{n}", gateway, **options) for n, gateway in enumerate(gateways)]
    names = tuple(gateway.name for gateway in policy)
    node.apply([Route("cancel", ("",), names, max_attempts=4, retry=RetryRule(after_ringing=True))], policy)


def assert_over(node: Node, call_id: str, first: SippGateway, second: SippGateway) -> None:
    """The call reached only the first gateway, and the next call is not disturbed by it."""
    assert len(first.calls(call_id)) == 1
    node.apply([Route("cancel", ("",), ("g1",))], [at("g1", second)])
    following = node.answered(CALLER, CALLEE)
    assert len(second.calls()) == len(second.calls(following.call_id)) == 1
    assert len(first.calls()) == 1
    assert not node.attempts(call_id)


@pytest.mark.parametrize("status", [487, 486, 503])
@pytest.mark.parametrize(
    ("provisional", "scenario"), [("100", "uac-cancels-while-trying.xml"), ("180", "uac-cancels-while-ringing.xml")]
)
def test_no_gateway_is_called_after_the_caller_cancelled(
    node: Node, provisional: str, scenario: str, status: int
) -> None:
    first = node.gateway(PENDING, PROVISIONAL=provisional, STATUS=str(status))
    second = node.answering()
    to_both(node, (first, second))
    call = node.call(scenario, CALLER, CALLEE, words={"PAUSE": "400"})
    assert_over(node, call.call_id, first, second)


def test_a_cancelled_call_to_a_silent_gateway_ends(node: Node) -> None:
    first, second = node.gateway("uas-never-replies.xml"), node.answering()
    to_both(node, (first, second), no_reply=1.0)
    call = node.call("uac-cancels-while-trying.xml", CALLER, CALLEE, words={"PAUSE": "100"})
    assert_over(node, call.call_id, first, second)


def cancelled_calls(node: Node, count: int) -> Counter[int]:
    """Cancel calls a little later each time after the first 100, and count their final replies."""
    finals: Counter[int] = Counter()
    with Endpoint() as caller:
        for number in range(count):
            invite = caller.invite(headers=[b"X-Reply-Header: X-Nothing: none"])
            caller.send(invite, node.sip)
            caller.receive(b"SIP/2.0 100")
            time.sleep(number % 25 * 0.0001)
            caller.send(cancel(invite), node.sip)
            finals[status_of(caller.final_reply(invite, node.sip))] += 1
    return finals


# Two workers race in each of these, so they are run many times; every outcome of the race is right but one.


def test_a_cancel_that_overtakes_its_call_ends_it(node: Node) -> None:
    first, second = node.gateway(PENDING, PROVISIONAL="100", STATUS="487"), node.answering()
    to_both(node, (first, second))
    assert cancelled_calls(node, 100) == {487: 100}
    assert not second.calls()


def test_a_cancel_that_overtakes_a_retry_ends_the_call(node: Node) -> None:
    first, second = node.refusing(503), node.gateway(PENDING, PROVISIONAL="100", STATUS="487")
    to_both(node, (first, second))
    assert cancelled_calls(node, 200) == {487: 200}
