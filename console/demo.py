"""The first calls: four carriers and a caller played by SIPp, and what policy made of each call."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import policyfile
from console import serve
from console.explain_command import describe, past_call
from console.output import out
from console.ports import free_port
from console.sipp import SippGateway, place_calls, render
from model.entries import Entry, Kind
from model.settings import Settings
from state.store import Store

POLICY = serve.ROOT / "examples" / "demo.yaml"
SCENARIOS = serve.ROOT / "tests" / "sipp"
BLOCKED = "+447700900666"

# Ports that the demonstration's policy gives to its carriers, and what they play there.
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
def carriers(settings: Settings, directory: Path) -> Iterator[None]:
    """Apply the demonstration's policy and run its carriers while the block runs."""
    with ExitStack() as running:
        text = POLICY.read_text()
        for port, scenario in CARRIERS.items():
            actual = free_port(port)
            text = re.sub(rf"\b{port}\b", str(actual), text)
            if scenario:
                path = render(SCENARIOS / scenario, directory, STATUS="503")
                gateway = SippGateway(path, actual, directory)
                running.callback(gateway.stop)
                gateway.start()
        apply(settings, text)
        yield


def apply(settings: Settings, text: str) -> None:
    """Put the demonstration's policy and its one block entry in force."""
    loaded = policyfile.load(text, name=str(POLICY))
    store = Store(settings.redis_url)
    store.apply(text=text, policy=loaded.policy, routes=loaded.routes, expected=store.policy_version(), author="demo")
    change = store.put(Entry(Kind.CALLER, BLOCKED, reason="nuisance calls", created=time.time()))
    store.confirm(change.seq)
    store.close()


def place_first_calls(settings: Settings, directory: Path) -> bool:
    """Place the calls and print what each did and why; whether all did what they should."""
    results = [_place(settings, directory, number, call) for number, call in enumerate(CALLS, 1)]
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
    for record in records:
        for line in describe(record):
            out.print("  " + line, markup=False)
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
