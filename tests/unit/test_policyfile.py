from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from model.causes import Q850_NAMES, Cause
from model.narrowing import Narrowing, Window
from model.numbers import Dialling
from model.policy import (
    DEFAULT_BREAKER,
    PENALTIES,
    Breaker,
    Emergency,
    Gateway,
    Policy,
    Refusal,
    RetryRule,
    Rewrite,
    Route,
    Strategy,
    Trunk,
)
from policyfile import LoadedPolicy, PolicyFileError, load, reference, tree
from policyfile.document import DiallingPlan, Section, keys_of, section_at
from policyfile.patterns import check_pattern, check_replacement
from policyfile.problems import Problem, did_you_mean, field_of
from policyfile.tree import MAX_DEPTH, MAX_TEXT

DOCS = Path(__file__).parents[2] / "docs" / "policy.md"

FULL = r"""
strowger: 1
dialling_plans:
  gb: {country_code: "44", international_prefixes: ["00"], national_prefix: "0"}
  us: {country_code: "1", international_prefixes: ["011"], national_prefix: "1", national_lengths: [10]}
default_dialling: gb
trunks:
  office:
    sources: [192.0.2.0/24, "2001:db8::/32", 203.0.113.7]
  wholesale:
    sources: [198.51.100.200]
    dialling: us
    anonymous: reject
    trust_identity: true
gateways:
  carrier-a:
    address: 198.51.100.10:5070
    transport: tcp
    enabled: false
    no_reply: 500ms
    progress: 12
    rewrite: {strip: 1, prefix: "00", match: '^44(\d+)$', replace: '0\1'}
    retry: {also: [ambiguous, 480], never: [503, NO_ROUTE_DESTINATION], after_ringing: false}
  carrier-b:
    address: "[2001:db8:0::1]:5080"
retry_after_max: 1m
routes:
  - name: uk
    prefixes: ["+44", "020 7", "0049"]
    gateways: [carrier-a, carrier-b]
    strategy: alternate
    max_attempts: 3
    rewrite: {prefix: "9"}
    retry: {only: [NO_ROUTE_DESTINATION, "q850:41", no-reply, "480"], after_ringing: true}
    post_dial_delay: 30s
    ring: 2m
  - name: premium
    prefixes: ["+44909"]
    reject: {id: premium-barred, status: 403, phrase: Premium Numbers Barred, cause: 21}
  - name: rest
    prefixes: [default, "10"]
    gateways: [carrier-b]
"""

TROUBLE = """
trunks: {t: {sources: [192.0.2.1, no]}}
gateways: {a: {address: 044}, a: {}}
routes: [{name: x}]
"""

GB = Dialling(country_code="44", international_prefixes=("00",), national_prefix="0")
US = Dialling(country_code="1", international_prefixes=("011",), national_prefix="1", national_lengths=(10,))


def problems(text: str) -> list[str]:
    """What is said about ``text``, a line each, without the file's name."""
    with pytest.raises(PolicyFileError) as caught:
        load(text, name="policy.yaml")
    lines = str(caught.value).split("\n")
    assert len(lines) == len(caught.value.problems)
    assert all(line.startswith("policy.yaml:") for line in lines)
    return [line.removeprefix("policy.yaml:") for line in lines]


def policy(text: str) -> LoadedPolicy:
    """The policy ``text`` with the schema version put in front, on a line of its own."""
    return load(f"strowger: 1\n{text}", name="policy.yaml")


def said(text: str) -> list[str]:
    """What is said about ``text`` with the schema version put in front, on a line of its own."""
    return problems(f"strowger: 1\n{text}")


def gateway(body: str) -> str:
    return "gateways:\n  a: {address: 192.0.2.1, " + body + "}\n"


def route(body: str) -> str:
    return "gateways: {a: {address: 192.0.2.1}}\nroutes:\n  - {name: r, prefixes: ['+44'], " + body + "}\n"


def routes(*prefixes: str) -> str:
    lines = (f"  - {{name: r{i}, prefixes: {p}, gateways: [a]}}\n" for i, p in enumerate(prefixes))
    return "gateways: {a: {address: 192.0.2.1}}\nroutes:\n" + "".join(lines)


def plan(body: str) -> str:
    return "dialling_plans:\n  gb: {" + body + "}\n"


