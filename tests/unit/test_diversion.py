"""Whom the caller of a diverted call wanted, as Diversion and History-Info tell it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.causes import Reason
from model.diversion import UNCONDITIONAL, Diversion, first_diversion

NO_REASON = UNCONDITIONAL


@pytest.mark.parametrize(
    ("header", "number", "reason"),
    [
        ("<sip:1001@pbx>;reason=no-answer;counter=1", "1001", "no-answer"),
        ("<sip:1001@pbx>;reason=user-busy", "1001", "busy"),
        ("<sip:1001@pbx>;reason=unavailable", "1001", "unreachable"),
        ("<sip:1001@pbx>;reason=out-of-service", "1001", "unreachable"),
        ("<sip:1001@pbx>;reason=do-not-disturb", "1001", "do-not-disturb"),
        ('<sip:1001@pbx>;privacy="off";reason="Do-Not-Disturb"', "1001", "do-not-disturb"),
        *((f"<sip:1001@pbx>;reason={reason}", "1001", NO_REASON) for reason in ("follow-me", "deflection", "away")),
        ("<sip:1001@pbx>", "1001", NO_REASON),
        # Who diverts puts an entry in front.
        ("<sip:1002@pbx>;reason=user-busy,<sip:1001@pbx>;reason=no-answer", "1001", "no-answer"),
        ('"Smith, \\"J\\" <x>" <sip:1001@pbx;user=phone>;reason=user-busy', "1001", "busy"),
        ('"a" <sip:1002@pbx>, "b, <sip:9@x>" <sips:1001@pbx:5061>', "1001", NO_REASON),
        ("<tel:+44-20-7946-0000;phone-context=x>;reason=no-answer", "+44-20-7946-0000", "no-answer"),
        ("tel:+442079460000;reason=no-answer", "+442079460000", "no-answer"),
        ("sip:1001@pbx;reason=user-busy", "1001", "busy"),
        ("<sip:+442079460000;npdi:secret@pbx>", "+442079460000;npdi", NO_REASON),
        ("< sip:1001@pbx > ; reason = no-answer ", "1001", "no-answer"),
        ("<sip:a%20b@pbx>", "a%20b", NO_REASON),
        ("<sip:anonymous@anonymous.invalid>;reason=no-answer", "", "no-answer"),
        ("<sip:pbx.example>;reason=no-answer", "", "no-answer"),
        # What cannot be read is left out.
        ("<sip:1001@pbx>;reason=no-answer, nonsense", "1001", "no-answer"),
        ("<sip:1001@pbx>, <sip:1002@pbx", "1001", NO_REASON),
    ],
)
def test_the_last_diversion_is_the_first(header: str, number: str, reason: str) -> None:
    found = first_diversion(header, "")
    assert found is not None
    assert (found.number, found.reason) == (number, reason)


def test_whose_number_is_private_has_a_mailbox_too() -> None:
    wanted = Diversion(number="1001", reason=UNCONDITIONAL)
    assert first_diversion("<sip:1001@pbx>;counter=3;privacy=full", "") == wanted
    private = "<sip:1001@x?Privacy=history>;index=1, <sip:vm@x;cause=302>;index=1.1;mp=1"
    assert first_diversion("", private) == wanted


BOB, VM = "<sip:1001@pbx>;index=1", "<sip:vm@pbx;target=sip:1001%40pbx;cause="


@pytest.mark.parametrize(
    ("header", "number", "reason"),
    [
        # RFC 7044 with the causes of RFC 4458.
        (f"{BOB}, {VM}408>;index=1.1;mp=1", "1001", "no-answer"),
        (f"{BOB}, {VM}486>;index=1.1;mp=1", "1001", "busy"),
        (f"{BOB}, {VM}503>;index=1.1;mp=1", "1001", "unreachable"),
        *((f"{BOB}, {VM}{cause}>;index=1.1;mp=1", "1001", NO_REASON) for cause in (302, 404, 480, 487)),
        # The cause alone, and the tag alone with the reason of who failed.
        (f"{BOB}, {VM}486>;index=1.1", "1001", "busy"),
        ("<sip:1001@pbx?Reason=SIP%3Bcause%3D486>;index=1,<sip:vm@pbx>;index=1.1;mp=1", "1001", "busy"),
        ("<sip:1001@pbx?Reason=SIP%3Bcause%3D603%3Btext%3D%22No%22>;index=1,<sip:vm@x>;index=1.1;mp=1",
         "1001", "rejected"),
        # The phone's own contact stands for the number behind it.
        (f"{BOB}, <sip:x7f@192.0.2.4>;index=1.1;rc=1, {VM}408>;index=1.2;mp=1.1", "1001", "no-answer"),
        # Of two diversions the first counts, in whatever order they stand.
        (f"<sip:vm@x;cause=486>;index=1.1.1;mp=1.1, <sip:1002@x;cause=408>;index=1.1;mp=1, {BOB}", "1001", "no-answer"),
        ("<sip:1001@x>;index=1, <sip:1002@x;cause=408>;index=1.10;mp=1, <sip:1003@x>;index=1.2;rc=1",
         "1001", "no-answer"),
        # RFC 4244: no tags, and targets beside one another.
        ("<sip:1001@x?Reason=SIP%3Bcause%3D408>;index=1, <sip:vm@x>;index=2", "1001", "no-answer"),
        ('"B, ob" <tel:+442079460000?Reason=SIP%3Bcause%3D486&Privacy=history>;index=1, <sip:vm@x>;index=2',
         "+442079460000", "busy"),
        ("<sip:unknown@unknown.invalid>;index=1, <sip:vm@x;cause=486>;index=1.1;mp=1", "", "busy"),
    ],
)  # fmt: skip
def test_a_history_that_tells_of_a_diversion(header: str, number: str, reason: str) -> None:
    found = first_diversion("", header)
    assert found is not None
    assert (found.number, found.reason) == (number, reason)


@pytest.mark.parametrize(
    "header",
    [
        "",
        BOB,
        f"{BOB}, <sip:1001@192.0.2.4>;index=1.1;rc=1",
        f"{BOB}, <sip:vm@x;cause=486>",
        "<sip:vm@x;cause=486>;index=1;mp=1",
        "<sip:1001@x?Reason=SIP%3Bcause%3D486>;index=1",
        "<sip:1001@a?Reason=SIP%3Bcause%3D486>;index=1.1;rc=1, <sip:1001@b>;index=1.2;rc=1",
        "<sip:vm@x;cause=486>;index=1.x, <sip:1001@x>;index=99999999999999",
        "*",
    ],
)
def test_a_history_without_a_diversion(header: str) -> None:
    assert first_diversion("", header) is None


def test_the_history_wins_where_it_tells_of_a_diversion() -> None:
    diversion = "<sip:1003@pbx>;reason=unconditional"
    for history, number in ((f"{BOB}, {VM}408>;index=1.1;mp=1", "1001"), (BOB, "1003"), ("", "1003")):
        found = first_diversion(diversion, history)
        assert found is not None
        assert found.number == number


# Whatever comes from the network

pieces = st.sampled_from(
    ['"', "\\", "<", ">", ",", ";", "=", "?", "&", "%", "@", ":", "sip:1001@x", "tel:+4420", "index=", "1.1", "mp=1",
     "rc=", "cause=486", "Reason=SIP%3Bcause%3D486", "reason=no-answer", " ", "\0", "\xff", "é"]
)  # fmt: skip
headers = st.one_of(st.text(max_size=200), st.lists(pieces, max_size=60).map("".join))


@given(headers, headers)
def test_nothing_raises(diversion: str, history: str) -> None:
    found = first_diversion(diversion, history)
    if found is not None:
        assert found.reason in (UNCONDITIONAL, *Reason)
        assert not set(found.number) & set('<>@" \t\r\n')


numbers = st.from_regex(r"\+?[0-9]{1,15}", fullmatch=True)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_however_many_diverted_the_first_is_found(chain: list[str]) -> None:
    entries = [f"<sip:{number}@x>;reason=user-busy" for number in reversed(chain)]
    found = first_diversion(",".join(entries), "")
    assert found == Diversion(number=chain[0], reason=Reason.BUSY)


@given(st.lists(numbers, min_size=2, max_size=12))
def test_however_long_the_history_the_first_is_found(chain: list[str]) -> None:
    places = [".".join("1" * (depth + 1)) for depth in range(len(chain))]
    entries = [f"<sip:{chain[0]}@x>;index=1"] + [
        f"<sip:{number}@x;cause=486>;index={place};mp={before}"
        for number, place, before in zip(chain[1:], places[1:], places, strict=False)
    ]
    found = first_diversion("", ",".join(entries))
    assert found is not None
    assert (found.number, found.reason) == (chain[0], "busy")


@pytest.mark.parametrize("part", ["<sip:1001@x>,", '"', "<", "<sip:1@x>;index=1.1.1,", "a\\", ";;", "?&", "SIP;a"])
def test_a_hostile_length_is_cut(part: str) -> None:
    first_diversion(part * 100_000, part * 100_000)
    first_diversion("", f"<sip:1@x?Reason={part * 1000}>;index=1;mp=1," * 1000)
