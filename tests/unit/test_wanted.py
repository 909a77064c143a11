"""Which script a call is for, and what proves that."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.esl.message import Event, Headers
from media.wanted import wanted
from model.handover import Handover, HandoverError

SECRET = b"s" * 32
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


def channel(variables: dict[str, str]) -> Event:
    return Event(Headers.of({f"variable_{name}": value for name, value in variables.items()}))


def handed(handover: Handover) -> dict[str, str]:
    return {f"sip_h_{name}": value for name, value in handover.headers(SECRET)}


@given(texts, texts, st.sampled_from([str, unquote]))
def test_a_hand_over_is_known_however_its_headers_were_encoded(app: str, args: str, told: type[str]) -> None:
    handover = Handover(call="c1", app=app or "x", args=args, caller="+441", callee="200", expires=50)
    found = wanted(channel({name: told(value) for name, value in handed(handover).items()}), SECRET, 40)
    assert found.handover == handover
    assert (found.key, found.args, found.detached) == (handover.app, args, False)


def test_without_an_app_the_called_number_counts() -> None:
    handover = Handover(call="c1", app="", callee="5000", expires=50)
    assert wanted(channel(handed(handover)), SECRET, 40).key == "5000"


FIELDS = ("Call", "App", "Args", "Caller", "Callee", "Diverted", "Reason", "Hops", "Expires", "Token")


@pytest.mark.parametrize("field", FIELDS)
def test_a_changed_header_is_refused(field: str) -> None:
    variables = handed(Handover(call="c1", app="a", args="b", caller="1", callee="2", expires=50))
    variables[f"sip_h_X-Strowger-{field}"] = "1234567"
    with pytest.raises(HandoverError, match="the token does not fit"):
        wanted(channel(variables), SECRET, 40)


def test_an_old_token_is_refused() -> None:
    with pytest.raises(HandoverError, match="expired"):
        wanted(channel(handed(Handover(call="c1", app="a%", expires=50))), SECRET, 51)


def test_a_call_without_anything_is_refused() -> None:
    with pytest.raises(HandoverError, match="no token"):
        wanted(channel({}), SECRET, 0)


@pytest.mark.parametrize(
    ("value", "detached"), [("true", True), ("Yes", True), ("1", True), ("false", False), ("", False)]
)
def test_the_dialplan_names_a_script(value: str, detached: bool) -> None:
    found = wanted(channel({"strowger_script": "5000", "strowger_args": "a b", "strowger_detached": value}), SECRET, 0)
    assert (found.key, found.args, found.detached, found.handover) == ("5000", "a b", detached, None)


def test_a_dialplan_that_a_call_was_transferred_to_names_another_script() -> None:
    handover = Handover(call="c1", app="a", args="b", expires=50)
    variables = handed(handover) | {"strowger_script": "b"}
    found = wanted(channel(variables), SECRET, 40)
    assert (found.key, found.args, found.handover) == ("b", "", handover)
    assert wanted(channel(variables), SECRET, 60).handover is None


def test_the_channel_variable_counts_and_no_header_does() -> None:
    with pytest.raises(HandoverError):
        wanted(channel({"sip_h_strowger_script": "a", "sip_h_X-strowger_script": "a"}), SECRET, 0)