class TestResolved:
    def test_everything(self) -> None:
        loaded = load(FULL, name="policy.yaml")
        assert loaded.text == FULL
        assert loaded.policy == Policy(
            trunks=(
                Trunk("office", ("192.0.2.0/24", "2001:db8::/32", "203.0.113.7/32"), GB),
                Trunk("wholesale", ("198.51.100.200/32",), US, anonymous=False, trust_identity=True),
            ),
            gateways={
                "carrier-a": Gateway(
                    name="carrier-a",
                    address="198.51.100.10",
                    port=5070,
                    transport="tcp",
                    enabled=False,
                    rewrite=Rewrite(strip=1, match=r"^44(\d+)$", replace=r"0\1", prefix="00"),
                    retry=RetryRule(also=("ambiguous", "480"), never=("503", "q850:3"), after_ringing=False),
                    no_reply=0.5,
                    progress=12.0,
                ),
                "carrier-b": Gateway(name="carrier-b", address="[2001:db8::1]", port=5080),
            },
            dialling=GB,
            retry_after_max=60.0,
        )
        assert loaded.routes == (
            Route(
                name="uk",
                prefixes=("+44", "+44207", "+49"),
                gateways=("carrier-a", "carrier-b"),
                strategy=Strategy.ALTERNATE,
                max_attempts=3,
                rewrite=Rewrite(prefix="9"),
                retry=RetryRule(only=("q850:3", "q850:41", "no-reply", "480"), after_ringing=True),
                post_dial_delay=30.0,
                ring=120.0,
            ),
            Route(
                name="premium",
                prefixes=("+44909",),
                refusal=Refusal("premium-barred", 403, "Premium Numbers Barred", cause=21),
            ),
            Route(name="rest", prefixes=("", "10"), gateways=("carrier-b",)),
        )

    def test_defaults_are_those_of_the_model(self) -> None:
        loaded = policy(
            "dialling_plans: {p: {}}\n"
            "trunks: {t: {sources: [192.0.2.1]}}\n"
            "gateways: {g: {address: 192.0.2.1}}\n"
            "routes: [{name: r, prefixes: [default], gateways: [g]}]\n"
        )
        assert loaded.policy == Policy(
            trunks=(Trunk("t", ("192.0.2.1/32",)),), gateways={"g": Gateway("g", "192.0.2.1")}
        )
        assert loaded.routes == (Route("r", ("",), ("g",)),)

    def test_nothing_but_the_version(self) -> None:
        assert load("strowger: 1", name="x").policy == Policy()

    def test_a_plan_has_every_field_of_the_model(self) -> None:
        assert set(DiallingPlan.model_fields) == {field.name for field in fields(Dialling)}

    def test_aliases(self) -> None:
        loaded = policy(
            "gateways:\n"
            "  a: {address: 192.0.2.1, retry: &careful {never: [503]}}\n"
            "  b: {address: 192.0.2.2, retry: *careful}\n"
        )
        assert loaded.policy.gateways["a"].retry == loaded.policy.gateways["b"].retry == RetryRule(never=("503",))

    @pytest.mark.parametrize(
        ("written", "breaker"),
        [
            ("off", None),
            ("'off'", None),
            ("false", None),
            ("{}", DEFAULT_BREAKER),
            ("{trip: 4, open: 1m}", Breaker(trip=4, open=60.0)),
            ("{penalties: {capacity: 0}}", Breaker(penalties={**PENALTIES, "capacity": 0})),
        ],
    )
    def test_breaker(self, written: str, breaker: Breaker | None) -> None:
        loaded = policy(f"gateways: {{g: {{address: 192.0.2.1, breaker: {written}}}}}")
        assert loaded.policy.gateways["g"].breaker == breaker

    def test_byte_order_mark_and_windows_line_ends(self) -> None:
        assert load("\ufeffstrowger: 1\r\ntrunks: {}\r\n", name="x").policy == Policy()

    @pytest.mark.parametrize(
        ("written", "host", "port"),
        [
            ("192.0.2.1", "192.0.2.1", 5060),
            ("192.0.2.1:5062", "192.0.2.1", 5062),
            ('"[2001:DB8:0:0::1]"', "[2001:db8::1]", 5060),
            ('"[2001:db8::1]:65535"', "[2001:db8::1]", 65535),
        ],
    )
    def test_address(self, written: str, host: str, port: int) -> None:
        resolved = policy(f"gateways: {{g: {{address: {written}}}}}").policy.gateways["g"]
        assert (resolved.address, resolved.port) == (host, port)

    @pytest.mark.parametrize(
        ("written", "seconds"),
        [
            ("2", 2.0),
            ("2.5", 2.5),
            ("2s", 2.0),
            ("2.5 s", 2.5),
            ("1500ms", 1.5),
            ("0.1m", 6.0),
            ('"3"', None),
        ],
    )
    def test_duration(self, written: str, seconds: float | None) -> None:
        if seconds is None:
            assert "not a duration" in said(gateway(f"no_reply: {written}"))[0]
        else:
            assert policy(gateway(f"no_reply: {written}")).policy.gateways["a"].no_reply == pytest.approx(seconds)

    @pytest.mark.parametrize(
        ("item", "token"),
        [
            *((cause.value, cause.value) for cause in Cause if cause is not Cause.CANCELLED),
            *((name, f"q850:{number}") for name, number in Q850_NAMES.items()),
            ("480", "480"),
            ("'699'", "699"),
            ("q850:127", "q850:127"),
        ],
    )
    def test_retry_item(self, item: str, token: str) -> None:
        assert policy(gateway(f"retry: {{also: [{item}]}}")).policy.gateways["a"].retry.also == (token,)

    @pytest.mark.parametrize(
        ("prefix", "normalised"),
        [
            ("default", ""),
            ('""', ""),
            ('"+44"', "+44"),
            ('"+44 (20) 7"', "+44207"),
            ('"020"', "+4420"),
            ('"00"', "+"),
            ('"0"', "+44"),
            ('"10"', "10"),
            ("alice", "alice"),
            ('"*98"', "*98"),
        ],
    )
    def test_prefix(self, prefix: str, normalised: str) -> None:
        text = f'dialling_plans: {{gb: {{country_code: "44"}}}}\ndefault_dialling: gb\n{routes(f"[{prefix}]")}'
        assert policy(text).routes[0].prefixes == (normalised,)


