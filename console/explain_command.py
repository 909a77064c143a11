"""`strowger explain`: why a call goes where it goes."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import Raw, structs

from console import cdr_output, fraud_commands, policy_commands
from console.output import CommandFailed, Json, err, out, parse_time, print_json
from kemi import hook
from kemi.dryrun import Get, with_rates
from kemi.explain import Explanation, Snapshot, explain, parse_failure
from kemi.node_state import live_state
from kemi.plan import Limit
from kemi.policy import decide
from kemi.rpc import RpcError
from kemi.view import NoPolicyError, View
from model.call import CallFacts
from model.fraud import Guard
from model.handover import DIRECT
from model.settings import Settings
from operations import records as operations
from state import layout, names
from state.limit_use import Use, usage
from state.snapshot import NoSnapshotError, SnapshotReader
from state.store import Store, StoreError


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
    failures = dict(parse_failure(spec) for spec in fail or ())
    now = parse_time(at, "--at") if at else time.time()
    with viewed(settings, policy) as view:
        known = (*view.gateways, *(name for name in failures if name.startswith("subscriber:")))
        unknown = sorted(set(failures) - set(known))
        if unknown:
            raise typer.BadParameter(f"--fail: the policy has no gateway {', '.join(unknown)}")
        facts = CallFacts(
            caller=caller or subscriber,
            callee=callee,
            source=source_of(source, subscriber, view),
            subscriber=subscriber,
            media=_parse_media(media) if media else "",
            asserted=asserted,
            user_agent=user_agent,
            private=private,
        )
        if hook_answer is not None:
            facts = _answered(facts, hook_answer, view, now)
        live = replace(Snapshot() if policy else _live(settings), drawn=draw)
        explanation = explain(facts, view, live, now, failures)
        guards = view.policy.fraud
    use, guarded = _use(settings, explanation), _guarded(settings, guards, explanation)
    if json:
        found = explanation.as_dict()
        in_use = [{**structs.asdict(limit), "in_use": _in_use(limit, use)} for limit in explanation.limits]
        print_json({**found, "limits": in_use, "guards": guarded})
    else:
        show(explanation, use, guarded)


def _use(settings: Settings, explanation: Explanation) -> Mapping[str, Use]:
    """What is in use of the limits that a call has, as far as Redis tells."""
    if not explanation.limits:
        return {}
    try:
        return usage(Store(settings.redis_url), [limit.name for limit in explanation.limits])
    except StoreError as error:
        err.print(f"{error}; what is in use of limits is not known")
        return {}


def _guarded(settings: Settings, guards: tuple[Guard, ...], explanation: Explanation) -> list[dict[str, Any]]:
    """What the guards that count a call have counted so far, as far as Redis tells."""
    names = fraud_commands.counted(guards, explanation.steps, explanation.facts) if not explanation.emergency else []
    if not names:
        return []
    try:
        return list(fraud_commands.explained(Store(settings.redis_url), guards, names))
    except StoreError as error:
        err.print(f"{error}; what guards against fraud have counted is not known")
        return []


def _in_use(limit: Limit, use: Mapping[str, Use]) -> dict[str, int] | None:
    found = use.get(limit.name)
    return {"calls": found.calls, "last_second": found.begun} if found is not None else None


@contextmanager
def viewed(settings: Settings, policy: Path | None = None) -> Iterator[View]:
    """The policy in force on this node, or that of a file. Raises CommandFailed where there is none."""
    if policy is not None:
        loaded = policy_commands.read(policy)
        records = layout.build(loaded.policy, loaded.routes, (), version=0)
        if any(gateway.places for gateway in loaded.policy.gateways.values()):
            with suppress(NoSnapshotError), SnapshotReader(settings.snapshot).read() as get:
                # What this node knows of names.
                records[names.NAMES] = get(names.NAMES) or names.encode({})
        if not any(route.least_cost for route in loaded.routes):
            yield View(records.get)
            return
        with _rates(settings) as live:
            yield View(with_rates(records, live))
        return
    try:
        with SnapshotReader(settings.snapshot).read() as get:
            yield View(get)
    except (NoSnapshotError, NoPolicyError) as error:
        raise CommandFailed("this node has no policy; --policy FILE explains a file") from error


@contextmanager
def _rates(settings: Settings) -> Iterator[Get]:
    """The node's snapshot, whose rates also decide by another policy; without a node there are none."""
    try:
        with SnapshotReader(settings.snapshot).read() as get:
            yield get
    except NoSnapshotError:
        err.print("this node has no snapshot, and so no rates")
        yield lambda _: None


def source_of(source: str, subscriber: str, view: View) -> str:
    """The address that a call comes from, or else one that it may come from."""
    # Of a subscriber: an address of nobody, so of no trunk.
    return _parse_source(source) if source else "192.0.0.8" if subscriber else _first_source(view)


def _answered(facts: CallFacts, path: Path, view: View, now: float) -> CallFacts:
    """The facts of a call whose route hook gives the answer in a file."""
    ask = decide(facts, view, Snapshot(), now, ask=True).ask
    if ask is None:
        raise typer.BadParameter("--hook-answer: such a call asks no hook")
    answer = path.read_bytes()
    try:
        hook.parse_answer(answer)
    except ValueError as error:
        raise typer.BadParameter(f"--hook-answer {path}: {error}") from None
    return replace(facts, hook=hook.Heard(ask.hook.name, answer=Raw(answer)).dumps())


def _first_source(view: View) -> str:
    for trunk in view.policy.trunks:
        if trunk.sources:
            return trunk.sources[0].partition("/")[0]
    raise typer.BadParameter("no trunk of the policy has an address: name one with --source")


def _parse_source(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise typer.BadParameter(f"--source {text!r} is no IP address") from None


def _parse_media(text: str) -> str:
    address, _, profile = text.strip().partition(" ")
    try:
        if profile.startswith(("RTP/", "UDP/")):
            return f"{ipaddress.ip_address(address)} {profile}"
    except ValueError:
        pass
    raise typer.BadParameter(f"--media {text!r} is not as in '10.0.0.7 RTP/AVP'")


def _live(settings: Settings) -> Snapshot:
    try:
        return live_state(settings)
    except RpcError as error:
        err.print(f"Kamailio does not tell which gateways it holds ({error}); none is taken for held")
        return Snapshot()


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
        print_json(operations.of_call(store, settings.spool, call_id))
        return
    records, events = operations.found(store, settings.spool, call_id)
    for record in records:
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
