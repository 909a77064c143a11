"""Routes that share a prefix, and gateways that share a route: which take a call, told by the calls themselves."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from harness.node import GB, TRUNK, Node, at

from model.narrowing import Narrowing, Window
from model.policy import Refusal, Route, Strategy, Trunk

CALLER, LONDON = "1001", "02079460000"
OFFICE = Trunk("office", ("127.0.0.7/32",), GB, trust_identity=True, tags=("staff", "london"))
TRUNKS = (TRUNK, OFFICE)


def route_of(node: Node, caller: str = CALLER, callee: str = LONDON, **options: str) -> str:
    """The route that an answered call took."""
    call = node.answered(caller, callee, **options)
    return str(node.records(call.call_id)[0]["route"])


def apply(node: Node, *routes: Route) -> None:
    """Put routes in force that lead to one gateway."""
    node.apply(routes, [at("g", node.answering())], trunks=TRUNKS)


def narrowed(name: str, narrowing: Narrowing | None = None, prefix: str = "+44") -> Route:
    """A route to the gateway."""
    return Route(name, (prefix,), ("g",), narrowing=narrowing)


def passed_over(node: Node, call_id: str) -> list[str]:
    """What the trace of a call says of the routes that were not there for it."""
    return [step[2] for step in node.records(call_id)[0]["steps"] if step[0] == "passed over"]


def test_a_route_is_there_for_its_callers_trunks_and_tags(node: Node) -> None:
    apply(
        node,
        narrowed("directors", Narrowing(callers=("+44207946", "2000"))),
        narrowed("staff", Narrowing(tags=("staff",))),
        narrowed("office", Narrowing(trunks=("office",))),
        narrowed("rest"),
    )
    assert route_of(node) == "rest"
    assert route_of(node, source="127.0.0.7") == "staff"
    assert route_of(node, "2000") == "directors"
    assert route_of(node, "02079461234") == "directors"


def test_the_trace_says_why_a_route_was_passed_over(node: Node) -> None:
    apply(
        node,
        narrowed("callers", Narrowing(callers=("+33",))),
        narrowed("trunks", Narrowing(trunks=("office",))),
        narrowed("tags", Narrowing(tags=("staff",))),
        narrowed("shorter", prefix=""),
    )
    call = node.answered(CALLER, LONDON)
    assert passed_over(node, call.call_id) == [
        "callers: the caller begins with none of +33",
        "trunks: not for trunk lab",
        "tags: trunk lab has no tag staff",
    ]
    assert node.records(call.call_id)[0]["route"] == "shorter"


def test_where_no_route_is_there_the_call_is_refused(node: Node) -> None:
    apply(node, narrowed("staff", Narrowing(tags=("staff",))))
    node.refused(CALLER, LONDON, 404, "text=.no-route")


def test_a_route_that_refuses_may_be_narrowed(node: Node) -> None:
    barred = Route(
        "barred", ("+44",), refusal=Refusal("barred", 403, "Barred", 21), narrowing=Narrowing(callers=("10",))
    )
    apply(node, barred, narrowed("rest"))
    node.refused(CALLER, LONDON, 403, "text=.barred")
    assert route_of(node, "2000") == "rest"


def test_the_longest_prefix_comes_before_the_order_of_the_file(node: Node) -> None:
    apply(node, narrowed("britain"), narrowed("london", Narrowing(tags=("staff",)), "+4420"))
    assert route_of(node) == "britain"
    assert route_of(node, source="127.0.0.7") == "london"


def minutes(zone_offset: int) -> int:
    """Minutes after midnight now, so many hours ahead of UTC."""
    now = datetime.fromtimestamp(time.time(), UTC)
    return ((now.hour + zone_offset) * 60 + now.minute) % 1440


@pytest.mark.parametrize(("zone", "offset"), [("UTC", 0), ("Asia/Tokyo", 9)])
def test_a_route_is_there_at_its_times(node: Node, zone: str, offset: int) -> None:
    # An hour before and after now, over midnight if need be.
    begin, end = (minutes(offset) - 60) % 1440, (minutes(offset) + 60) % 1440
    apply(
        node,
        narrowed("closed", Narrowing(times=(Window(zone, start=end, end=begin),))),
        narrowed("open", Narrowing(times=(Window(zone, start=begin, end=end),))),
    )
    call = node.answered(CALLER, LONDON)
    assert node.records(call.call_id)[0]["route"] == "open"
    (why,) = passed_over(node, call.call_id)
    assert why.startswith("closed: not at this time: ")
    assert why.endswith(f" in {zone}")


# Weights


def first_of(draw: float) -> str:
    """Where a call goes that draws this number, by the weights below."""
    return "left" if draw < 0.75 else "right"


def test_calls_are_shared_out_as_they_draw(node: Node) -> None:
    players = {name: node.answering() for name in ("left", "right")}
    route = Route("drawn", ("",), tuple(players), strategy=Strategy.WEIGHTED, weights=(3, 1))
    node.apply([route], [at(name, player) for name, player in players.items()])
    draws = []
    for _ in range(60):
        call = node.answered(CALLER, LONDON)
        decided = node.records(call.call_id)[0]
        draws.append(next(float(step[1]) for step in decided["steps"] if step[0] == "draw"))
        assert decided["gateways"][0] == first_of(draws[-1])
        assert players[first_of(draws[-1])].calls(call.call_id)
    # No two workers draw the same numbers.
    assert len(set(draws)) == len(draws)
    # 45 are to be expected; fewer than 20 in one of many billions of runs.
    assert sum(draw < 0.75 for draw in draws) >= 20


def test_the_rest_of_a_weighted_route_follows_in_the_order_that_was_drawn(node: Node) -> None:
    names = ("w1", "w2", "last")
    gateways = [at(name, node.refusing(503)) for name in names]
    node.apply([Route("drawn", ("",), names, strategy=Strategy.WEIGHTED, weights=(1, 1, 0))], gateways)
    call = node.refused(CALLER, LONDON, 500, "text=.gateways-failed")
    tried = node.attempts(call.call_id)
    assert tried == node.records(call.call_id)[0]["gateways"]
    assert sorted(tried[:2]) == ["w1", "w2"]
    assert tried[2] == "last"
