"""The proof that a request belongs to a call which this node let in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemi.route_token import call_of, parameter

SECRET, CALL, CALL_ID = b"s" * 32, "19a1b2c3d4-1f-0", "abc@192.0.2.1"
ROUTE = f"sip:192.0.2.1;lr;ftag=1{parameter(SECRET, CALL, CALL_ID)};did=1.2"
ids = st.text("0123456789abcdef", min_size=1, max_size=8)


@given(milliseconds=ids, pid=ids, number=ids, call_id=st.text(max_size=40), secret=st.binary(min_size=1, max_size=32))
def test_the_id_comes_back(milliseconds: str, pid: str, number: str, call_id: str, secret: bytes) -> None:
    call = f"{milliseconds}-{pid}-{number}"
    own = parameter(secret, call, call_id)
    for route in (f"sip:192.0.2.1;lr{own}", f"sip:[2001:db8::1]:5060;transport=tcp{own};r2=on;lr", f"<sip:a;lr{own}>"):
        assert call_of(secret, route, call_id) == call


@pytest.mark.parametrize(
    "route",
    [
        "",
        "sip:192.0.2.1;lr",
        f"sip:192.0.2.1;lr;call={CALL}",
        f"sip:192.0.2.1;lr;call={CALL}.",
        f"sip:192.0.2.1;lr;call={CALL}.0123456789abcdef",
        ROUTE.replace("-1f-", "-1e-"),
        ROUTE.replace(f"{CALL}.", f"{CALL}.0"),
        ROUTE.upper(),
    ],
)
def test_what_this_node_did_not_write_is_no_proof(route: str) -> None:
    assert call_of(SECRET, route, CALL_ID) == ""


def test_a_proof_is_for_one_call_and_one_secret() -> None:
    assert call_of(SECRET, ROUTE, CALL_ID) == CALL
    assert call_of(SECRET, ROUTE, "another@192.0.2.1") == ""
    assert call_of(b"t" * 32, ROUTE, CALL_ID) == ""
