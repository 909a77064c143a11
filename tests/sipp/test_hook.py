"""Route hooks: calls that wait for a program's answer, whatever that program does."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness import certificates
from harness.certificates import Authority
from harness.cli import Cli, fresh
from harness.hook_server import HookServer, Request, answers, closes, drips, response, says, serving, silent
from harness.limits import until
from harness.node import ANSWER, GB, TRUNK, Node, at
from harness.raw import Endpoint, status

from console.ports import free_port
from console.sipp import CallResult, place_calls
from media.posting import signature
from model.hook import Hook
from model.policy import Emergency, Gateway, Policy, Route
from state import commands
from state.commands import ask

CALLEE = "02079460000"
OPEN = "07700900123"
HOST = "localhost"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom the hook process trusts, and nobody else."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def _node(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("hook")
    node = Node.create(directory, workers=2)
    node.stack.hook = True
    with node.stack, pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(authority.certificate))
        node.stack.start()
        yield node
    node.store.close()


@pytest.fixture
def node(_node: Node) -> Iterator[Node]:
    """A node that can ask hooks."""
    yield _node
    _node.stop_gateways()


@pytest.fixture
def server() -> Iterator[HookServer]:
    """What is asked; it says nothing of its own."""
    with serving(answers({"action": "continue"})) as server:
        yield server


def apply(node: Node, hook: Hook, *gateways: Gateway, **route: Any) -> None:
    """Numbers go to the first of the gateways, but for what the hook says."""
    policy = Policy((TRUNK,), {gateway.name: gateway for gateway in gateways}, GB, hooks={hook.name: hook})
    routes = [
        Route("hooked", ("+442",), (gateways[0].name,), hook=hook.name, **route),
        Route("open", ("+447",), (gateways[0].name,)),
        Route("spare", ("99",), (gateways[-1].name,)),
    ]
    node.put_in_force(policy, routes)


def hook_to(server: HookServer, **options: Any) -> Hook:
    """A hook that is not paused by what other tests did."""
    return Hook(**{"name": f"h{server.port}", "url": server.url, "timeout": 0.5, "failures": 1000, **options})


def report(node: Node, hook: str) -> dict[str, Any]:
    """What the hook process says of a hook."""
    found: dict[str, Any] = json.loads(node.stack.settings.hook_report.read_text())
    return found["hooks"].get(hook, {"late": 0})


def steps(node: Node, call_id: str) -> list[str]:
    """What a call's record says of its hook."""
    return [text for what, _, text in node.record(call_id).steps if what == "hook"]


def test_an_answer_decides(node: Node, server: HookServer) -> None:
    a, b = node.answering(), node.answering()
    apply(node, hook_to(server), at("a", a), at("b", b))
    call = node.answered("1001", CALLEE, explained=False)
    assert len(a.calls(call.call_id)) == 1
    question = server.requests[-1].question
    assert question["call_id"] == call.call_id
    assert (question["callee"], question["trunk"], question["route"]) == ("+442079460000", "lab", "hooked")
    server.behaviour = answers({"action": "gateways", "gateways": ["b", "a"], "number": "+441"})
    call = node.answered("1001", CALLEE, explained=False)
    assert b.calls(call.call_id) == [f"sip:+441@127.0.0.1:{b.port}"]
    assert node.record(call.call_id).gateway == "b"
    server.behaviour = answers({"action": "route", "route": "spare"})
    call = node.answered("1001", CALLEE, explained=False)
    assert len(b.calls(call.call_id)) == 1
    server.behaviour = answers({"action": "reject", "status": 402, "reason": "no-credit"})
    call = node.refused("1001", CALLEE, 402, "no-credit", explained=False)
    assert node.record(call.call_id).refusal == "no-credit"


