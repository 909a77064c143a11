from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from model.entries import Action, Entry, Kind
from model.narrowing import Narrowing, Window
from model.numbers import Dialling
from model.policy import (
    DEFAULT_BREAKER,
    PENALTIES,
    Breaker,
    Drain,
    Emergency,
    Gateway,
    LeastCost,
    MediaApp,
    Policy,
    Refusal,
    RetryRule,
    Rewrite,
    Route,
    Strategy,
    Trunk,
)
from state import codec

quick = settings(deadline=None, max_examples=60)
texts = st.text(max_size=12)
tuples = st.lists(texts, max_size=3).map(tuple)
seconds = st.floats(0, 4e9, allow_nan=False)

diallings = st.builds(
    Dialling,
    country_code=texts,
    international_prefixes=tuples,
    national_prefix=texts,
    national_lengths=st.lists(st.integers(1, 15), max_size=3).map(tuple),
    e164_without_plus=st.booleans(),
    extension_digits=st.integers(0, 15),
)
rewrites = st.builds(Rewrite, strip=st.integers(0, 9), match=texts, replace=texts, prefix=texts)
retry_rules = st.builds(
    RetryRule, also=tuples, never=tuples, only=tuples, after_ringing=st.sampled_from((None, True, False))
)
trunks = st.builds(
    Trunk,
    name=texts,
    sources=tuples,
    dialling=diallings,
    anonymous=st.booleans(),
    trust_identity=st.booleans(),
    tags=tuples,
)
gateways = st.builds(
    Gateway,
    name=texts,
    address=texts,
    port=st.integers(1, 65535),
    transport=st.sampled_from(("udp", "tcp")),
    enabled=st.booleans(),
    rewrite=rewrites,
    retry=retry_rules,
    no_reply=seconds,
    progress=seconds,
    breaker=st.none()
    | st.builds(
        Breaker,
        trip=st.integers(1, 99),
        restore=st.integers(1, 9),
        open=seconds,
        open_max=seconds,
        penalties=st.fixed_dictionaries(dict.fromkeys(PENALTIES, st.integers(0, 9))),
    ),
    probe=st.booleans(),
    media=st.booleans(),
)
refusals = st.builds(
    Refusal, id=texts, status=st.integers(400, 699), phrase=texts, cause=st.integers(1, 127), retry_after=st.integers(0)
)
windows = st.builds(
    Window,
    zone=texts,
    days=st.lists(st.integers(0, 6), max_size=3).map(tuple),
    start=st.integers(0, 1440),
    end=st.integers(0, 1440),
    first=texts,
    last=texts,
)
narrowings = st.builds(
    Narrowing, callers=tuples, trunks=tuples, tags=tuples, times=st.lists(windows, max_size=2).map(tuple)
)
routes = st.builds(
    Route,
    name=texts,
    prefixes=tuples,
    gateways=tuples,
    strategy=st.sampled_from(Strategy),
    weights=st.lists(st.integers(0, 1000), max_size=3).map(tuple),
    max_attempts=st.integers(0, 10),
    rewrite=rewrites,
    retry=retry_rules,
    post_dial_delay=seconds,
    ring=seconds,
    refusal=st.none() | refusals,
    narrowing=st.none() | narrowings,
    media=st.none() | st.builds(MediaApp, app=texts, args=texts),
    least_cost=st.none()
    | st.builds(LeastCost, st.integers(1, 10), st.integers(0, 2**63), st.sampled_from(("last", "left_out"))),
)
policies = st.builds(
    Policy,
    trunks=st.lists(trunks, max_size=3).map(tuple),
    gateways=st.lists(gateways, max_size=3).map(lambda items: {item.name: item for item in items}),
    dialling=diallings,
    retry_after_max=seconds,
    emergency=st.none() | st.builds(Emergency, numbers=tuples, gateways=tuples, rewrite=rewrites),
    currency=texts,
    exchange=st.dictionaries(texts, st.integers(1, 2**63), max_size=2),
)
entries = st.builds(
    Entry,
    kind=st.sampled_from(Kind),
    value=texts,
    action=st.sampled_from(Action),
    expires=seconds,
    reason=texts,
    created=seconds,
)


