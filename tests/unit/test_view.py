"""What a view finds in a snapshot, compared with looking at every record."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemi import view as view_module
from kemi.view import NoPolicyError, View
from model.entries import Entry, Kind
from model.policy import Policy, Route, Trunk
from state import layout

# Few digits, so that prefixes meet numbers often.
digits = st.text("01", max_size=6)
prefixes = st.sets(digits, max_size=12)


def view_of(routes: tuple[Route, ...] = (), entries: tuple[Entry, ...] = (), *trunks: Trunk) -> View:
    """A view of a snapshot made of these."""
    return View(layout.build(Policy(trunks=trunks), routes, entries).get)


@given(prefixes, digits)
def test_routes_are_those_that_the_number_begins_with_longest_first(found: set[str], number: str) -> None:
    view = view_of(tuple(Route(f"r{prefix}", (prefix,)) for prefix in found))
    expected = sorted((prefix for prefix in found if number.startswith(prefix)), key=len, reverse=True)
    assert [(prefix, route.name) for prefix, route in view.routes(number)] == [(p, f"r{p}") for p in expected]


@given(st.lists(st.lists(st.text("01", max_size=2), max_size=3, unique=True), max_size=6), digits)
def test_routes_of_one_prefix_come_in_the_policys_order(shared: list[list[str]], number: str) -> None:
    routes = tuple(Route(f"r{index}", tuple(found)) for index, found in enumerate(shared))
    matching = [(p, route.name) for route in routes for p in route.prefixes if number.startswith(p)]
    expected = sorted(matching, key=lambda pair: -len(pair[0]))
    assert [(prefix, route.name) for prefix, route in view_of(routes).routes(number)] == expected


def test_routes_of_one_prefix_cost_one_look_up() -> None:
    asked: list[bytes] = []
    records = layout.build(Policy(), [Route(f"r{n}", ("1", "")) for n in range(9)], ())
    view = View(lambda key: asked.append(key) or records.get(key))  # type: ignore[func-returns-value]
    asked.clear()
    assert len(list(view.routes("123"))) == 18
    assert asked == [layout.route_key("1"), layout.route_key("")]


@given(prefixes, prefixes, digits)
def test_imported_prefixes_are_found_beside_those_of_the_policy(own: set[str], found: set[str], number: str) -> None:
    imported = dict.fromkeys(found - own, "named")
    routes = (Route("named", ()), *(Route(f"r{prefix}", (prefix,)) for prefix in own))
    view = View(layout.build(Policy(), routes, (), imported=imported).get)
    expected = sorted((prefix for prefix in own | found if number.startswith(prefix)), key=len, reverse=True)
    named = [(prefix, "named" if prefix in imported else f"r{prefix}") for prefix in expected]
    assert [(prefix, route.name) for prefix, route in view.routes(number)] == named


def test_an_imported_prefix_whose_route_is_gone_is_none() -> None:
    view = View(layout.build(Policy(), (Route("rest", ("",)),), (), imported={"1": "gone"}).get)
    assert [route.name for _, route in view.routes("10")] == ["rest"]


@given(prefixes, digits)
def test_beginnings_are_those_that_the_number_begins_with_longest_first(found: set[str], number: str) -> None:
    values = found - {""}
    view = view_of((), tuple(Entry(Kind.CALLER_PREFIX, value) for value in values))
    expected = sorted((value for value in values if number.startswith(value)), key=len, reverse=True)
    assert [entry.value for entry in view.entries((number,), "", "", "")] == expected
    assert not view.entries(("",), number, "", "")


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# A few bits at each end, so that networks meet addresses often.
v4 = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda p: ipaddress.IPv4Address(p[0] << 30 | p[1]))
v6 = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(lambda p: ipaddress.IPv6Address(p[0] << 126 | p[1]))
addresses = v4 | v6
networks = st.one_of(
    st.tuples(v4, st.integers(0, 32)).map(lambda pair: ipaddress.ip_network(pair, strict=False)),
    st.tuples(v6, st.integers(0, 128)).map(lambda pair: ipaddress.ip_network(pair, strict=False)),
)


def holding(found: set[Network], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[str]:
    """The networks that hold an address, longest first."""
    inside = [network for network in found if network.version == address.version and address in network]
    return [str(network) for network in sorted(inside, key=lambda network: -network.prefixlen)]


@given(st.sets(networks, max_size=10), addresses)
def test_sources_are_the_networks_that_hold_the_address_longest_first(
    found: set[Network], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    view = view_of((), tuple(Entry(Kind.SOURCE, str(network)) for network in found))
    assert [entry.value for entry in view.entries((), "", str(address), "")] == holding(found, address)


@given(st.sets(networks, max_size=10), addresses)
def test_the_trunk_is_the_longest_network_that_holds_the_address(
    found: set[Network], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    view = view_of((), (), *(Trunk(str(network), (str(network),)) for network in found))
    trunk = view.trunk(str(address))
    assert (trunk.name if trunk else None) == next(iter(holding(found, address)), None)


@given(st.sets(st.text("ab ", min_size=1, max_size=3), max_size=5), st.text("abAB ", max_size=8))
def test_user_agents_are_found_in_whatever_case(values: set[str], user_agent: str) -> None:
    view = view_of((), tuple(Entry(Kind.USER_AGENT, value) for value in values))
    expected = {value for value in values if value in user_agent.lower()}
    assert {entry.value for entry in view.entries((), "", "", user_agent)} == expected


@given(st.text())
def test_any_text_may_be_looked_up(text: str) -> None:
    view = view_of((Route("r", ("",)),), (Entry(Kind.CALLER_PREFIX, "1"), Entry(Kind.USER_AGENT, "x")))
    view.entries((text,), text, "192.0.2.1", text)
    assert [route.name for _, route in view.routes(text)] == ["r"]


def test_a_text_longer_than_any_key_is_no_entry() -> None:
    asked: list[bytes] = []
    records = layout.build(Policy(), (), ())
    view = View(lambda key: asked.append(key) or records.get(key))  # type: ignore[func-returns-value]
    asked.clear()
    assert view.entries(("9" * 100_000, "1"), "8" * 100_000, "192.0.2.1", "") == []
    # The snapshot's file refuses keys of more than 511 bytes.
    assert asked == [layout.entry_key(Kind.CALLER, "1")]


def test_the_same_state_is_read_by_another_transaction() -> None:
    entry = Entry(Kind.CALLEE, "12")
    records = layout.build(Policy(), (Route("own", ("",)), Route("named", ("3",))), (entry,), imported={"1": "named"})
    view, asked = View(records.get), list[bytes]()
    assert [route.name for _, route in view.routes("12")] == ["named", "own"]
    view = view.at(lambda key: asked.append(key) or records.get(key))  # type: ignore[func-returns-value]
    assert view.entries((), "12", "", "") == [entry]
    assert [route.name for _, route in view.routes("12")] == ["named", "own"]
    # Routes are known from before; which one a prefix has is looked up.
    assert asked == [layout.entry_key(Kind.CALLEE, "12"), layout.route_key("1")]


@pytest.mark.parametrize("most", [1, 10_000])
def test_what_is_kept_of_sources_and_routes_changes_nothing(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is no room to keep much."""
    monkeypatch.setattr(view_module, "KEPT_MAX", most)
    networks = ("192.0.2.0/24", "192.0.2.0/28", "::/0")
    entries = tuple(Entry(Kind.SOURCE, network) for network in networks)
    trunks = (Trunk("a", ("192.0.2.0/25",)), Trunk("b", ("192.0.2.128/25",)))
    view = view_of((Route("r1", ("1", "2")), Route("r2", ("2", ""))), entries, *trunks)
    for _ in range(2):
        for source, trunk, matching in (
            ("192.0.2.9", "a", ["192.0.2.0/28", "192.0.2.0/24"]),
            ("192.0.2.200", "b", ["192.0.2.0/24"]),
            ("198.51.100.1", None, []),
            ("2001:db8::1", None, ["::/0"]),
        ):
            found = view.trunk(source)
            assert (found.name if found else None) == trunk
            assert [entry.value for entry in view.entries((), "", source, "")] == matching
        for number, names in (("10", ["r1", "r2"]), ("20", ["r1", "r2", "r2"]), ("30", ["r2"])):
            assert [route.name for _, route in view.routes(number)] == names


@pytest.mark.parametrize("missing", [layout.POLICY, layout.INDEX])
def test_a_snapshot_without_a_policy_is_none(missing: bytes) -> None:
    records = layout.build(Policy(), (), ())
    del records[missing]
    with pytest.raises(NoPolicyError):
        View(records.get)