class TestRefused:
    """Every fragment stands on line 2 and those that follow, behind the schema version."""

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            # Keys.
            ("gatways: {}", "2: unknown key 'gatways' (did you mean 'gateways'?)"),
            ("x: 1", "2: unknown key 'x'"),
            (gateway("adress: 1"), "3: gateways.a: unknown key 'adress' (did you mean 'address'?)"),
            (gateway("breaker: {tripp: 1}"), "3: gateways.a.breaker: unknown key 'tripp' (did you mean 'trip'?)"),
            (gateway("breaker: {trip: 0}"), "3: gateways.a.breaker.trip: should be greater than or equal to 1"),
            (gateway("breaker: {open: 10m}"), "3: gateways.a.breaker: 'open_max' is shorter than 'open'"),
            (gateway("breaker: on"), "3: gateways.a.breaker: should be a mapping (key: value)"),
            (
                gateway("breaker: {penalties: {time-oud: 1}}"),
                "3: gateways.a.breaker.penalties.time-oud: 'time-oud' is none of transport, time-out, server-fault, "
                "capacity (did you mean 'time-out'?)",
            ),
            (gateway("probe: 1"), "3: gateways.a.probe: should be true or false"),
            (gateway("retry: {Also: []}"), "3: gateways.a.retry: unknown key 'Also' (did you mean 'also'?)"),
            (
                route("gateways: [a], max_attempt: 1"),
                "4: routes[0]: unknown key 'max_attempt' (did you mean 'max_attempts'?)",
            ),
            ("trunks:\n  t: {}", "3: trunks.t.sources: is missing"),
            ("trunks: {}\ntrunks: {}", "3: trunks: given twice; the first is on line 2"),
            # Kinds of value.
            ("trunks: [a]", "2: trunks: should be a mapping (key: value)"),
            ("routes: {}", "2: routes: should be a list"),
            ("trunks:\n  t: {sources: 192.0.2.1}", "3: trunks.t.sources: should be a list"),
            ("trunks:\n  t: {sources: []}", "3: trunks.t.sources: should not be empty"),
            ("trunks:\n  t: {sources: [[a]]}", "3: trunks.t.sources[0]: should be text"),
            ("trunks:\n  t: 5", "3: trunks.t: should be a mapping (key: value)"),
            (gateway("enabled: 1"), "3: gateways.a.enabled: should be true or false"),
            (gateway("rewrite: {strip: '1'}"), "3: gateways.a.rewrite.strip: should be a whole number"),
            (gateway("rewrite: {strip: true}"), "3: gateways.a.rewrite.strip: should be a whole number"),
            (
                gateway("rewrite: {strip: -1}"),
                "3: gateways.a.rewrite.strip: should be greater than or equal to 0",
            ),
            (gateway("transport: tls"), "3: gateways.a.transport: should be 'udp' or 'tcp'"),
            # Names.
            (
                "gateways:\n  A: {address: 192.0.2.1}",
                "3: gateways.A: 'A' is not a name: 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning "
                "with a letter "
                "or digit",
            ),
            # Names that lead nowhere.
            ("default_dialling: gb", "2: default_dialling: unknown dialling plan 'gb'"),
            (
                plan("") + "trunks:\n  t: {sources: [192.0.2.1], dialling: gbr}",
                "5: trunks.t.dialling: unknown dialling plan 'gbr' (did you mean 'gb'?)",
            ),
            # Networks.
            (
                "trunks:\n  t: {sources: [192.0.2.7/24]}",
                "3: trunks.t.sources[0]: '192.0.2.7/24' lies within a network: write 192.0.2.0/24 or 192.0.2.7",
            ),
            (
                "trunks:\n  t: {sources: [192.0.2.999]}",
                "3: trunks.t.sources[0]: '192.0.2.999' is no IP address, no network such as 192.0.2.0/24, and no host "
                "name",
            ),
            (
                "trunks:\n  t: {sources: ['fe80::1%eth0']}",
                "3: trunks.t.sources[0]: 'fe80::1%eth0' has a zone, which the source of a request has not",
            ),
            (
                "trunks:\n  a: {sources: [192.0.2.7]}\n  b: {sources: [192.0.2.7/32]}",
                "4: trunks.b.sources[0]: 192.0.2.7/32 belongs to trunk 'a' already (line 3)",
            ),
            # Routes.
            (route("gateways: [b]"), "4: routes[0].gateways[0]: unknown gateway 'b'"),
            (route("strategy: priority"), "4: routes[0]: needs one of 'gateways', 'media', 'subscribers' and 'reject'"),
            (
                route("gateways: [a], reject: {id: x, status: 403, phrase: Gone}"),
                "4: routes[0]: needs one of 'gateways', 'media', 'subscribers' and 'reject', not both 'gateways' and "
                "'reject'",
            ),
            (
                route("ring: 60s, reject: {id: x, status: 403, phrase: Gone}"),
                "4: routes[0]: a route with 'reject' calls nobody, so 'ring' means nothing in it",
            ),
            (route("gateways: []"), "4: routes[0].gateways: should not be empty"),
            (
                route(f"gateways: [{', '.join('a' * 11)}]"),
                "4: routes[0].gateways: should have at most 10 items",
            ),
            (
                route("gateways: [a], max_attempts: 0"),
                "4: routes[0].max_attempts: should be greater than or equal to 1",
            ),
            (
                route("gateways: [a], max_attempts: 11"),
                "4: routes[0].max_attempts: should be less than or equal to 10",
            ),
            (
                routes("['+44']", "['+1', '+4 4']"),
                "5: routes[1].prefixes[1]: '+44' belongs to route 'r0' already (line 4)",
            ),
            (
                routes("[default]", "['']"),
                "5: routes[1].prefixes[0]: the default prefix, which matches every number, belongs "
                "to route 'r0' "
                "already (line 4)",
            ),
            (
                routes("['+44', '+44']"),
                "4: routes[0].prefixes[1]: '+44' belongs to route 'r0' already (line 4)",
            ),
            (
                routes("['+44*']"),
                "4: routes[0].prefixes[0]: '+44*' cannot begin a number (after a plus, 15 digits at most)",
            ),
            (
                routes("['+4420794600001234']"),
                "4: routes[0].prefixes[0]: '+4420794600001234' cannot begin a number (after a plus, 15 digits at most)",
            ),
            (routes("[' ']"), "4: routes[0].prefixes[0]: ' ' cannot begin a number"),
            (routes("[;npdi]"), "4: routes[0].prefixes[0]: ';npdi' cannot begin a number"),
            (routes("['a b']"), "4: routes[0].prefixes[0]: 'a b' cannot begin a number"),
            (
                "trunks:\n  office: {sources: [192.0.2.1], identity: {numbers: ['+4420', 'a b']}}",
                "3: trunks.office.identity.numbers[1]: 'a b' cannot begin a number",
            ),
            # Refusals.
            (
                route("reject: {id: x, status: 399, phrase: Gone}"),
                "4: routes[0].reject.status: should be greater than",
            ),
            (
                route("reject: {id: x, status: 700, phrase: Gone}"),
                "4: routes[0].reject.status: should be less than",
            ),
            (
                route("reject: {id: X, status: 403, phrase: Gone}"),
                "4: routes[0].reject.id: 'X' is not an id: 1 to 63 of a-z, 0-9 and '-'",
            ),
            (
                route('reject: {id: x, status: 403, phrase: "No\\r\\nVia: x"}'),
                "4: routes[0].reject.phrase: 'No\\r\\nVia: x' should be 1 to 64 printable ASCII "
                "characters without "
                "quotes or backslashes",
            ),
            (
                route("reject: {id: x, status: 403, phrase: 'N\"o'}"),
                "4: routes[0].reject.phrase: 'N\"o' should be",
            ),
            (route("reject: {id: x, status: 403, phrase: Nö}"), "4: routes[0].reject.phrase: 'Nö' should be"),
            (
                route("reject: {id: x, status: 403, phrase: Gone, cause: 128}"),
                "4: routes[0].reject.cause: should be less than or equal to 127",
            ),
            # Addresses.
            (
                "gateways:\n  a: {address: _sip._udp.example.net}",
                "3: gateways.a.address: '_sip._udp.example.net' does not begin with an IP address or a host name",
            ),
            (
                "gateways:\n  a: {address: '2001:db8::1'}",
                "3: gateways.a.address: '2001:db8::1': write an IPv6 address in brackets, as in [2001:db8::1]:5060",
            ),
            (
                "gateways:\n  a: {address: '[192.0.2.1]'}",
                "3: gateways.a.address: only an IPv6 address stands in brackets: write 192.0.2.1:port",
            ),
            ("gateways:\n  a: {address: '192.0.2.1:'}", "3: gateways.a.address: '' is not a port"),
            ("gateways:\n  a: {address: '192.0.2.1:0'}", "3: gateways.a.address: '0' is not a port"),
            ("gateways:\n  a: {address: '[::1]:65536'}", "3: gateways.a.address: '65536' is not a port"),
            (
                "gateways:\n  a: {address: 0.0.0.0}",
                "3: gateways.a.address: '0.0.0.0' is not the address of one host",
            ),
            (
                "gateways:\n  a: {address: '[ff02::1]'}",
                "3: gateways.a.address: '[ff02::1]' is not the address of one host",
            ),
            # Durations.
            (gateway("no_reply: 31s"), "3: gateways.a.no_reply: should be 100ms to 30s"),
            (gateway("progress: 0"), "3: gateways.a.progress: should be 500ms to 2m"),
            (gateway("progress: .nan"), "3: gateways.a.progress: .nan without quotes is a number to YAML"),
            (gateway("progress: 1:30"), "3: gateways.a.progress: 1:30 without quotes is a number to YAML"),
            (gateway("progress: 5 parsecs"), "3: gateways.a.progress: '5 parsecs' is not a duration"),
            (gateway("progress: true"), "3: gateways.a.progress: True is not a duration"),
            (
                route("gateways: [a], post_dial_delay: 0.5"),
                "4: routes[0].post_dial_delay: should be 1s to 3m",
            ),
            (route("gateways: [a], ring: 301"), "4: routes[0].ring: should be 5s to 5m"),
            ("retry_after_max: 61m", "2: retry_after_max: should be 0s to 60m"),
            # Retry rules.
            (
                gateway("retry: {also: [cancelled]}"),
                "3: gateways.a.retry.also[0]: cancelled cannot be retried: the caller hung up, so "
                "nobody is left to "
                "call for",
            ),
            (gateway("retry: {only: [487]}"), "3: gateways.a.retry.only[0]: 487 cannot be retried"),
            (
                gateway("retry: {only: [ORIGINATOR_CANCEL]}"),
                "3: gateways.a.retry.only[0]: ORIGINATOR_CANCEL cannot",
            ),
            (
                gateway("retry: {only: [NO_ROUTE]}"),
                "3: gateways.a.retry.only[0]: 'NO_ROUTE' is not a cause class, a SIP status from "
                "300 to 699, a Q.850 "
                "cause name or q850:1 to q850:127",
            ),
            (gateway("retry: {also: [ambigous]}"), "(did you mean 'ambiguous'?)"),
            (gateway("retry: {also: [call_rejected]}"), "(did you mean 'CALL_REJECTED'?)"),
            (gateway("retry: {also: [200]}"), "3: gateways.a.retry.also[0]: 200 is not a cause class"),
            (
                gateway('retry: {also: ["q850:0"]}'),
                "3: gateways.a.retry.also[0]: 'q850:0' is not a cause class",
            ),
            (
                gateway('retry: {also: ["q850:128"]}'),
                "3: gateways.a.retry.also[0]: 'q850:128' is not a cause class",
            ),
            (
                gateway("retry: {also: [480], only: [503]}"),
                "3: gateways.a.retry.only: stands for the whole list: put the items of 'also' into it",
            ),
            (gateway("retry: {only: []}"), "3: gateways.a.retry.only: is empty: leave it out"),
            (
                gateway('retry: {also: [NO_ROUTE_DESTINATION], never: ["q850:3"]}'),
                "3: gateways.a.retry.never: 'q850:3' stands in 'also' as well",
            ),
            # Rewriting.
            (
                gateway("rewrite: {match: '('}"),
                "3: gateways.a.rewrite.match: not a regular expression: missing )",
            ),
            (gateway("rewrite: {match: '(a+)+'}"), "3: gateways.a.rewrite.match: a repeated group contains"),
            (gateway("rewrite: {match: ''}"), "3: gateways.a.rewrite.match: should not be empty"),
            (gateway("rewrite: {replace: x}"), "3: gateways.a.rewrite.replace: needs a 'match' to replace"),
            (
                gateway(r"rewrite: {match: '(a)', replace: '\2'}"),
                "3: gateways.a.rewrite.replace: not a replacement for this pattern: invalid group reference 2",
            ),
            (
                gateway(r"rewrite: {match: '(?P<x>a)', replace: '\g<y>'}"),
                "3: gateways.a.rewrite.replace: not a replacement for this pattern: unknown group name 'y'",
            ),
            (gateway("rewrite: {match: a, replace: 'b@c'}"), "3: gateways.a.rewrite.replace: 'b@c' is not a"),
            (
                gateway("rewrite: {prefix: 'sip:'}"),
                "3: gateways.a.rewrite.prefix: 'sip:' is not at most 32 of",
            ),
            # Dialling plans.
            (plan("country_code: '+44'"), "3: dialling_plans.gb.country_code: '+44' is not a country code"),
            (
                plan("international_prefixes: ['']"),
                "3: dialling_plans.gb.international_prefixes[0]: '' is not",
            ),
            (plan("national_lengths: [16]"), "3: dialling_plans.gb.national_lengths[0]: should be less than"),
        ],
    )
    def test_with_line_field_and_reason(self, text: str, expected: str) -> None:
        (line,) = said(text)
        assert expected in line

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "1: the file is empty; the first line of a policy is 'strowger: 1'"),
            ("# nothing", "1: the file is empty"),
            ("~", "1: is empty: give it a value"),
            ("trunks: {}", "1: strowger: is missing: a policy begins with 'strowger: 1'"),
            (
                "strowger: 2",
                "1: strowger: should be 1, the version of the policy format that this program reads",
            ),
            ("strowger: true", "1: strowger: should be 1"),
            ("strowger: 1.5", "1: strowger: should be 1"),
            ("[]", "1: should be a mapping (key: value)"),
            ("just words", "1: should be a mapping (key: value)"),
        ],
    )
    def test_document(self, text: str, expected: str) -> None:
        assert expected in problems(text)[0]

    def test_all_problems_at_once_in_the_order_of_the_file(self) -> None:
        text = (
            "strowger: 1\n"
            "default_dialling: gb\n"
            "trunks:\n"
            "  a: {sources: [192.0.2.0/24]}\n"
            "  b: {sources: [192.0.2.0/24], anonymous: no}\n"
            "  c: {sources: [192.0.2.0/24]}\n"
            "gateways:\n"
            "  g: {address: example_net}\n"
            "routes:\n"
            "  - {name: x, prefixes: [default], gateways: [g], ring: 1s}\n"
            "  - {name: y, prefixes: [default], gateways: [g, h]}\n"
            "  - {name: y, prefixes: [default], gateways: [G]}\n"
        )
        assert [line.partition(": ")[0] for line in problems(text)] == ["2", "5", "6", "8", "10", "11", "12"]

    def test_a_broken_gateway_is_not_an_unknown_one(self) -> None:
        lines = said("gateways: {a: {}}\nroutes: [{name: r, prefixes: [default], gateways: [a]}]")
        assert lines == ["2: gateways.a.address: is missing"]

    def test_prefixes_are_not_judged_by_a_broken_plan(self) -> None:
        lines = said(plan("country_code: x") + "default_dialling: gb\n" + routes("['020']", "['020']"))
        assert len(lines) == 1

    def test_the_line_is_that_of_the_value_in_a_block(self) -> None:
        text = "gateways:\n  a:\n    address: 192.0.2.1\n\n    retry:\n      never:\n        - 503\n        - x\n"
        assert said(text)[0].startswith("9: gateways.a.retry.never[1]: 'x' is not")

    def test_the_line_of_an_alias_is_that_of_what_it_stands_for(self) -> None:
        text = "trunks: {}\ngateways:\n  a: {address: &x b_d}\n  b:\n    address: 192.0.2.1\n    retry: {never: [*x]}\n"
        assert [line.partition(":")[0] for line in said(text)] == ["4", "4"]

    def test_problems_are_values(self) -> None:
        with pytest.raises(PolicyFileError) as caught:
            load("strowger: 1\ntrunks: {t: {}}", name="p.yaml")
        assert caught.value.problems == (Problem("p.yaml", 2, "trunks.t.sources", "is missing"),)


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (plan("country_code: 44"), '44 without quotes is a number to YAML: write "44"'),
            (plan("country_code: 044"), '044 without quotes is a number to YAML: write "044"'),
            (plan("international_prefixes: [00]"), '00 without quotes is a number to YAML: write "00"'),
            (plan("extension_digits: 0x4"), "0x4 without quotes is a number to YAML"),
            (routes("[+44]"), '+44 without quotes is a number to YAML: write "+44"'),
            (routes("[44.5]"), '44.5 without quotes is a number to YAML: write "44.5"'),
            (gateway("retry: {only: [NO]}"), 'NO without quotes is false to YAML: write "NO"'),
            (gateway("rewrite: {prefix: on}"), 'on without quotes is true to YAML: write "on"'),
            (
                "gateways: {no: {address: 192.0.2.1}}",
                'gateways: the key no without quotes is false to YAML: write "no"',
            ),
            ("gateways: {1: {address: 192.0.2.1}}", "gateways: the key 1 without quotes is a number to YAML"),
            ("on: 1", "the key on without quotes is true to YAML"),
            ("~: 1", "the key ~ without quotes is nothing to YAML"),
            ("? [a]\n: 1", "a key must be text"),
            ("trunks:", "trunks: is empty: give it a value, or leave the key out"),
            ("trunks:\n  t:\n    sources:\n      -", "trunks.t.sources[0]: is empty"),
            (gateway("retry: {only: }"), "gateways.a.retry.only: is empty"),
            ("gateways: {a: &a {address: 192.0.2.1}, b: {<<: *a}}", "merge keys (<<) are not supported"),
            (
                "trunks: !!python/object:os.system {}",
                "the YAML tag 'tag:yaml.org,2002:python/object:os.system' is not",
            ),
            ("trunks: !!set {a}", "the YAML tag 'tag:yaml.org,2002:set' is not supported"),
            ("trunks: {a: !secret b}", "trunks.a: the YAML tag '!secret' is not supported"),
            ("retry_after_max: !!int x", "retry_after_max: x without quotes is a number to YAML"),
            ("routes: !x [{name: r, prefixes: [default]}]", "routes: the YAML tag '!x' is not supported"),
            ('retry_after_max: !!int "a\\nb"', "retry_after_max: a b without quotes is a number to YAML"),
            ("retry_after_max: !!bool x", "the YAML tag 'tag:yaml.org,2002:bool' is not supported"),
        ],
    )
    def test_traps(self, text: str, expected: str) -> None:
        assert any(expected in line for line in said(text))

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("trunks: {a: [}", 2),
            ("trunks: {}\n\tgateways: {}", 3),
            ("trunks: a: b", 2),
            ("trunks: *nobody", 2),
            ("trunks: {}\n---\ntrunks: {}", 3),
            ("trunks: 'open", 2),
            ("trunks: {}\nx: \x07", 3),
            ("trunks: {}\nx: \ud800", 3),
        ],
    )
    def test_not_yaml(self, text: str, line: int) -> None:
        (problem,) = said(text)
        assert int(problem.partition(":")[0]) == pytest.approx(line, abs=1)
        assert "YAML" in problem

    def test_without_the_c_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fast = load(FULL, name="x"), said(TROUBLE), problems("[" * 100_000)
        monkeypatch.setattr(tree, "_Loader", yaml.SafeLoader)
        assert (load(FULL, name="x"), said(TROUBLE), problems("[" * 100_000)) == fast

    def test_a_date_is_text(self) -> None:
        assert "2024-01-31" in policy("gateways: {2024-01-31: {address: 192.0.2.1}}").policy.gateways

    def test_alias_bomb(self) -> None:
        levels = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 10))
        (line,) = said(f"x0: &x0 [a]\n{levels}")
        assert "more than 500000 values" in line

    def test_alias_of_itself(self) -> None:
        assert "or one that contains itself" in said("trunks: &a [*a]")[0]

    @pytest.mark.parametrize("bracket", ["[", "{a: "])
    def test_deep_nesting(self, bracket: str) -> None:
        assert f"nested more than {MAX_DEPTH} levels deep" in problems(bracket * 100_000)[0]

    def test_too_large(self) -> None:
        assert "larger than" in problems("#" * (MAX_TEXT + 1))[0]

    def test_huge_number(self) -> None:
        assert "without quotes is a number" in said(f"retry_after_max: {'9' * 5000}")[0]

    def test_a_problem_stays_on_one_line(self) -> None:
        assert len(said(gateway('rewrite: {match: "[z-\\n]"}'))) == 1
        assert said('"a\\nb": 1') == ["2: unknown key 'a\\nb'"]
        assert said('gateways: {"a\\nb": 1}') == [
            "2: gateways.'a\\nb': 'a\\nb' is not a name: 1 to 63 of a-z, 0-9, '.', '_' and '-', "
            "beginning with a "
            "letter or digit",
            "2: gateways.'a\\nb': should be a mapping (key: value)",
        ]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS, inner, max_size=3),
    max_leaves=8,
)