FAULTS = {
    "status": answers({"action": "continue"}, status="500 Server Error"),
    "redirect": says(response(b"", "302 Found", Location="http://127.0.0.1/")),
    "garbage": says(response(b"{\"action\": \"fly\", \xff")),
    "unknown": answers({"action": "fly"}),
    "no-http": says(b"220 mail.example.org ESMTP\r\n\r\n"),
    "no-gateway": answers({"action": "gateways", "gateways": ["b"]}),
    "breaks-off": closes(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"action\":"),
    "closes": closes(b""),
    "huge": says(response(b" " * 100_000 + b'{"action":"continue"}')),
    "late": answers({"action": "continue"}, after=10.0),
    "drips": drips(response(b'{"action":"continue"}'), pause=0.1),
    "silent": silent,
}
"Ways of not answering."
WHY = {
    "status": "status: answered 500",
    "redirect": "status: answered 302",
    "garbage": "invalid: ",
    "unknown": "invalid: at `$.action`",
    "no-http": "invalid: no HTTP",
    "no-gateway": "invalid: at `$.gateways[0]`: the policy has no gateway 'b'",
    "breaks-off": "invalid: no HTTP",
    "closes": "connection: ConnectionResetError",
    "huge": "invalid: the answer has more than",
    "late": "time-out: no answer within 0.5 s",
    "drips": "time-out: ",
    "silent": "time-out: ",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_without_an_answer_the_fallback_holds(node: Node, server: HookServer, fault: str) -> None:
    a = node.answering()
    apply(node, hook_to(server), at("a", a))
    server.behaviour = FAULTS[fault]
    call = node.refused("1001", CALLEE, 503, "hook-failed", explained=False)
    assert a.calls(call.call_id) == []
    assert WHY[fault] in steps(node, call.call_id)[-1]
    assert steps(node, call.call_id)[-1].endswith("fallback: reject")


def test_over_https(node: Node, authority: Authority) -> None:
    a = node.answering()
    with serving(answers({"action": "reject", "status": 402, "reason": "no-credit"}), authority.server(HOST)) as server:
        apply(node, hook_to(server), at("a", a))
        for asked in (1, 2):
            node.refused("1001", CALLEE, 402, "no-credit", explained=False)
            # The handshake is made once.
            assert (len(server.requests), server.connections) == (asked, 1)


@pytest.mark.parametrize(
    ("name", "times", "why"),
    [
        ("other.example", certificates.NOW, "Hostname mismatch"),
        (HOST, certificates.PAST, "certificate has expired"),
    ],
    ids=["wrong-name", "expired"],
)
def test_a_certificate_that_does_not_hold(
    node: Node, authority: Authority, name: str, times: tuple[str, str], why: str
) -> None:
    with serving(answers({"action": "continue"}), authority.server(name, times)) as server:
        assert_not_asked(node, server, why)


def test_a_certificate_of_somebody_else(node: Node, tmp_path: Path) -> None:
    with serving(answers({"action": "continue"}), Authority(tmp_path).server(HOST)) as server:
        assert_not_asked(node, server, "unable to get local issuer certificate")


def assert_not_asked(node: Node, server: HookServer, why: str) -> None:
    """A call has the fallback, its record says why, and the server was told nothing."""
    a = node.answering()
    apply(node, hook_to(server), at("a", a))
    call = node.refused("1001", CALLEE, 503, "hook-failed", explained=False)
    assert a.calls(call.call_id) == []
    told = steps(node, call.call_id)[-1]
    assert "connection: SSLCertVerificationError: " in told
    assert why in told
    assert server.requests == []


def test_nobody_listens(node: Node, server: HookServer) -> None:
    a, b = node.answering(), node.answering()
    hook = hook_to(server, url=f"http://127.0.0.1:{free_port()}/")
    apply(node, replace(hook, fallback="continue"), at("a", a), at("b", b))
    call = node.answered("1001", CALLEE, explained=False)
    assert len(a.calls(call.call_id)) == 1
    apply(node, replace(hook, fallback="route", fallback_route="spare"), at("a", a), at("b", b))
    call = node.answered("1001", CALLEE, explained=False)
    assert len(b.calls(call.call_id)) == 1


def test_a_caller_hangs_up_meanwhile(node: Node, server: HookServer) -> None:
    a = node.answering()
    apply(node, hook_to(server, timeout=5.0), at("a", a))
    server.behaviour = answers({"action": "continue"}, after=1.0)
    call = node.call("uac-cancels-while-trying.xml", "1001", CALLEE, words={"PAUSE": "100"}, explained=False)
    record = node.record(call.call_id)
    assert (record.outcome, record.status, record.attempts) == ("cancelled", 487, ())
    # The answer finds nobody; the next call is none the worse.
    call = node.answered("1001", CALLEE, explained=False)
    assert len(a.calls()) == len(a.calls(call.call_id)) == 1
    until(lambda: report(node, f"h{server.port}")["late"] == 1, "the late answer is not counted")


def test_an_operator_hangs_up_meanwhile(node: Node, server: HookServer) -> None:
    with Endpoint() as caller, Endpoint() as gateway:
        apply(node, hook_to(server, timeout=5.0), Gateway("a", gateway.address, gateway.port))
        server.behaviour = answers({"action": "continue"}, after=1.0)
        invite = caller.invite(uri=b"sip:%b@127.0.0.1" % CALLEE.encode())
        caller.send(invite, node.sip)
        until(lambda: server.requests != [], "the hook is not asked")
        call, call_id = (server.requests[0].question[name] for name in ("call", "call_id"))
        ask(node.store, commands.node("node-under-test"), "hangup", call=call, call_id=call_id)
        assert status(caller.final_reply(invite, node.sip)) == 487
        record = node.record(call_id)
        assert (record.outcome, record.status, record.attempts) == ("cancelled", 487, ())
        gateway.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            gateway.socket.recv(1)


def test_an_invite_that_is_sent_again_asks_once(node: Node, server: HookServer) -> None:
    apply(node, hook_to(server, timeout=5.0), at("a", node.answering()))
    server.behaviour = answers({"action": "continue"}, after=2.0)
    node.call("uac-sends-invite-twice.xml", "1001", CALLEE, explained=False)
    assert len(server.requests) == 1


def test_a_reload_meanwhile(node: Node, server: HookServer) -> None:
    a = node.answering()
    apply(node, hook_to(server, timeout=5.0), at("a", a))
    asked = threading.Event()

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        with node.kamcmd() as kamcmd:
            kamcmd.reload()
        asked.set()
        await answers({"action": "continue"})(request, writer)

    server.behaviour = behave
    node.answered("1001", CALLEE, explained=False)
    assert asked.is_set()


def test_a_hook_process_that_hangs(node: Node, server: HookServer) -> None:
    a = node.answering()
    apply(node, hook_to(server, failures=2, pause=600.0, fallback="continue"), at("a", a))
    process = node.stack.processes["hook"]
    process.signal(signal.SIGSTOP)
    try:
        node.answered("1001", OPEN, explained=False)
        first, second, third = (node.answered("1001", CALLEE, explained=False) for _ in range(3))
    finally:
        process.signal(signal.SIGCONT)
    assert [steps(node, call.call_id)[-1] for call in (first, second, third)] == [
        "lost; fallback: continue", "lost; fallback: continue", "paused; fallback: continue"
    ]  # fmt: skip
    assert server.requests == []
    # What it finds in the pipe then is too late for everybody.
    node.answered("1001", OPEN, explained=False)


def test_a_hook_process_that_is_killed(node: Node, server: HookServer) -> None:
    a = node.answering()
    apply(node, hook_to(server), at("a", a))
    node.stack.processes["hook"].kill()
    try:
        call = node.refused("1001", CALLEE, 503, "hook-failed", explained=False)
        assert steps(node, call.call_id) == ["away; fallback: reject"]
        node.answered("1001", OPEN, explained=False)
    finally:
        node.stack.start_hook()
    node.answered("1001", CALLEE, explained=False)


def test_signatures(node: Node, server: HookServer) -> None:
    directory = node.stack.settings.secrets
    directory.mkdir(exist_ok=True)
    (directory / "key").write_text("between us\n")
    (directory / "key").chmod(0o600)
    a = node.answering()
    apply(node, hook_to(server, secret="key", signed_answers=True), at("a", a))
    call = node.refused("1001", CALLEE, 503, "hook-failed", explained=False)
    assert "signature: " in steps(node, call.call_id)[-1]
    asked = server.requests[-1]
    stamp = asked.headers["x-strowger-timestamp"]
    assert asked.headers["x-strowger-signature"] == signature("between us", stamp, asked.body)
    body = b'{"action": "continue"}'
    signed = signature("between us", stamp, body)
    server.behaviour = says(response(body, X_Strowger_Timestamp=stamp, X_Strowger_Signature=signed))
    node.answered("1001", CALLEE, explained=False)
    (directory / "key").unlink()
    call = node.refused("1001", CALLEE, 503, "hook-failed", explained=False)
    assert "secret: " in steps(node, call.call_id)[-1]


def test_so_many_questions_at_once_and_no_more(node: Node, server: HookServer) -> None:
    apply(node, hook_to(server, timeout=5.0, at_most=1), at("a", node.answering()))
    server.behaviour = answers({"action": "continue"}, after=1.0)
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(node.answered, "1001", CALLEE, explained=False)
        until(lambda: bool(server.requests), "nobody is asked")
        call = node.refused("1002", CALLEE, 503, "hook-failed", explained=False)
        waits.result()
    assert "busy: 1 questions wait" in steps(node, call.call_id)[-1]


def test_commands(node: Node, server: HookServer, tmp_path: Path) -> None:
    a, b = node.answering(), node.answering()
    apply(node, hook_to(server, name="told", at_most=7), at("a", a), at("b", b))
    cli = Cli(fresh, node.stack.settings.to_env())
    asked = ("--from", "1001", "--to", CALLEE)
    server.behaviour = answers({"action": "gateways", "gateways": ["b"]})
    tried = cli("hook", "try", "told", *asked, "--json").data
    assert tried["question"]["callee"] == "+442079460000"
    assert tried["heard"]["answer"] == {"action": "gateways", "gateways": ["b"]}
    assert tried["explanation"]["gateway"] == "b"
    cli("hook", "try", "else", *asked, status=2)
    cli("hook", "try", "told", "--from", "1001", "--to", OPEN, status=1)
    server.behaviour = silent
    failed = cli("hook", "try", "told", *asked, status=1)
    assert "none: time-out: no answer within 0.5 s" in failed.out
    explained = cli("explain", *asked)
    assert "not asked; fallback: reject" in explained.out
    assert "would be asked" in explained.out
    answer = tmp_path / "answer.json"
    answer.write_text('{"action": "route", "route": "spare"}')
    assert cli("explain", *asked, "--hook-answer", str(answer), "--json").data["gateway"] == "b"
    answer.write_text("{}")
    cli("explain", *asked, "--hook-answer", str(answer), status=2)
    node.refused("1001", CALLEE, 503, "hook-failed", explained=False)
    server.behaviour = answers({"action": "continue"})
    call = node.answered("1001", CALLEE, explained=False)
    until(lambda: report(node, "told").get("asked") == 2, "nothing is reported")
    found = cli("hook", "status", "--json").data
    (row,) = found["hooks"]
    assert found["process"] is True
    assert (row["hook"], row["state"], row["at_most"], row["answered"]) == ("told", "asked", 7, 1)
    assert row["fallbacks"] == {"time-out": 1}
    assert "told" in cli("hook", "status").out
    assert "answered: action continue" in cli("explain", "--call-id", call.call_id).out


def test_an_emergency_call_asks_nobody(node: Node, server: HookServer) -> None:
    hook, gateway = hook_to(server), at("a", node.answering())
    emergency = Emergency(("112",), ("a",))
    policy = Policy((TRUNK,), {"a": gateway}, GB, emergency=emergency, hooks={hook.name: hook})
    node.put_in_force(policy, [Route("r", ("",), ("a",), hook=hook.name)])
    server.behaviour = silent
    node.answered("1001", "112", explained=False)
    assert server.requests == []


def test_two_hundred_calls_a_second_whatever_the_hook_does(node: Node, server: HookServer) -> None:
    """Half of them ask; every one of the others is answered, and of those that ask as the fallback says."""
    a = node.answering()
    apply(node, hook_to(server, fallback="continue", at_most=10_000), at("a", a))
    kinds = itertools.cycle([answers({"action": "continue"}, after=0.005), *FAULTS.values()])

    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        await next(kinds)(request, writer)

    server.behaviour = behave

    def load(callee: str) -> CallResult:
        return place_calls(
            ANSWER, server=node.sip, port=free_port(), directory=node.directory / f"load-{callee}",
            keys={"callee": callee}, calls=300, rate=100,
        )  # fmt: skip

    with ThreadPoolExecutor() as pool:
        results = list(pool.map(load, (CALLEE, OPEN)))
    assert all(result.passed for result in results), [result.output for result in results]
    assert len(server.requests) >= 290
    assert len(a.calls()) == 600
