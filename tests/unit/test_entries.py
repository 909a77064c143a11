from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.entries import KEY_MAX_BYTES, Entry, EntryError, Kind, pair_value, parse_entry_value
from model.numbers import Dialling

GB = Dialling(country_code="44")
NUMBERS = (Kind.CALLER, Kind.CALLEE)
PREFIXES = (Kind.CALLER_PREFIX, Kind.CALLEE_PREFIX)
quick = settings(deadline=None)


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize(
    "written", ["+44 20 7946 0000", "0044 20 7946 0000", "020 7946 0000", "(020) 7946-0000", " +442079460000 "]
)
def test_every_spelling_of_a_number_is_one_value(kind: Kind, written: str) -> None:
    assert parse_entry_value(kind, written, GB) == "+442079460000"


@pytest.mark.parametrize("kind", NUMBERS)
@pytest.mark.parametrize("written", ["1001", "112", "alice", "bob.smith", "*98"])
def test_an_extension_or_a_name_stays_as_it_is(kind: Kind, written: str) -> None:
    assert parse_entry_value(kind, written, GB) == written


@pytest.mark.parametrize("kind", PREFIXES)
@pytest.mark.parametrize(
    ("written", "value"), [("020", "+4420"), ("0044", "+44"), ("+44 20", "+4420"), ("00", "+"), ("10", "10")]
)
def test_a_beginning_is_read_as_it_is_dialled(kind: Kind, written: str, value: str) -> None:
    assert parse_entry_value(kind, written, GB) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("192.0.2.1", "192.0.2.1/32"),
        ("192.0.2.77/24", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0::1", "2001:db8::1/128"),
        ("2001:db8::/32", "2001:db8::/32"),
        (" 192.0.2.0/255.255.255.0 ", "192.0.2.0/24"),
    ],
)
def test_a_network_is_written_in_one_way(written: str, value: str) -> None:
    assert parse_entry_value(Kind.SOURCE, written, GB) == value


@pytest.mark.parametrize("written", ["192.0.2.0/33", "192.0.2", "192.0.2.256", "carrier.example", "::1/129", "1/2/3"])
def test_what_is_no_network_is_refused(written: str) -> None:
    with pytest.raises(EntryError, match="no IP address or network") as raised:
        parse_entry_value(Kind.SOURCE, written, GB)
    assert written in str(raised.value)


def test_a_user_agent_is_compared_whatever_its_case() -> None:
    assert parse_entry_value(Kind.USER_AGENT, " Friendly Scanner/1.0 ", GB) == "friendly scanner/1.0"


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("written", ["", "  ", "\t"])
def test_nothing_is_no_entry(kind: Kind, written: str) -> None:
    with pytest.raises(EntryError, match="empty"):
        parse_entry_value(kind, written, GB)


@pytest.mark.parametrize("kind", [*NUMBERS, *PREFIXES])
@pytest.mark.parametrize("written", ["alice bob", "1001>1002", "alice\nbob"])
def test_what_is_neither_number_nor_user_is_refused(kind: Kind, written: str) -> None:
    with pytest.raises(EntryError, match="neither a number nor"):
        parse_entry_value(kind, written, GB)


@pytest.mark.parametrize("kind", [Kind.CALLER, Kind.CALLEE_PREFIX, Kind.USER_AGENT])
@pytest.mark.parametrize("letter", ["a", "é"])
def test_what_is_too_long_for_a_key_is_refused(kind: Kind, letter: str) -> None:
    longest = KEY_MAX_BYTES // len(letter.encode())
    assert parse_entry_value(kind, letter * longest, GB) == letter * longest
    with pytest.raises(EntryError, match="longer than 200 bytes"):
        parse_entry_value(kind, letter * (longest + 1), GB)


@pytest.mark.parametrize("kind", [Kind.CALLER, Kind.CALLEE, Kind.CALLER_PREFIX, Kind.CALLEE_PREFIX])
def test_what_leaves_nothing_of_a_number_is_refused(kind: Kind) -> None:
    with pytest.raises(EntryError, match="nothing of a number"):
        parse_entry_value(kind, ";ext=1", Dialling())


@quick
@given(st.sampled_from(Kind), st.text(max_size=30))
@example(Kind.CALLER, ";")
def test_a_value_is_either_refused_or_reads_as_itself(kind: Kind, written: str) -> None:
    try:
        value = parse_entry_value(kind, written, Dialling())
    except EntryError:
        return
    assert value
    assert parse_entry_value(kind, value, Dialling()) == value


@quick
@given(st.ip_addresses())
def test_an_address_is_the_network_that_holds_it_alone(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    value = parse_entry_value(Kind.SOURCE, str(address), GB)
    assert list(ipaddress.ip_network(value)) == [address]


def test_a_pair_names_both_sides() -> None:
    assert pair_value("+442079460000", "1001") == "+442079460000>1001"


def test_an_entry_is_live_until_it_expires() -> None:
    entry = Entry(Kind.CALLER, "1001", expires=100.0)
    assert entry.live(99.999)
    assert not entry.live(100.0)
    assert not entry.live(100.001)


def test_an_entry_without_expiry_is_always_live() -> None:
    assert Entry(Kind.CALLER, "1001").live(4e9)
