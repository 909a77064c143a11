"""Where calls go: the longest prefix, the rewriting of numbers, and the refusals that tell why there is no way."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from harness.node import GB, TRUNK, Node, at
from harness.raw import Endpoint, reply_to, status

from model.policy import Gateway, Refusal, Rewrite, Route, Trunk

CALLER = "1001"
LONDON = "02079460000"


PREFIXES = {
    "any": "",
    "extensions": "10",
    "britain": "+44",
    "london": "+4420",
    "one": "+442079460001",
    "france": "+33",
}
LONGEST = [
    ("02079460001", "one"),
    ("+442079460001", "one"),
    ("02079460002", "london"),
    ("00442179460002", "britain"),
    ("+33123456789", "france"),
    ("+34123456789", "any"),
    ("1002", "extensions"),
    ("10", "extensions"),
    ("4420", "any"),
    ("alice", "any"),
]


@pytest.fixture
def by_prefix(node: Node) -> Node:
    """A node with a route for each of PREFIXES, told apart by what it puts in front of the number."""
    gateway = node.answering()
    routes = [
        Route(name, (prefix,), ("g",), rewrite=Rewrite(match=r"^\+", prefix=f"{name}-"))
        for name, prefix in PREFIXES.items()
    ]
    node.apply(routes, [at("g", gateway)])
    return node


@pytest.mark.parametrize(("callee", "route"), LONGEST)
def test_the_longest_prefix_decides(by_prefix: Node, callee: str, route: str) -> None:
    call = by_prefix.answered(CALLER, callee)
    assert by_prefix.records(call.call_id)[0]["route"] == route


def test_a_route_may_have_several_prefixes(node: Node) -> None:
    node.apply([Route("two", ("+44", "10"), ("g",))], [at("g", node.answering())])
    for callee in (LONDON, "1002"):
        node.answered(CALLER, callee)
    node.refused(CALLER, "1234567", 404, "text=.no-route")


def test_a_number_without_a_route_is_told_so(node: Node) -> None:
    node.apply([Route("r", ("+44",), ("g",))], [Gateway("g", "127.0.0.1")])
    node.refused(CALLER, "+33123456789", 404, "cause=3;text=.no-route")


def test_a_route_whose_gateways_are_disabled_is_told_apart(node: Node) -> None:
    gateways = [Gateway(name, "127.0.0.1", enabled=False) for name in ("a", "b")]
    node.apply([Route("r", ("",), ("a", "b"))], gateways)
    node.refused(CALLER, LONDON, 503, "cause=38;text=.gateways-down.*Retry-After: 10[^0-9]")


def test_a_disabled_gateway_is_passed_over(node: Node) -> None:
    a, b = node.answering(), node.answering()
    node.apply([Route("r", ("",), ("a", "b"))], [at("a", a, enabled=False), at("b", b)])
    node.answered(CALLER, LONDON)
    assert not a.calls()


def test_a_route_may_refuse_with_its_own_words(node: Node) -> None:
    refusal = Refusal("premium-rate", 603, "Not From Here", cause=21, retry_after=7)
    routes = [
        Route("premium", ("+449",), refusal=refusal),
        Route("rest", ("",), ("g",)),
    ]
    node.apply(routes, [at("g", node.answering())])
    node.refused(CALLER, "0900123456", 603, "^SIP/2.0 603 Not From Here.*cause=21;text=.premium-rate.*Retry-After: 7")
    node.answered(CALLER, LONDON)


def test_a_caller_from_nowhere_is_refused(node: Node) -> None:
    gateway = node.answering()
    node.apply([Route("r", ("",), ("g",))], [at("g", gateway)], trunks=[Trunk("lab", ("127.0.0.1/32",), GB)])
    node.refused(CALLER, LONDON, 403, "cause=21;text=.unknown-source", source="127.0.0.7")
    node.answered(CALLER, LONDON)


def test_the_trunk_with_the_longest_network_says_how_numbers_are_dialled(node: Node) -> None:
    # On the wider trunk the same digits belong to no country.
    trunks = [Trunk("wide", ("127.0.0.0/8",)), replace(TRUNK, name="narrow", sources=("127.0.0.7/32",))]
    gateway = node.answering()
    node.apply([Route("r", ("",), ("g",))], [at("g", gateway)], trunks=trunks)
    calls = [node.answered(CALLER, LONDON, source=source) for source in ("127.0.0.1", "127.0.0.7")]
    users = [user_of(uri) for call in calls for uri in gateway.calls(call.call_id)]
    assert users == [LONDON, "+442079460000"]


def user_of(uri: str) -> str:
    """The user part of a SIP URI."""
    return uri.removeprefix("sip:").rpartition("@")[0]


STRIP = Rewrite(strip=3, prefix="0")
PLAIN = Rewrite()
PATTERN = Rewrite(match=r"^\+44(\d{2})(\d+)$", replace=r"\1x\2", prefix="9")
SENT = {STRIP: "02079460000", PLAIN: "+442079460000", PATTERN: "920x79460000"}


@pytest.mark.parametrize("order", list(itertools.permutations((STRIP, PLAIN, PATTERN))), ids=lambda _: "")
def test_a_gateways_rewriting_is_its_own(node: Node, order: tuple[Rewrite, ...]) -> None:
    players = [node.refusing(503) for _ in order]
    gateways = [at(str(n), players[n], rewrite=rewrite) for n, rewrite in enumerate(order)]
    node.apply([Route("r", ("",), ("0", "1", "2"), max_attempts=5)], gateways)
    call = node.refused(CALLER, "00442079460000", 500, "text=.gateways-failed")
    seen = [[user_of(uri) for uri in player.calls(call.call_id)] for player in players]
    expected = [SENT[rewrite] for rewrite in order]
    assert seen == [[expected[0]] * 2, [expected[1]] * 2, [expected[2]]]


def test_the_routes_rewriting_comes_before_the_gateways(node: Node) -> None:
    players = [node.refusing(503), node.answering()]
    gateways = [at("0", players[0], rewrite=Rewrite(strip=2)), at("1", players[1], rewrite=Rewrite(prefix="#31#"))]
    node.apply([Route("r", ("+44",), ("0", "1"), rewrite=Rewrite(strip=3, prefix="00"))], gateways)
    call = node.answered(CALLER, LONDON)
    seen = [user_of(uri) for player in players for uri in player.calls(call.call_id)]
    assert seen == ["2079460000", "#31#002079460000"]


def test_a_pattern_that_does_not_match_changes_nothing(node: Node) -> None:
    gateway = node.answering()
    node.apply([Route("r", ("",), ("g",))], [at("g", gateway, rewrite=PATTERN)])
    call = node.answered(CALLER, "1002")
    assert user_of(gateway.calls(call.call_id)[0]) == "91002"


def workers(node: Node) -> set[int]:
    """The process ids of the workers that take calls over UDP."""
    return {pid for pid, what in node.processes().items() if what.startswith("udp receiver")}


def deciding_worker(node: Node, call_id: str) -> int:
    """The process that decided a call, from our own id of it."""
    return int(node.records(call_id)[0]["call"].split("-")[1], 16)


def test_a_changed_route_is_in_force_on_the_next_call_in_every_worker(node: Node) -> None:
    players = {name: node.answering() for name in ("left", "right")}
    gateways = [at(name, player) for name, player in players.items()]
    deciders: dict[str, set[int]] = {"left": set(), "right": set()}
    for name in ("left", "right"):
        node.apply([Route("moving", ("",), (name,))], gateways)
        for _ in range(200):
            call = node.answered(CALLER, LONDON)
            assert players[name].calls(call.call_id), f"a call went elsewhere than to {name}"
            deciders[name].add(deciding_worker(node, call.call_id))
            if deciders[name] == workers(node):
                break
    assert deciders["left"] == deciders["right"] == workers(node)


def test_a_call_under_way_keeps_the_plan_that_it_began_with(node: Node) -> None:
    with Endpoint() as caller, Endpoint() as first, Endpoint() as second:
        old = [Gateway(name, "127.0.0.1", gw.port, no_reply=60.0) for name, gw in (("a", first), ("b", second))]
        node.apply([Route("r", ("",), ("a", "b"))], old)
        invite = caller.invite()
        caller.send(invite, node.sip)
        attempt, kamailio = first.next_invite()
        node.apply([Route("r", ("+33",), ("other",))], [Gateway("other", "127.0.0.1", 9)])
        first.send(reply_to(attempt, b"503 Unavailable"), kamailio)
        second.refuse_next(b"486 Busy Here")
        assert status(caller.final_reply(invite, node.sip)) == 486
    node.refused(CALLER, LONDON, 404, "text=.no-route")