WORDS = list(re.finditer(r"[^\s{}\[\],:\"']+", FULL))
TRAPS = [
    "no",
    "~",
    "044",
    "1:30",
    "",
    "*x",
    "&x",
    "!t",
    "<<",
    ".nan",
    "gb",
    "carrier-b",
    "+44",
    "default",
    "[]",
    "{}",
    "-",
]


def loads_or_says_why(text: str) -> None:
    try:
        loaded = load(text, name="policy.yaml")
    except PolicyFileError as error:
        found = error.problems
    else:
        names = set(loaded.policy.gateways)
        assert all(names.issuperset(route.gateways) for route in loaded.routes)
        return
    assert found
    assert all(1 <= problem.line <= len(text.splitlines()) + 2 for problem in found)
    assert all(len(str(problem).splitlines()) == 1 for problem in found)


class TestAnyText:
    @given(st.text())
    @settings(deadline=None)
    def test_text(self, text: str) -> None:
        loads_or_says_why(text)

    @given(st.text(alphabet=st.characters(codec="ascii") | st.sampled_from("{}[]:,-&*!|>'\"%@`#?~\n \t0123456789")))
    def test_text_like_yaml(self, text: str) -> None:
        loads_or_says_why(f"strowger: 1\n{text}")

    @given(
        st.integers(0, len(FULL)),
        st.integers(0, 12),
        st.text(max_size=4) | st.sampled_from(["no", "~", "44", "&a"]),
    )
    @settings(max_examples=300, deadline=None)
    def test_mutated_policy(self, at: int, removed: int, inserted: str) -> None:
        loads_or_says_why(FULL[:at] + inserted + FULL[at + removed :])

    @given(st.sampled_from(WORDS), st.sampled_from(TRAPS), st.sampled_from(WORDS), st.sampled_from(TRAPS))
    @settings(max_examples=300, deadline=None)
    def test_policy_with_other_words(self, first: re.Match[str], one: str, last: re.Match[str], two: str) -> None:
        text = FULL
        for word, trap in sorted([(first, one), (last, two)], key=lambda item: -item[0].start()):
            text = text[: word.start()] + trap + text[word.end() :]
        loads_or_says_why(text)

    @given(st.data(), VALUES)
    @settings(max_examples=300, deadline=None)
    def test_policy_with_another_value_somewhere(self, data: st.DataObject, value: object) -> None:
        document = yaml.safe_load(FULL)
        holder: object = document
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))  # type: ignore[arg-type]
            key = data.draw(st.sampled_from(keys))
            inner = holder[key]  # type: ignore[index]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                break
            holder = inner
        holder[key] = value  # type: ignore[index]
        loads_or_says_why(yaml.safe_dump(document))


