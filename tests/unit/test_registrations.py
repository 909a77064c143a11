"""Outbound registrations without Kamailio: what is sent when, and what becomes of the replies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.registrations import AWAY_WAIT, REFUSED_WAIT, RENEW_BEFORE, REPLY_WAIT, Registrations, Wanted
from kemi import credentials
from kemi.rpc import RpcUnavailable
from model.policy import Auth, Place, Registration
from model.secrets import SecretError

NOW = 1_800_000_000.0
TOLD = Registration(Place("reg.example", 0), "442079460000", Auth("acc", "pw"), expires=600)
WANTED = Wanted("acme", TOLD, "192.0.2.1:5060", (("198.51.100.1", 5060), ("198.51.100.2", 5070)))
CHALLENGE = 'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256'


class Kamailio:
    """What is sent, as the last REGISTER's headers and next hop."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, str]]] = []
        self.away = False

    def __call__(self, method: str, *arguments: str) -> None:
        if self.away:
            raise RpcUnavailable(method=method, address="x", reason="gone")
        assert (method, arguments[0]) == ("tm.t_uac_start", "REGISTER")
        lines = [line.partition(": ") for line in arguments[4].split("\r\n") if line]
        self.sent.append((arguments[2], {name: value for name, _, value in lines}))

    @property
    def last(self) -> dict[str, str]:
        return self.sent[-1][1]

    def reply(self, status: int, **more: Any) -> dict[str, Any]:
        told = {"phrase": "Said", "expires": "", "min_expires": "", "retry_after": "", "challenges": [], "contacts": ""}
        cseq = self.last["CSeq"].partition(" ")[0]
        return {"call_id": self.last["Call-ID"], "cseq": cseq, "status": str(status), **told, **more}

    def granted(self, seconds: int) -> dict[str, Any]:
        own = self.last["Contact"].partition(">")[0]
        return self.reply(200, contacts=f"<sip:442079460000@192.0.2.9>;expires=7,{own}>;expires={seconds}")


def begun(secret: str = "secret") -> tuple[Registrations, Kamailio]:
    kamailio = Kamailio()

    def read(name: str) -> str:
        if not secret:
            raise SecretError(f"{name}: is not there")
        return secret

    known = Registrations(kamailio, read)
    known.follow([WANTED], NOW)
    known.advance(NOW)
    return known, kamailio


def test_it_registers_and_renews_in_time() -> None:
    known, kamailio = begun()
    assert kamailio.last["Contact"] == "<sip:442079460000@192.0.2.1:5060>;expires=600"
    assert kamailio.last["To"] == "<sip:442079460000@reg.example>"
    known.answered(kamailio.reply(401, challenges=[CHALLENGE]), NOW)
    assert (kamailio.last["CSeq"], kamailio.last["Authorization"][:24]) == ("2 REGISTER", 'Digest username="acc", r')
    known.answered(kamailio.granted(300), NOW)
    assert known.statuses(NOW)["acme"]["state"] == "registered"
    assert known.statuses(NOW)["acme"]["until"] == NOW + 300
    known.advance(NOW + 300 - RENEW_BEFORE - 1)
    assert len(kamailio.sent) == 2
    known.advance(NOW + 300 - RENEW_BEFORE)
    # Without the old answer: each nonce is for one.
    assert (len(kamailio.sent), "Authorization" in kamailio.last) == (3, False)
    assert kamailio.last["Call-ID"] == kamailio.sent[0][1]["Call-ID"]


def test_a_clock_that_is_set_back_makes_no_renewal_late() -> None:
    known, kamailio = begun()
    known.answered(kamailio.granted(300), NOW)
    known.advance(NOW + 1)
    known.advance(NOW + 0.5)
    assert len(kamailio.sent) == 1
    known.advance(NOW - 3600)
    assert len(kamailio.sent) == 2
    # That one is not waited for until the clock has come that far again, either.
    known.advance(NOW - 7200)
    known.advance(NOW - 7200 + REPLY_WAIT)
    assert known.statuses(NOW - 7200)["acme"]["reason"] == "no answer"


def test_silence_leads_to_the_next_address_and_ever_longer_waits() -> None:
    known, kamailio = begun()
    now, waits = NOW, []
    for _ in range(10):
        sent, begun_at = len(kamailio.sent), now
        while len(kamailio.sent) == sent:
            now += 0.5
            known.advance(now)
        waits.append(now - begun_at - REPLY_WAIT)
    assert {peer for peer, _ in kamailio.sent} == {"sip:198.51.100.1:5060", "sip:198.51.100.2:5070"}
    assert waits[:3] == [AWAY_WAIT, 2 * AWAY_WAIT, 4 * AWAY_WAIT]
    assert waits[-1] == waits[-2] == 300
    assert known.statuses(now)["acme"]["reason"] == "no answer"


