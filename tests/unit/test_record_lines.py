"""Lines that a worker writes of a call, as far as others read them back."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import msgspec
import pytest

from kemi import policy, records, refusals
from model.call import CallFacts
from model.identity import Claims

SAID = CallFacts(
    caller="100", callee="200", source="192.0.2.9", asserted="101", user_agent="phone", private=True,
    caller_host="anonymous.invalid", hops=2, origin="1-1-1", subscriber="anna", hook="{}",
    claims=Claims(privacy="id"), media="10.0.0.7 RTP/AVP",
)  # fmt: skip
LEAST = CallFacts("100", "200", "192.0.2.9")


def written(facts: CallFacts) -> Any:
    decision = policy.Decision(policy.Reject(refusals.DRAINING), ())
    event = records.decided("1-1-1", "call-id", "tag", facts, decision, 1, 0.0)
    return msgspec.json.decode(msgspec.json.encode(event))["facts"]


@pytest.mark.parametrize("facts", [SAID, LEAST])
def test_facts_come_back_as_they_were(facts: CallFacts) -> None:
    assert msgspec.convert(written(facts), CallFacts) == facts


def test_every_fact_is_among_them() -> None:
    assert [one.name for one in fields(CallFacts) if getattr(SAID, one.name) == one.default] == []


def test_what_a_call_does_not_say_takes_no_room() -> None:
    assert set(written(LEAST)) == {one.name for one in fields(CallFacts) if one.default is MISSING}
