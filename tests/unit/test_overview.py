"""What calls add to the figures of all of them, and what is made of those."""

from __future__ import annotations

from typing import Any

import pytest

from agent.assembly import Assembly
from agent.overview import by_slot
from operations import overview
from state.store import Store

FACTS = {"caller": "1001", "callee": "1002", "source": "127.0.0.1"}
STEPS: list[list[str]] = []


def _decided(at: float, call: str = "a", **more: Any) -> dict[str, Any]:
    return {
        "event": "decided", "at": at, "call": call, "call_id": f"{call}@x", "facts": FACTS, "steps": STEPS,
        **({"gateways": ["one", "two"]} if "refusal" not in more else {}), **more,
    }  # fmt: skip


def _failed(at: float, call: str = "a", **more: Any) -> dict[str, Any]:
    failure = {"gateway": "one", "status": 503, "cause": "capacity", "why": "by the table"}
    return {"event": "failed", "at": at, "call": call, **failure, **more}


ANSWERED_CALL = [
    _decided(100.0), _failed(101.0, next="two"),
    {"event": "answered", "at": 109.5, "call": "a", "status": 200, "rang": 103.0},
    {"event": "ended", "at": 131.0, "call": "a", "by": "caller"},
]  # fmt: skip


def _tallies(*batches: list[dict[str, Any]]) -> dict[int, dict[str, int]]:
    """What was counted in slots of ten seconds, an agent being killed and restored between two batches."""
    assembly, found = Assembly("node"), dict[int, dict[str, int]]()
    for batch in batches:
        assembly = Assembly.restored("node", {call: assembly.stored(call) for call in assembly.calls})
        assembly.feed(batch)
        for (size, slot), counts in by_slot(assembly.tallies).items():
            if size == 10:
                known = found.setdefault(slot, {})
                for what, amount in counts.items():
                    known[what] = known.get(what, 0) + amount
    return found


@pytest.mark.parametrize("cut", range(len(ANSWERED_CALL) + 1))
def test_a_call_is_counted_once_however_its_events_are_cut(cut: int) -> None:
    assert _tallies(ANSWERED_CALL[:cut], ANSWERED_CALL[cut:]) == {
        10: {"begun": 1, "rang": 1, "delay": 3000, "answered": 1},
        13: {"over": 1},
    }


def test_an_invite_that_came_twice_is_one_call() -> None:
    again = _decided(100.6, "b") | {"call_id": "a@x"}
    assert _tallies([ANSWERED_CALL[0], again, *ANSWERED_CALL[1:]])[10]["begun"] == 1


def test_a_failed_call_counts_its_last_gateways_cause_and_a_refused_one_its_refusal() -> None:
    refused = _decided(105.0, "b", refusal="blocked-caller", status=403)
    assert _tallies([_decided(100.0), _failed(102.0), refused]) == {
        10: {"begun": 2, "over": 2, "failed": 1, "refused": 1, "cause:capacity": 1, "cause:blocked-caller": 1}
    }


def test_a_cancelled_call_rang_but_has_no_cause() -> None:
    cancelled = {"event": "cancelled", "at": 108.0, "call": "a", "rang": 101.5}
    counts = {"begun": 1, "rang": 1, "delay": 1500, "over": 1, "cancelled": 1}
    assert _tallies([_decided(100.0), cancelled]) == {10: counts}


def test_an_answer_that_nobody_wrote_down_counts_with_the_end() -> None:
    assembly = Assembly("node")
    assembly.feed([_decided(100.0), {"event": "ended", "at": 130.0, "call": "a", "by": "caller"}])
    assembly.close(200.0)
    assert by_slot(assembly.tallies)[10, 13] == {"over": 1, "answered": 1}


def _figures(monkeypatch: pytest.MonkeyPatch, counted: dict[int, dict[str, int]], live: int) -> dict[str, Any]:
    """Of the 15 minutes up to second 1000, and five seconds."""

    def read(_store: Store, size: int, slots: range) -> tuple[list[dict[str, int]], int]:
        assert size == 10
        return [counted.get(slot, {}) for slot in slots], live

    monkeypatch.setattr("state.overview.read", read)
    return overview.figures(None, 15, 1005.0)  # type: ignore[arg-type]


def test_concurrent_calls_are_counted_back_from_those_that_are_live(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = {97: {"begun": 5}, 98: {"begun": 2, "over": 3}, 100: {"begun": 7, "over": 1}}
    found = _figures(monkeypatch, counted, live=12)
    # Six more since the last point: there were 6 at its end, and 2 before all of this.
    assert found["concurrent"][-4:] == [2, 7, 6, 6]
    assert found["now"]["concurrent"] == 12
    assert len(found["concurrent"]) == len(found["calls_per_second"]) == 90
    assert (found["begin"], found["end"], found["step"]) == (100, 1000, 10)


def test_ratio_and_delay_are_of_what_became_known(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"begun": 10, "answered": 3, "failed": 1, "refused": 4, "cancelled": 1, "rang": 4, "delay": 6000}
    found = _figures(monkeypatch, {99: counts}, live=0)
    assert (found["asr"][-1], found["pdd"][-1]) == (60.0, 1.5)
    assert (found["asr"][0], found["pdd"][0], found["now"]["calls"]) == (None, None, 10)


def test_causes_beyond_the_most_frequent_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {f"cause:{name}": 10 - index for index, name in enumerate("abcdefg")}
    found = _figures(monkeypatch, {99: counts}, live=0)
    assert list(found["failures"]) == ["a", "b", "c", "d", "e", "other"]
    assert found["failures"]["other"][-1] == 5 + 4
    assert found["now"]["failures"] == sum(counts.values())