class TestPatterns:
    @pytest.mark.parametrize(
        "pattern",
        [
            r"^\+44",
            r"^\+44(\d+)$",
            r"^(\d{3})(\d{3})(\d{4})$",
            r"(?:00|\+)44(.*)",
            r"(\d{3})+",
            r"(a+)?b",
            r"[)+(]+x*",
            r"[]a]+[^]b]*",
            r"\(a+\)+",
            r"(?P<area>\d+)(?=9)",
            r"a++",
            "a{",
            "x{,}",
        ],
    )
    def test_safe(self, pattern: str) -> None:
        check_pattern(pattern)

    @pytest.mark.parametrize(
        ("pattern", "reason"),
        [
            ("(a+)+", "repeated group"),
            ("(a*)*", "repeated group"),
            ("((a+))+", "repeated group"),
            ("(?:(a+)b)*", "repeated group"),
            ("(a|aa)+", "repeated group"),
            ("(a(b|c)?d)+", "repeated group"),
            ("(a?){20}", "repeated group"),
            ("(a+){2,}", "repeated group"),
            ("(a{1,9}){1,9}", "repeated group"),
            ("(?=a+)+", "repeated group"),
            (r"\d*\d*\d*\d*\d*x", "more than 4 repetitions"),
            ("a?a?a?a?a?", "more than 4 repetitions"),
            ("(?i)a", "only the groups"),
            ("(?#(a)", "only the groups"),
            ("(?>a)", "only the groups"),
            ("(?P<x>a)(?P=x)", "only the groups"),
            ("(", "not a regular expression"),
            ("a**", "not a regular expression"),
            ("a{99999999999}", "not a regular expression"),
            ("[[", "not a regular expression"),
            ("[[a]", "not a regular expression: Possible nested set"),
            ("a" * 201, "longer than 200"),
        ],
    )
    def test_refused(self, pattern: str, reason: str) -> None:
        with pytest.raises(ValueError, match=re.escape(reason)):
            check_pattern(pattern)

    @given(st.text(alphabet="aab.(((|)))**++??{},[]^$\\0129:=", max_size=24))
    @settings(max_examples=500, deadline=2000)
    def test_no_accepted_pattern_keeps_a_worker_busy(self, pattern: str) -> None:
        try:
            check_pattern(pattern)
        except ValueError:
            return
        # The deadline is what is tested.
        re.sub(pattern, "", "a" * 64 + "!", count=1)

    @pytest.mark.parametrize(
        ("pattern", "replacement"),
        [("(a)", r"\1"), ("(?P<x>a)", r"\g<x>"), ("(a)|b", r"0\1"), ("a", ""), ("b$", "+")],
    )
    def test_replacement(self, pattern: str, replacement: str) -> None:
        check_replacement(pattern, replacement)

    @pytest.mark.parametrize(
        ("pattern", "replacement"), [("a", r"\1"), ("(a)", r"\g<x>"), ("(a)", r"\10"), ("a", "\\")]
    )
    def test_replacement_refused(self, pattern: str, replacement: str) -> None:
        with pytest.raises(ValueError, match="not a replacement"):
            check_replacement(pattern, replacement)


