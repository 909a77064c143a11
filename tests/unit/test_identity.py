"""Who calls is read, decided, and shown: headers and messages as text, nothing sent."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemi import dryrun, policy, presenting
from kemi.explain import Snapshot
from kemi.plan import Attempt, Identity, Plan
from kemi.presenting import FORGOTTEN, Shown
from kemi.view import View
from model import diverting
from model.call import CallFacts
from model.causes import Reason
from model.diversion import UNCONDITIONAL, first_diversion
from model.identity import (
    Claims,
    Diverted,
    Presentation,
    TrunkIdentity,
    asserted_users,
    calling_party,
    privacy_values,
    written,
)
from model.masking import Traces, cleaned
from model.message import Message
from model.nameaddr import listed, parse
from model.numbers import Dialling, normalise
from model.policy import Emergency, Gateway, Policy, RetryRule, Route, Trunk
from state import layout

GB = Dialling(country_code="44")
NUMBERS = st.from_regex(r"\+[1-9][0-9]{7,13}", fullmatch=True)


@pytest.mark.parametrize(
    ("header", "users"),
    [
        ("<sip:+442079460000@a>", ("+442079460000",)),
        ('"A, B" <sip:1@a;x=y>, <tel:+44-20-7946-0000>', ("1", "+44-20-7946-0000")),
        ("sip:1@a;tag=x", ("1",)),
        ("<sip:alice:secret@a>", ("alice",)),
        ("<tel:1;phone-context=+44>", ("1;phone-context=+44",)),
        ('"never ends <sip:1@a>', ()),
        ("<sip:1@a", ()),
        ("<sip:a>", ()),
        ("<mailto:a@b>", ()),
        ("", ()),
    ],
)
def test_the_users_of_an_asserted_identity(header: str, users: tuple[str, ...]) -> None:
    assert asserted_users(header) == users


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("<sip:1@a>", ("1", False)),
        ("<sip:1@a>;party=calling;privacy=full", ("1", True)),
        ('<sip:1@a>;privacy="uri"', ("1", True)),
        ("<sip:1@a>;party=called, <sip:2@a>;party=calling", ("2", False)),
        ("<sip:1@a>;party=called", ("", False)),
    ],
)
def test_the_calling_party(header: str, found: tuple[str, bool]) -> None:
    assert calling_party(header) == found


def test_privacy_values() -> None:
    assert privacy_values("id; Header,critical") == {"id", "header", "critical"}
    assert privacy_values("") == frozenset()


@given(st.text(max_size=200))
def test_whatever_a_header_says_it_is_read(text: str) -> None:
    for one in listed(text):
        assert isinstance(one.user, str)
        assert isinstance(one.host, str)
        assert parse(f"{one}") is not None
    calling_party(text)
    privacy_values(text)


@given(NUMBERS, st.sampled_from(["e164", "e164_without_plus", "national", "as_it_came"]))
def test_a_written_number_is_the_same_number(number: str, form: str) -> None:
    plan = Dialling(country_code="44", e164_without_plus=form == "e164_without_plus", extension_digits=0)
    text = written(number, form, plan)
    if form == "e164_without_plus" and text.startswith("00"):
        return
    assert normalise(text, plan) == number


@pytest.mark.parametrize(
    ("number", "form", "text"),
    [
        ("+442079460000", "national", "02079460000"),
        ("+13125550100", "national", "0013125550100"),
        ("+442079460000", "e164_without_plus", "442079460000"),
        ("1001", "national", "1001"),
        ("alice", "e164_without_plus", "alice"),
    ],
)
def test_how_numbers_are_written(number: str, form: str, text: str) -> None:
    assert written(number, form, GB) == text


SPELLINGS = (
    "+442079460123", "442079460123", "02079460123", "00442079460123", "020 7946 0123", "+44-20-7946-0123",
    "+44.20.7946.0123", "+44(0)2079460123", "2079460123", "x2079460123y",
)  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_number_is_found_in_any_spelling(spelling: str) -> None:
    assert Traces.of(["+442079460123"]).in_text(f"before {spelling} after")
    assert Traces.of([spelling.strip("xy")]).in_text("0044 207 946 0123")


def test_an_extension_is_found_as_a_whole_and_not_in_addresses() -> None:
    traces = Traces.of(["1001", "alice"])
    assert traces.in_text("sip:1001@a")
    assert traces.in_text("Alice's")
    assert not traces.in_text("10010")
    assert not traces.in_text("malice")
    assert not traces.in_marks("SIP/2.0/UDP 127.0.0.1:1001")
    assert not Traces.of(["anonymous"]).in_text("anonymous")


def message(*lines: str, body: str = "", kind: str = "application/sdp") -> str:
    head = (
        "INVITE sip:1@b SIP/2.0", "v: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1",
        'f: "Alice" <sip:+442079460123@pbx.example>;tag=t;x=y', "t: <sip:1@b>", "i: call", "CSeq: 1 INVITE",
        "m: <sip:+442079460123@192.0.2.1:5062;transport=tcp;ob>", *lines,
        *([f"c: {kind}"] if body else []), f"l: {len(body)}",
    )  # fmt: skip
    return "\r\n".join(head) + "\r\n\r\n" + body


def plan(rule: Presentation, **known: object) -> Plan:
    identity = Identity(**{"target": "+4420", **known})  # type: ignore[arg-type]
    attempt = Attempt("g", "sip:1@198.51.100.1:5060", RetryRule(), 1.0, 1.0, identity=rule)
    return Plan("r", 1, (attempt,), RetryRule(), 10.0, 10.0, identity=identity)


def outgoing(text: str, edits: object) -> str:
    """The message as it would go out."""
    from model.message import Edits

    assert isinstance(edits, Edits)
    head, _, body = text.partition("\r\n\r\n")
    gone = {name.lower() for name in edits.remove}
    unfolded = re.sub(r"\r\n[ \t]+", " ", head).split("\r\n")
    kept = [line for line in unfolded if line.partition(":")[0].strip().lower() not in gone]
    return "\r\n".join((*kept, *edits.append)) + "\r\n\r\n" + (edits.body[1] if edits.body is not None else body)


HEADERS = st.sampled_from(
    ["Subject", "User-Agent", "X-Any", "P-Asserted-Identity", "Warning", "Reason", "Alert-Info", "Diversion", "k"]
)


@given(
    st.lists(st.tuples(HEADERS, st.sampled_from(SPELLINGS), st.booleans()), max_size=8),
    st.sampled_from(["id", "user;id", "header", ""]),
)
def test_withheld_means_nowhere(extra: list[tuple[str, str, bool]], privacy: str) -> None:
    lines = [f"{name}: \r\n {value}" if fold else f"{name}: <sip:{value}@a>" for name, value, fold in extra]
    text = message(*lines, body="v=0\r\no=02079460123 1 1 IN IP4 192.0.2.1\r\ns=Alice\r\nc=IN IP4 192.0.2.1\r\n")
    rule = Presentation(diversion=("diversion", "history-info"))
    known = plan(rule, withheld=True, privacy=privacy, users=("+442079460123",), trusted=True)
    edits, shown = presenting.invite(text, known)
    out = outgoing(text, edits)
    assert not re.search(r"2079460123|7946|alice", out, re.IGNORECASE)
    assert "tag=t" in out
    assert "x=y" not in out
    assert "<sip:anonymous@192.0.2.1:5062;transport=tcp>" in out
    assert (shown.hidden, shown.contact) == (True, "sip:+442079460123@192.0.2.1:5062;transport=tcp;ob")


ISUP = "\x01\x00\x49\x02\x97\x64\x10\x32"


@pytest.mark.parametrize(
    ("kind", "body", "left"),
    [
        ("application/pidf+xml", "<presence/>", ""),
        ("application/isup", ISUP, ""),
        (
            'multipart/mixed;boundary="b"',
            "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=x\r\n"
            f"--b\r\nContent-Type: application/isup\r\n\r\n{ISUP}\r\n--b--\r\n",
            "v=0\r\ns=-\r\n",
        ),
        (
            "application/sdp",
            "v=0\r\no=alice 1 1 IN IP4 a\r\ns=-\r\ne=a@b\r\na=cname:alice@pc\r\n",
            "v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\n",
        ),
    ],
)
def test_bodies_that_may_name_the_caller(kind: str, body: str, left: str) -> None:
    edits = cleaned(Message.parse(message(body=body, kind=kind)), Traces.of(["alice"]))
    assert edits.body is not None
    assert edits.body[1] == left
    assert left or "c" in edits.remove


def test_a_session_that_names_nobody_stays_byte_for_byte() -> None:
    body = "v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nc=IN IP4 a\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n"
    assert cleaned(Message.parse(message(body=body)), Traces.of(["+442079460123"])).body is None


def test_what_a_forgotten_dialog_still_hides() -> None:
    """After a restart there is the Route alone: nothing of the caller goes out, and what comes back passes."""
    edits, _ = presenting.of_caller(message("X-Account: 442079460123"), FORGOTTEN)
    assert "2079460123" not in outgoing(message("X-Account: 442079460123"), edits)
    assert presenting.to_caller(message(), FORGOTTEN).append == ()


def test_what_is_shown_outlasts_a_worker() -> None:
    shown = Shown('"A\\"b" <sip:1@a>', "<sip:2@b>", "sip:3@c;x=y", hidden=True)
    assert Shown.loads(shown.dumps()) == shown


REASONS = st.sampled_from([UNCONDITIONAL, Reason.BUSY.value, Reason.NO_ANSWER.value, Reason.UNREACHABLE.value])
CHAIN = st.lists(st.tuples(NUMBERS, REASONS), min_size=1, max_size=5)


@given(CHAIN, NUMBERS)
def test_what_is_written_of_diversions_is_what_is_read(chain: list[tuple[str, str]], target: str) -> None:
    diverted = [Diverted(number, reason) for number, reason in chain]

    def uri(number: str) -> str:
        return f"sip:{number}@a"

    wanted = chain[0]
    header = ", ".join(diverting.diversion(diverted, uri, hide=False))
    found = first_diversion(header, "")
    assert found is not None
    assert (found.number, found.reason) == wanted
    history = diverting.history_info(diverted, target, uri, hide=False)
    found = first_diversion("", ", ".join(history))
    assert found is not None
    assert (found.number, found.reason) == wanted
    assert len(history) == len(chain) + 1


@given(CHAIN, NUMBERS)
def test_nobody_who_withholds_their_number_is_named(chain: list[tuple[str, str]], target: str) -> None:
    # A number that is part of the target's stands in every line that names that.
    hidden = [Diverted(number, reason, withheld=True) for number, reason in chain if number not in target]
    if not hidden:
        return

    def uri(number: str) -> str:
        return f"sip:{number}@a"

    lines = diverting.diversion(hidden, uri, hide=True) + diverting.history_info(hidden, target, uri, hide=True)
    assert not any(one.number in line for one in hidden for line in lines)
    assert all("privacy=full" in line or "Privacy=history" in line or target in line for line in lines)


RULES = {
    "careful": Presentation(),
    "trusted": Presentation(privacy="pass"),
    "plain": None,
}
TRUNKS = (
    Trunk("office", ("192.0.2.0/24",), GB, trust_identity=True),
    Trunk("own", ("198.51.100.0/24",), GB, identity=TrunkIdentity(numbers=("+4420",), default="+442000000000")),
)


def decided(caller: str, callee: str, source: str = "192.0.2.1", **facts: object) -> policy.Decision:
    known = Policy(
        trunks=TRUNKS,
        gateways={name: Gateway(name, "203.0.113.1", identity=rule) for name, rule in RULES.items()},
        dialling=GB,
        emergency=Emergency(("112",), ("careful",)),
    )
    routes = (Route("r", ("+44",), tuple(RULES)), Route("only", ("+33",), ("careful",)))
    view = View(layout.build(known, routes, ()).get)
    call = CallFacts(caller=caller, callee=callee, source=source, **facts)  # type: ignore[arg-type]
    return policy.decide(call, view, Snapshot(), 0.0)


def steps(decision: policy.Decision) -> list[tuple[str, str]]:
    return [(subject, found) for what, subject, found in decision.steps if what == "identity"]


def test_an_explanation_says_what_each_attempt_shows_and_hides() -> None:
    found = decided("+442079460123", "02079460999", private=True, claims=Claims(privacy="id"), asserted="+442079460111")
    assert steps(found) == [
        ("careful", "From anonymous; nothing else that names the caller"),
        ("trusted", "From anonymous; pai +442079460111; with Privacy"),
    ]


@pytest.mark.parametrize(
    ("claims", "kept"),
    [
        (Claims(privacy="id", marks="abc@192.0.2.1\ntag\nSIP/2.0/UDP 192.0.2.1"), ["careful", "trusted", "plain"]),
        (Claims(privacy="id", marks="02079460123@192.0.2.1"), ["trusted", "plain"]),
        (Claims(privacy="session;critical"), ["trusted", "plain"]),
        (Claims(privacy="id;critical"), ["careful", "trusted", "plain"]),
    ],
)
def test_a_gateway_that_would_learn_what_is_withheld_is_left_out(claims: Claims, kept: list[str]) -> None:
    found = decided("+442079460123", "02079460999", private=True, claims=claims).outcome
    assert isinstance(found, policy.Relay)
    assert [attempt.gateway for attempt in found.plan.attempts] == kept


def test_where_no_gateway_is_left_the_call_is_refused() -> None:
    marks = Claims(privacy="id", marks="02079460123@192.0.2.1")
    found = decided("+442079460123", "0033123456789", private=True, claims=marks).outcome
    assert isinstance(found, policy.Reject)
    assert (found.refusal.id, found.refusal.status) == ("not-withheld", 500)
    # Help is called whatever the Call-ID says.
    assert isinstance(decided("+442079460123", "112", private=True, claims=marks).outcome, policy.Relay)


@pytest.mark.parametrize(
    ("caller", "shown"),
    [("02079460123", "+442079460123"), ("+13125550100", "+442000000000"), ("1001", "+442000000000")],
)
def test_a_trunk_shows_its_own_numbers_alone(caller: str, shown: str) -> None:
    found = decided(caller, "02079460999", source="198.51.100.1").outcome
    assert isinstance(found, policy.Relay)
    assert found.plan.identity is not None
    assert (found.plan.identity.number, found.plan.identity.network) == (shown, shown)
    assert Plan.loads(found.plan.dumps()) == found.plan


def test_a_past_call_is_decided_again_with_its_claims() -> None:
    claims = Claims(privacy="id", asserted=("1",), marks="x", diverted=(Diverted("1", UNCONDITIONAL),))
    facts = CallFacts("1", "2", "192.0.2.1", private=True, claims=claims)
    record = {"event": "decided", "at": 1.0, "call": "c", "facts": facts}
    past = dryrun.parse(msgspec.json.encode(record))
    assert past is not None
    assert past.facts == facts
