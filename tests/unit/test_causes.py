from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.causes import (
    Q850_NAMES,
    TREATMENTS,
    Cause,
    Failure,
    Treatment,
    classify,
    hangup_cause,
    parse_reason,
)
from model.policy import RetryRule, Rewrite

BY_STATUS = {
    Cause.NO_REPLY: (408, 477),
    Cause.SERVER_FAULT: (500, 501, 502, 503, 504, 505, 513, 580, 599),
    Cause.GATEWAY_POLICY: (401, 402, 403, 407),
    Cause.AMBIGUOUS: (400, 404, 406, 413, 415, 420, 433, 480, 481, 485, 488, 491, 499),
    Cause.LOOP: (482, 483),
    Cause.FINAL: (410, 484, 486, 600, 603, 604, 606, 607, 608, 699),
    Cause.CANCELLED: (487,),
    Cause.IDENTITY: (428, 429, 436, 437, 438),
    Cause.REDIRECT: (300, 301, 302, 305, 380),
}
BY_Q850 = {
    Cause.NO_REPLY: (102,),
    Cause.SERVER_FAULT: (27, 38, 41),
    Cause.CAPACITY: (34, 42, 44, 47),
    Cause.GATEWAY_POLICY: (57,),
    Cause.AMBIGUOUS: (1, 2, 3, 18, 19, 20, 88),
    Cause.FINAL: (17, 21, 22, 28),
}
STATUSES = [(status, cause) for cause, statuses in BY_STATUS.items() for status in statuses]
Q850 = [(number, cause) for cause, numbers in BY_Q850.items() for number in numbers]
# What a gateway says for reasons of its own and the network's alike.
REFINED = (403, 404, 408, 480, 488, 400, 433, 500, 502, 503, 504, 599)
SETTLED = (401, 402, 407, 410, 428, 477, 482, 483, 484, 486, 487, 600, 603, 604, 606, 607, 608, 302)


class TestClassify:
    @pytest.mark.parametrize(("status", "cause"), STATUSES)
    def test_status_alone(self, status: int, cause: Cause) -> None:
        assert classify(Failure(status)) is cause

    @pytest.mark.parametrize("status", REFINED)
    @pytest.mark.parametrize(("q850", "cause"), Q850)
    def test_the_reason_header_refines_an_unspecific_status(self, status: int, q850: int, cause: Cause) -> None:
        expected = Cause.GATEWAY_POLICY if (status, q850) == (403, 21) else cause
        assert classify(Failure(status, q850=q850)) is expected

    @pytest.mark.parametrize("status", SETTLED)
    @pytest.mark.parametrize(("q850", "cause"), Q850)
    def test_a_settled_status_stands(self, status: int, q850: int, cause: Cause) -> None:
        assert classify(Failure(status, q850=q850)) is classify(Failure(status))

    @pytest.mark.parametrize("status", REFINED)
    @pytest.mark.parametrize("q850", [0, 16, 31, 79, 111, 127, 999])
    def test_a_cause_that_says_nothing_leaves_it_to_the_status(self, status: int, q850: int) -> None:
        assert classify(Failure(status, q850=q850)) is classify(Failure(status))

    @pytest.mark.parametrize("status", [403, 480, 500, 503])
    @pytest.mark.parametrize(
        ("location", "cause"),
        [
            ("U", Cause.FINAL),
            ("LPN", Cause.FINAL),
            ("RPN", Cause.FINAL),
            ("LN", Cause.GATEWAY_POLICY),
            ("TN", Cause.GATEWAY_POLICY),
            ("RLN", Cause.GATEWAY_POLICY),
            ("INTL", Cause.GATEWAY_POLICY),
            ("BI", Cause.GATEWAY_POLICY),
        ],
    )
    def test_who_rejected_the_call(self, status: int, location: str, cause: Cause) -> None:
        assert classify(Failure(status, q850=21, location=location)) is cause

    def test_a_location_changes_no_other_cause(self) -> None:
        assert classify(Failure(480, q850=17, location="LN")) is Cause.FINAL

    @given(st.integers(100, 999), st.none() | st.integers(0, 999), st.text(max_size=4), st.booleans())
    def test_everything_has_a_class(self, status: int, q850: int | None, location: str, ringing: bool) -> None:
        assert classify(Failure(status, q850=q850, location=location, ringing=ringing)) in TREATMENTS