class TestWording:
    def test_field_of(self) -> None:
        assert field_of(("routes", 0, "gateways", 1)) == "routes[0].gateways[1]"
        assert field_of(()) == ""
        assert field_of(("gateways", "carrier-a", "retry")) == "gateways.carrier-a.retry"

    def test_did_you_mean(self) -> None:
        assert did_you_mean("carier", ["carrier", "other"]) == " (did you mean 'carrier'?)"
        assert did_you_mean("x", ["carrier"]) == ""

    def test_section_at_what_is_none(self) -> None:
        with pytest.raises(LookupError):
            section_at(("retry_after_max", "x"))


def _kinds_of(kind: type[Section]) -> Iterator[type[Section]]:
    for found in kind.__subclasses__():
        yield found
        yield from _kinds_of(found)


class TestDocs:
    def test_the_tables_are_up_to_date(self) -> None:
        page = DOCS.read_text(encoding="utf-8")
        # To bring them up to date: python -m policyfile.reference docs/policy.md
        assert reference.updated(page) == page

    def test_every_key_is_described(self) -> None:
        sections, tables = [*_kinds_of(Section)], reference.key_tables()
        assert set(sections) == set(reference._SECTIONS.values())
        for section in sections:
            assert all(field.description for field in section.model_fields.values())
            assert all(f"| `{name}` |" in tables for name in keys_of(section))

    def test_every_cause_is_listed(self) -> None:
        table = reference.cause_tables()
        assert all(f"| `{cause}` |" in table for cause in Cause)
        assert all(name in table for name in Q850_NAMES)

    def test_update(self, tmp_path: Path) -> None:
        page = tmp_path / "policy.md"
        page.write_text(
            "top\n<!-- keys: generated -->\nstale\n<!-- end of keys -->\nmiddle\n"
            "<!-- causes: generated --><!-- end of causes -->\nend\n",
            encoding="utf-8",
        )
        reference.main(str(page))
        text = page.read_text(encoding="utf-8")
        assert "stale" not in text
        assert text.startswith("top\n<!-- keys")
        assert "\nmiddle\n" in text
        assert text.endswith("-->\nend\n")

    def test_the_worked_example_is_a_policy(self) -> None:
        example, *_ = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        loaded = load(example, name="docs/policy.md")
        assert [route.name for route in loaded.routes] == ["uk", "uk-premium", "abroad"]
        carrier = loaded.policy.gateways["carrier-a"]
        assert carrier.rewrite.apply("+442079460000") == "00442079460000"


