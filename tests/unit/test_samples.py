"""What each event of a call adds to a gateway's figures, and what it shows of the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from agent.adopting import LATELY, adopted
from agent.assembly import Assembly, parse
from agent.samples import Sample
from agent.seen import counted
from model.open_breaker import AFTER, OpenBreaker
from model.quality import Figures, slot_of

Event = dict[str, Any]
ASKED = {
    "event": "decided", "call": "x", "call_id": "i", "from_tag": "t", "at": 100.0, "facts": {"callee": "1"},
    "steps": [], "version": 1, "route": "r", "gateways": ["a", "b"],
}  # fmt: skip


def failed(at: float, gateway: str = "a", **more: Any) -> Event:
    return {"event": "failed", "call": "x", "at": at, "gateway": gateway, "status": 503, "cause": "server-fault",
            "why": "", "rang": None, **more}  # fmt: skip


def answered(at: float, rang: float | None = None) -> Event:
    return {"event": "answered", "call": "x", "at": at, "status": 200, "rang": rang}


def ended(at: float) -> Event:
    return {"event": "ended", "call": "x", "call_id": "i", "at": at, "by": "caller"}


def samples(*events: Event) -> list[Sample]:
    assembly = Assembly("n")
    assembly.feed((ASKED, *events))
    return assembly.samples


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([failed(102.0)], [Sample("a", 102.0, Figures(1), 0.0)]),
        (
            [failed(102.0, next="b"), answered(105.0, rang=104.0), ended(165.0)],
            [
                Sample("a", 102.0, Figures(1), 0.0),
                Sample("b", 105.0, Figures(1, 1, 1, 2000), 105.0),
                Sample("b", 165.0, Figures(ended=1, talk=60_000), 0.0),
            ],
        ),
        # Without ringing, the answer is what the caller waits for.
        ([answered(101.5)], [Sample("a", 101.5, Figures(1, 1, 1, 1500), 101.5)]),
        # A second answer of a forked call is none.
        ([answered(101.0), answered(102.0)], [Sample("a", 101.0, Figures(1, 1, 1, 1000), 101.0)]),
        # The end's line first, as two workers write them: the length of that call is not known.
        ([ended(102.0), answered(101.0)], [Sample("a", 101.0, Figures(1, 1, 1, 1000), 101.0)]),
        # Busy: the gateway works. Silence after ringing: it rang.
        ([failed(103.0, cause="final", status=486)], [Sample("a", 103.0, Figures(1), 103.0)]),
        ([failed(160.0, cause="no-reply", rang=101.0)], [Sample("a", 160.0, Figures(1, 0, 1, 1000), 101.0)]),
        ([{"event": "cancelled", "call": "x", "at": 109.0, "rang": None}], [Sample("a", 109.0, Figures(1), 0.0)]),
        # Kamailio was started anew, and the INVITE came again.
        (
            [
                {"event": "started", "at": 101.0},
                {**ASKED, "call": "y", "at": 102.0, "gateways": ["b"]},
                answered(103.0),
            ],
            [Sample("b", 103.0, Figures(1, 1, 1, 1000), 103.0)],
        ),
        # Its INVITE came twice: the first decision was carried out.
        ([{**ASKED, "call": "y", "at": 100.5, "gateways": ["b"]}, failed(102.0)], [Sample("a", 102.0, Figures(1), 0)]),
    ],
)
def test_what_an_event_tells(events: list[Event], expected: list[Sample]) -> None:
    assert samples(*events) == expected


def test_refused_calls_and_phones_of_subscribers_are_no_gateways() -> None:
    assembly = Assembly("n")
    refused = {key: value for key, value in ASKED.items() if key != "gateways"} | {"refusal": "no-route", "status": 404}
    assembly.feed([refused, {**ASKED, "call": "y", "call_id": "j", "gateways": ["subscriber:1001"]}])
    assembly.feed([{**answered(101.0), "call": "y"}])
    assert assembly.samples == []


def test_samples_are_counted_by_slot() -> None:
    one = Sample("a", 100.0, Figures(1, 1, 1, 500), 0.0)
    assert counted([one, one._replace(at=109.9), one._replace(at=110.0)]) == {
        slot_of(100.0): {"a": Figures(2, 2, 2, 1000)},
        slot_of(110.0): {"a": Figures(1, 1, 1, 500)},
    }
    # Whichever of its addresses.
    assert counted([one._replace(gateway="a/192.0.2.1:5060")]) == {slot_of(100.0): {"a": Figures(1, 1, 1, 500)}}


def test_lines_of_breakers_are_understood() -> None:
    line = b'{"event":"tripped","gateway":"a","at":1.5,"until":31.5,"since":1,"failures":{"time-out":5},"shared":true}'
    event = parse(line)
    assert event is not None
    assembly = Assembly("n")
    assembly.feed([event])
    assert assembly.breakers == [event]
    assembly.taken()
    assert assembly.breakers == []
    assert parse(line.replace(b'"a"', b"7")) is None


NOW = 1000.0
TRIP = OpenBreaker("one", "a", at=NOW, until=NOW + 30, since=NOW - 5)


@pytest.mark.parametrize(
    ("node", "sign", "now", "goes_by"),
    [
        ("two", 0.0, NOW, True),
        ("two", NOW - 6, NOW, True),
        ("two", NOW - 5, NOW, False),
        ("two", NOW + 1, NOW + 20, False),
        ("one", 0.0, NOW, False),
        ("two", 0.0, NOW + 30 + AFTER, False),
    ],
)
def test_who_goes_by_a_trip(node: str, sign: float, now: float, goes_by: bool) -> None:
    assert adopted([TRIP], node, {"a": sign}, now) == ({"a": TRIP} if goes_by else {})


def test_a_sign_of_just_now_is_waited_for() -> None:
    quick = OpenBreaker("one", "a", at=NOW, until=NOW + 30, since=NOW)
    assert adopted([quick], "two", {"a": NOW - 0.1}, NOW) == {}
    assert adopted([quick], "two", {"a": NOW - 0.1}, NOW + LATELY) == {"a": quick}


def test_of_several_the_one_that_lasts_longest() -> None:
    longer = OpenBreaker("three", "a", at=NOW, until=NOW + 60, since=NOW - 5)
    assert adopted([TRIP, longer], "two", {}, NOW) == {"a": longer}
    assert OpenBreaker.decode(longer.encode()) == longer
