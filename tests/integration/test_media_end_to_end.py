"""From a caller through Kamailio to a call script, and on from there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.callers import Callers, Heard
from harness.load import until
from harness.media_worker import MediaWorker, running, write
from harness.node import TRUNK, Node, at
from harness.switches import Embedded, FreeSwitch, Switch

from console.ports import free_port
from console.sipp import SippGateway
from model.handover import HOPS_MAX
from model.policy import MEDIA_RETRY, Gateway, MediaApp, Route, Voicemail

pytestmark = pytest.mark.timeout(120)

MEDIA = "127.0.0.9"
"A media node's own address: what comes from it belongs to no trunk."
OUTSIDE = replace(TRUNK, sources=("127.0.0.1/32",))
ARGS = "lang=en; greeting='hello $rU %41'"
WAITED = [0, 31] if os.environ.get("STROWGER_TEST_PATIENT") else [0]
"Seconds that a script has the call before it sends it back; a token is good for thirty."
REFERS = "sip:1003@192.0.2.1.Replaces=abc%40192.0.2.1%3Bto-tag%3D1%3Bfrom-tag%3D2", "sip:1001@192.0.2.9"
"What the scenario expects as Refer-To and Referred-By."
SCRIPTS = """
    import json
    from dataclasses import asdict
    from media.script import script

    def note(**what):
        with open("NOTES", "a") as file:
            print(json.dumps(what), file=file)

    @script("told")
    async def told(session, args):
        note(args=args, **{"got": asdict(session.handover)})
        await session.answer()
        await session.hangup()

    @script("back")
    async def back(session, args):
        wait, number = args.split()
        await session.answer()
        await session.sleep(int(wait) * 1000)
        note(cause=await session.send_back(number), call=session.handover.call, ready=session.ready())
        await session.hangup()

    @script("redirects")
    async def redirects(session, args):
        await session.execute("redirect", f"sip:{args}@anywhere.example")

    @script("deflects")
    async def deflects(session, args):
        await session.answer()
        await session.execute("deflect", f"sip:{args}@anywhere.example")
