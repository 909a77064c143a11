from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.numbers import Dialling, is_dialable, normalise

GB = Dialling(country_code="44")
US = Dialling(country_code="1", international_prefixes=("011",), national_prefix="1", national_lengths=(10,))
CARRIER = Dialling(e164_without_plus=True)
NOWHERE = Dialling()

digits = st.text("0123456789", min_size=1, max_size=18)
plans = st.sampled_from([GB, US, CARRIER, NOWHERE]) | st.builds(
    Dialling,
    country_code=st.sampled_from(["", "1", "44", "590"]),
    international_prefixes=st.lists(st.sampled_from(["00", "011", "810", "0"]), max_size=3).map(tuple),
    national_prefix=st.sampled_from(["", "0", "1", "06", "8"]),
    national_lengths=st.lists(st.integers(1, 15), max_size=3).map(tuple),
    e164_without_plus=st.booleans(),
    extension_digits=st.integers(0, 15),
)
# Well-formed: a bare percent sign belongs to no URI (RFC 3261 section 25.1).
escaped = st.lists(st.sampled_from(["%2B", "%2b", "%34", "%41", "%25", "%20", "4", "44", "A", "+"])).map("".join)
users = (
    st.text().filter(lambda user: "%" not in user)
    | escaped
    | digits
    | digits.map("+{}".format)
    | st.text("+0123456789 -.()/;", max_size=20)
)


@st.composite
def spaced(draw: st.DrawFn, number: str) -> str:
    """``number`` as people write it, and perhaps with parameters as phones send it."""
    separators = draw(st.lists(st.sampled_from(["", "", " ", "-", ".", "(", ")", "/", "\u00a0"]), min_size=len(number)))
    written = "".join(chain.from_iterable(zip(number, separators, strict=False)))
    return written + draw(st.sampled_from(["", ";phone-context=example.net", ";npdi"]))


@pytest.mark.parametrize(
    ("written", "dialling", "number"),
    [
        ("+44 20 7946 0000", GB, "+442079460000"),
        ("0044 20 7946 0000", GB, "+442079460000"),
        ("020 7946 0000", GB, "+442079460000"),
        ("(020) 7946-0000", GB, "+442079460000"),
        ("2079460000", GB, "2079460000"),
        ("+1 (212) 555-0100", US, "+12125550100"),
        ("1.212.555.0100", US, "+12125550100"),
        ("212/555.0100", US, "+12125550100"),
        ("011 44 20 7946 0000", US, "+442079460000"),
        ("5550100", US, "5550100"),
        ("442079460000", CARRIER, "+442079460000"),
        ("442079460000", NOWHERE, "442079460000"),
        ("02079460000", NOWHERE, "02079460000"),
        ("00442079460000", NOWHERE, "+442079460000"),
        ("+442079460000;phone-context=+44", GB, "+442079460000"),
        ("%2B442079460000", GB, "+442079460000"),
        ("%61lice", GB, "alice"),
        ("al%20ice", GB, "al%20ice"),
        ("%c3%a9", GB, "%C3%A9"),
        ("%2541", GB, "%2541"),
        ("100%", GB, "100%"),
        ("1001", GB, "1001"),
        ("112", GB, "112"),
        ("10-01", GB, "1001"),
        ("011200", US, "011200"),
        ("alice", GB, "alice"),
        ("alice.smith", GB, "alice.smith"),
        ("*98", GB, "*98"),
        ("+", GB, "+"),
        ("+44x", GB, "+44x"),
        ("++44", GB, "++44"),
        ("", GB, ""),
        (";x", GB, ""),
        # Digits of other scripts would reach the gateway as they are, so they are no digits here.
        ("٠٢٠٧٩٤٦٠٠٠٠", GB, "٠٢٠٧٩٤٦٠٠٠٠"),
        ("+\uff14\uff14", GB, "+\uff14\uff14"),
    ],
)
def test_normalise(written: str, dialling: Dialling, number: str) -> None:
    assert normalise(written, dialling) == number


@given(users, plans)
def test_a_normalised_number_stays_as_it_is(user: str, plan: Dialling) -> None:
    number = normalise(user, plan)
    assert normalise(number, plan) == number


@given(st.from_regex(r"[1-9][0-9]{8,9}", fullmatch=True), st.data())
def test_all_british_spellings_meet(national: str, data: st.DataObject) -> None:
    for spelling in (f"+44{national}", f"0044{national}", f"0{national}"):
        assert normalise(data.draw(spaced(spelling)), GB) == f"+44{national}"


@given(st.from_regex(r"[2-9][0-9]{9}", fullmatch=True), st.data())
def test_all_american_spellings_meet(national: str, data: st.DataObject) -> None:
    for spelling in (f"+1{national}", f"0111{national}", f"1{national}", national):
        assert normalise(data.draw(spaced(spelling)), US) == f"+1{national}"


@given(st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True), st.data())
def test_the_same_number_from_two_countries(number: str, data: st.DataObject) -> None:
    assert (
        normalise(data.draw(spaced(f"00{number}")), GB)
        == normalise(data.draw(spaced(f"011{number}")), US)
        == normalise(data.draw(spaced(number)), CARRIER)
        == f"+{number}"
    )


@given(digits, plans)
def test_short_digits_are_literal(number: str, plan: Dialling) -> None:
    if len(number) <= plan.extension_digits:
        assert normalise(number, plan) == number


@given(digits, plans)
def test_e164_stands_whatever_the_plan(number: str, plan: Dialling) -> None:
    assert normalise(f"+{number}", plan) == f"+{number}"


@given(st.text(), plans)
def test_what_is_no_number_is_left_alone(user: str, plan: Dialling) -> None:
    if not any(char in "0123456789;" for char in user):
        assert normalise(user, plan) == user


@pytest.mark.parametrize(
    ("number", "dialable"),
    [
        ("", False),
        ("+", False),
        ("+1", True),
        ("+" + "1" * 15, True),
        ("+" + "1" * 16, False),
        ("1", True),
        ("a" * 64, True),
        ("a" * 65, False),
    ],
)
def test_is_dialable(number: str, dialable: bool) -> None:
    assert is_dialable(number) is dialable


@pytest.mark.parametrize("spelling", ["+44 (0)20 7946 0000", "+44(0)2079460000", "+44-(0)20-7946-0000"])
def test_a_national_prefix_in_brackets_is_not_dialled_after_the_country_code(spelling: str) -> None:
    assert normalise(spelling, GB) == "+442079460000"
