"""`strowger explain`: why a call goes where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from console import cdr_output, fraud_commands, policy_commands
from console.output import Json, err, out, parse_time, print_json
from kemi import hook
from kemi.explain import Explanation
from kemi.plan import Limit
from model.handover import DIRECT
from model.settings import Settings
from operations import explain as operations
from operations import records
from state.limit_use import Use
from state.store import Store


def command(
    caller: Annotated[str, typer.Option("--from", help="User part of the caller's From.")] = "",
    callee: Annotated[str, typer.Option("--to", help="User part of the Request-URI: the number dialled.")] = "",
    call_id: Annotated[str, typer.Option(help="Explain this past call instead, from its record.")] = "",
    source: Annotated[str, typer.Option(help="IP address that the call comes from; default: the first trunk's.")] = "",
    subscriber: Annotated[str, typer.Option(help="Subscriber whose phone calls, their password being right.")] = "",
    media: Annotated[
        str, typer.Option(help="With a media relay: what the caller's SDP has, as '10.0.0.7 RTP/AVP'.")
    ] = "",
    asserted: Annotated[str, typer.Option(help="User part of P-Asserted-Identity.")] = "",
    user_agent: Annotated[str, typer.Option(help="User-Agent header.")] = "",
    private: Annotated[bool, typer.Option("--private", help="The caller asks for privacy.")] = False,
    at: Annotated[str, typer.Option(help="When, as 2026-01-31T18:00 (local time unless it has a zone).")] = "",
    fail: Annotated[
        list[str] | None,
        typer.Option(help="GATEWAY=503[,q850=34][,location=LN][,retry-after=5][,ringing], =timeout or =unsendable."),
    ] = None,
    draw: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="What a weighted route draws, as the trace of a past call has it.")
    ] = 0.0,
    hook_answer: Annotated[
        Path | None,
        typer.Option(help="What the route hook of the call answers, as JSON in a file.", exists=True, dir_okay=False),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(help="Decide by this file instead of the policy in force.", exists=True, dir_okay=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show how a call is decided: what is read, what matches, the attempts, and what each failure leads to."""
    settings = Settings.from_env()
    if call_id:
        _print_past(settings, call_id, json)
        return
    if not callee:
        raise typer.BadParameter("name the number with --to, or a past call with --call-id")
    question = operations.Question(
        callee, caller, source, subscriber, media, asserted, user_agent, private,
        parse_time(at, "--at") if at else 0.0, tuple(fail or ()), draw,
        hook_answer.read_bytes() if hook_answer is not None else None,
    )  # fmt: skip
    found = operations.explained(settings, question, policy_commands.read(policy) if policy is not None else None)
    for note in found.notes:
        err.print(note)
    if json:
        print_json(found.row())
    else:
        show(found.explanation, found.use, found.guarded)


def show(explanation: Explanation, use: Mapping[str, Use], guarded: list[dict[str, Any]]) -> None:
    """Print an explanation, what is in use of the limits that it names, and what guards have counted."""
    _print_line("policy", f"version {explanation.version or '(the file)'}")
    for what, subject, found in explanation.steps:
        out.print(f"  {what:<14} {subject:<24} {found}")
    if any(what == "hook" and text.startswith(hook.NOT_ASKED) for what, _, text in explanation.steps):
        _print_line("hook", "would be asked: --hook-answer FILE is an answer, strowger hook try asks")
    for quote in explanation.rates:
        _print_line("rate", f"{quote.gateway}  {quote}")
    for limit in explanation.limits:
        out.print(f"  {'limit':<14} {limit.name:<24} {_limit(limit, use.get(limit.name))}")
    for row in guarded:
        out.print(f"  {'guard':<14} {row['name']:<24} {fraud_commands.explained_line(row)}")
    for attempt in explanation.attempts:
        _print_line(f"attempt {attempt.number}", f"{attempt.gateway}  {attempt.uri}")
        if attempt.cause is None:
            out.print("  answered", style="green")
        else:
            out.print(f"  {attempt.result}: {attempt.cause}, {attempt.why} -> {attempt.following}")
        out.print(f"  if it fails: {_grouped(attempt.consequences)}", style="dim")
    result = explanation.gateway or explanation.refusal
    if explanation.app:
        _print_line("to media:", f"app {explanation.app} on {', then '.join(_nodes(explanation))}{_why(explanation)}")
    _print_line("outcome", f"{explanation.outcome} {explanation.status or ''} {result}".rstrip())


