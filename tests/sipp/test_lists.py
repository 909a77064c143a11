"""Block and allow entries, as calls meet them: whoever spells a number how, it is one number."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest
from harness.node import GB, TRUNK, Node, at

from model.entries import Action, Entry, Kind, pair_value, parse_entry_value
from model.numbers import normalise
from model.policy import Route, Trunk

NOBODY, NUMBER = "1001", "1002"
# The spellings of one London number: as a person, a carrier and a British phone write it.
TYPED = ("+44 20 7946 0000", "0044 (20) 7946-0000", "020 7946 0000")
OTHER = "02079460001"


class Call(NamedTuple):
    """A call, and how it differs from a plain one."""

    caller: str = NOBODY
    callee: str = NUMBER
    source: str = "127.0.0.1"
    user_agent: str = "SIPp"


class Case(NamedTuple):
    """An entry as an operator types it, with calls that it matches and calls that it does not."""

    kind: Kind
    typed: str
    matching: tuple[Call, ...]
    others: tuple[Call, ...]


LONDON = tuple(Call(caller=number) for number in ("+442079460000", "00442079460000", "02079460000"))
TO_LONDON = tuple(Call(callee=call.caller) for call in LONDON)
CASES = [
    *(Case(Kind.CALLER, typed, LONDON, (Call(caller=OTHER),)) for typed in TYPED),
    *(Case(Kind.CALLEE, typed, TO_LONDON, (Call(callee=OTHER),)) for typed in TYPED),
    Case(
        Kind.CALLER,
        "02079460000",
        tuple(Call(caller=number) for number in ("+44-20-7946-0000", "+44.20.7946.0000", "%2B442079460000")),
        (),
    ),
    Case(Kind.CALLEE, "02079460000", (Call(callee="+44%32079460000"), Call(callee="020-7946-0000")), ()),
    Case(Kind.CALLER, "1001", (Call(caller="1001"),), (Call(caller="+441001"), Call(caller="10011"))),
    Case(Kind.CALLEE, "100123", (Call(callee="100123"),), (Call(callee="0100123"), Call(callee="1001234"))),
    Case(Kind.CALLER, "alice", (Call(caller="alice"), Call(caller="%61lice")), (Call(caller="alice.smith"),)),
    *(
        Case(
            Kind.PAIR,
            f"{typed}>1002",
            LONDON,
            (Call(caller="02079460000", callee="1003"), Call(caller=OTHER), Call(caller="1002", callee="02079460000")),
        )
        for typed in TYPED
    ),
    *(
        Case(kind, typed, calls, others)
        for typed in ("+44 20", "0044 20", "020")
        for kind, calls, others in (
            (Kind.CALLER_PREFIX, (*LONDON, Call(caller=OTHER)), (Call(caller="02179460000"), Call(caller="0209"))),
            (Kind.CALLEE_PREFIX, TO_LONDON, (Call(callee="02179460000"), Call(callee="20"))),
        )
    ),
    Case(Kind.CALLER_PREFIX, "10", (Call(caller="1001"), Call(caller="10")), (Call(caller="+4410"), Call(caller="1"))),
    Case(
        Kind.SOURCE,
        "127.0.0.8/30",
        (Call(source="127.0.0.8"), Call(source="127.0.0.11")),
        (Call(source="127.0.0.7"), Call(source="127.0.0.12")),
    ),
    Case(Kind.SOURCE, "127.0.0.7", (Call(source="127.0.0.7"),), (Call(source="127.0.0.1"),)),
    Case(
        Kind.USER_AGENT,
        "Friendly-Scanner",
        (Call(user_agent="friendly-scanner"), Call(user_agent="Mozilla (FRIENDLY-SCANNER/1.8)")),
        (Call(user_agent="friendly"), Call(user_agent="SIPp")),
    ),
]


def typed_value(kind: Kind, typed: str) -> str:
    """The value of an entry as an operator types it."""
    if kind is Kind.PAIR:
        caller, callee = typed.split(">")
        return pair_value(parse_entry_value(kind, caller, GB), parse_entry_value(kind, callee, GB))
    return parse_entry_value(kind, typed, GB)


@pytest.fixture
def lab(node: Node) -> Node:
    """A node that sends every number to a gateway that answers."""
    serve(node)
    return node


def serve(node: Node, *trunks: Trunk) -> None:
    """Send every number from these trunks to a gateway that answers."""
    node.apply([Route("lists", ("",), ("lists",))], [at("lists", node.answering())], trunks=trunks or (TRUNK,))


def blocked(node: Node, kind: Kind, call: Call) -> None:
    """Place a call that an entry of ``kind`` must block."""
    node.refused(call.caller, call.callee, 403, f"text=.blocked-{kind}", source=call.source, user_agent=call.user_agent)


def passed(node: Node, call: Call) -> None:
    """Place a call that no entry may block."""
    node.answered(call.caller, call.callee, source=call.source, user_agent=call.user_agent)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}-{case.typed}")
def test_an_entry_blocks_its_calls_in_every_spelling_and_no_others(lab: Node, case: Case) -> None:
    lab.put(Entry(case.kind, typed_value(case.kind, case.typed)))
    for call in case.matching:
        blocked(lab, case.kind, call)
    for call in case.others:
        passed(lab, call)


@pytest.mark.parametrize("case", {case.kind: case for case in CASES}.values(), ids=lambda case: case.kind)
def test_an_entry_that_was_removed_blocks_nothing(lab: Node, case: Case) -> None:
    value = typed_value(case.kind, case.typed)
    lab.put(Entry(case.kind, value))
    blocked(lab, case.kind, case.matching[0])
    lab.delete(case.kind, value)
    passed(lab, case.matching[0])


@pytest.mark.parametrize(
    ("block", "allow"),
    [
        ((Kind.CALLER, "02079460000"), (Kind.CALLEE, "1002")),
        ((Kind.CALLER, "02079460000"), (Kind.CALLER_PREFIX, "020")),
        ((Kind.CALLEE, "1002"), (Kind.PAIR, "02079460000>1002")),
        ((Kind.CALLER_PREFIX, "0207946"), (Kind.CALLER, "02079460000")),
        ((Kind.CALLER_PREFIX, "0207946"), (Kind.CALLER_PREFIX, "020")),
        ((Kind.SOURCE, "127.0.0.1"), (Kind.SOURCE, "127.0.0.0/8")),
        ((Kind.CALLER, "02079460000"), (Kind.USER_AGENT, "sipp")),
        ((Kind.USER_AGENT, "sipp"), (Kind.SOURCE, "127.0.0.1")),
    ],
    ids=lambda entry: f"{entry[0]} {entry[1]}",
)
def test_allow_beats_block_whatever_their_kinds(lab: Node, block: tuple[Kind, str], allow: tuple[Kind, str]) -> None:
    call = Call(caller="00442079460000")
    lab.put(Entry(block[0], typed_value(*block)))
    blocked(lab, block[0], call)
    lab.put(Entry(allow[0], typed_value(*allow), Action.ALLOW))
    passed(lab, call)


def test_an_entry_ends_when_it_expires(lab: Node) -> None:
    call = Call(caller="1001")
    lab.put(Entry(Kind.CALLER, "1001", expires=time.time() + 3600))
    blocked(lab, Kind.CALLER, call)
    until = time.time() + 0.3
    lab.put(Entry(Kind.CALLER, "1001", expires=until))
    wait_until(until)
    passed(lab, call)


def test_an_expired_longer_prefix_gives_way_to_the_shorter(lab: Node) -> None:
    call = Call(callee="02079460000")
    lab.put(Entry(Kind.CALLEE_PREFIX, "+4420"))
    lab.put(Entry(Kind.CALLEE_PREFIX, "+44207946", Action.ALLOW, expires=time.time() + 3600))
    passed(lab, call)
    until = time.time() + 0.3
    lab.put(Entry(Kind.CALLEE_PREFIX, "+44207946", Action.ALLOW, expires=until))
    wait_until(until)
    blocked(lab, Kind.CALLEE_PREFIX, call)


def test_an_expired_longer_network_gives_way_to_the_shorter(lab: Node) -> None:
    lab.put(Entry(Kind.SOURCE, "127.0.0.0/29"))
    lab.put(Entry(Kind.SOURCE, "127.0.0.7/32", expires=time.time() - 1))
    blocked(lab, Kind.SOURCE, Call(source="127.0.0.7"))
    lab.delete(Kind.SOURCE, "127.0.0.0/29")
    passed(lab, Call(source="127.0.0.7"))


def wait_until(moment: float) -> None:
    """Wait until the clock that entries expire by has passed ``moment``."""
    while (left := moment - time.time()) > 0:
        time.sleep(left)


ANONYMOUS = [
    {"caller": "anonymous", "caller_host": "anonymous.invalid"},
    {"caller": "1001", "caller_host": "Anonymous.Invalid"},
    {"caller": "1001", "extra_header": "Privacy: id"},
    {"caller": "1001", "extra_header": "Privacy: header;user;critical"},
    {"caller": "Anonymous"},
]


@pytest.mark.parametrize("keys", ANONYMOUS, ids=str)
def test_anonymous_callers_are_refused_where_a_trunk_refuses_them(node: Node, keys: dict[str, str]) -> None:
    strict = Trunk("strict", ("127.0.0.1/32",), GB, anonymous=False)
    serve(node, strict, Trunk("open", ("127.0.0.7/32",), GB))
    call = {"callee": NUMBER, **keys}
    node.refused(**call, status=433, reason="text=.anonymous")
    node.answered(**call, source="127.0.0.7")
    node.answered(NOBODY, NUMBER, extra_header="Privacy: none")


ASSERTED = "P-Asserted-Identity: <sip:+442079460000@127.0.0.1>"
TRUSTING = Trunk("trusting", ("127.0.0.7/32",), GB, trust_identity=True)


@pytest.mark.parametrize(
    "header",
    [
        ASSERTED,
        "P-Asserted-Identity: <tel:+44-20-7946-0000>",
        'P-Asserted-Identity: "A" <sip:02079460000@x.y;a=b>',
    ],
)
def test_an_asserted_identity_is_the_caller_on_a_trusting_trunk_only(node: Node, header: str) -> None:
    serve(node, TRUSTING, Trunk("plain", ("127.0.0.1/32",), GB))
    node.put(Entry(Kind.CALLER, "+442079460000"))
    node.refused(NOBODY, NUMBER, 403, "text=.blocked-caller", source="127.0.0.7", extra_header=header)
    node.answered(NOBODY, NUMBER, source="127.0.0.1", extra_header=header)


def test_an_asserted_identity_hides_no_blocked_from(node: Node) -> None:
    serve(node, TRUSTING)
    node.put(Entry(Kind.CALLER, "1001"))
    node.refused("1001", NUMBER, 403, "text=.blocked-caller", source="127.0.0.7", extra_header=ASSERTED)


def test_an_asserted_identity_allows_on_a_trusting_trunk_only(node: Node) -> None:
    serve(node, TRUSTING, Trunk("plain", ("127.0.0.1/32",), GB))
    node.put(Entry(Kind.CALLEE, NUMBER))
    node.put(Entry(Kind.CALLER, normalise("02079460000", GB), Action.ALLOW))
    node.answered(NOBODY, NUMBER, source="127.0.0.7", extra_header=ASSERTED)
    node.refused(NOBODY, NUMBER, 403, "text=.blocked-callee", source="127.0.0.1", extra_header=ASSERTED)
