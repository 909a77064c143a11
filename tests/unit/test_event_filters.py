"""Who gets which event, and what becomes of those that nobody takes in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.errors import InvalidError
from operations.event_filters import VALUES_MAX, Wanted, anchors_of
from operations.event_hub import Follower, Hub, Past
from operations.event_queue import Lost, Waiting
from operations.events import is_id, ordered

NAMES = ["a", "b", "c"]


def event(kind: str = "call.started", id: str = "1-0", **data: Any) -> dict[str, Any]:
    return {"id": id, "kind": kind, "at": 1.0, "data": data}


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({}, True),
        ({"kind": "call."}, True),
        ({"kind": ["breaker.", "call.started"]}, True),
        ({"kind": "call.ended"}, False),
        ({"call": "x"}, True),
        ({"call": "i@h"}, True),
        ({"call": "y"}, False),
        ({"number": "1001"}, True),
        ({"number": ["9", "2002"]}, True),
        ({"number": "100"}, False),
        ({"gateway": "g2"}, True),
        ({"gateway": "g3"}, False),
        ({"trunk": "office", "gateway": "g1"}, True),
        ({"trunk": "office", "gateway": "g3"}, False),
        ({"trunk": []}, True),
    ],
)
def test_what_a_filter_lets_pass(given: dict[str, Any], passes: bool) -> None:
    one = event(call="x", call_id="i@h", caller="1001", callee="2002", trunk="office", gateways=["g1", "g2"])
    assert Wanted.parse(given).passes(one) is passes


@pytest.mark.parametrize(
    "given",
    [{"colour": "red"}, {"kind": 7}, {"kind": [""]}, {"call": ["x" * 201]}, {"number": ["1"] * (VALUES_MAX + 1)},
     {"trunk": {"a": "b"}}, {"gateway": None}],
)  # fmt: skip
def test_what_is_no_filter(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        Wanted.parse(given)


some = st.lists(st.sampled_from(NAMES), max_size=2)
filters = st.fixed_dictionaries(dict.fromkeys(("call", "trunk", "gateway", "number"), some)).map(Wanted.parse)
events = st.fixed_dictionaries({}, optional={
    **{name: st.sampled_from(NAMES) for name in ("call", "call_id", "trunk", "caller", "callee", "gateway")},
    "gateways": some,
}).map(lambda data: event(**data))  # fmt: skip


@given(filters, events)
def test_whoever_wants_an_event_is_found_by_it(wanted: Wanted, one: dict[str, Any]) -> None:
    if wanted.passes(one):
        assert set(wanted.anchors()) & set(anchors_of(one))


def test_the_oldest_give_way_and_are_counted() -> None:
    waiting = Waiting(size=2)
    for number in range(1, 6):
        waiting.put(f"{number}-0", f"event {number}")
    assert waiting.take() == Lost(3, "1-0", "3-0")
    assert [waiting.take(), waiting.take(), waiting.take()] == ["event 4", "event 5", None]
    waiting.put("6-0", "event 6")
    assert waiting.take() == "event 6"


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_every_event_is_sent_or_counted(steps: list[bool], size: int) -> None:
    waiting, put, sent, lost = Waiting(size), 0, list[int](), 0
    for is_put in [*steps, *[False] * (size + 1)]:
        if is_put:
            put += 1
            waiting.put(f"{put}-0", str(put))
        elif isinstance(found := waiting.take(), Lost):
            lost += found.count
            assert int(found.last.partition("-")[0]) - int(found.first.partition("-")[0]) + 1 == found.count
        elif found is not None:
            sent.append(int(found))
        assert len(waiting) <= size
    assert len(sent) + lost == put
    assert sent == sorted(set(sent))


def test_ids() -> None:
    assert [is_id(text) for text in ("1-0", "17", "0-0", "1-0-0", "x", "", "-1", "1" * 40)] == [
        True, True, True, False, False, False, False, False,
    ]  # fmt: skip
    assert ordered("9-10") > ordered("9-9") > ordered("8-99")


class Stream(Hub):
    """A hub over a list, which grows while pages are read."""

    def __init__(self, held: int, growth: list[int]) -> None:
        super().__init__("redis://127.0.0.1:1/0")
        self.entries = [event(id=f"{number}-0") for number in range(1, held + 1)]
        self.growth = growth
        self._last = f"{held}-0"

    async def _page(self, after: str) -> list[dict[str, Any]]:
        found = [one for one in self.entries if ordered(one["id"]) > ordered(after)][:500]
        # While the answer is on its way more is appended, and given out.
        for _ in range(self.growth.pop() if self.growth else 0):
            self.append()
        return found

    def append(self) -> None:
        self.entries.append(event(id=f"{len(self.entries) + 1}-0"))
        self._last = self.entries[-1]["id"]
        self._give(self.entries[-1])


@given(st.integers(0, 1200), st.lists(st.integers(0, 3), max_size=6), st.integers(0, 1200))
def test_who_resumes_gets_each_event_once_and_in_order(held: int, growth: list[int], since: int) -> None:
    async def run() -> None:
        hub = Stream(held, growth)
        follower = Follower([])
        follower.after = f"{min(since, held)}-0"
        got = [text async for text in Past(hub, follower, replay=True).messages()]
        hub.append()
        while follower.waiting:
            text = await follower.next()
            assert isinstance(text, str)
            got.append(text)
        first = min(since, held) + 1
        assert [f'"id":"{number}-0"' in text for number, text in enumerate(got, first)] == [True] * len(got)
        assert len(got) == len(hub.entries) - first + 1
        await hub.close()

    asyncio.run(run())


def test_a_filter_that_changes_before_the_past_is_sent_waits_for_it() -> None:
    async def run() -> None:
        hub = Stream(3, [])
        follower = Follower([Wanted(kind=("call.",))])
        follower.after = "1-0"
        hub.change(follower, [Wanted()])
        hub.append()
        assert (follower.waiting, hub.followers) == (0, 0)
        assert len([text async for text in Past(hub, follower, replay=True).messages()]) == 3
        hub.append()
        assert (follower.waiting, hub.followers) == (1, 1)
        await hub.close()

    asyncio.run(run())
