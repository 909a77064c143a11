"""The first calls: four carriers and a caller played by SIPp, a phone, and what became of each call and why."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

import policyfile
from console import serve
from console.explain_command import describe, past_call
from console.output import out
from console.ports import free_port
from console.sipp import SippGateway, place_calls, render
from console.stack import Stack
from console.switch import Switch
from model.entries import Entry, Kind
from model.settings import Settings
from state.store import Store

POLICY = serve.ROOT / "examples" / "demo.yaml"
SCENARIOS = serve.ROOT / "tests" / "sipp"
BLOCKED = "+447700900666"
CALLER, SCRIPT_NUMBER = "1001", "6000"
"Of the call that a script answers."

# Ports that the demonstration's policy gives to its media node, which is the stack's switch, and to its carriers, and
# what those play there.
SWITCH = 15070
CARRIERS = {15081: "uas-answers.xml", 15082: "uas-answers.xml", 15083: "uas-replies-STATUS.xml", 15084: ""}


@dataclass(frozen=True, slots=True)
class DemoCall:
    """A call and what must become of it."""

    title: str
    caller: str
    callee: str
    status: int
    reason: str = ""
    "Text of the Reason header."
    carriers: tuple[str, ...] = field(default=())
    "Gateways that must have failed, in order."


CALLS = (
    DemoCall("a plain call", "1001", "020 7946 0000", 200),
    DemoCall("a blocked caller", "07700 900666", "020 7946 0000", 403, "blocked-caller"),
    DemoCall("the first gateway is full, the second answers", "1001", "0033 1 99 00 00 00", 200, "", ("carrier-full",)),
    DemoCall(
        "every gateway fails", "1001", "0049 30 23125 000", 500, "gateways-failed", ("carrier-full", "carrier-down")
    ),
)


@contextmanager
def carriers(stack: Stack, directory: Path) -> Iterator[None]:
    """Apply the demonstration's policy and run its carriers while the block runs."""
    # See console/switch.py.
    from console import media_call

    with ExitStack() as running:
        text = POLICY.read_text()
        if stack.switch:
            text = _moved(text, SWITCH, stack.switch.sip_port)
            media_call.write_prompt(stack.switch.sounds)
        for port, scenario in CARRIERS.items():
            actual = free_port(port)
            text = _moved(text, port, actual)
            if scenario:
                path = render(SCENARIOS / scenario, directory, STATUS="503")
                gateway = SippGateway(path, actual, directory)
                running.callback(gateway.stop)
                gateway.start()
        apply(stack.settings, text)
        yield


def _moved(text: str, port: int, actual: int) -> str:
    return re.sub(rf"\b{port}\b", str(actual), text)


def apply(settings: Settings, text: str) -> None:
    """Put the demonstration's policy and its one block entry in force."""
    loaded = policyfile.load(text, name=str(POLICY))
    store = Store(settings.redis_url)
    store.apply(text=text, policy=loaded.policy, routes=loaded.routes, expected=store.policy_version(), author="demo")
    change = store.put(Entry(Kind.CALLER, BLOCKED, reason="nuisance calls", created=time.time()))
    store.confirm(change.seq)
    store.close()


def place_first_calls(stack: Stack, directory: Path) -> bool:
    """Place the calls and print what each did and why; whether all did what they should."""
    results = [_place(stack.settings, directory, number, call) for number, call in enumerate(CALLS, 1)]
    if stack.switch:
        results.append(_place_to_media(stack.settings, stack.switch, len(CALLS) + 1))
    return all(results)


def _place(settings: Settings, directory: Path, number: int, call: DemoCall) -> bool:
    out.rule(f"{number}. {call.title}", align="left")
    out.print(f"{call.caller} calls {call.callee}")
    if call.status == 200:
        scenario = SCENARIOS / "uac-expect-answer.xml"
    else:
        scenario = render(SCENARIOS / "uac-expect-STATUS.xml", directory, STATUS=str(call.status), REASON=call.reason)
    result = place_calls(
        scenario,
        server=(settings.sip_addresses[0], settings.sip_port),
        port=free_port(),
        directory=directory,
        keys={"caller": call.caller.replace(" ", ""), "callee": call.callee.replace(" ", "")},
    )
    events = past_call(settings.spool, result.call_id)
    records = [event for event in events if event["event"] in ("decided", "failed")][-1 - len(call.carriers) :]
    _print_records(records)
    failed = tuple(record["gateway"] for record in records if record["event"] == "failed")
    right = result.passed and failed == call.carriers
    if right:
        out.print("[green]as it should be:[/]", _ending(call, records) + "\n", markup=True)
    else:
        out.print("not as it should be:", style="red", end=" ")
        out.print(f"expected {call.status} after {call.carriers}\n{result.output}\n")
    return right


def _ending(call: DemoCall, records: list[dict[str, Any]]) -> str:
    if call.status != 200:
        return f"refused with {call.status}"
    last = records[-1]
    return f"answered by {last['next'] if last['event'] == 'failed' else last['gateways'][0]}"


def _place_to_media(settings: Settings, switch: Switch, number: int) -> bool:
    """The call that a script answers; printed with what was measured of it."""
    from console import media_call

    out.rule(f"{number}. a call script answers", align="left")
    out.print(f"{CALLER} calls {SCRIPT_NUMBER}")
    wanted = media_call.expected(_script_args())
    server = settings.sip_addresses[0], settings.sip_port
    measured = media_call.place(SCRIPT_NUMBER, server, caller=CALLER, melody=wanted.melody)
    records = [event for event in past_call(settings.spool, measured.call_id) if event["event"] != "started"]
    _print_records([event for event in records if event["event"] in ("decided", "failed")])
    file = switch.recordings / f"{records[0]['call'] if records else 'none'}.wav"
    found = list(media_call.findings(measured, wanted, file))
    for finding in found:
        colour, mark = ("green", "ok") if finding.right else ("red", "wrong")
        out.print(f"    {finding.what:<14} [{colour}]{mark:<24}[/] {escape(finding.text)}", markup=True)
    right = measured.answered and all(finding.right for finding in found)
    if right:
        out.print("[green]as it should be:[/] answered by a call script\n", markup=True)
    else:
        out.print("not as it should be\n", style="red")
    return right


def _script_args() -> str:
    routes = policyfile.load(POLICY.read_text(), name=str(POLICY)).routes
    return next(route.media.args for route in routes if route.media and SCRIPT_NUMBER in route.prefixes)


def _print_records(records: Iterable[dict[str, Any]]) -> None:
    for record in records:
        for line in describe(record):
            out.print("  " + line, markup=False)
