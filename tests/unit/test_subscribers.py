"""Subscribers without Kamailio: answers to challenges, files of contacts, and what a policy makes of their calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from kemi import digest, policy, records
from kemi.digest import Verdict
from kemi.explain import Snapshot
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure, Reason
from model.narrowing import Narrowing
from model.policy import Gateway, LeastCost, MediaApp, Policy, Route, Strategy, Subscribers, Trunk, Voicemail
from model.rates import UNIT, Rate, Row
from model.subscriber import Forwards, Subscriber, SubscriberError, check_name, hashes
from policyfile import PolicyFileError, load
from state import layout, location
from state.location import Contact
from state.rates import Sheets

KEY, SOURCE, NOW = b"key", "192.0.2.7", 1_800_000_000.0
REALM = "phones.example"

# RFC 7616 section 3.9.1.
EXAMPLE = (
    'Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="{response}", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)
RESPONSES = {
    "MD5": "8ca523f5e9506fed4657c9700eebdbec",
    "SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
}


@pytest.mark.parametrize("algorithm", RESPONSES)
def test_the_examples_of_the_rfc_are_right(algorithm: str) -> None:
    header = EXAMPLE.format(algorithm=algorithm, response=RESPONSES[algorithm])
    (answer,) = digest.answers([header], "http-auth@example.org")
    # Its password has spaces, which ours may not.
    ha1 = {
        "MD5": "3d78807defe7de2157e2b0b6573a855f",
        "SHA-256": "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232",
    }
    assert digest.is_right(answer, "GET", ha1)
    assert not digest.is_right(answer, "PUT", ha1)
    assert not digest.is_right(answer, "GET", {algorithm: "0" * len(ha1[algorithm])})
    assert not digest.is_right(answer, "GET", {})


@pytest.mark.parametrize(
    "header",
    [
        "Basic dXNlcjpwYXNz", 'Digest realm="other", nonce="n"', f'Digest realm="{REALM}", realm="{REALM}"',
        f'Digest realm="{REALM}" nonce="n"', f'Digest realm="{REALM}", nonce="', "Digest " + "a" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_answer_to_us_is_left_out(header: str) -> None:
    assert list(digest.answers([header], REALM)) == []


def answer(nonce: str, password: str = "password", nc: str = "00000001", algorithm: str = "MD5") -> digest.Answer:
    function = {"MD5": "md5", "SHA-256": "sha256"}[algorithm]
    ha1 = hashes("1001", REALM, password)[algorithm]
    ha2 = digest.new_hash(function, b"REGISTER:sip:x").hexdigest()
    text = f"{ha1}:{nonce}:{nc}:c:auth:{ha2}"
    return digest.Answer(
        "1001", REALM, nonce, "sip:x", digest.new_hash(function, text.encode()).hexdigest(), algorithm, "auth", "c", nc
    )


def judged(given: digest.Answer, source: str = SOURCE, now: float = NOW) -> Verdict:
    ha1 = hashes("1001", REALM, "password")
    return digest.verdict(given, method="REGISTER", ha1=ha1, key=KEY, source=source, now=now)


def test_what_an_answer_is_worth() -> None:
    nonce = digest.new_nonce(KEY, SOURCE, NOW)
    assert judged(answer(nonce)) is Verdict.RIGHT
    assert judged(answer(nonce, algorithm="SHA-256")) is Verdict.RIGHT
    assert judged(answer(nonce, "passwords")) is Verdict.WRONG
    # Too old, of another address, of another run of Kamailio, or with no number.
    assert judged(answer(nonce), now=NOW + digest.NONCE_LIFE + 1) is Verdict.STALE
    assert judged(answer(nonce), source="192.0.2.8") is Verdict.STALE
    assert judged(answer(digest.new_nonce(b"other", SOURCE, NOW))) is Verdict.STALE
    assert judged(answer(nonce, nc="00000000")) is Verdict.STALE
    assert judged(answer(nonce, nc="zz")) is Verdict.STALE
    assert judged(answer(nonce, nc="ffffffff")) is Verdict.STALE
    # Who has no nonce of ours proves nothing by guessing wrongly, not even that they are where they say.
    assert judged(answer("invented", "passwords")) is Verdict.NONE
    assert judged(answer("\u00fc.1.2", "passwords")) is Verdict.NONE


def test_names_and_passwords() -> None:
    assert check_name("1001") == "1001"
    for name in ("", "a b", "a@b", 'a"b', "a:b", "x" * 33):
        with pytest.raises(SubscriberError):
            check_name(name)
    for password in ("short", "with a space", "x" * 129):
        with pytest.raises(SubscriberError):
            hashes("1001", REALM, password)
    one = Subscriber(name="1001", realm=REALM, ha1=hashes("1001", REALM, "password"), numbers=("+44",))
    assert Subscriber.decode("1001", one.encode()) == one
    assert not any(value in str(one.shown()) for value in one.ha1.values())


CONTACT = Contact(uri="sip:1001@192.0.2.7:5062", expires=int(NOW) + 60, call_id="a:b\\c", user_agent="x\ny", ruid="r")


def test_contacts_are_kept_and_read_again(tmp_path: Path) -> None:
    location.write(tmp_path, "1001", [CONTACT])
    location.write(tmp_path, "../up", [CONTACT])
    assert location.read(tmp_path, "1001", NOW) == (CONTACT,)
    assert location.read(tmp_path, "1001", NOW + 61) == ()
    assert dict(location.read_all(tmp_path, NOW)) == {"1001": (CONTACT,), "../up": (CONTACT,)}
    location.write(tmp_path, "1001", [])
    assert location.read(tmp_path, "1001", NOW) == ()
    assert location.restore(tmp_path, tmp_path / "table", NOW) == 1
    columns, row = (tmp_path / "table" / "location").read_text().splitlines()
    # One row is one line, and a colon in a value does not end it.
    values = row.replace("\\:", "").split(":")
    assert len(values) == len(columns.split())
    assert "ab\\\\c" in values
    assert "x\\ny" in values


def test_a_contact_is_reached_by_its_path_or_where_it_came_from() -> None:
    nated = replace(CONTACT, received="sip:203.0.113.7:40000;transport=udp", flags=4)
    by_edge = replace(nated, path="<sip:192.0.2.33;lr>, <sip:192.0.2.34;lr>")
    assert [one.hop for one in (CONTACT, nated, by_edge)] == ["", nated.received, "sip:192.0.2.33;lr"]
    assert [one.target for one in (CONTACT, nated, by_edge)] == [CONTACT.uri, nated.received, "sip:192.0.2.33;lr"]


def test_a_file_that_is_not_whole_is_no_contact(tmp_path: Path) -> None:
    location.write(tmp_path, "1001", [CONTACT])
    (path,) = tmp_path.glob("*/*.json")
    for text in ("", "[{", "{}", "[1]", '[{"uri": "sip:x"}]'):
        path.write_text(text)
        assert location.read(tmp_path, "1001", NOW) == ()
        assert location.restore(tmp_path, tmp_path / "table", NOW) == 0
        assert not path.exists()


PHONES = Route("phones", ("1",), subscribers=True)
POLICY = Policy(
    trunks=(Trunk("office", ("192.0.2.0/28",)),),
    gateways={"a": Gateway("a", "192.0.2.100"), "m": Gateway("m", "192.0.2.101", media=True)},
    subscribers=Subscribers(REALM),
)


def subscriber(name: str, **more: object) -> Subscriber:
    return Subscriber(name=name, ha1={}, realm=REALM, **more)  # type: ignore[arg-type]


def view(
    *subscribers: Subscriber, routes: tuple[Route, ...] = (PHONES,), of: Policy = POLICY, sheets: Sheets | None = None
) -> View:
    snapshot = layout.build(of, routes, (), sheets=sheets)
    snapshot |= {layout.subscriber_key(one.name): one.encode().encode() for one in subscribers}
    return View(snapshot.get)


def decided(facts: CallFacts, at: View) -> policy.Decision:
    return policy.decide(facts, at, Snapshot(), NOW)


def refused(facts: CallFacts, at: View) -> str:
    outcome = decided(facts, at).outcome
    assert isinstance(outcome, policy.Reject)
    return outcome.refusal.id


def from_office(callee: str) -> CallFacts:
    return CallFacts("5000", callee, "192.0.2.1")


def planned(facts: CallFacts, at: View) -> Plan:
    outcome = decided(facts, at).outcome
    assert not isinstance(outcome, policy.Reject), outcome.refusal
    # As the failure route reads it.
    return Plan.loads(outcome.plan.dumps())


def test_a_call_to_a_subscriber_is_one_attempt_at_their_phones() -> None:
    plan = planned(from_office("1001"), view(subscriber("1001")))
    assert [(one.subscriber, one.gateway) for one in plan.attempts] == [("1001", "subscriber:1001")]
    assert plan.attempt.breaker is None
    assert refused(from_office("1002"), view(subscriber("1001"))) == "no-subscriber"
    assert refused(from_office("1001"), view(subscriber("1001", enabled=False))) == "no-subscriber"


def test_who_is_no_trunk_has_to_prove_to_be_a_subscriber() -> None:
    facts = CallFacts("1001", "1002", "198.51.100.1")
    at = view(subscriber("1001"), subscriber("1002"))
    assert refused(facts, at) == "unauthenticated"
    assert refused(facts, view(of=Policy(trunks=POLICY.trunks))) == "unknown-source"
    proved = CallFacts("1001", "1002", "198.51.100.1", subscriber="1001")
    assert planned(proved, at).attempt.subscriber == "1002"
    assert refused(CallFacts("1003", "1002", "198.51.100.1", subscriber="1001"), at) == "not-your-number"
    withheld = CallFacts("anonymous", "1002", "198.51.100.1", subscriber="1001", private=True)
    forwarding = planned(withheld, at).forwarding
    assert forwarding is not None
    assert forwarding.caller == "1001"


VOICEMAIL = Route("phones", ("1",), subscribers=True, voicemail=Voicemail())


def test_do_not_disturb() -> None:
    quiet = subscriber("1001", do_not_disturb=True)
    assert refused(from_office("1001"), view(quiet)) == "do-not-disturb"
    plan = planned(from_office("1001"), view(quiet, routes=(VOICEMAIL,)))
    assert plan.media is not None
    assert plan.media.reason == Reason.DO_NOT_DISTURB


def test_every_call_is_forwarded_and_circles_end() -> None:
    away = subscriber("1001", forwards=Forwards(always="1002"))
    assert planned(from_office("1001"), view(away, subscriber("1002"))).attempt.subscriber == "1002"
    back = subscriber("1002", forwards=Forwards(always="1001"))
    assert refused(from_office("1001"), view(away, back)) == "forward-loop"


def test_a_forward_goes_where_subscribers_may_call() -> None:
    away = subscriber("1001", forwards=Forwards(always="+44900"))
    premium = Route("premium", ("+44900",), ("a",))
    assert planned(from_office("1001"), view(away, routes=(PHONES, premium))).attempt.gateway == "a"
    barred = load(BARRED, name="policy").routes
    assert refused(from_office("1001"), view(away, routes=(PHONES, *barred))) == "no-route"


def test_a_call_that_is_forwarded_costs_what_its_last_gateway_takes() -> None:
    away = subscriber("1001", forwards=Forwards(busy="+44900"))
    cheap = Route("cheap", ("+44900",), ("a",), strategy=Strategy.LEAST_COST, least_cost=LeastCost(1))
    of = replace(POLICY, currency="EUR")
    sheets = {"a": ("EUR", [("+44", Row(Rate(UNIT)))])}
    at, live, busy = view(away, routes=(PHONES, cheap), of=of, sheets=sheets), Snapshot(), Failure(486)
    plan = planned(from_office("1001"), at)
    assert plan.rates == ()
    found = policy.next_attempt(plan, busy, live, NOW)
    found = policy.forwarded(plan, busy, found, "192.0.2.1", at, live, NOW)
    (rated,) = records.failed("call", plan, busy, found, None, NOW)["rates"]
    assert rated[:2] == ("a", "EUR")


BARRED = """
strowger: 1
trunks: {office: {sources: [192.0.2.1]}}
gateways: {a: {address: 192.0.2.100}}
routes:
  - {name: premium, prefixes: ["+44900"], trunks: [office], gateways: [a]}
