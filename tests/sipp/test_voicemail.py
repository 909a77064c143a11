"""Calls that go to voicemail because nobody took them, and diverted calls that come for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from harness.cli import Cli, fresh
from harness.dialog import header, reply
from harness.load import until
from harness.node import TRUNK, Node
from harness.raw import Endpoint, cancel, method_of, reply_to, status

from console.cdr_output import explained
from console.ports import free_port
from model.handover import HEADERS, Handover
from model.policy import Emergency, Gateway, MediaApp, Policy, Route, Voicemail

MEDIA = "127.0.0.9"
TRUSTED = replace(TRUNK, trust_identity=True)
CALLEE = b"02079460000"
NUMBER = "+442079460000"
BOX = Voicemail(args="k=v")


def patient(name: str, endpoint: Endpoint, **options: object) -> Gateway:
    """A gateway or media node that a plain socket plays."""
    waits = {"no_reply": 15.0, "progress": 15.0, "breaker": None, **options}
    return Gateway(name, endpoint.address, endpoint.port, **waits)  # type: ignore[arg-type]


@dataclass
class Tiers:
    """A caller, a callee's gateway and a media node, each a socket."""

    node: Node
    caller: Endpoint
    callee: Endpoint
    fs: Endpoint

    def apply(
        self,
        *,
        trusted: bool = False,
        fs: Gateway | None = None,
        pbx: Gateway | None = None,
        box: Voicemail = BOX,
    ) -> None:
        """Subscribers with voicemail after a second of ringing, and an app at 5000."""
        gateways = [pbx or patient("pbx", self.callee), fs or patient("fs-1", self.fs, media=True)]
        self.node.apply(
            [
                Route("staff", ("",), ("pbx",), ring=1.0, voicemail=box),
                Route("pilot", ("5000",), ("fs-1",), media=MediaApp("voicemail")),
            ],
            gateways,
            trunks=[TRUSTED if trusted else TRUNK],
        )

    def call(self, headers: Sequence[bytes] = (), number: bytes = CALLEE) -> bytes:
        """Place a call; its INVITE."""
        invite = self.caller.invite(uri=b"sip:" + number + b"@127.0.0.1", headers=headers)
        self.caller.send(invite, self.node.sip)
        return invite

    def rings(self) -> tuple[bytes, tuple[str, int]]:
        """Let the callee's phone ring, and wait until the caller hears it."""
        request, kamailio = self.callee.next_invite(self.caller)
        self.callee.send(reply_to(request, b"180 Ringing"), kamailio)
        self.caller.receive(b"SIP/2.0 180")
        return request, kamailio

    def told(self, invite: bytes) -> Handover:
        """What a media node was told."""
        lines = [line.partition(b": ") for line in invite.partition(b"\r\n\r\n")[0].split(b"\r\n")]
        found = {name.decode(): value.decode() for name, _, value in lines if name.startswith(b"X-Strowger-")}
        assert list(found) == list(HEADERS)
        secret = self.node.stack.settings.media_secret_file.read_bytes()
        return Handover.parse(found, secret, time.time())

    def at_voicemail(self) -> Handover:
        """What the media node is told, which then refuses the call."""
        return self.told(self.fs.refuse_next(b"500 Broken", to=self.caller))

    def final(self, invite: bytes) -> bytes:
        """What the caller is told at last."""
        return self.caller.final_reply(invite, self.node.sip)


@pytest.fixture
def tiers(node: Node) -> Iterator[Tiers]:
    """A caller, a callee and a media node."""
    with Endpoint() as caller, Endpoint() as callee, Endpoint(MEDIA) as fs:
        yield Tiers(node, caller, callee, fs)


def test_a_phone_that_rings_and_is_not_answered(tiers: Tiers) -> None:
    tiers.apply()
    invite = tiers.call()
    rang, kamailio = tiers.rings()
    asked, _ = tiers.fs.next_invite(tiers.caller)
    told = tiers.told(asked)
    assert (told.app, told.args, told.reason, told.callee) == ("voicemail", "k=v", "no-answer", NUMBER)
    assert (told.hops, told.diverted) == (1, "")
    # The phone stops ringing, and what it says to that goes nowhere.
    stop = tiers.callee.receive(b"CANCEL")
    tiers.callee.send(reply_to(stop, b"200 OK"), kamailio)
    tiers.callee.send(reply_to(rang, b"487 Request Terminated"), kamailio)
    # Voicemail may ring as well; its dialog is another one than that of the phone.
    tiers.fs.send(reply(asked, b"183 Session Progress", tiers.fs, tag=b"vm"), tiers.node.sip)
    assert b"tag=vm" in header(tiers.caller.receive(b"SIP/2.0 183"), b"To")
    tiers.fs.send(reply(asked, b"200 OK", tiers.fs, tag=b"vm"), tiers.node.sip)
    answer = tiers.final(invite)
    assert (status(answer), b"tag=vm" in header(answer, b"To")) == (200, True)
    call_id = header(invite, b"Call-ID").decode()
    failed = tiers.node.records(call_id)[1]
    assert (failed["why"], failed["next"]) == ("no-answer: to app voicemail", "fs-1")
    assert (failed["app"], failed["reason"]) == ("voicemail", "no-answer")