def window(body: str) -> str:
    return route("gateways: [a], times: [{zone: Europe/London, " + body + "}]")


class TestNarrowing:
    def test_resolved(self) -> None:
        loaded = policy(
            'dialling_plans: {gb: {country_code: "44"}}\n'
            "default_dialling: gb\n"
            "trunks: {t: {sources: [192.0.2.1], tags: [staff, gold]}, u: {sources: [192.0.2.2]}}\n"
            "gateways: {a: {address: 192.0.2.1}}\n"
            "routes:\n"
            "  - name: narrow\n"
            "    prefixes: [default]\n"
            "    callers: ['020 7', '1001']\n"
            "    trunks: [u, t]\n"
            "    tags: [gold]\n"
            "    times:\n"
            "      - {zone: Europe/London, days: [mon-fri, sun], from: '09:00', to: '17:30'}\n"
            "      - {zone: America/New_York, from: '22:00', to: '06:00', first: 2026-12-24, last: 2026-12-26}\n"
            "      - {zone: UTC, days: [sat-mon]}\n"
            "    gateways: [a]\n"
        )
        assert [trunk.tags for trunk in loaded.policy.trunks] == [("staff", "gold"), ()]
        assert loaded.routes[0].narrowing == Narrowing(
            callers=("+44207", "1001"),
            trunks=("u", "t"),
            tags=("gold",),
            times=(
                Window("Europe/London", (0, 1, 2, 3, 4, 6), 540, 1050),
                Window("America/New_York", start=1320, end=360, first="2026-12-24", last="2026-12-26"),
                Window("UTC", (0, 5, 6)),
            ),
        )

    def test_a_route_that_refuses_may_be_narrowed(self) -> None:
        body = "reject: {id: x, status: 403, phrase: Barred}, callers: ['+33']"
        assert policy(route(body)).routes[0].narrowing == Narrowing(callers=("+33",))

    def test_narrowed_routes_share_prefixes(self) -> None:
        lines = "".join(
            f"  - {{name: r{number}, prefixes: ['+44'], gateways: [a]{narrowing}}}\n"
            for number, narrowing in enumerate((", callers: ['1']", ", callers: ['2']", ""))
        )
        text = "gateways: {a: {address: 192.0.2.1}}\nroutes:\n" + lines
        assert [loaded.prefixes for loaded in policy(text).routes] == [("+44",)] * 3
        after = text + "  - {name: late, prefixes: ['+1', '+44'], gateways: [a], callers: ['3']}\n"
        assert said(after) == ["7: routes[3].prefixes[1]: '+44' belongs to route 'r2' already (line 6)"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (route("gateways: [a], callers: []"), "4: routes[0].callers: should not be empty"),
            (route("gateways: [a], callers: [default]"), "every caller matches: leave 'callers' out"),
            (route("gateways: [a], callers: ['a b']"), "4: routes[0].callers[0]: 'a b' cannot begin a number"),
            (
                "trunks: {office: {sources: [192.0.2.1]}}\n" + route("gateways: [a], trunks: [offise]"),
                "5: routes[0].trunks[0]: unknown trunk 'offise' (did you mean 'office'?)",
            ),
            (
                "trunks: {office: {sources: [192.0.2.1], tags: [gold]}}\n" + route("gateways: [a], tags: [golt]"),
                "5: routes[0].tags[0]: no trunk has the tag 'golt' (did you mean 'gold'?)",
            ),
            (route("gateways: [a], times: []"), "4: routes[0].times: should not be empty"),
            (route("gateways: [a], times: [{days: [mon]}]"), "4: routes[0].times[0].zone: is missing"),
            (
                route("gateways: [a], times: [{zone: Europe/Londn}]"),
                "4: routes[0].times[0].zone: 'Europe/Londn' is not a time zone such as Europe/London "
                "(did you mean 'Europe/London'?)",
            ),
            (route("gateways: [a], times: [{zone: ../x}]"), "times[0].zone: '../x' is not a time zone"),
            (route("gateways: [a], times: [{zone: Europe}]"), "times[0].zone: 'Europe' is not a time zone"),
            (window("days: [monday]"), "days[0]: 'monday' is not a day or range of days: write mon, or mon-fri"),
            (window("days: [mon-]"), "times[0].days[0]: 'mon-' is not a day"),
            (window("days: mon-fri"), "times[0].days: should be a list"),
            (window("from: 9am"), "times[0].from: '9am' is not a time of day"),
            (window("from: '24:01'"), "times[0].from: '24:01' is not a time of day"),
            (window("to: 17:30"), '17:30 without quotes is a number to YAML: write "17:30"'),
            (window("from: '24:00', to: '06:00'"), "4: routes[0].times[0]: cannot begin at 24:00"),
            (window("from: '09:00', to: '09:00'"), "4: routes[0].times[0]: is empty"),
            (window("until: '09:00'"), "4: routes[0].times[0]: unknown key 'until'"),
            (window("form: '09:00'"), "4: routes[0].times[0]: unknown key 'form' (did you mean 'from'?)"),
            (window("start: 540"), "4: routes[0].times[0]: unknown key 'start'"),
            (window("first: 2026-02-30"), "times[0].first: '2026-02-30' is not a date such as 2026-12-24"),
            (window("first: 2026-1-1"), "times[0].first: '2026-1-1' is not a date"),
            (window("first: 2026-12-24, last: 2026-12-23"), "ends before it begins: 'last' is earlier than 'first'"),
        ],
    )
    def test_refused(self, text: str, message: str) -> None:
        lines = said(text)
        assert any(message in line for line in lines), lines


