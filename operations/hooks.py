"""Route hooks: what they do on this node, and one asked by hand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from agent import hook_asking
from agent.http_client import Client
from kemi import asking, hook, policy
from kemi.explain import Explanation, Snapshot, explain
from kemi.hook import Heard
from kemi.hook_breaker import Breaker
from kemi.node_state import kamcmd
from kemi.rpc import RpcError
from kemi.view import View
from model.call import CallFacts
from model.hook import Hook
from model.settings import Settings
from operations.changes import Row
from operations.errors import ImpossibleError, MissingError
from operations.explain import source_of, viewed

STALE = 3.0
"Seconds after which a report is of a process that hangs, or is gone."


@dataclass(frozen=True, slots=True)
class Tried:
    """What a hook was asked, what it answered, and what becomes of the call."""

    question: bytes
    heard: Heard
    explanation: Explanation

    def row(self) -> Row:
        """As JSON shows it."""
        heard = json.loads(self.heard.dumps())
        return {
            "question": json.loads(self.question), "heard": heard, "explanation": self.explanation.as_dict(),
        }  # fmt: skip


def report(settings: Settings) -> Row:
    """Hooks of the policy in force: whether they are asked, how fast they answer, and what came of questions.

    Raises AwayError where this node has no policy.
    """
    now, told = time.time(), _told(settings)
    known: Mapping[str, Any] = told["hooks"] if told is not None else {}
    breakers, counts = _in_kamailio(settings)
    with viewed(settings, None, []) as view:
        rows = [_row(one, known.get(name, {}), breakers, counts, now) for name, one in view.policy.hooks.items()]
    return {"process": told is not None and now - told["at"] < STALE, "hooks": rows}


def tried(
    settings: Settings, name: str, callee: str, *, caller: str = "", source: str = "", subscriber: str = ""
) -> Tried:
    """Ask a hook about a call that nobody places.

    Raises InvalidError, MissingError, ImpossibleError, AwayError, SecretError.
    """
    now = time.time()
    with viewed(settings, None, []) as view:
        facts = CallFacts(
            caller=caller or subscriber, callee=callee, subscriber=subscriber,
            source=source_of(source, subscriber, view),
        )  # fmt: skip
        ask = _ask(name, facts, view, now)
        body = hook.question(ask, facts, "try", "", now)
        question = hook.Question("", ask.hook, now + ask.hook.timeout, msgspec.Raw(body))
        heard = asyncio.run(_heard(question, settings))
        return Tried(body, heard, explain(replace(facts, hook=heard.dumps()), view, Snapshot(), now, {}))


def _ask(name: str, facts: CallFacts, view: View, now: float) -> policy.Ask:
    known = view.policy.hooks.get(name)
    if known is None:
        raise MissingError(f"the policy has no hook {name!r}: it has {', '.join(view.policy.hooks) or 'none'}")
    decision = policy.decide(facts, view, Snapshot(), now, ask=True)
    if decision.ask is None:
        raise ImpossibleError("such a call asks no hook; strowger explain says why")
    if decision.ask.hook.name != name:
        raise ImpossibleError(f"such a call asks hook {decision.ask.hook.name!r}, not {name!r}")
    return decision.ask


async def _heard(question: hook.Question, settings: Settings) -> Heard:
    client = Client()
    try:
        return await hook_asking.ask(question, client, settings.secrets)
    finally:
        client.close()


def _told(settings: Settings) -> Row | None:
    """What the hook process of this node said last."""
    try:
        found: Row = json.loads(settings.hook_report.read_text())
    except (OSError, ValueError):
        return None
    return found


def _in_kamailio(settings: Settings) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        with kamcmd(settings) as rpc:
            return rpc.htable_dump(asking.BREAKERS), rpc.htable_dump(asking.COUNTS)
    except RpcError:
        return {}, {}


def _row(one: Hook, known: Row, breakers: Mapping[str, Any], counts: Mapping[str, Any], now: float) -> Row:
    own = {what: int(count) for key, count in counts.items() for name, what in [key.split(" ")] if name == one.name}
    return {
        "hook": one.name,
        "url": one.url,
        "state": Breaker.loads(breakers.get(one.name, "")).state(now),
        "outstanding": known.get("outstanding", 0),
        "at_most": one.at_most,
        "p50": known.get("p50"),
        "p99": known.get("p99"),
        "late": known.get("late", 0),
        "answered": own.pop("answered", 0),
        "fallbacks": dict(sorted(own.items())),
    }