def _limit(limit: Limit, use: Use | None) -> str:
    calls, begun = ("?", "?") if use is None else (use.calls, use.begun)
    parts = [f"{calls} of {limit.calls} calls"] if limit.calls else []
    parts += [f"{begun} of {limit.per_second} in this second"] if limit.per_second else []
    return f"{', '.join(parts)}; {limit.when_away} while Redis is away"


def _nodes(explanation: Explanation) -> list[str]:
    nodes: list[str] = []
    for what, found, _ in explanation.steps:
        # Before a call went to voicemail, it was tried elsewhere.
        nodes = [] if what == "voicemail" else [*nodes, found] if what == "attempt" else nodes
    return nodes


def _why(explanation: Explanation) -> str:
    return "" if explanation.reason == DIRECT else f", {explanation.reason}"


def _print_line(heading: str, text: str) -> None:
    out.print(heading, style="bold", end=" ")
    out.print(text)


def _grouped(consequences: dict[str, str]) -> str:
    by_result: dict[str, list[str]] = {}
    for name, result in consequences.items():
        by_result.setdefault(result, []).append(name)
    return "; ".join(f"{', '.join(names)} -> {result}" for result, names in by_result.items())


def _print_past(settings: Settings, call_id: str, json: bool) -> None:
    """What is recorded of a call; of one that is not over, or not shipped yet, what this node has of it."""
    store = Store(settings.redis_url)
    if json:
        print_json(records.of_call(store, settings.spool, call_id))
        return
    known, events = records.found(store, settings.spool, call_id)
    for record in known:
        for line in cdr_output.explained(record):
            out.print(line)
    for event in events:
        for line in describe(event):
            out.print(line)


def describe(record: dict[str, Any]) -> list[str]:
    """An event of the spool as lines for people; the first says what happened, the others why."""
    at = datetime.fromtimestamp(record["at"], UTC).strftime("%H:%M:%S.%f")[:-3]
    if record["event"] == "asked":
        facts = record["facts"]
        return [f"{at} {facts['caller']} calls {facts['callee']}: a hook is asked", *_steps(record["steps"])]
    if record["event"] == "decided":
        to = f"to media: app {record['app']} on " if "app" in record else ""
        there = to + " then ".join(record.get("gateways", ()))
        end = f"{record['status']} {record['refusal']}" if "refusal" in record else there
        facts = record["facts"]
        what = "emergency call, " if record.get("emergency") else ""
        return [f"{at} {what}{facts['caller']} calls {facts['callee']}: {end}", *_steps(record["steps"])]
    match record["event"]:
        case "answered":
            return [f"{at} attempt {record['attempt']} answered: {record['status']}"]
        case "cancelled":
            return [f"{at} cancelled by the caller"]
        case "ended":
            return [f"{at} ended by the {record['by']}"]
    failure = "no reply" if record["local"] else record["status"]
    following = record.get("next") or record.get("refusal") or "reply passed on"
    return [
        f"{at} attempt {record['attempt']} at {record['gateway']} failed: {failure} ({record['cause']}, "
        f"{record['why']}) -> {following}",
        *_steps(record.get("steps", ())),
    ]


def _steps(steps: Iterable[Iterable[str]]) -> list[str]:
    return [f"  {what:<14} {subject:<24} {found}" for what, subject, found in steps]