def test_treatments() -> None:
    assert {cause for cause, treatment in TREATMENTS.items() if treatment.retry} == {
        Cause.NO_REPLY,
        Cause.SERVER_FAULT,
        Cause.CAPACITY,
        Cause.GATEWAY_POLICY,
        Cause.LOOP,
    }
    assert TREATMENTS[Cause.LOOP] == Treatment(retry=True, same_gateway=False)
    assert set(TREATMENTS) == set(Cause)


class TestHangupCause:
    @pytest.mark.parametrize(
        ("cause", "statuses"),
        [
            ("CALL_REJECTED", (401, 402, 403, 407, 603, 608)),
            ("UNALLOCATED_NUMBER", (404,)),
            ("NO_ROUTE_DESTINATION", (485, 604)),
            ("RECOVERY_ON_TIMER_EXPIRE", (408, 504)),
            ("NUMBER_CHANGED", (410,)),
            ("NO_USER_RESPONSE", (480,)),
            ("NORMAL_TEMPORARY_FAILURE", (400, 481, 500, 503)),
            ("USER_BUSY", (486, 600)),
            ("INVALID_NUMBER_FORMAT", (484,)),
            ("INCOMPATIBLE_DESTINATION", (488, 606)),
            ("NETWORK_OUT_OF_ORDER", (502,)),
            ("NORMAL_UNSPECIFIED", (302, 477, 491, 580)),
        ],
    )
    def test_of_a_status_as_freeswitch_has_it(self, cause: str, statuses: tuple[int, ...]) -> None:
        assert {hangup_cause(Failure(status)) for status in statuses} == {Q850_NAMES[cause]}

    @pytest.mark.parametrize(
        ("number", "statuses"),
        [
            (25, (482, 483)),
            (63, (405,)),
            (79, (406, 415, 501)),
            (127, (413, 414, 416, 420, 421, 423, 505, 513)),
        ],
    )
    def test_of_a_status_by_number(self, number: int, statuses: tuple[int, ...]) -> None:
        assert {hangup_cause(Failure(status)) for status in statuses} == {number}

    def test_the_reason_header_speaks_first(self) -> None:
        assert hangup_cause(Failure(503, q850=34)) == 34


class TestParseReason:
    @pytest.mark.parametrize(
        ("header", "cause", "location"),
        [
            ("Q.850;cause=16", 16, ""),
            ('Q.850;cause=16;text="Normal call clearing"', 16, ""),
            ("q.850 ; Cause = 21 ; Location = u", 21, "U"),
            ('Q.850;text="a;cause=1, b";cause=34', 34, ""),
            ('Q.850;cause="41";location=LN', 41, "LN"),
            (r'Q.850;text="a \" quote, and;cause=1";cause=3', 3, ""),
            ('SIP;cause=503;text="Busy, really", Q.850;cause=42', 42, ""),
            ("Q.850;cause=17, Q.850;cause=16", 17, ""),
            ("Q.850;text=none, Q.850;cause=16", 16, ""),
            ("Q.850;cause=0", 0, ""),
        ],
    )
    def test_well_formed(self, header: str, cause: int, location: str) -> None:
        assert parse_reason(header) == (cause, location)

    @pytest.mark.parametrize(
        "header",
        [
            "",
            "Q.850",
            "Q.850;",
            "Q.850;cause",
            "Q.850;cause=",
            "Q.850;cause=;text=x",
            "Q.850;cause=x",
            "Q.850;cause=-1",
            "Q.850;cause=1234",
            "Q.850;cause=٣",
            "Q.850;xcause=16",
            'Q.850;text="cause=16"',
            'Q.850;text="open;cause=16',
            "SIP;cause=200",
            "FreeSWITCH;cause=16",
            "cause=16",
            ",,,;;;===",
        ],
    )
    def test_nothing_to_be_had(self, header: str) -> None:
        assert parse_reason(header) == (None, "")

    @given(st.text() | st.text(alphabet='Q.850;cause=16,"\\ location=LN'))
    def test_never_raises(self, header: str) -> None:
        cause, location = parse_reason(header)
        assert cause is None or 0 <= cause <= 999
        assert location == location.upper()

    @given(st.integers(0, 999), st.sampled_from(["", "U", "LN", "INTL"]), st.text("abc ;,=", max_size=12))
    def test_whatever_text_stands_beside(self, cause: int, location: str, text: str) -> None:
        suffix = f";location={location}" if location else ""
        assert parse_reason(f'SIP;cause=480, Q.850;text="{text}";cause={cause}{suffix}') == (cause, location)


