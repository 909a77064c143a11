"""What events of the spool add to metrics, and that each adds it once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent import spool_reader
from agent.assembly import Assembly, parse
from agent.metered import SUBSCRIBERS, Metered, metered
from agent.metering import Counted
from agent.spool_reader import Position
from telemetry import agent as metrics

CALLER, CALLEE = "442079460123", "442079460999"
FACTS = {"caller": CALLER, "callee": CALLEE, "source": "192.0.2.1"}


def decided(call: str = "c1", at: float = 100.0, **more: Any) -> dict[str, Any]:
    """A decision."""
    event = {"event": "decided", "call": call, "call_id": f"{call}@host", "from_tag": "t", "at": at, "facts": FACTS}
    outcome = {} if "refusal" in more else {"route": "r", "gateways": ["a", "b"]}
    return {**event, "steps": [["callee", CALLEE, "known"]], **outcome, **more}


def failed(at: float = 101.0, **more: Any) -> dict[str, Any]:
    """A failed attempt."""
    event = {"event": "failed", "call": "c1", "at": at, "attempt": 1, "gateway": "a", "status": 503}
    return {**event, "cause": "capacity", "why": "", "rang": None, **more}


def answered(at: float = 103.0, **more: Any) -> dict[str, Any]:
    """An answer."""
    return {"event": "answered", "call": "c1", "at": at, "attempt": 1, "status": 200, "rang": None, **more}


ENDED = {"event": "ended", "call": "c1", "at": 110.0, "by": "caller"}


def what(*events: dict[str, Any]) -> list[Metered]:
    """All that these add, one after the other."""
    return [one for count in range(1, len(events) + 1) for one in metered(list(events[:count]))]


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (decided(), "relay"),
        (decided(app="voicemail", reason="direct"), "media"),
        (decided(refusal="blocked-callee", status=403), "blocked-callee"),
    ],
)
def test_a_decision_by_its_outcome(event: dict[str, Any], outcome: str) -> None:
    assert what(event) == [Metered("decision", (outcome,))]


def test_how_long_a_decision_took() -> None:
    assert what(decided(took_us=250))[1] == Metered("decision time", (), 0.00025)


def test_a_retransmitted_invite_is_one_decision_and_a_restart_makes_another() -> None:
    assert what(decided(), decided(at=100.5)) == [Metered("decision", ("relay",))]
    restarted = {"event": "started", "at": 100.3}
    assert metered([decided(), restarted, decided(at=101.0)]) == [Metered("decision", ("relay",))]


def test_attempts_delay_and_talk_of_a_call_that_the_second_gateway_answered() -> None:
    assert what(decided(), failed(next="b"), answered(rang=102.5), ENDED) == [
        Metered("decision", ("relay",)),
        Metered("attempt", ("a", "capacity")),
        Metered("attempt", ("b", "answered")),
        Metered("dial delay", ("b",), 2.5),
        Metered("talk", (), 7.0),
    ]


def test_the_first_that_rings_ends_the_delay_and_there_is_one() -> None:
    found = what(decided(), failed(rang=100.75, next="b"), answered(rang=102.5))
    assert [one for one in found if one.what == "dial delay"] == [Metered("dial delay", ("a",), 0.75)]


def test_a_call_that_never_rang_has_no_delay() -> None:
    cancelled = {"event": "cancelled", "call": "c1", "at": 105.0, "rang": None}
    assert what(decided(), cancelled)[1:] == [Metered("attempt", ("a", "cancelled"))]


def test_an_answer_or_end_that_comes_twice_counts_once() -> None:
    once = what(decided(), answered(), ENDED)
    assert what(decided(), answered(), answered(), ENDED, ENDED) == once


def test_members_are_their_gateway_and_subscribers_have_no_name() -> None:
    assert what(decided(gateways=["a/192.0.2.9:5060"]), answered())[1].labels == ("a", "answered")
    assert what(decided(gateways=["subscriber:442079460555"]), answered())[1].labels == (SUBSCRIBERS, "answered")


def test_no_number_is_in_what_is_counted() -> None:
    found = str(what(decided(), failed(next="subscriber:442079460999"), answered(), ENDED))
    assert CALLER not in found
    assert CALLEE not in found


# Once each, whatever is read again


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Three calls in two files."""
    calls = [[decided(f"c{n}"), answered(call=f"c{n}"), {**ENDED, "call": f"c{n}"}] for n in range(3)]
    lines = [json.dumps(event, separators=(",", ":")) + "\n" for call in calls for event in call]
    (tmp_path / "calls-20260101T00.jsonl").write_text("".join(lines[:4]))
    (tmp_path / "calls-20260101T01.jsonl").write_text("".join(lines[4:]))
    return tmp_path


def test_reading_ends_where_it_is_told_to(spool: Path) -> None:
    first = spool_reader.read(spool, Position(), limit=1)
    assert not first.whole
    again = spool_reader.read(spool, Position(), until=first.position)
    assert (again.lines, again.position, again.whole) == (first.lines, first.position, False)
    assert Position().behind(first.position)
    assert not first.position.behind(first.position)
    rest = spool_reader.read(spool, first.position)
    assert len(first.lines) + len(rest.lines) == 9
    assert first.position.behind(rest.position)


def test_what_a_flushed_redis_makes_it_read_again_ends_also_where_a_file_is_gone(spool: Path) -> None:
    until = Position("calls-20260101T00.jsonl", {"calls-20260101T01.jsonl": 10_000})
    (spool / "calls-20260101T01.jsonl").unlink()
    found = spool_reader.read(spool, Position(), until=until)
    assert (len(found.lines), found.position) == (4, until)


def counters() -> dict[str, float]:
    """What the agent's metrics stand at."""
    families = (metrics.DECISIONS, metrics.ATTEMPTS, metrics.CALLS, metrics.TALK_SECONDS)
    samples = [sample for family in families for metric in family.collect() for sample in metric.samples]
    return {f"{sample.name}{sorted(sample.labels.items())}": sample.value for sample in samples}


def test_events_are_counted_as_they_are_read_and_not_again(spool: Path) -> None:
    counted, assembly, before = Counted(), Assembly("n"), counters()
    assembly.feed(event for event in map(parse, spool_reader.read(spool, Position()).lines) if event)
    counted.take(assembly, anew=False)
    after = counters()
    grown = {name: after[name] - before.get(name, 0.0) for name in after if after[name] != before.get(name, 0.0)}
    assert grown == {
        "strowger_decisions_total[('outcome', 'relay')]": 3.0,
        "strowger_attempts_total[('cause', 'answered'), ('gateway', 'a')]": 3.0,
        "strowger_calls_total[('outcome', 'answered')]": 3.0,
        "strowger_talk_seconds_total[]": 21.0,
    }
    restored = Assembly("n")
    restored.feed(event for event in map(parse, spool_reader.read(spool, Position()).lines) if event)
    counted.take(restored, anew=True)
    assert counters() == after
    assert not restored.metered
