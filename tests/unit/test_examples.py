from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kemi.explain import Snapshot, explain
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from model.numbers import normalise
from model.policy import Strategy
from model.quality import Bounds, Quality
from policyfile import LoadedPolicy, load
from state import layout

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.yaml"))


def example(name: str) -> LoadedPolicy:
    return load((EXAMPLES / name).read_text(encoding="utf-8"), name=name)


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_a_policy(name: str) -> None:
    loaded = example(name)
    assert loaded.policy.trunks
    assert loaded.routes


@pytest.mark.parametrize("name", NAMES)
def test_every_example_says_what_it_shows(name: str) -> None:
    assert (EXAMPLES / name).read_text(encoding="utf-8").startswith("# ")


def test_the_docs_name_every_example() -> None:
    page = (EXAMPLES.parent / "docs" / "policy.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []


def test_rewriting_gives_each_gateway_its_spelling() -> None:
    gateways = example("number-rewriting.yaml").policy.gateways
    assert {name: gateway.rewrite.apply("+442079460000") for name, gateway in gateways.items()} == {
        "e164": "+442079460000",
        "double-zero": "00442079460000",
        "national": "02079460000",
        "wholesale": "7788#442079460000",
    }


def test_rewriting_on_routes() -> None:
    routes = {route.name: route for route in example("number-rewriting.yaml").routes}
    assert routes["extensions"].rewrite.apply("8001") == "2-8001"
    assert routes["reading"].rewrite.apply("+441734123456") == "+441189123456"


def test_both_sides_dial_the_same_number() -> None:
    office, wholesale = example("office-and-wholesale.yaml").policy.trunks
    assert normalise("020 7946 0000", office.dialling) == "+442079460000"
    assert normalise("011 44 20 7946 0000", wholesale.dialling) == "+442079460000"
    assert normalise("001 212 555 0100", office.dialling) == "+12125550100"
    assert normalise("(212) 555-0100", wholesale.dialling) == "+12125550100"


@pytest.mark.parametrize(
    ("source", "caller", "callee", "moment", "route"),
    [
        ("192.0.2.1", "1001", "02079460100", "2026-01-29T12:00", "support-by-day"),
        ("192.0.2.1", "1001", "02079460100", "2026-01-31T13:00", "support-by-day"),
        ("192.0.2.1", "1001", "02079460100", "2026-01-31T18:00", "support-by-night"),
        ("192.0.2.1", "1001", "02079460100", "2026-12-25T12:00", "support-closed"),
        ("198.51.100.1", "1001", "0161", "2026-07-30T21:30+01:00", "abroad-barred"),
        ("198.51.100.1", "1001", "01611234567", "2026-07-30T22:00+01:00", "uk-at-night"),
        ("198.51.100.1", "1001", "01611234567", "2026-07-30T21:59+01:00", "uk"),
        ("192.0.2.1", "02079460001", "0033123456789", "2026-07-30T21:59", "abroad"),
        ("192.0.2.1", "02079461001", "0033123456789", "2026-07-30T21:59", "abroad-barred"),
        ("198.51.100.1", "02079460001", "0033123456789", "2026-07-30T21:59", "abroad-barred"),
    ],
)
def test_office_hours(source: str, caller: str, callee: str, moment: str, route: str) -> None:
    loaded = example("office-hours.yaml")
    view = View(layout.build(loaded.policy, loaded.routes, ()).get)
    when = datetime.fromisoformat(moment)
    now = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    found = explain(CallFacts(caller, callee, source), view, Snapshot(), now, {})
    assert (found.route or found.refusal) == route


@pytest.mark.parametrize(
    ("source", "callee", "media", "found"),
    [
        ("203.0.113.40", "01611234567", "192.168.1.9 RTP/AVP", {"carrier": "the caller is behind NAT"}),
        ("198.51.100.1", "01611234567", "198.51.100.2 RTP/AVP", {}),
        ("198.51.100.1", "01611234567", "198.51.100.2 RTP/SAVP", {}),
        ("198.51.100.1", "02079460000", "198.51.100.2 RTP/AVP", {"secure-carrier": "SRTP to RTP"}),
        ("198.51.100.1", "02079460000", "198.51.100.2 RTP/SAVP", {}),
        ("198.51.100.1", "08001234567", "198.51.100.2 RTP/AVP", {"carrier": "always"}),
        ("198.51.100.1", "08001234567", "-", {"carrier": "always"}),
        ("203.0.113.40", "01611234567", "", {}),
    ],
)
def test_phones_behind_nat(source: str, callee: str, media: str, found: dict[str, str]) -> None:
    loaded = example("phones-behind-nat.yaml")
    view = View(layout.build(loaded.policy, loaded.routes, ()).get)
    told = explain(CallFacts("1001", callee, source, media=media), view, Snapshot(), 0.0, {})
    assert told.outcome == "answered"
    assert {of: why for what, of, why in told.steps if what == "media relay"} == found


class TestRetryByHangupCause:
    route = example("retry-by-hangup-cause.yaml").routes[0]

    def test_goes_round_two_gateways_in_three_attempts(self) -> None:
        assert self.route.gateways == ("gw1", "gw2")
        assert self.route.strategy is Strategy.PRIORITY
        assert self.route.max_attempts == 3

    @pytest.mark.parametrize(
        "failure",
        [
            Failure(404, q850=3),
            Failure(485),
            Failure(408, local=True),
            Failure(504),
            Failure(488),
            Failure(606),
            Failure(403),
            Failure(603),
            Failure(400),
            Failure(500),
            Failure(503),
        ],
    )
    def test_retried(self, failure: Failure) -> None:
        assert self.route.retry.verdict(failure) is True

    @pytest.mark.parametrize(
        "failure",
        [Failure(404), Failure(480), Failure(486), Failure(484), Failure(502), Failure(503, q850=34)],
    )
    def test_not_retried(self, failure: Failure) -> None:
        assert self.route.retry.verdict(failure) is False


def test_subscribers_have_voicemail() -> None:
    loaded = example("voicemail.yaml")
    view = View(layout.build(loaded.policy, loaded.routes, (), version=1).get)
    failed = {"pbx": Failure(408, local=True, ringing=True)}
    for callee, source, route, app, reason in (
        ("1001", "198.51.100.1", "subscribers", "voicemail", "no-answer"),
        ("+442079460050", "198.51.100.1", "sales", "voicemail", "no-answer"),
        ("*97", "192.0.2.10", "mailbox", "mailbox", "direct"),
        ("*98", "192.0.2.10", "pilot", "voicemail", "direct"),
        ("0018005550100", "192.0.2.10", "abroad-and-at-home", "", ""),
    ):
        found = explain(CallFacts("1002", callee, source), view, Snapshot(), 0.0, failed)
        assert (found.route, found.app, found.reason) == (route, app, reason)
    assert explain(CallFacts("1", "*97", "198.51.100.1"), view, Snapshot(), 0.0, {}).refusal == "no-route"


def test_quality() -> None:
    loaded = example("quality.yaml")
    uk, abroad = loaded.routes
    assert (uk.strategy, abroad.strategy) == (Strategy.QUALITY, Strategy.LEAST_COST)
    assert (uk.quality, abroad.quality) == (
        Quality(1800.0, 40),
        Quality(900.0, 50, Bounds(40, 15), Bounds(30, 8), Bounds(5, 10), "left_out"),
    )
    breakers = {name: gateway.breaker and gateway.breaker.shared for name, gateway in loaded.policy.gateways.items()}
    assert [name for name, shared in breakers.items() if not shared] == ["partner"]