@quick
@given(policies)
def test_a_policy_comes_back_the_same(policy: Policy) -> None:
    text = codec.encode_policy(policy)
    assert codec.decode_policy(text) == codec.decode_policy(text.encode()) == policy


@quick
@given(routes)
def test_a_route_comes_back_the_same(route: Route) -> None:
    text = codec.encode_route(route)
    assert codec.decode_route(text) == codec.decode_route(text.encode()) == route


@quick
@given(st.lists(routes, max_size=3).map(tuple))
def test_routes_come_back_in_their_order(some: tuple[Route, ...]) -> None:
    text = codec.join_routes(map(codec.encode_route, some))
    assert codec.decode_routes(text) == codec.decode_routes(text.encode()) == some


def test_what_was_written_before_routes_could_be_narrowed_is_read() -> None:
    """A record then held the one route of its prefix, and the policy in force is read by whatever version runs."""
    route, policy = json.loads(codec.encode_route(Route("r", ("+44",)))), Policy(trunks=(Trunk("t", ()),))
    assert not {"narrowing", "weights"} & set(route)
    assert codec.decode_routes(json.dumps(route)) == (Route("r", ("+44",)),)
    old = json.loads(codec.encode_policy(policy))
    del old["trunks"][0]["tags"], old["emergency"]
    assert codec.decode_policy(json.dumps(old)) == policy


def test_what_was_written_before_gateways_had_a_breaker_is_read() -> None:
    policy = Policy(gateways={"a": Gateway("a", "192.0.2.1")})
    written = json.loads(codec.encode_policy(policy))["gateways"]["a"]
    # Plans tell the default by identity, and what is left out is what an earlier version can read, too.
    assert not {"breaker", "probe"} & set(written)
    assert codec.decode_policy(codec.encode_policy(policy)).gateways["a"].breaker is DEFAULT_BREAKER


@quick
@given(st.builds(Drain, texts, texts, seconds, texts, seconds))
def test_a_drain_comes_back_the_same(drain: Drain) -> None:
    assert codec.decode_drain(drain.gateway, codec.encode_drain(drain)) == drain


@quick
@given(policies, st.lists(routes, max_size=3).map(tuple))
def test_a_document_comes_back_the_same(policy: Policy, some: tuple[Route, ...]) -> None:
    assert codec.decode_document(codec.encode_document(policy, some)) == (policy, some)


@quick
@given(entries)
def test_an_entry_comes_back_the_same(entry: Entry) -> None:
    field = codec.entry_field(entry.kind, entry.value)
    assert codec.decode_entry(field, codec.encode_entry(entry)) == entry


@quick
@given(policies)
def test_what_decodes_is_of_the_same_types_and_can_be_hashed(policy: Policy) -> None:
    decoded = codec.decode_policy(codec.encode_policy(policy))
    for gateway in decoded.gateways.values():
        assert hash(gateway) == hash(policy.gateways[gateway.name])
    assert hash(decoded.trunks) == hash(policy.trunks)


@quick
@given(st.tuples(st.sampled_from(Kind), texts), st.tuples(st.sampled_from(Kind), texts))
def test_two_entries_have_one_name_only_if_they_are_one(one: tuple[Kind, str], other: tuple[Kind, str]) -> None:
    assert (codec.entry_field(*one) == codec.entry_field(*other)) == (one == other)


@quick
@given(policies)
def test_the_same_policy_is_written_the_same_whatever_the_order_of_its_gateways(policy: Policy) -> None:
    turned = replace(policy, gateways=dict(reversed(policy.gateways.items())))
    assert codec.encode_policy(turned) == codec.encode_policy(policy)


def test_a_value_of_an_entry_may_hold_what_separates_names() -> None:
    entry = Entry(Kind.USER_AGENT, "sip:vicious")
    assert codec.decode_entry("user-agent:sip:vicious", codec.encode_entry(entry)) == entry


def test_what_is_written_is_ascii_on_one_line() -> None:
    written = codec.encode_entry(Entry(Kind.CALLER, "x", reason="“é”\n\u2028"))
    assert written.isascii()
    assert "\n" not in written
    assert json.loads(written)
