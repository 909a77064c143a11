"""What `explain` foretells of a call is what becomes of it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import pytest
from harness.node import Node, at

from console.sipp import SippGateway
from kemi.explain import Explanation, explain
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure, parse_reason
from model.entries import Action, Entry, Kind
from model.policy import Gateway, RetryRule, Route, Strategy
from state.snapshot import shared_reader

CALLER, CALLEE = "1001", "02079460000"
FACTS = CallFacts(CALLER, CALLEE, "127.0.0.1", user_agent="SIPp", caller_host="127.0.0.1")


class Case(NamedTuple):
    """The statuses that gateways reply with (200: they answer), and what is special about the route."""

    statuses: tuple[int, ...]
    reason: str = ""
    route: dict[str, Any] = {}  # noqa: RUF012 - never changed


CASES = [
    Case((200,)),
    Case((503, 200)),
    Case((503, 500, 502, 504, 200)),
    Case((503, 486, 200)),
    Case((404, 200)),
    Case((404, 200), route={"retry": RetryRule(also=("ambiguous",))}),
    Case((480, 200), "Reason: Q.850;cause=21;location=LN"),
    Case((480, 200), "Reason: Q.850;cause=21;location=U"),
    Case((503, 503), route={"max_attempts": 5}),
    Case((482, 503), route={"max_attempts": 5}),
    Case((503, 503, 200), route={"max_attempts": 2}),
    Case((500, 200), route={"retry": RetryRule(never=("500",))}),
    Case((403, 407), route={"retry": RetryRule(only=("q850:21",)), "max_attempts": 3}),
    Case((503, 200), route={"strategy": Strategy.ALTERNATE, "name": "explained-alternate"}),
    Case((301, 200)),
    Case((428, 200)),
    Case((503, 503), "Retry-After: 30", route={"max_attempts": 4}),
]


def foretold(node: Node, failures: dict[str, Failure]) -> Explanation:
    """What `explain` says of the call, its gateways failing as they will."""
    live = node.live()
    with shared_reader(node.stack.settings.snapshot).read() as get:
        return explain(FACTS, View(get), live, time.time(), failures)


def failure(status: int, header: str) -> Failure:
    """How a reply with ``status`` and ``header`` fails an attempt."""
    name, _, value = header.partition(": ")
    cause, location = parse_reason(value) if name == "Reason" else (None, "")
    return Failure(status, q850=cause, location=location, retry_after=float(value) if name == "Retry-After" else 0.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.statuses)) + case.reason)
def test_a_call_goes_as_foretold(node: Node, request: pytest.FixtureRequest, case: Case) -> None:
    # Named after the case, so that no gateway is left alone for what another case's gateway asked.
    statuses = {f"{request.node.callspec.id}-{n}": status for n, status in enumerate(case.statuses)}
    names = tuple(statuses)
    node.apply(
        [Route(**{"name": "explained", "prefixes": ("",), "gateways": names, **case.route})],
        [at(name, player(node, status)) for name, status in statuses.items()],
    )
    failures = {name: failure(status, case.reason) for name, status in statuses.items() if status != 200}
    expected = foretold(node, failures)
    header = case.reason or "X-Nothing: none"
    if expected.outcome == "answered":
        call = node.answered(CALLER, CALLEE, reply_header=header)
    else:
        call = node.refused(CALLER, CALLEE, expected.status, expected.refusal, reply_header=header)
    assert [attempt.uri for attempt in expected.attempts] == uris_in_order(node, call.call_id)


def player(node: Node, status: int) -> SippGateway:
    """A gateway that replies with ``status``."""
    return node.answering() if status == 200 else node.refusing(status)


def uris_in_order(node: Node, call_id: str) -> list[str]:
    """Where a call went, told by its records and by the gateways themselves."""
    decided, *failed = node.records(call_id)
    sent = [step[2] for step in decided["steps"] if step[0] == "attempt"]
    tried = [record["gateway"] for record in failed]
    if failed and "next" in failed[-1]:
        tried.append(failed[-1]["next"])
    elif not failed:
        tried.append(decided["gateways"][0])
    by_gateway = dict(zip(decided["gateways"], sent, strict=True))
    return [by_gateway[name] for name in tried]


REFUSALS = [
    ([Entry(Kind.CALLER, CALLER)], CALLEE, "blocked-caller"),
    ([Entry(Kind.CALLEE_PREFIX, "+44")], CALLEE, "blocked-callee-prefix"),
    ([Entry(Kind.CALLER, CALLER), Entry(Kind.USER_AGENT, "sipp", Action.ALLOW)], CALLEE, ""),
    ([], "+33123456789", "no-route"),
    ([], "+49123456789", "gateways-down"),
    ([], "9" * 70, "invalid-number"),
]


@pytest.mark.parametrize(("entries", "callee", "refusal"), REFUSALS)
def test_a_refusal_is_foretold(node: Node, entries: list[Entry], callee: str, refusal: str) -> None:
    gateways = [at("up", node.answering()), Gateway("down", "127.0.0.1", enabled=False)]
    node.apply([Route("uk", ("+44",), ("up",)), Route("de", ("+49",), ("down",))], gateways)
    for entry in entries:
        node.put(entry)
    found = node.explain(CallFacts(CALLER, callee, "127.0.0.1", user_agent="SIPp")).decision.outcome
    assert getattr(getattr(found, "refusal", None), "id", "") == refusal
    if refusal:
        node.refused(CALLER, callee, found.refusal.status, f"text=.{refusal}")  # type: ignore[union-attr]
    else:
        node.answered(CALLER, callee)


def test_failures_are_walked_as_they_come(node: Node) -> None:
    gateways = [at("w0", node.refusing(503)), at("w1", node.refusing(486))]
    node.apply([Route("walked", ("",), ("w0", "w1"))], gateways)
    walked = node.explain(FACTS, [Failure(503), Failure(486)])
    assert [attempt.gateway for attempt in walked.attempts] == ["w0", "w1"]
    call = node.refused(CALLER, CALLEE, 486, "As Asked")
    assert node.attempts(call.call_id) == ["w0", "w1"]
    assert [record["why"] for record in node.records(call.call_id)[1:]] == [made.why for made in walked.failures]
