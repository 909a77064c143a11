"""Quality in the policy file: what is read, what is refused, what differs, and past calls decided anew."""

from __future__ import annotations

import pytest

import policyfile
from model.policy import Strategy
from model.quality import Bounds, Quality
from policyfile.diff import diff

BASE = """\
strowger: 1
trunks:
  lab: {sources: [192.0.2.0/24]}
gateways:
  a: {address: 203.0.113.1}
  b: {address: 203.0.113.2}
media:
  fs-1: {address: 203.0.113.3}
routes:
  - {name: r, prefixes: [default], gateways: [a, b], quality: {asr: {warn: 40}}}
"""
OWN = "quality: {asr: {warn: 40}}"


def loaded(old: str = "", new: str = "") -> policyfile.LoadedPolicy:
    assert old in BASE
    return policyfile.load(BASE.replace(old, new), name="p.yaml")


def said(old: str, new: str) -> list[str]:
    with pytest.raises(policyfile.PolicyFileError) as caught:
        loaded(old, new)
    return [f"{problem.line}: {problem.field}: {problem.message}" for problem in caught.value.problems]


def test_it_is_read() -> None:
    (route,) = loaded().routes
    assert (route.strategy, route.quality) == (Strategy.PRIORITY, Quality(asr=Bounds(40)))
    whole = (
        "quality: {window: 10m, min_samples: 5, asr: {critical: 12.5}, acd: {warn: 1m, critical: 9}, "
        "pdd: {warn: 500ms}, critical: left_out}"
    )
    (route,) = loaded(OWN, whole).routes
    assert route.quality == Quality(600.0, 5, Bounds(0, 12.5), Bounds(60, 9), Bounds(0.5), "left_out")


def test_the_strategy_needs_nothing_more() -> None:
    (route,) = loaded(OWN, "strategy: quality").routes
    assert (route.strategy, route.quality) == (Strategy.QUALITY, Quality())
    (route,) = loaded(OWN, "strategy: quality, quality: {window: 1h}").routes
    assert route.quality == Quality(3600.0)
    assert loaded("quality: {asr: {warn: 40}}", "max_attempts: 2").routes[0].quality is None


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("quality: {}", "quality: holds nobody back: give 'asr', 'acd' or 'pdd'"),
        ("quality: {asr: {}}", "quality.asr: holds nobody back: give 'warn', 'critical' or both"),
        ("quality: {asr: {warn: 101}}", "quality.asr.warn: should be a number of percent, above 0 and at most 100"),
        ("quality: {asr: {warn: true}}", "quality.asr.warn: should be a number of percent"),
        ("quality: {asr: {warn: 40, critical: 40}}", "quality.asr: 'critical' should be less than 'warn'"),
        ("quality: {acd: {warn: 10s, critical: 20s}}", "quality.acd: 'critical' should be less than 'warn'"),
        ("quality: {pdd: {warn: 8s, critical: 4s}}", "quality.pdd: 'critical' should be longer than 'warn'"),
        ("quality: {asr: {warn: 40}, window: 2h}", "quality.window: should be 10s to 60m"),
        ("quality: {asr: {warn: 40}, min_samples: 0}", "quality.min_samples: should be"),
        ("quality: {asr: {warn: 40}, critical: out}", "quality.critical: should be"),
        ("quality: {asr: {low: 40}}", "quality.asr: unknown key 'low'"),
    ],
)
def test_what_is_refused(new: str, expected: str) -> None:
    found = said(OWN, new)
    assert any(f"10: routes[0].{expected}" in problem for problem in found), found


def test_media_nodes_have_no_figures() -> None:
    for more in ("strategy: quality", OWN):
        (found,) = said(f"gateways: [a, b], {OWN}", f"media: x, {more}")
        assert "media nodes have no figures" in found


def test_a_breaker_that_is_not_shared() -> None:
    policy = loaded("203.0.113.1}", "203.0.113.1, breaker: {shared: false}}").policy
    shared = {name: gateway.breaker and gateway.breaker.shared for name, gateway in policy.gateways.items()}
    assert shared == {"a": False, "b": True, "fs-1": True}


def test_what_differs() -> None:
    old, new = loaded(), loaded("warn: 40", "warn: 30")
    (part,) = diff((old.policy, old.routes), (new.policy, new.routes))
    assert [(change.field, change.old, change.new) for change in part.fields] == [("quality.asr.warn", 40, 30)]
