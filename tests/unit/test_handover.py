"""Headers that hand a call to the media tier, and their token."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.handover import HOPS_MAX, PREFIX, TOKEN, VALID, Handover, HandoverError, HandoverLoop

SECRET = b"k" * 32
HANDOVER = Handover(
    call="18c-1-0", app="welcome", args="a b", caller="+44123", callee="8000", diverted="1001", reason="busy",
    expires=1000,
)  # fmt: skip


def test_what_was_handed_over_is_what_arrives() -> None:
    assert Handover.parse(dict(HANDOVER.headers(SECRET)), SECRET, now=1000.0) == HANDOVER


@given(args=st.text(st.characters(exclude_categories=["Cs"])), caller=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_travels_in_a_header(args: str, caller: str) -> None:
    handover = replace(HANDOVER, args=args, caller=caller)
    headers = dict(handover.headers(SECRET))
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    # What parsers of SIP do to the space around a value.
    stripped = {name: value.strip() for name, value in headers.items()}
    found = Handover.parse(stripped, SECRET, now=0.0)
    assert (found.args.strip(" "), found.caller.strip(" ")) == (args.strip(" "), caller.strip(" "))


@pytest.mark.parametrize("name", ["Call", "App", "Args", "Caller", "Callee", "Diverted", "Reason", "Hops", "Expires"])
def test_a_header_that_was_changed_is_refused(name: str) -> None:
    headers = dict(HANDOVER.headers(SECRET))
    headers[PREFIX + name] += "1"
    with pytest.raises(HandoverError, match="does not fit"):
        Handover.parse(headers, SECRET, now=0.0)


def test_another_key_is_refused() -> None:
    with pytest.raises(HandoverError, match="does not fit"):
        Handover.parse(dict(HANDOVER.headers(b"x" * 32)), SECRET, now=0.0)


def test_no_token_is_refused() -> None:
    headers = dict(HANDOVER.headers(SECRET))
    del headers[TOKEN]
    with pytest.raises(HandoverError, match="no token"):
        Handover.parse(headers, SECRET, now=0.0)


def test_a_token_that_is_no_ascii_is_refused() -> None:
    with pytest.raises(HandoverError, match="does not fit"):
        Handover.parse({**dict(HANDOVER.headers(SECRET)), TOKEN: "é"}, SECRET, now=0.0)


def test_a_token_ends() -> None:
    with pytest.raises(HandoverError, match="expired"):
        Handover.parse(dict(HANDOVER.headers(SECRET)), SECRET, now=1000.5)


def test_it_is_good_again_for_the_way_back() -> None:
    headers = dict(HANDOVER.fresh(2000.5).headers(SECRET))
    assert Handover.parse(headers, SECRET, now=2000.0 + VALID) == replace(HANDOVER, expires=2030)


def test_a_call_that_goes_in_circles_is_refused() -> None:
    headers = dict(replace(HANDOVER, hops=HOPS_MAX + 1).headers(SECRET))
    with pytest.raises(HandoverLoop, match="more than"):
        Handover.parse(headers, SECRET, now=0.0)
