"""What the policy says of a call that was placed, to be compared with what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kemi import policy
from kemi.explain import Snapshot as Live
from kemi.plan import Attempt
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from state.snapshot import shared_reader


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision on a call, and on each of the failures that it was asked about."""

    decision: policy.Decision
    attempts: tuple[Attempt, ...]
    "Those that begin, in order; one more than there are failures if the last one leads to a retry."
    failures: tuple[policy.FailureDecision, ...]


def explain(
    snapshot: Path, facts: CallFacts, failures: Iterable[tuple[float, Failure]], *, live: Live, now: float
) -> Explanation:
    """Decide a call with ``facts`` at Unix time ``now``, and walk its plan through ``failures`` (time, failure)."""
    with shared_reader(snapshot).read() as get:
        view = View(get)
        decision = policy.decide(facts, view, live, now)
        return _walked(decision, view, failures, live, now)


def _walked(
    decision: policy.Decision, view: View, failures: Iterable[tuple[float, Failure]], live: Live, now: float
) -> Explanation:
    if isinstance(decision.outcome, policy.Reject):
        return Explanation(decision, (), ())
    plan, attempts, decisions, began = decision.outcome.plan, [decision.outcome.plan.attempt], [], now
    for at, failure in failures:
        live.fail(plan, failure, began, at)
        began = at
        after = policy.next_attempt(plan, failure, live, at)
        if (reason := policy.voicemail_reason(plan, failure, after)) is not None:
            after = policy.to_voicemail(plan, failure, reason, after, view, live, at)
        decisions.append(after)
        if isinstance(outcome := after.outcome, policy.Retry):
            plan = outcome.plan
            attempts.append(plan.attempt)
    return Explanation(decision, tuple(attempts), tuple(decisions))


def explain_records(snapshot: Path, records: list[dict[str, Any]], live: Live) -> Explanation:
    """Explain a call from its spooled records, and fail if they tell another story."""
    decided, *failed = records
    failures = [(record["at"], failure_of(record)) for record in failed]
    live.drawn = next((float(subject) for what, subject, _ in decided["steps"] if what == "draw"), 0.0)
    found = explain(snapshot, msgspec.convert(decided["facts"], CallFacts), failures, live=live, now=decided["at"])
    assert json.loads(json.dumps(found.decision.steps)) == decided["steps"]
    assert decided["emergency"] == found.decision.emergency
    if isinstance(found.decision.outcome, policy.Reject):
        assert decided["refusal"] == found.decision.outcome.refusal.id
        assert decided["status"] == found.decision.outcome.refusal.status
    else:
        assert decided["gateways"] == [attempt.gateway for attempt in found.decision.outcome.plan.attempts]
    for record, attempt, decision in zip(failed, found.attempts, found.failures, strict=False):
        assert record["gateway"] == attempt.gateway
        assert (record["cause"], record["why"]) == (decision.cause, decision.why)
        assert (record.get("next"), record.get("refusal")) == _outcome(decision.outcome)
    return found


def failure_of(record: dict[str, Any]) -> Failure:
    """The failure that a record tells of."""
    return Failure(
        status=record["status"],
        local=record["local"],
        q850=record["q850"],
        location=record["location"],
        ringing=record["ringing"],
        retry_after=record["retry_after"],
        do_not_disturb=record.get("do_not_disturb", False),
    )


def _outcome(outcome: policy.Retry | policy.PassOn | policy.Reject) -> tuple[str | None, str | None]:
    match outcome:
        case policy.Retry(plan=plan):
            return plan.attempt.gateway, None
        case policy.Reject(refusal=refusal):
            return None, refusal.id
        case _:
            return None, None
