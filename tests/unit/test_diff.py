"""What differs between two policies, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import policyfile
from policyfile.diff import FieldChange, Kind, PartChange, diff

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
BASE = """\
strowger: 1
dialling_plans:
  gb: {country_code: "44"}
default_dialling: gb
trunks:
  office: {sources: [192.0.2.0/24, 198.51.100.0/24], dialling: gb}
gateways:
  a: {address: 203.0.113.1, no_reply: 1s}
  b: {address: 203.0.113.2}
routes:
  - {name: uk, prefixes: ["+44", "+353"], gateways: [a, b], retry: {also: [404, 480]}}
  - {name: rest, prefixes: [default], gateways: [b]}
"""
ROUTE = "  - {name: rest, prefixes: [default], gateways: [b]}\n"


def compared(old: str, new: str) -> tuple[PartChange, ...]:
    before, after = (policyfile.load(text, name="p") for text in (old, new))
    return diff((before.policy, before.routes), (after.policy, after.routes))


def changed(old: str, new: str) -> tuple[PartChange, ...]:
    """What becomes of the base when ``old`` in it is replaced by ``new``."""
    assert old in BASE
    return compared(BASE, BASE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("strowger: 1", "# a comment\nstrowger: 1"),
        ("no_reply: 1s", "no_reply: 1000ms"),
        ('["+44", "+353"]', '["00353", "0044"]'),
        ("[192.0.2.0/24, 198.51.100.0/24]", "[198.51.100.0/24, 192.0.2.0/24]"),
        ("[404, 480]", "[480, 404]"),
        ("203.0.113.2}", "203.0.113.2, enabled: true, progress: 8s}"),
    ],
)
def test_what_decides_every_call_alike_is_no_difference(old: str, new: str) -> None:
    assert changed(old, new) == ()


def test_the_order_of_parts_is_no_difference() -> None:
    first, second = BASE[BASE.index("  - {name: uk") :].splitlines(keepends=True)
    assert changed(first + second, second + first) == ()


def test_the_order_of_gateways_is_one() -> None:
    assert changed("[a, b]", "[b, a]") == (
        PartChange("route", "uk", Kind.CHANGED, (FieldChange("gateways", ["a", "b"], ["b", "a"]),)),
    )


@pytest.mark.parametrize(
    ("old", "new", "part", "field"),
    [
        ("no_reply: 1s", "no_reply: 2s", ("gateway", "a"), FieldChange("no_reply", 1.0, 2.0)),
        ("203.0.113.2}", "203.0.113.2:5070}", ("gateway", "b"), FieldChange("port", 5060, 5070)),
        ("203.0.113.2}", "203.0.113.2, rewrite: {strip: 1}}", ("gateway", "b"), FieldChange("rewrite.strip", 0, 1)),
        (", retry: {also: [404, 480]}", "", ("route", "uk"), FieldChange("retry.also", ["404", "480"], [])),
        ("dialling: gb}", "dialling: gb, anonymous: reject}", ("trunk", "office"),
         FieldChange("anonymous", "accept", "reject")),
        ("strowger: 1", "strowger: 1\nretry_after_max: 1m", ("policy", ""),
         FieldChange("retry_after_max", 300.0, 60.0)),
        ("[a, b]", "[a, b], strategy: alternate", ("route", "uk"), FieldChange("strategy", "priority", "alternate")),
    ],
)  # fmt: skip
def test_a_changed_field_is_named_with_both_values(
    old: str, new: str, part: tuple[str, str], field: FieldChange
) -> None:
    assert changed(old, new) == (PartChange(*part, Kind.CHANGED, (field,)),)


def test_a_dialling_plan_shows_wherever_it_is_used() -> None:
    field = FieldChange("dialling.country_code", "44", "353")
    assert compared(BASE, BASE.replace('"44"', '"353"')) == (
        PartChange("policy", "", Kind.CHANGED, (FieldChange("default_dialling.country_code", "44", "353"),)),
        PartChange("trunk", "office", Kind.CHANGED, (field,)),
    )


def test_a_part_that_comes_or_goes_is_told_by_what_it_says() -> None:
    added = '  - {name: premium, prefixes: ["+449"], reject: {id: no-premium, status: 403, phrase: No Premium}}\n'
    (came,) = changed(ROUTE, ROUTE + added)
    assert (came.section, came.name, came.kind) == ("route", "premium", Kind.ADDED)
    assert {field.field: field.new for field in came.fields} == {
        "prefixes": ["+449"],
        "reject.id": "no-premium",
        "reject.status": 403,
        "reject.phrase": "No Premium",
        "reject.cause": 21,
        "reject.retry_after": 0,
    }
    assert {field.old for field in came.fields} == {None}
    (gone,) = compared(BASE.replace(ROUTE, ROUTE + added), BASE)
    assert (gone.kind, {field.field: field.old for field in gone.fields}) == (
        Kind.REMOVED,
        {field.field: field.new for field in came.fields},
    )


def test_a_part_with_another_name_is_another_part() -> None:
    kinds = [(change.kind, change.section, change.name) for change in changed("name: rest", "name: other")]
    assert kinds == [(Kind.ADDED, "route", "other"), (Kind.REMOVED, "route", "rest")]


def test_a_route_that_turns_into_a_refusal_loses_its_gateways() -> None:
    (change,) = changed("gateways: [b]", "reject: {id: barred, status: 403, phrase: Barred}")
    fields = {field.field: (field.old, field.new) for field in change.fields}
    assert fields["gateways"] == (["b"], [])
    assert fields["reject.id"] == (None, "barred")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_what_programs_get_is_json(path: Path) -> None:
    changes = compared(BASE, path.read_text())
    assert changes
    data: Any = json.loads(json.dumps([change.as_dict() for change in changes]))
    assert [item["section"] for item in data] == [change.section for change in changes]
    assert compared(path.read_text(), path.read_text()) == ()
