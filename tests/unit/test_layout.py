from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from model.entries import Action, Entry, Kind
from model.policy import Gateway, Policy, Route, Trunk
from state import codec, layout
from state.layout import Index, Meta

quick = settings(deadline=None, max_examples=80)
POLICY = Policy((Trunk("office", ("192.0.2.0/24",)),), {"a": Gateway("a", "192.0.2.1")})

networks = st.one_of(
    st.builds(
        lambda number, length: str(ipaddress.IPv4Network((number, length), strict=False)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 32),
    ),
    st.builds(
        lambda number, length: str(ipaddress.IPv6Network((number, length), strict=False)),
        st.integers(0, 2**128 - 1),
        st.integers(0, 128),
    ),
)
numbers = st.text("+0123", min_size=1, max_size=4)
subjects = st.one_of(
    st.tuples(st.sampled_from([kind for kind in Kind if kind is not Kind.SOURCE]), numbers),
    st.tuples(st.just(Kind.SOURCE), networks),
)
entries = st.builds(
    lambda subject, action, expires: Entry(subject[0], subject[1], action, expires=expires),
    subjects,
    st.sampled_from(Action),
    st.sampled_from((0.0, 1.5)),
)
some_prefixes = st.lists(st.text("+0123", max_size=5), unique=True, max_size=6).map(tuple)


def counted(present: Iterable[tuple[Kind, str]], prefixes: Iterable[str]) -> tuple[dict[str, Counter[int]], set[str]]:
    """Lengths and User-Agents, counted the simple way."""
    lengths: dict[str, Counter[int]] = {}
    for kind, value in present:
        if kind in (Kind.CALLER_PREFIX, Kind.CALLEE_PREFIX):
            lengths.setdefault(kind.value, Counter())[len(value)] += 1
        elif kind is Kind.SOURCE:
            network = ipaddress.ip_network(value)
            lengths.setdefault(f"source{network.version}", Counter())[network.prefixlen] += 1
    lengths[layout.ROUTES] = Counter(map(len, prefixes))
    return lengths, {value for kind, value in present if kind is Kind.USER_AGENT}


@quick
@given(st.lists(subjects, max_size=30), some_prefixes)
def test_an_index_counts_what_is_there_whatever_came_and_went(
    changes: list[tuple[Kind, str]], prefixes: tuple[str, ...]
) -> None:
    """Each subject that comes up again is removed, and then added again."""
    index, present = Index(), set[tuple[Kind, str]]()
    for subject in changes:
        if subject in present:
            present.remove(subject)
            index.remove(*subject)
        else:
            present.add(subject)
            index.add(*subject)
        assert all(count > 0 for table in index.lengths.values() for count in table.values())
        index = Index.decode(index.encode())
    index.set_routes(prefixes)
    assert (index.lengths, index.user_agents) == counted(present, prefixes)


@quick
@given(st.lists(subjects, unique=True))
def test_an_index_is_empty_when_all_has_gone(added: list[tuple[Kind, str]]) -> None:
    index = Index()
    for subject in added:
        index.add(*subject)
    for subject in reversed(added):
        index.remove(*subject)
    assert index == Index()


def test_the_routes_are_counted_anew_and_nothing_else() -> None:
    index = Index()
    index.add(Kind.CALLER_PREFIX, "+44")
    index.set_routes(["", "+44"])
    index.set_routes(["+1"])
    assert index.lengths == {"caller-prefix": Counter({3: 1}), "routes": Counter({2: 1})}


def test_imported_prefixes_are_counted_beside_the_routes() -> None:
    index = Index()
    index.set_routes(["+1"])
    index.count_imported("+44")
    index.count_imported("+49")
    index.count_imported("+44", -1)
    assert index.lengths == {"routes": Counter({2: 1}), "imported": Counter({3: 1})}
    index.count_imported("+49", -1)
    assert set(index.lengths) == {"routes"}


@quick
@given(st.builds(Meta, st.integers(0), st.text(), st.integers(0), st.integers(0)))
def test_meta_comes_back_the_same(meta: Meta) -> None:
    assert Meta.decode(meta.encode()) == meta


@quick
@given(st.integers(0, 10**9))
def test_a_policy_record_comes_back_the_same(version: int) -> None:
    assert layout.decode_policy_record(layout.policy_record(POLICY, version)) == (version, POLICY)


@quick
@given(some_prefixes, st.lists(entries, unique_by=lambda entry: (entry.kind, entry.value)))
def test_a_snapshot_holds_every_route_and_entry_under_its_key(prefixes: tuple[str, ...], listed: list[Entry]) -> None:
    route = Route("all", prefixes, ("a",))
    records = layout.build(POLICY, [route], listed, version=7)
    index = Index.decode(records.pop(layout.INDEX))
    assert (index.lengths, index.user_agents) == counted([(entry.kind, entry.value) for entry in listed], prefixes)
    assert layout.decode_policy_record(records.pop(layout.POLICY)) == (7, POLICY)
    for prefix in prefixes:
        assert codec.decode_routes(records.pop(layout.route_key(prefix))) == (route,)
    assert codec.decode_route(records.pop(layout.NAMED + b"all")) == route
    for entry in listed:
        raw = records.pop(layout.entry_key(entry.kind, entry.value))
        assert codec.decode_entry(codec.entry_field(entry.kind, entry.value), raw) == entry
    assert records == {}


def test_routes_that_share_a_prefix_share_its_record_in_their_order() -> None:
    of = {"one": ("+44", "+1"), "two": ("+44",), "three": ("+1", "+44")}
    routes = [Route(name, prefixes, ("a",)) for name, prefixes in of.items()]
    records = layout.build(POLICY, routes, ())
    names = {
        prefix: [route.name for route in codec.decode_routes(records[layout.route_key(prefix)])]
        for prefix in ("+44", "+1")
    }
    assert names == {"+44": ["one", "two", "three"], "+1": ["one", "three"]}
    assert Index.decode(records[layout.INDEX]).lengths[layout.ROUTES] == Counter({3: 1, 2: 1})


def test_a_snapshot_can_be_built_of_what_is_read_once() -> None:
    route = Route("all", ("", "+44"), ("a",))
    once = layout.build(POLICY, iter([route]), iter([Entry(Kind.CALLER, "1001")]))
    assert once == layout.build(POLICY, [route], [Entry(Kind.CALLER, "1001")])


@quick
@given(numbers)
def test_a_route_is_never_taken_for_another_record(prefix: str) -> None:
    singles = (layout.META, layout.POLICY, layout.INDEX, layout.NAMED + prefix.encode())
    others = (*singles, *(layout.entry_key(kind, prefix) for kind in Kind))
    assert layout.route_key(prefix) not in others
    assert not any(key.startswith(layout.ROUTE) for key in others)


def test_the_two_families_of_addresses_are_apart() -> None:
    index = Index()
    index.add(Kind.SOURCE, "192.0.2.0/24")
    index.add(Kind.SOURCE, "2001:d00::/24")
    assert index.lengths == {"source4": Counter({24: 1}), "source6": Counter({24: 1})}