def test_a_phone_that_is_picked_up_when_its_time_is_over(tiers: Tiers) -> None:
    tiers.apply()
    log = len(tiers.node.stack.log("kamailio"))
    invite = tiers.call()
    rang, kamailio = tiers.rings()
    asked, _ = tiers.fs.next_invite(tiers.caller)
    # Its answer crosses the CANCEL. It is voicemail whose ringing and answer count from here.
    for line in (b"180 Ringing", b"200 OK"):
        tiers.callee.send(reply(rang, line, tiers.callee, tag=b"gateway"), kamailio)
    tiers.fs.send(reply(asked, b"200 OK", tiers.fs, tag=b"vm"), tiers.node.sip)
    answer = tiers.final(invite)
    assert (status(answer), b"tag=vm" in header(answer, b"To")) == (200, True)
    call_id = header(invite, b"Call-ID").decode()
    until(lambda: tiers.node.events(call_id)[-1]["event"] == "answered", "no answer was written down")
    answered = [event for event in tiers.node.events(call_id) if event["event"] == "answered"]
    assert [(event["attempt"], event["rang"]) for event in answered] == [(2, None)]
    assert "failed: " not in tiers.node.stack.log("kamailio")[log:]


def test_a_phone_that_is_picked_up_when_its_time_is_over_and_voicemail_fails(tiers: Tiers) -> None:
    tiers.apply()
    invite = tiers.call()
    rang, kamailio = tiers.rings()
    asked, _ = tiers.fs.next_invite(tiers.caller)
    tiers.callee.send(reply(rang, b"200 OK", tiers.callee, tag=b"gateway"), kamailio)
    tiers.fs.send(reply_to(asked, b"500 Broken"), tiers.node.sip)
    final = tiers.final(invite)
    assert (status(final), b'text="no-answer"' in header(final, b"Reason")) == (408, True)


@pytest.mark.parametrize(
    ("line", "lines", "reason", "told"),
    [
        (b"486 Busy Here", [], "busy", b'486 Busy Here:Q.850;cause=17;text="busy"'),
        (b"600 Busy Everywhere", [], "busy", b'600 Busy Everywhere:Q.850;cause=17;text="busy"'),
        (b"480 Not Logged In", [], "unreachable", b'480 Not Logged In:Q.850;cause=18;text="unreachable"'),
        (b"480 Do Not Disturb", [], "do-not-disturb", b'480 Do Not Disturb:Q.850;cause=18;text="do-not-disturb"'),
        (b"486 Busy", [b'Reason: SIP;cause=486;text="DND"'], "do-not-disturb",
         b'486 Busy:Q.850;cause=17;text="do-not-disturb"'),
        (b"480 Away", [b"Reason: Q.850;cause=19"], "no-answer", b'480 Away:Q.850;cause=19;text="no-answer"'),
        (b"503 Full", [], "unreachable", b'500 Gateways Failed:Q.850;cause=41;text="gateways-failed"'),
        (b"603 \xff", [], "do-not-disturb", b'603 Do Not Disturb:Q.850;cause=21;text="do-not-disturb"'),
    ],
)  # fmt: skip
def test_a_callee_who_cannot_be_had(tiers: Tiers, line: bytes, lines: list[bytes], reason: str, told: bytes) -> None:
    tiers.apply()
    invite = tiers.call()
    tiers.callee.refuse_next(line, lines, to=tiers.caller)
    assert tiers.at_voicemail().reason == reason
    # Voicemail is broken: the caller is told what they would have been told without it.
    final = tiers.final(invite)
    assert final.partition(b"\r\n")[0] + b":" + header(final, b"Reason") == b"SIP/2.0 " + told
    record = tiers.node.record(header(invite, b"Call-ID").decode())
    assert [attempt.gateway for attempt in record.attempts] == ["pbx", "fs-1"]
    assert (record.app, record.reason, record.status) == ("voicemail", reason, status(final))
    assert f"app voicemail, {reason}" in explained(record)[1]