"""


@pytest.mark.parametrize(
    ("failure", "forwards", "expected"),
    [
        (Failure(486), Forwards(busy="1002"), "1002"),
        (Failure(486), Forwards(no_answer="1002"), "voicemail"),
        (Failure(408, local=True, ringing=True), Forwards(no_answer="1002"), "1002"),
        (Failure(477, local=True), Forwards(unreachable="1002"), "1002"),
        (Failure(477, local=True), Forwards(), "voicemail"),
        (Failure(603, ringing=True), Forwards(busy="1002"), "passed on"),
    ],
)
def test_what_follows_when_nobody_takes_the_call(failure: Failure, forwards: Forwards, expected: str) -> None:
    at = view(subscriber("1001", forwards=forwards), subscriber("1002"), routes=(VOICEMAIL,))
    plan, live = planned(from_office("1001"), at), Snapshot()
    found = policy.next_attempt(plan, failure, live, NOW)
    found = policy.forwarded(plan, failure, found, "192.0.2.1", at, live, NOW)
    if (reason := policy.voicemail_reason(plan, failure, found)) is not None:
        found = policy.to_voicemail(plan, failure, reason, found, at, live, NOW)
    if expected == "passed on":
        assert isinstance(found.outcome, policy.PassOn)
        return
    assert isinstance(found.outcome, policy.Retry)
    following = found.outcome.plan
    assert following.number == 2
    assert (following.media.app if following.media else following.attempt.subscriber) == expected


def test_phones_that_are_gone_are_the_subscribers_absence() -> None:
    plan = planned(from_office("1001"), view(subscriber("1001")))
    for failure in (Failure(477, local=True), Failure(408, local=True), Failure(503)):
        outcome = policy.next_attempt(plan, failure, Snapshot(), NOW).outcome
        assert isinstance(outcome, policy.Reject)
        assert outcome.refusal.id == "subscriber-away"
    assert isinstance(policy.next_attempt(plan, Failure(486), Snapshot(), NOW).outcome, policy.PassOn)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("routes: [{name: r, prefixes: ['1'], subscribers: true}]", "there are none"),
        ("subscribers: {realm: x}\ntrunks: {subscribers: {sources: [192.0.2.1]}}", "taken by the subscribers"),
        ("subscribers: {realm: 'a b'}", "a realm"),
        ("subscribers: {realm: x, dialling: gb}", "unknown dialling plan"),
        ("subscribers: {realm: x, expires_min: 1h, expires_max: 1m}", "shorter"),
        ("subscribers: {realm: x}\nroutes: [{name: r, prefixes: ['1'], subscribers: true, max_attempts: 2}]",
         "at once"),
        ("subscribers: {realm: x}\nroutes: [{name: r, prefixes: ['1'], trunks: [subscriber], subscribers: true}]",
         "unknown trunk"),
    ],
)  # fmt: skip
def test_mistakes_in_a_policy_are_told(text: str, problem: str) -> None:
    with pytest.raises(PolicyFileError, match=problem):
        load(f"strowger: 1\n{text}\n", name="policy")


def test_a_subscriber_is_still_one_when_media_sends_the_call_on() -> None:
    app = Route("app", ("5",), ("m",), media=MediaApp("welcome"))
    own = Route("own", ("7",), ("a",), narrowing=Narrowing(trunks=("subscribers",)))
    at = view(subscriber("1001"), routes=(app, own))
    plan = planned(CallFacts("1001", "5000", "203.0.113.99", subscriber="1001"), at)
    assert plan.caller == "1001"
    found = policy.redirected(plan, "7001", "203.0.113.99", "9f-1-0", at, Snapshot(), NOW)
    assert isinstance(found.outcome, policy.Retry), found
    assert (found.outcome.plan.caller, found.outcome.plan.route) == ("1001", "own")
    assert ("trunk", "203.0.113.99", "subscribers") in found.steps
    gone = structs.replace(plan, caller="1009")
    refused = policy.redirected(gone, "7001", "203.0.113.99", "9f-1-0", at, Snapshot(), NOW).outcome
    assert isinstance(refused, policy.Reject)
    assert refused.refusal.id == "no-subscriber"