class TestRewrite:
    @pytest.mark.parametrize(
        ("rewrite", "number"),
        [
            (Rewrite(), "+442079460000"),
            (Rewrite(strip=1), "442079460000"),
            (Rewrite(strip=1, prefix="00"), "00442079460000"),
            (Rewrite(match=r"^\+44", replace="0"), "02079460000"),
            (Rewrite(match=r"^\+44(\d\d)(\d+)$", replace=r"0\1-\2"), "020-79460000"),
            (Rewrite(match="0", replace="x"), "+442x79460000"),
            (Rewrite(match="^9", replace="x"), "+442079460000"),
            # The pattern sees what was stripped, and the prefix is out of its reach.
            (Rewrite(strip=3, match="^20", replace="0", prefix="20"), "20079460000"),
            (Rewrite(strip=99, prefix="112"), "112"),
        ],
    )
    def test_apply(self, rewrite: Rewrite, number: str) -> None:
        assert rewrite.apply("+442079460000") == number

    @given(st.text())
    def test_nothing_to_do(self, number: str) -> None:
        assert Rewrite().apply(number) == number


class TestRetryRule:
    @pytest.mark.parametrize(
        ("rule", "failure", "verdict"),
        [
            (RetryRule(), Failure(503), None),
            (RetryRule(also=("ambiguous",)), Failure(404), True),
            (RetryRule(also=("404",)), Failure(404), True),
            (RetryRule(also=("404",)), Failure(480), None),
            (RetryRule(also=("q850:1",)), Failure(404), True),
            (RetryRule(also=("q850:3",)), Failure(404, q850=3), True),
            (RetryRule(also=("q850:1",)), Failure(404, q850=3), None),
            (RetryRule(never=("server-fault",)), Failure(503), False),
            (RetryRule(never=("server-fault",)), Failure(503, q850=34), None),
            (RetryRule(never=("503",)), Failure(500), None),
            (RetryRule(only=("503",)), Failure(503), True),
            (RetryRule(only=("503",)), Failure(500), False),
            (RetryRule(only=("server-fault",), never=("503",)), Failure(503), False),
            (RetryRule(only=("server-fault",), never=("503",)), Failure(500), True),
            (RetryRule(only=("server-fault",), never=("503",)), Failure(404), False),
            (RetryRule(also=("404",), never=("ambiguous",)), Failure(404), False),
        ],
    )
    def test_verdict(self, rule: RetryRule, failure: Failure, verdict: bool | None) -> None:
        assert rule.verdict(failure) is verdict

    def test_after_ringing_is_no_part_of_the_verdict(self) -> None:
        assert RetryRule(after_ringing=True).verdict(Failure(503, ringing=True)) is None
