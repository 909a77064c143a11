"""`strowger hook`: what route hooks do on this node, and one asked by hand."""

from __future__ import annotations

import asyncio
import json as jsonlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import typer

from agent import hook_asking
from agent.http_client import Client
from console import explain_command
from console.output import CommandFailed, Json, out, print_json, print_table
from kemi import asking, hook, policy
from kemi.explain import Snapshot, explain
from kemi.hook import Heard, Question
from kemi.hook_breaker import Breaker
from kemi.node_state import kamcmd
from kemi.rpc import RpcError
from kemi.view import View
from model.call import CallFacts
from model.hook import Hook
from model.settings import Settings
from operations.explain import source_of, viewed

app = typer.Typer(no_args_is_help=True)

# Seconds after which a report is of a process that hangs, or is gone.
STALE = 3.0


@app.command("status")
def status(json: Json = False) -> None:
    """Hooks of the policy in force: whether they are asked, how fast they answer, and what came of questions."""
    settings, now = Settings.from_env(), time.time()
    report = _report(settings)
    runs = report is not None and now - report["at"] < STALE
    known: Mapping[str, Any] = report["hooks"] if report is not None else {}
    breakers, counts = _in_kamailio(settings)
    with viewed(settings, None, []) as view:
        hooks = view.policy.hooks
    rows = [_row(one, known.get(name, {}), breakers, counts, now) for name, one in hooks.items()]
    if json:
        print_json({"process": runs, "hooks": rows})
        return
    if not runs and rows:
        out.print("The hook process of this node does not run: every call takes its hook's fallback.", style="red")
    print_table(
        ("hook", "state", "waiting", "p50", "p99", "answered", "without an answer"),
        [_cells(row) for row in rows],
        empty="no hooks",
    )


def _report(settings: Settings) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = jsonlib.loads(settings.hook_report.read_text())
    except (OSError, ValueError):
        return None
    return found


def _in_kamailio(settings: Settings) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        with kamcmd(settings) as rpc:
            return rpc.htable_dump(asking.BREAKERS), rpc.htable_dump(asking.COUNTS)
    except RpcError:
        return {}, {}


def _row(
    one: Hook, known: Mapping[str, Any], breakers: Mapping[str, Any], counts: Mapping[str, Any], now: float
) -> dict[str, Any]:
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


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    times = ("" if row[name] is None else f"{row[name] * 1000:.1f} ms" for name in ("p50", "p99"))
    fallbacks = ", ".join(f"{count} {why}" for why, count in row["fallbacks"].items())
    waiting = f"{row['outstanding']} of {row['at_most']}"
    return row["hook"], row["state"], waiting, *times, str(row["answered"]), fallbacks


@app.command("try")
def try_hook(
    name: Annotated[str, typer.Argument(help="Name of the hook.")],
    callee: Annotated[str, typer.Option("--to", help="User part of the Request-URI: the number dialled.")],
    caller: Annotated[str, typer.Option("--from", help="User part of the caller's From.")] = "",
    source: Annotated[str, typer.Option(help="IP address that the call comes from; default: the first trunk's.")] = "",
    subscriber: Annotated[str, typer.Option(help="Subscriber whose phone calls.")] = "",
    json: Json = False,
) -> None:
    """Ask a hook about a call that nobody places, and show what its answer would make of it."""
    settings, now = Settings.from_env(), time.time()
    with viewed(settings, None, []) as view:
        facts = CallFacts(
            caller=caller or subscriber, callee=callee, subscriber=subscriber,
            source=source_of(source, subscriber, view),
        )  # fmt: skip
        ask = _ask(name, facts, view, now)
        body = hook.question(ask, facts, "try", "", now)
        found = _heard(Question("", ask.hook, now + ask.hook.timeout, msgspec.Raw(body)), settings)
        explanation = explain(replace(facts, hook=found.dumps()), view, Snapshot(), now, {})
    if json:
        heard = jsonlib.loads(found.dumps())
        print_json({"question": jsonlib.loads(body), "heard": heard, "explanation": explanation.as_dict()})
        return
    out.print(f"asked     {body.decode()}", markup=False, soft_wrap=True)
    answer = bytes(found.answer).decode() or f"none: {found.failed}: {found.detail}"
    out.print(f"answer    {answer}", markup=False, soft_wrap=True)
    explain_command.show(explanation, {}, [])
    if found.failed:
        raise CommandFailed("there was no answer")


def _ask(name: str, facts: CallFacts, view: View, now: float) -> policy.Ask:
    known = view.policy.hooks.get(name)
    if known is None:
        raise typer.BadParameter(f"the policy has no hook {name!r}: it has {', '.join(view.policy.hooks) or 'none'}")
    decision = policy.decide(facts, view, Snapshot(), now, ask=True)
    if decision.ask is None:
        raise CommandFailed("such a call asks no hook; strowger explain says why")
    if decision.ask.hook.name != name:
        raise CommandFailed(f"such a call asks hook {decision.ask.hook.name!r}, not {name!r}")
    return decision.ask


def _heard(question: Question, settings: Settings) -> Heard:
    async def ask() -> Heard:
        client = Client()
        try:
            return await hook_asking.ask(question, client, settings.secrets)
        finally:
            client.close()

    return asyncio.run(ask())