def weighted(body: str) -> str:
    return (
        "gateways: {a: {address: 192.0.2.1}, b: {address: 192.0.2.2}}\n"
        "routes:\n"
        "  - name: r\n"
        "    prefixes: ['+44']\n"
        "    gateways: [a, b]\n" + body
    )


class TestWeights:
    def test_resolved(self) -> None:
        (found,) = policy(weighted("    strategy: weighted\n    weights: {b: 0, a: 70}\n")).routes
        assert (found.strategy, found.weights) == (Strategy.WEIGHTED, (70, 0))

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("    strategy: weighted\n", "7: routes[0].strategy: 'weighted' needs 'weights'"),
            ("    weights: {a: 1, b: 1}\n", "7: routes[0].weights: means nothing without 'strategy: weighted'"),
            ("    weights: {a: 1}\n    strategy: weighted\n", "7: routes[0].weights: gateway 'b' has no weight"),
            (
                "    strategy: weighted\n    weights:\n      a: 1\n      b: 1\n      aa: 1\n",
                "11: routes[0].weights.aa: 'aa' is not among the gateways of this route (did you mean 'a'?)",
            ),
            ("    strategy: weighted\n    weights: {a: 0, b: 0}\n", "8: routes[0].weights: some gateway needs"),
            (
                "    strategy: weighted\n    weights: {a: 1.5, b: 1}\n",
                "8: routes[0].weights.a: should be a whole number",
            ),
            ("    strategy: weighted\n    weights: {a: -1, b: 1}\n", "8: routes[0].weights.a: should be greater"),
            ("    strategy: weighted\n    weights: {a: 1001, b: 1}\n", "8: routes[0].weights.a: should be less"),
            ("    strategy: weighted\n    weights: [1, 2]\n", "8: routes[0].weights: should be a mapping"),
        ],
    )
    def test_refused(self, body: str, message: str) -> None:
        lines = said(weighted(body))
        assert any(line.startswith(message) for line in lines), lines


def emergency(body: str) -> str:
    return (
        "gateways: {a: {address: 192.0.2.1}, 'off': {address: 192.0.2.2, enabled: false}}\n"
        "emergency: {" + body + "}\n"
        "routes: [{name: r, prefixes: [default], gateways: [a]}]\n"
    )


class TestEmergency:
    def test_resolved(self) -> None:
        loaded = policy(emergency("numbers: ['112', '999'], gateways: ['off', a], rewrite: {prefix: '9'}"))
        assert loaded.policy.emergency == Emergency(("112", "999"), ("off", "a"), Rewrite(prefix="9"))

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("numbers: ['112']", "3: emergency.gateways: is missing"),
            ("gateways: [a]", "3: emergency.numbers: is missing"),
            ("numbers: [112], gateways: [a]", '112 without quotes is a number to YAML: write "112"'),
            ("numbers: ['+112'], gateways: [a]", "3: emergency.numbers[0]: '+112' is not 1 to 8 digits"),
            ("numbers: [], gateways: [a]", "3: emergency.numbers: should not be empty"),
            ("numbers: ['112'], gateways: [b]", "3: emergency.gateways[0]: unknown gateway 'b'"),
            ("numbers: ['112'], gateways: ['off']", "3: emergency.gateways: every one of them is disabled"),
            ("numbers: ['112'], gateways: [a], gateway: x", "3: emergency: unknown key 'gateway' (did you mean"),
        ],
    )
    def test_refused(self, body: str, message: str) -> None:
        lines = said(emergency(body))
        assert any(message in line for line in lines), lines

    def test_what_is_wrong_in_it_hides_nothing_else(self) -> None:
        text = emergency("numbers: ['x'], gateways: [a]").replace("gateways: [a]}]", "gateways: [b]}]")
        assert [line.split(":")[1] for line in said(text)] == [" emergency.numbers[0]", " routes[0].gateways[0]"]