@pytest.mark.parametrize(
    ("line", "asked"),
    [(b"404 Not Found", "unallocated"), (b"403 Forbidden", ""), (b"488 Not Acceptable Here", ""), (b"302 Moved", "")],
)
def test_what_is_not_asked_for_goes_to_the_caller(tiers: Tiers, line: bytes, asked: str) -> None:
    tiers.apply()
    invite = tiers.call()
    tiers.callee.refuse_next(line, [b"X-Own: 1"], to=tiers.caller)
    final = tiers.final(invite)
    if status(final) != 500:
        assert final.startswith(b"SIP/2.0 " + line)
        assert header(final, b"X-Own") == b"1"
    if asked:
        tiers.apply(box=Voicemail(when=(asked,)))
        invite = tiers.call()
        tiers.callee.refuse_next(line, to=tiers.caller)
        assert tiers.at_voicemail().reason == asked
        assert final.partition(b"\r\n")[0] == tiers.final(invite).partition(b"\r\n")[0]


@pytest.mark.parametrize("fault", ["silent", "unsendable", "disabled"])
def test_a_gateway_that_is_dead(tiers: Tiers, fault: str) -> None:
    pbx = {
        "silent": patient("pbx", tiers.callee, no_reply=0.6),
        "unsendable": Gateway("pbx", "127.0.0.1", free_port(), transport="tcp", breaker=None),
        "disabled": patient("pbx", tiers.callee, enabled=False),
    }[fault]
    tiers.apply(pbx=pbx)
    invite = tiers.call()
    found = tiers.at_voicemail()
    assert (found.reason, found.callee, found.hops) == ("unreachable", NUMBER, 1)
    expected = (503, b"gateways-down") if fault == "disabled" else (500, b"gateways-failed")
    final = tiers.final(invite)
    assert (status(final), expected[1] in header(final, b"Reason")) == (expected[0], True)


@pytest.mark.parametrize("fault", ["silent", "unsendable", "disabled"])
def test_voicemail_that_is_down(tiers: Tiers, fault: str) -> None:
    fs = {
        "silent": patient("fs-1", tiers.fs, no_reply=0.6, media=True),
        "unsendable": Gateway("fs-1", "127.0.0.1", free_port(), transport="tcp", breaker=None, media=True),
        "disabled": patient("fs-1", tiers.fs, enabled=False, media=True),
    }[fault]
    tiers.apply(fs=fs)
    invite = tiers.call()
    tiers.callee.refuse_next(b"486 Busy Here", [b"Retry-After: 60"], to=tiers.caller)
    final = tiers.final(invite)
    assert final.startswith(b"SIP/2.0 486 Busy Here\r\n")
    assert header(final, b"Retry-After") == b"60"


def test_ringing_that_ends_where_voicemail_is_down(tiers: Tiers) -> None:
    tiers.apply(fs=patient("fs-1", tiers.fs, no_reply=0.6, media=True))
    invite = tiers.call()
    tiers.rings()
    final = tiers.final(invite)
    assert (status(final), b'text="no-answer"' in header(final, b"Reason")) == (408, True)


def test_a_caller_who_hangs_up_is_taken_nowhere(tiers: Tiers) -> None:
    tiers.apply()
    invite = tiers.call()
    rang, kamailio = tiers.rings()
    tiers.caller.send(cancel(invite), tiers.node.sip)
    stop = tiers.callee.receive(b"CANCEL")
    tiers.callee.send(reply_to(stop, b"200 OK"), kamailio)
    tiers.callee.send(reply_to(rang, b"486 Busy Here"), kamailio)
    assert status(tiers.final(invite)) == 487
    # The next call is the first that the media node hears of.
    following = tiers.call(number=b"5000")
    assert header(tiers.fs.refuse_next(b"486 Busy Here"), b"Call-ID") == header(following, b"Call-ID")
    assert tiers.node.record(header(invite, b"Call-ID").decode()).app == ""


def test_a_caller_who_hangs_up_at_voicemail(tiers: Tiers) -> None:
    tiers.apply()
    invite = tiers.call()
    tiers.callee.refuse_next(b"486 Busy Here", to=tiers.caller)
    asked, kamailio = tiers.fs.next_invite(tiers.caller)
    tiers.fs.send(reply_to(asked, b"183 Session Progress"), kamailio)
    tiers.caller.receive(b"SIP/2.0 183")
    tiers.caller.send(cancel(invite), tiers.node.sip)
    stop = tiers.fs.receive(b"CANCEL")
    tiers.fs.send(reply_to(stop, b"200 OK"), kamailio)
    tiers.fs.send(reply_to(asked, b"487 Request Terminated"), kamailio)
    assert status(tiers.final(invite)) == 487
    assert method_of(asked) == b"INVITE"


