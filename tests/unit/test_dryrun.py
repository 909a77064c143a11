"""Past calls decided anew: which are told to have gone elsewhere, and what no record is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import policyfile
from kemi import dryrun
from kemi.dryrun import Group, Report
from kemi.view import View
from model.entries import Action, Entry, Kind
from state import layout

NOW = 1_800_000_000.0
POLICY = """\
strowger: 1
dialling_plans:
  gb: {{country_code: "44"}}
default_dialling: gb
trunks:
  office: {{sources: [192.0.2.0/24]}}
gateways:
  a: {{address: 203.0.113.1}}
  b: {{address: {b}, rewrite: {{prefix: "{prefix}"}}}}
routes:
  - {{name: uk, prefixes: ["+44"], gateways: {uk}, post_dial_delay: {delay}}}
  - {{name: abroad, prefixes: [default], {abroad}}}
"""
PLAIN = {"b": "203.0.113.2", "prefix": "", "uk": "[a, b]", "abroad": "gateways: [b]", "delay": "20s"}
BARRED = "reject: {id: no-abroad, status: 403, phrase: No Abroad}"


def loaded(**changes: str) -> policyfile.LoadedPolicy:
    return policyfile.load(POLICY.format(**{**PLAIN, **changes}), name="policy")


def record(callee: str = "02079460000", *, at: float = NOW, **facts: Any) -> dict[str, Any]:
    given = {"caller": "07700900123", "callee": callee, "source": "192.0.2.7", **facts}
    return {"event": "decided", "call": f"c-{callee}", "call_id": "x@y", "at": at, "facts": given, "steps": []}


def lines(records: Iterable[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(item).encode() + b"\n" for item in records]


def run(some: Iterable[bytes], entries: Iterable[Entry] = (), since: float = 0.0, **changes: str) -> Report:
    """Lines under the plain policy and a changed one, with the entries of the node."""
    old, new = loaded(), loaded(**changes)
    live = layout.build(old.policy, old.routes, entries, version=7).get
    return dryrun.run(some, View(live), View(dryrun.combined(live, new.policy, new.routes)), since=since)


def groups(report: Report) -> list[tuple[str, str, int]]:
    return [(group.old, group.new, group.calls) for group in report.sorted_groups()]


def test_calls_that_go_elsewhere_are_grouped_and_counted_the_largest_first() -> None:
    calls = [record(f"0207946{number:04}") for number in range(5)] + [record(f"0033{n}99000000") for n in range(9)]
    report = run(lines(calls), uk="[b]", abroad=BARRED)
    assert groups(report) == [("b", "refused 403 no-abroad", 9), ("a, b", "b", 5)]
    assert (report.calls, report.changed, report.skipped) == (14, 14, 0)
    examples = report.sorted_groups()[1].examples
    assert [example.callee for example in examples] == ["02079460000", "02079460001", "02079460002"]
    assert (examples[0].call, examples[0].caller, examples[0].at) == ("c-02079460000", "07700900123", NOW)


@pytest.mark.parametrize("changes", [{}, {"delay": "12s"}])
def test_what_changes_no_destination_is_no_difference(changes: dict[str, str]) -> None:
    report = run(lines([record(), record("0033199000000")]), **changes)
    assert (report.calls, report.changed, report.groups) == (2, 0, {})


@pytest.mark.parametrize(
    ("changes", "new"),
    [
        ({"prefix": "9"}, "b, but another number"),
        ({"b": "203.0.113.9"}, "b, but another address"),
        ({"b": "203.0.113.9", "prefix": "9"}, "b, but another number and another address"),
    ],
)
def test_the_same_gateway_may_get_another_number_or_be_elsewhere(changes: dict[str, str], new: str) -> None:
    assert groups(run(lines([record("0033199000000")]), **changes)) == [("b", new, 1)]


def test_lists_are_those_of_the_node_at_the_time_of_the_call() -> None:
    entries = [
        Entry(Kind.CALLEE, "+33199000000", expires=NOW + 10),
        Entry(Kind.CALLER_PREFIX, "+4477"),
        Entry(Kind.SOURCE, "192.0.2.64/26"),
        Entry(Kind.USER_AGENT, "scanner"),
        Entry(Kind.CALLER, "1001", Action.ALLOW),
    ]
    calls = [
        record("0033199000000", caller="1002"),
        record("0033199000000", caller="1002", at=NOW + 20),
        record(),
        record(caller="1002", source="192.0.2.65"),
        record(caller="1002", user_agent="A Scanner/1"),
        record("0033199000001", caller="1001", user_agent="A Scanner/1"),
    ]
    report = run(lines(calls), entries, uk="[b]", abroad=BARRED)
    # Who is blocked under both is no difference.
    assert groups(report) == [("b", "refused 403 no-abroad", 2)]
    assert report.calls == 6


def test_calls_before_the_time_asked_for_and_other_events_do_not_count() -> None:
    failed = {"event": "failed", "call": "c", "at": NOW, "gateway": "a"}
    report = run(lines([record(at=NOW - 1), record(), failed]), since=NOW, uk="[b]")
    assert (report.calls, report.skipped) == (1, 0)


def test_facts_of_another_release_do_not_matter() -> None:
    assert run(lines([record(novel=[1], user_agent="x")])).calls == 1


WHOLE = lines([record()])[0]
UNUSABLE = [
    b"", b"\n", WHOLE[: len(WHOLE) // 2], b"\xff\xfe\n", b"\0" * 50, b"[]\n", b"7\n", b"null\n",
    b"{}\n", b"[" * 100_000, b'{"event": 3}', b'{"event": "decided"}', *lines([
        {**record(), "at": "now"}, {**record(), "at": 10**400}, {**record(), "at": float("nan")},
        {**record(), "facts": []}, {**record(), "facts": {}}, {**record(), "call": None}, record(source="nowhere"),
        record(caller=7), record(private="yes"), record("\ud800"),
    ])
]  # fmt: skip


def test_lines_that_are_no_records_are_skipped_and_counted() -> None:
    report = run([WHOLE, *UNUSABLE, WHOLE], uk="[b]")
    assert (report.calls, report.skipped) == (2, len(UNUSABLE))


@given(st.binary(max_size=60), st.integers(0, len(WHOLE)))
def test_no_line_stops_it(noise: bytes, where: int) -> None:
    report = run([WHOLE[:where] + noise + WHOLE[where:]])
    assert report.calls + report.skipped <= 1


def test_a_route_that_alternates_begins_with_its_first_gateway_under_both() -> None:
    assert groups(run(lines([record()] * 3), uk="[a, b], strategy: alternate")) == []


def test_a_new_policy_reads_only_its_own_routes() -> None:
    report = run(lines([record()]), abroad="gateways: [b]", uk="[b]")
    assert report.sorted_groups() == [
        Group("a, b", "b", 1, [dryrun.Example("c-02079460000", NOW, "07700900123", "02079460000")])
    ]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+442079460000", "+442•••••••••"),
        ("02079460000", "0207•••••••"),
        ("1001", "••••"),
        ("alice.smith", "•" * 11),
        ("", ""),
    ],
)
def test_a_masked_number_tells_at_most_how_it_begins(number: str, shown: str) -> None:
    assert dryrun.masked(number) == shown
