"""Which attempts go through the media relay, why, and what it is asked for."""

from __future__ import annotations

import pytest

from kemi import relay
from kemi.plan import Attempt, Plan
from kemi.relay import Caller
from model.policy import RetryRule
from model.side import PLAIN, Side

SDP = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 4000 {1} 0\r\n"


def caller(media: str = "192.0.2.7 RTP/AVP", side: Side = PLAIN, source: str = "192.0.2.7") -> Caller:
    return Caller(source, media, side)


def plan(side: Side | None = None, uri: str = "sip:44@198.51.100.1:5060", *, always: bool = False) -> Plan:
    attempt = Attempt("carrier", uri, RetryRule(), 2.0, 8.0, side=side)
    return Plan("route", 1, (attempt,), RetryRule(), 0.0, 60.0, relay=always)


def why(found: relay.Anchor | None) -> str:
    return found.why if found is not None else ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SDP.format("10.0.0.7", "RTP/AVP"), "10.0.0.7 RTP/AVP"),
        (SDP.format("10.0.0.7", "RTP/SAVP").replace("\r\n", "\n"), "10.0.0.7 RTP/SAVP"),
        ("v=0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::7\r\n", "2001:db8::7 RTP/AVP"),
        ("c=IN IP4 sound.example\r\nm=audio 4000 RTP/AVP 0\r\n", "-"),
        ("", "-"),
    ],
)
def test_what_is_read_of_a_session_description(text: str, expected: str) -> None:
    assert relay.media_of(text) == expected


def test_a_call_that_needs_nothing_is_left_alone() -> None:
    assert relay.anchor(caller(), plan()) is None
    # A private address that is the caller's own, or a side that nobody said to be behind NAT.
    assert relay.anchor(caller("10.0.0.7 RTP/AVP", Side("auto"), "10.0.0.7"), plan()) is None
    assert relay.anchor(caller("10.0.0.7 RTP/AVP"), plan()) is None
    assert relay.anchor(caller("203.0.113.1 RTP/AVP", Side("auto")), plan()) is None
    assert relay.anchor(caller("-", Side("auto")), plan()) is None


@pytest.mark.parametrize(
    ("found", "expected", "code"),
    [
        (relay.anchor(caller("10.0.0.7 RTP/AVP", Side("auto")), plan()), relay.CALLER_NAT, "--n---"),
        (
            relay.anchor(caller("fd00::7 RTP/AVP", Side("auto")), plan()),
            f"{relay.CALLER_NAT}, {relay.FAMILIES}",
            "-4n-6-",
        ),
        (relay.anchor(caller(side=Side("yes")), plan()), relay.CALLER_NAT, "--n---"),
        (relay.anchor(caller(), plan(), phone_nat=True), relay.PHONE_NAT, "-----n"),
        (relay.anchor(caller(), plan(always=True)), relay.ALWAYS, "------"),
        (relay.anchor(caller(), plan(Side(relay="always"))), relay.ALWAYS, "------"),
        (relay.anchor(caller(side=Side(relay="always")), plan()), relay.ALWAYS, "------"),
        (relay.anchor(caller(), plan(Side(srtp="require"))), relay.CRYPTO, "s--p--"),
        (relay.anchor(caller("192.0.2.7 RTP/SAVP"), plan(Side(srtp="no"))), relay.CRYPTO, "p--s--"),
        (relay.anchor(caller("-", Side(srtp="require")), plan(Side(srtp="no"))), relay.CRYPTO, "p--s--"),
        (relay.anchor(caller(), plan(uri="sip:44@[2001:db8::1]:5060")), relay.FAMILIES, "-6--4-"),
    ],
)  # fmt: skip
def test_what_is_anchored_and_why(found: relay.Anchor | None, expected: str, code: str) -> None:
    assert found is not None
    assert (found.why, found.code) == (expected, code)


def test_what_already_fits_or_must_not_is_not_anchored() -> None:
    assert relay.anchor(caller("192.0.2.7 RTP/SAVP"), plan(Side(srtp="require"))) is None
    assert relay.anchor(caller("192.0.2.7 RTP/SAVP"), plan()) is None
    for sides in ((Side("yes", "never"), None), (Side("yes"), Side(relay="never", srtp="require"))):
        assert relay.anchor(caller(side=sides[0]), plan(sides[1], always=True)) is None


def test_flags_are_each_direction_s_own() -> None:
    to_callee, to_caller = relay.flags("s6np4-")
    assert " RTP/SAVP DTLS=off " in to_callee
    assert to_callee.endswith(" address-family=IP6 SIP-source-address")
    assert to_caller.endswith("ICE=remove RTP/AVP address-family=IP4")


@pytest.mark.parametrize("code", ["", "s6np4", "s6np4-x", "x-----", "------|delete", "s6n p4-"])
def test_a_code_that_is_none_asks_for_nothing(code: str) -> None:
    assert relay.flags(code) == relay.flags("------")


def test_what_the_cfg_is_told_has_four_parts() -> None:
    made = relay.anchor(caller("10.0.0.7 RTP/AVP", Side("auto")), plan(Side(srtp="require")))
    assert made is not None
    assert str(made).split("|") == [*relay.flags("s-np--"), "s-np--", f"{relay.CALLER_NAT}, {relay.CRYPTO}"]


def test_a_caller_comes_back_from_the_transaction() -> None:
    one = caller("-", Side("auto", "always", "require"))
    assert Caller.loads(one.dumps()) == one