def test_an_emergency_call_never_goes(tiers: Tiers) -> None:
    gateways = {"pbx": patient("pbx", tiers.callee), "fs-1": patient("fs-1", tiers.fs, media=True)}
    policy = Policy((TRUNK,), gateways, emergency=Emergency(("112",), ("pbx",)))
    tiers.node.put_in_force(policy, [Route("staff", ("",), ("pbx",), voicemail=Voicemail())])
    invite = tiers.call(number=b"112")
    tiers.callee.refuse_next(b"486 Busy Here", to=tiers.caller)
    assert status(tiers.final(invite)) == 486
    decided, failed = tiers.node.records(header(invite, b"Call-ID").decode())
    assert (decided["emergency"], "next" in failed) == (True, False)


DIVERSION = [
    b"Diversion: <sip:1002@pbx>;reason=unconditional",
    b'Diversion: "A, B" <sip:02079460001@pbx>;reason=user-busy',
]
HISTORY = [
    b"History-Info: <sip:02079460001@pbx>;index=1, <sip:1002@pbx;cause=486>;index=1.1;mp=1",
    b"History-Info: <sip:5000@pbx;cause=302>;index=1.1.1;mp=1.1",
]


@pytest.mark.parametrize("lines", [DIVERSION, HISTORY, [DIVERSION[0], *HISTORY]], ids=["diversion", "history", "both"])
def test_whom_a_diverted_call_was_for(tiers: Tiers, lines: list[bytes]) -> None:
    tiers.apply(trusted=True)
    invite = tiers.call(lines, b"5000")
    asked = tiers.fs.refuse_next(b"404 Not Found", to=tiers.caller)
    told = tiers.told(asked)
    assert (told.diverted, told.reason, told.callee) == ("+442079460001", "busy", "5000")
    # The headers themselves pass as they came.
    assert all(line in asked for line in lines)
    assert status(tiers.final(invite)) == 404
    steps = tiers.node.record(header(invite, b"Call-ID").decode()).steps
    assert ("diverted", "02079460001", "+442079460001: busy") in steps


def test_whom_a_call_was_for_before_it_came_to_nobody_here(tiers: Tiers) -> None:
    tiers.apply(trusted=True)
    invite = tiers.call(DIVERSION)
    tiers.callee.refuse_next(b"480 Gone", to=tiers.caller)
    told = tiers.at_voicemail()
    assert (told.diverted, told.reason, told.callee) == ("+442079460001", "unreachable", NUMBER)
    assert status(tiers.final(invite)) == 480


@pytest.mark.parametrize(
    ("lines", "trusted"),
    [
        (DIVERSION, False),
        ([*DIVERSION, *HISTORY], False),
        ([b"Diversion: \xff\xfe <<<;;;"], True),
        ([b"History-Info: " + b"<sip:1@x>;index=1.1," * 300], True),
        ([b"Diversion: <sip:1@x>"] * 3 + [b"Diversion: " + b"\xff" * 6000], True),
        ([], True),
    ],
    ids=["diversion", "both", "garbage", "long", "long garbage", "none"],
)
def test_what_is_not_believed(tiers: Tiers, lines: list[bytes], trusted: bool) -> None:
    tiers.apply(trusted=trusted)
    invite = tiers.call(lines, b"5000")
    told = tiers.told(tiers.fs.refuse_next(b"404 Not Found", to=tiers.caller))
    assert told.diverted in ("", "1") if trusted else told.diverted == ""
    assert told.reason == "direct" or told.diverted
    assert status(tiers.final(invite)) == 404


FILE = """\
strowger: 1
trunks: {{lab: {{sources: [127.0.0.0/8]}}}}
gateways: {{pbx: {{address: "127.0.0.1:{pbx}", no_reply: 15s, breaker: off}}}}
media: {{fs-1: {{address: "127.0.0.1:{fs}", no_reply: 15s, breaker: off, probe: false}}}}
routes:
  - {{name: staff, prefixes: [default], gateways: [pbx], ring: 20s, voicemail: {{args: "a=1"}}}}
"""


def test_the_command_tells_of_voicemail(node: Node, tmp_path: Path) -> None:
    cli = Cli(fresh, node.stack.settings.to_env())
    pbx, fs = node.refusing(486), node.gateway("uas-expect-handover.xml")
    file = tmp_path / "voicemail.yaml"
    file.write_text(FILE.format(pbx=pbx.port, fs=fs.port))
    cli("policy", "apply", str(file), "--message", "voicemail")
    foretold = cli("explain", "--from", "1001", "--to", "1002", "--fail", "pbx=486").out
    assert "486: final, busy: to app voicemail -> fs-1" in foretold
    assert "to media: app voicemail on fs-1, busy\n" in foretold
    call = node.answered("1001", "1002", reply_header="X-Nothing: none")
    node.record(call.call_id)
    told = cli("explain", "--call-id", call.call_id).out
    assert "route staff, app voicemail, busy" in told
    assert "attempt 2 at fs-1: 200" in told
