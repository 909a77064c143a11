"""The first calls: four carriers and a caller played by SIPp, phones, and what became of each call and why."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

import policyfile
from console import serve
from console.explain_command import describe
from console.output import out
from console.ports import free_port
from console.sipp import SippGateway, place_calls, render
from console.stack import Stack
from console.switch import Switch
from media.voicemail.store import Store as Mailboxes
from model.entries import Entry, Kind
from model.settings import Settings
from operations.records import past_call
from state.store import Store

if TYPE_CHECKING:
    from console.lamp import Lamp
    from console.media_call import Finding

POLICY = serve.ROOT / "examples" / "demo.yaml"
SCENARIOS = serve.ROOT / "tests" / "sipp"
BLOCKED = "+447700900666"
CALLER, SCRIPT_NUMBER = "1001", "6000"
"Of the call that a script answers."

# Ports that the demonstration's policy gives to its media node, which is the stack's switch, and to its carriers, and
# what those play there: a file of tests/sipp, and the words to be replaced in it.
SWITCH = 15070
RINGING = "uas-sends-PROVISIONAL-until-cancelled-STATUS.xml"
CARRIERS: dict[int, tuple[str, dict[str, str]]] = {
    15081: ("uas-answers.xml", {}),
    15082: ("uas-answers.xml", {}),
    15083: ("uas-replies-STATUS.xml", {"STATUS": "503"}),
    15084: ("", {}),
    15085: (RINGING, {"PROVISIONAL": "180", "STATUS": "487"}),
}
LAMP = 15088
"Where the telephone of the demonstration's mailbox is told of messages."


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
def carriers(stack: Stack, directory: Path) -> Iterator[Lamp | None]:
    """Apply the demonstration's policy and run its carriers while the block runs; with a switch, its mailbox's lamp."""
    # See console/switch.py.
    from console import media_call, voicemail_call
    from console.lamp import Lamp

    lamp = None
    with ExitStack() as running:
        text = POLICY.read_text()
        if stack.switch:
            text = _moved(text, SWITCH, stack.switch.sip_port)
            media_call.write_prompt(stack.switch.sounds)
            lamp = running.enter_context(Lamp(free_port(LAMP)))
            voicemail_call.prepare(Mailboxes(stack.settings.voicemail), lamp.uri)
        for port, (scenario, words) in CARRIERS.items():
            actual = free_port(port)
            text = _moved(text, port, actual)
            if scenario:
                path = render(SCENARIOS / scenario, directory, **words)
                gateway = SippGateway(path, actual, directory)
                running.callback(gateway.stop)
                gateway.start()
        apply(stack.settings, text)
        yield lamp


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


def place_first_calls(stack: Stack, directory: Path, lamp: Lamp | None) -> bool:
    """Place the calls and print what each did and why; whether all did what they should."""
    results = [_place(stack.settings, directory, number, call) for number, call in enumerate(CALLS, 1)]
    if stack.switch:
        results.append(_place_to_media(stack.settings, stack.switch, len(CALLS) + 1))
    if lamp:
        results += _leave_and_listen(stack.settings, lamp, len(CALLS) + 2)
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
    records = _print_decided(settings, measured.call_id)
    file = switch.recordings / f"{records[0]['call'] if records else 'none'}.wav"
    right = _print_findings(media_call.findings(measured, wanted, file)) and measured.answered
    return _judged(right, "answered by a call script")


def _leave_and_listen(settings: Settings, lamp: Lamp, number: int) -> Iterator[bool]:
    """The call that nobody takes, whose caller leaves a message, and the one that hears it."""
    from console import voicemail_call

    mailboxes, server = Mailboxes(settings.voicemail), (settings.sip_addresses[0], settings.sip_port)
    out.rule(f"{number}. nobody answers, and the caller leaves a message", align="left")
    out.print(f"{CALLER} calls {voicemail_call.BOX}")
    left = voicemail_call.leave(server, CALLER)
    _print_decided(settings, left.call_id)
    right = _print_findings(voicemail_call.what_came_of_it(left, mailboxes, lamp))
    yield _judged(right, f"strowger voicemail list {voicemail_call.BOX} shows it")
    out.rule(f"{number + 1}. who was called listens to it", align="left")
    out.print(f"{voicemail_call.BOX} calls {voicemail_call.DIAL_IN}")
    listened = voicemail_call.listen(server, left)
    _print_decided(settings, listened.call_id)
    right = _print_findings(voicemail_call.what_was_heard(listened, left, mailboxes, lamp))
    yield _judged(right, "heard, and the lamp is off")


def _print_decided(settings: Settings, call_id: str) -> list[dict[str, Any]]:
    """Print why a call went where it went; its events."""
    records = [event for event in past_call(settings.spool, call_id) if event["event"] != "started"]
    _print_records([event for event in records if event["event"] in ("decided", "failed")])
    return records


def _print_findings(findings: Iterable[Finding]) -> bool:
    """Whether all is as it should be."""
    right = True
    for finding in findings:
        colour, mark = ("green", "ok") if finding.right else ("red", "wrong")
        out.print(f"    {finding.what:<14} [{colour}]{mark:<24}[/] {escape(finding.text)}", markup=True)
        right = right and finding.right
    return right


def _judged(right: bool, how: str) -> bool:
    if right:
        out.print(f"[green]as it should be:[/] {how}\n", markup=True)
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