@pytest.mark.parametrize(
    ("status", "more", "reason"),
    [
        (403, {}, "403 Said"), (401, {"challenges": ["Basic x"]}, "it asks who calls, but not by digest"),
        (200, {"contacts": "<sip:else@192.0.2.1:5060>"}, "the registrar did not keep our contact"),
    ],
)  # fmt: skip
def test_a_refusal_is_not_asked_again_soon(status: int, more: dict[str, Any], reason: str) -> None:
    known, kamailio = begun()
    known.answered(kamailio.reply(status, **more), NOW)
    told = known.statuses(NOW)["acme"]
    assert (told["state"], told["reason"], told["until"]) == ("failing", reason, None)
    known.advance(NOW + REFUSED_WAIT - 1)
    assert len(kamailio.sent) == 1
    known.advance(NOW + REFUSED_WAIT)
    assert len(kamailio.sent) == 2


def test_what_fails_later_is_registered_until_it_expires() -> None:
    known, kamailio = begun()
    known.answered(kamailio.granted(100), NOW)
    known.advance(NOW + 50)
    known.answered(kamailio.reply(503, retry_after="9 (soon)"), NOW + 50)
    told = known.statuses(NOW + 51)["acme"]
    assert (told["state"], told["reason"], told["until"]) == ("failing", "503 Said", NOW + 100)
    known.advance(NOW + 58)
    assert len(kamailio.sent) == 2
    known.advance(NOW + 59)
    known.answered(kamailio.granted(100), NOW + 59)
    assert known.statuses(NOW + 60)["acme"]["state"] == "registered"


def test_a_stale_nonce_is_answered_again_and_a_wrong_password_is_not() -> None:
    known, kamailio = begun()
    known.answered(kamailio.reply(401, challenges=[CHALLENGE]), NOW)
    known.answered(kamailio.reply(401, challenges=[f"{CHALLENGE}, stale=true"]), NOW)
    assert len(kamailio.sent) == 3
    known.answered(kamailio.reply(401, challenges=[CHALLENGE]), NOW)
    assert len(kamailio.sent) == 3
    assert "user or secret pw is wrong" in known.statuses(NOW)["acme"]["reason"]
    known, kamailio = begun(secret="")
    known.answered(kamailio.reply(401, challenges=[CHALLENGE]), NOW)
    assert known.statuses(NOW)["acme"]["reason"] == "pw: is not there"


def test_what_is_not_wanted_any_more_is_taken_back() -> None:
    known, kamailio = begun()
    known.answered(kamailio.granted(600), NOW)
    known.follow([replace(WANTED, told=replace(TOLD, user="other"))], NOW + 1)
    known.advance(NOW + 1)
    farewell, other = kamailio.sent[1][1], kamailio.sent[2][1]
    assert (farewell["Expires"], farewell["Contact"][-10:]) == ("0", ";expires=0")
    assert other["To"] == "<sip:other@reg.example>"
    assert list(known.statuses(NOW + 1)) == ["acme"]
    # Nobody answers the farewell: it is said a few times.
    known.follow([], NOW + 2)
    now = NOW + 2
    while now < NOW + 600:
        now += 1
        known.advance(now)
    said = [headers for _, headers in kamailio.sent if headers["Expires"] == "0"]
    assert len(said) <= 6
    assert known.statuses(now) == {}


def test_kamailio_away_and_a_name_that_is_not_known_cost_nothing() -> None:
    known, kamailio = begun()
    known.answered(kamailio.granted(600), NOW)
    known.follow([replace(WANTED, contact="", targets=(), trouble="reg.example: no such name")], NOW + 1)
    kamailio.away = True
    known.advance(NOW + 540)
    assert known.statuses(NOW + 540)["acme"]["state"] == "registered"
    kamailio.away = False
    known.advance(NOW + 541)
    assert kamailio.sent[-1][0] == "sip:198.51.100.1:5060"
    unknown = Registrations(kamailio, str)
    unknown.follow([replace(WANTED, contact="", targets=(), trouble="reg.example: no such name")], NOW)
    unknown.advance(NOW)
    assert unknown.statuses(NOW)["acme"]["reason"] == "reg.example: no such name"


def test_the_example_of_the_rfc_is_answered_as_it_says() -> None:
    # RFC 7616 section 3.9.1, but for its names.
    challenge = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    for algorithm, response in (
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ):
        line = credentials.answer(
            [challenge.format(algorithm)], Auth("Mufasa", "x"), "Circle of Life", status=401, method="GET",
            uri="/dir/index.html", cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )  # fmt: skip
        assert line.startswith("Authorization: Digest ")
        assert f'response="{response}"' in line