"""


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch at an address of its own."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), address=MEDIA)


class Tiers:
    """Kamailio, a media node and a carrier."""

    def __init__(self, node: Node, carrier: SippGateway, switch: Switch, root: Path) -> None:
        self.node, self.carrier, self.switch, self.root = node, carrier, switch, root
        self.scripts = write(root / "scripts", {"all.py": SCRIPTS.replace("NOTES", str(root / "notes"))})

    def route(self, *apps: MediaApp) -> None:
        """Calls to 50… go to the first script, those to 51… to the second, and all others to the carrier."""
        media = Gateway("fs-1", MEDIA, self.switch.sip[1], media=True, no_reply=15.0, progress=15.0, breaker=None)
        routes = [
            Route(app.app, (f"5{number}",), ("fs-1",), media=app, retry=MEDIA_RETRY) for number, app in enumerate(apps)
        ]
        self.node.apply(
            [*routes, Route("out", ("",), ("carrier",))], [media, at("carrier", self.carrier)], trunks=[OUTSIDE]
        )

    def call(self, callee: str = "5000") -> Heard:
        """What became of a call."""
        with Callers(self.root / "caller", self.node.sip, (), calls=1, rate=1, callee=callee) as callers:
            return callers.wait(60)[0]

    def notes(self) -> list[dict[str, object]]:
        """What the scripts wrote, once it is there."""
        until(lambda: (self.root / "notes").exists(), "the script wrote something")
        return [json.loads(line) for line in (self.root / "notes").read_text().splitlines()]

    def carried(self) -> tuple[str, str]:
        """Call-ID and Request-URI of the only call that the carrier had."""
        lines = [line.split() for line in self.carrier.calls_file.read_text().splitlines()]
        [(call_id, uri)] = [words for words in lines if len(words) == 2]
        return call_id, uri


@pytest.fixture
def tiers(node: Node, switch: Switch, tmp_path: Path) -> Iterator[Tiers]:
    """All of them, with a worker."""
    made = Tiers(node, node.gateway("uas-answers-then-hangs-up.xml"), switch, tmp_path)
    secret = node.stack.settings.media_secret_file.read_bytes()
    with MediaWorker(tmp_path / "worker", switch, made.scripts, secret=secret):
        yield made


def test_a_script_gets_what_kamailio_says(tiers: Tiers) -> None:
    tiers.route(MediaApp("told", ARGS))
    heard = tiers.call()
    assert heard.reason == "cause=16"
    [note] = tiers.notes()
    record = tiers.node.record(heard.call_id)
    got = note["got"]
    assert isinstance(got, dict)
    assert got.pop("expires") > 0
    assert got == {
        "call": record.call, "app": "told", "args": ARGS, "caller": "1001", "callee": "5000", "diverted": "",
        "reason": "direct", "hops": 1, "subscriber": "",
    }  # fmt: skip
    assert note["args"] == ARGS
    assert (record.app, record.gateway) == ("told", "fs-1")


def test_a_script_is_told_why_nobody_took_the_call(tiers: Tiers) -> None:
    media = Gateway("fs-1", MEDIA, tiers.switch.sip[1], media=True, no_reply=15.0, progress=15.0, breaker=None)
    dead = Gateway("dead", "127.0.0.1", free_port(), transport="tcp", breaker=None)
    voicemail = Voicemail("told", ARGS)
    tiers.node.apply([Route("staff", ("",), ("dead",), voicemail=voicemail)], [media, dead], trunks=[OUTSIDE])
    heard = tiers.call("1002")
    assert heard.reason == "cause=16"
    [note] = tiers.notes()
    got = note["got"]
    assert isinstance(got, dict)
    assert (got["reason"], got["callee"], note["args"]) == ("unreachable", "1002", ARGS)
    record = tiers.node.record(heard.call_id)
    assert [attempt.gateway for attempt in record.attempts] == ["dead", "fs-1"]
    assert (record.app, record.reason) == ("told", "unreachable")


def test_with_another_key_a_call_is_refused(node: Node, switch: Switch, tmp_path: Path) -> None:
    tiers = Tiers(node, node.answering(), switch, tmp_path)
    tiers.route(MediaApp("told", ARGS))
    with MediaWorker(tmp_path / "worker", switch, tiers.scripts, secret=bytes(32)) as worker:
        assert tiers.call().refused.startswith("403 ")
        assert "the token does not fit the headers" in worker.log


@pytest.mark.parametrize("wait", WAITED)
def test_a_script_sends_a_call_back(tiers: Tiers, wait: int) -> None:
    tiers.route(MediaApp("back", f"{wait} 02079460000"))
    heard = tiers.call()
    assert heard.reason == "cause=16"
    call_id, uri = tiers.carried()
    assert uri.startswith("sip:+442079460000@")
    record, first = tiers.node.record(call_id), tiers.node.record(heard.call_id)
    # By way of media nobody else calls than who called first.
    assert (record.caller, record.trunk, record.app) == ("1001", "fs-1", "")
    assert ("returned", first.call, "handed to media 1 times") in record.steps
    # The carrier hung up, and the script went on.
    assert tiers.notes() == [{"cause": "SUCCESS", "call": first.call, "ready": True}]


def test_a_script_sends_a_call_to_another_script(tiers: Tiers) -> None:
    tiers.route(MediaApp("back", "0 5100"), MediaApp("told", ARGS))
    assert tiers.call().reason == "cause=16"
    told, back = sorted(tiers.notes(), key=lambda note: "got" not in note)
    got = told["got"]
    assert isinstance(got, dict)
    assert (got["hops"], got["caller"], got["callee"]) == (2, "1001", "5100")
    assert back["cause"] == "SUCCESS"


def test_scripts_that_send_a_call_in_a_circle(tiers: Tiers) -> None:
    tiers.route(MediaApp("back", "0 5000"))
    assert tiers.call().over
    until(lambda: len(tiers.notes()) == HOPS_MAX, "each has ended")
    # 482 is this cause (hangup_cause_to_sip of mod_sofia.c).
    assert [note["cause"] for note in tiers.notes()] == ["EXCHANGE_ROUTING_ERROR", *["SUCCESS"] * (HOPS_MAX - 1)]


def test_a_script_redirects_a_call(tiers: Tiers) -> None:
    tiers.route(MediaApp("redirects", "02079460000"))
    heard = tiers.call()
    assert heard.answered
    call_id, uri = tiers.carried()
    assert (call_id, uri.partition("@")[0]) == (heard.call_id, "sip:+442079460000")
    record = tiers.node.record(heard.call_id)
    assert [attempt.gateway for attempt in record.attempts] == ["fs-1", "carrier"]
    assert record.attempts[0].why == "sent on to 02079460000"


def test_a_script_asks_the_caller_to_call_elsewhere(tiers: Tiers) -> None:
    tiers.route(MediaApp("deflects", "02079460000"))
    expected = dict(zip(REFERS, ("sip:02079460000@anywhere.example", MEDIA), strict=True))
    tiers.node.call("uac-expect-refer.xml", "1001", "5000", words=expected)
