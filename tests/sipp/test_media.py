"""Calls that are handed over to media nodes, and those that come back from there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from harness.cli import Cli, fresh
from harness.dialog import from_caller, header, reply
from harness.load import until
from harness.node import GB, TRUNK, Node, at
from harness.raw import Endpoint, reply_to, status
from harness.trace import messages

from console.cdr_output import explained
from console.ports import free_port
from console.sipp import SippGateway
from model.call import CallFacts
from model.handover import HEADERS, HOPS_MAX, TOKEN, Handover
from model.policy import MEDIA_RETRY, Drain, Emergency, Gateway, MediaApp, Policy, Route, Strategy

CALLER, CALLEE = "1001", "5000"
APP = MediaApp("welcome", "lang=en; greeting='hello $rU %41'")
# A media node's own address: what comes from it belongs to no trunk.
MEDIA, OUTSIDE = "127.0.0.9", replace(TRUNK, sources=("127.0.0.1/32",))


def to_app(*nodes: str, name: str = "app", prefix: str = "5", **options: object) -> Route:
    """A route to a call script on these media nodes, as the policy file makes one."""
    return Route(
        **{"name": name, "prefixes": (prefix,), "gateways": nodes, "media": APP, "retry": MEDIA_RETRY, **options}
    )  # type: ignore[arg-type]


def listening(name: str, endpoint: Endpoint, **options: object) -> Gateway:
    """A gateway that a plain socket plays; a media node with ``media=True``."""
    patient = {"no_reply": 15.0, "progress": 15.0, "breaker": None, **options}
    return Gateway(name, endpoint.address, endpoint.port, **patient)  # type: ignore[arg-type]


def secret(node: Node) -> bytes:
    """The key that Kamailio and media workers share."""
    return node.stack.settings.media_secret_file.read_bytes()


def marks(message: bytes) -> dict[str, str]:
    """The headers that tell of a hand-over; fails where one is there twice."""
    head = message.partition(b"\r\n\r\n")[0].decode()
    lines = [line.partition(":") for line in head.split("\r\n") if line.lower().startswith("x-strowger-")]
    names = [name for name, _, _ in lines]
    assert len(names) == len(set(names)), f"more than one of {names}"
    return {name: value.strip() for name, _, value in lines}


def handover(node: Node, invite: bytes) -> Handover:
    """The hand-over that an INVITE proves, each header once and no other beside them."""
    found = marks(invite)
    assert list(found) == list(HEADERS)
    return Handover.parse(found, secret(node), time.time())


def signed(node: Node, *, key: bytes = b"", **fields: object) -> list[bytes]:
    """Header lines as a media worker makes them for a call that it gives back."""
    known = {"call": "1a-2b-3c", "app": "welcome", "caller": "+441632960001", "expires": int(time.time()) + 30}
    made = Handover(**{**known, **fields})  # type: ignore[arg-type]
    return [f"{name}: {value}".encode() for name, value in made.headers(key or secret(node))]


def final(node: Node, caller: Endpoint, invite: bytes) -> bytes:
    """Send an INVITE, and its final reply."""
    caller.send(invite, node.sip)
    return caller.final_reply(invite, node.sip)


def steps(node: Node, invite: bytes) -> list[tuple[str, str, str]]:
    """What the decision on a call read and found."""
    return [tuple(step) for step in node.records(header(invite, b"Call-ID").decode())[0]["steps"]]


def test_a_media_node_gets_the_call_with_its_handover(node: Node, tmp_path: Path) -> None:
    fs = node.gateway("uas-expect-handover.xml", trace=tmp_path / "node")
    node.apply([to_app("fs-1")], [at("fs-1", fs, media=True)])
    call = node.answered(CALLER, CALLEE, trace=tmp_path / "caller")
    (invite,) = [message for message in messages(tmp_path / "node", "received") if message.startswith(b"INVITE")]
    decided = node.records(call.call_id)[0]
    found = handover(node, invite)
    assert found == Handover(
        call=decided["call"], app=APP.app, args=APP.args, caller=CALLER, callee=CALLEE, reason="direct",
        expires=found.expires,
    )  # fmt: skip
    assert fs.calls(call.call_id) == [f"sip:{CALLEE}@127.0.0.1:{fs.port}"]
    (sent, *_) = messages(tmp_path / "caller", "sent")
    assert header(invite, b"From") == header(sent, b"From")
    # And the record tells of it, in whatever way it is asked.
    record = node.record(call.call_id)
    assert (record.app, record.gateway, record.route) == (APP.app, "fs-1", "app")
    assert "app welcome" in explained(record)[1]
    assert decided["app"] == APP.app


def test_numbers_are_told_as_they_are_normalised(node: Node) -> None:
    with Endpoint() as caller, Endpoint(MEDIA) as fs:
        node.apply([to_app("fs-1", prefix="")], [listening("fs-1", fs, media=True)])
        caller.send(
            caller.invite(uri=b"sip:02079460000@127.0.0.1", sender=b'"A" <sip:01632960001@127.0.0.1>'), node.sip
        )
        invite = fs.refuse_next(b"486 Busy Here", to=caller)
        found = handover(node, invite)
        assert (found.caller, found.callee) == ("+441632960001", "+442079460000")
        assert invite.startswith(b"INVITE sip:+442079460000@%b:%d SIP/2.0" % (MEDIA.encode(), fs.port))


FORGED = [b"X-Strowger-App: evil", b"x-strowger-TOKEN : 00", b"X-STROWGER-Other: 1", b"X-Strowger-Hops: 0"]


def test_forged_headers_are_removed(node: Node) -> None:
    with Endpoint() as caller, Endpoint(MEDIA) as fs, Endpoint() as carrier:
        node.apply(
            [to_app("fs-1"), Route("out", ("",), ("c",))],
            [listening("fs-1", fs, media=True), listening("c", carrier)],
        )
        caller.send(caller.invite(uri=b"sip:5000@127.0.0.1", headers=FORGED), node.sip)
        found = handover(node, fs.refuse_next(b"486 Busy Here", to=caller))
        assert (found.app, found.hops, found.caller) == (APP.app, 1, "1001")
        caller.send(caller.invite(uri=b"sip:1002@127.0.0.1", headers=FORGED), node.sip)
        assert marks(carrier.refuse_next(b"486 Busy Here", to=caller)) == {}


def test_a_drained_node_takes_no_call_for_forged_headers(node: Node) -> None:
    with Endpoint() as caller, Endpoint() as carrier, node.kamcmd() as kamailio:
        node.apply([Route("out", ("",), ("c",))], [listening("c", carrier)])
        kamailio.call("pv.shvSet", "drained", "int", int(time.time()) + 3600)
        try:
            refused = final(node, caller, caller.invite(uri=b"sip:1002@127.0.0.1", headers=FORGED))
        finally:
            kamailio.call("pv.shvSet", "drained", "int", 0)
        assert (status(refused), b"node-drained" in header(refused, b"Reason")) == (503, True)


def test_forged_headers_are_removed_from_a_reinvite(node: Node) -> None:
    with Endpoint() as caller, Endpoint(MEDIA) as fs:
        node.apply([to_app("fs-1")], [listening("fs-1", fs, media=True)])
        first = caller.invite(uri=b"sip:5000@127.0.0.1")
        caller.send(first, node.sip)
        invite, kamailio = fs.next_invite(caller)
        fs.send(reply(invite, b"200 OK", fs, tag=b"fs"), kamailio)
        established = caller.receive(b"SIP/2.0 200")
        caller.send(from_caller(b"ACK", 1, caller, established), node.sip)
        fs.receive(b"ACK")
        caller.send(from_caller(b"INVITE", 2, caller, established, more=FORGED), node.sip)
        assert marks(fs.receive(b"INVITE")) == {}


@pytest.mark.parametrize("fault", ["503", "silence", "unsendable"])
def test_the_next_node_gets_one_handover_of_its_own(node: Node, fault: str) -> None:
    with Endpoint() as caller, Endpoint() as first, Endpoint() as second:
        nodes = [listening("fs-1", first, media=True), listening("fs-2", second, media=True)]
        if fault == "silence":
            nodes[0] = replace(nodes[0], no_reply=1.2)
        elif fault == "unsendable":
            nodes[0] = replace(nodes[0], port=free_port(), transport="tcp")
        node.apply([to_app("fs-1", "fs-2")], nodes)
        invite = caller.invite(uri=b"sip:5000@127.0.0.1")
        caller.send(invite, node.sip)
        before = None
        if fault != "unsendable":
            request, kamailio = first.next_invite(caller)
            before = handover(node, request)
            # The plan is on the transaction: what comes next is decided by code that is loaded anew.
            with node.kamcmd() as kamcmd:
                kamcmd.reload()
            if fault == "503":
                first.send(reply_to(request, b"503 Service Unavailable"), kamailio)
        after = handover(node, second.refuse_next(b"486 Busy Here", to=caller))
        assert status(caller.final_reply(invite, node.sip)) == 486
        assert (after.app, after.args, after.hops) == (APP.app, APP.args, 1)
        assert before is None or replace(after, expires=0) == replace(before, expires=0)
        assert before is None or fault == "503" or after.expires > before.expires
        record = node.record(header(invite, b"Call-ID").decode())
        assert [attempt.gateway for attempt in record.attempts] == ["fs-1", "fs-2"]


def test_what_a_script_refuses_a_call_with_is_final(node: Node) -> None:
    with Endpoint() as caller, Endpoint(MEDIA) as fs:
        node.apply([to_app("fs-1", "fs-2")], [listening("fs-1", fs, media=True), Gateway("fs-2", "127.0.0.1", 9)])
        for line in (b"403 Forbidden", b"500 Server Internal Error", b"603 Declined"):
            invite = caller.invite(uri=b"sip:5000@127.0.0.1")
            caller.send(invite, node.sip)
            fs.refuse_next(line, to=caller)
            assert caller.final_reply(invite, node.sip).startswith(b"SIP/2.0 " + line)


def test_a_drained_node_gets_no_call(node: Node) -> None:
    fs = node.gateway("uas-expect-handover.xml")
    node.apply([to_app("fs-1", "fs-2")], [Gateway("fs-1", "127.0.0.1", 9, media=True), at("fs-2", fs, media=True)])
    node.confirmed(node.store.drain(Drain("fs-1", "upgrade", author="test")))
    try:
        call = node.answered(CALLER, CALLEE)
        assert node.records(call.call_id)[0]["gateways"] == ["fs-2"]
    finally:
        change = node.store.resume("fs-1")
        assert change is not None
        node.confirmed(change)


@pytest.fixture
def two(node: Node) -> tuple[SippGateway, SippGateway]:
    """Two media nodes."""
    return node.gateway("uas-expect-handover.xml"), node.gateway("uas-expect-handover.xml")


CALLS = 24


@pytest.mark.parametrize("strategy", [Strategy.ALTERNATE, Strategy.WEIGHTED])
def test_calls_are_spread_over_the_nodes(node: Node, two: tuple[SippGateway, SippGateway], strategy: Strategy) -> None:
    weights = (1, 1) if strategy is Strategy.WEIGHTED else ()
    nodes = [at(f"fs-{number}", player, media=True) for number, player in enumerate(two)]
    node.apply([to_app("fs-0", "fs-1", strategy=strategy, weights=weights)], nodes)
    for _ in range(CALLS):
        node.answered(CALLER, CALLEE)
    seen = [len(player.calls()) for player in two]
    assert sum(seen) == CALLS
    if strategy is Strategy.ALTERNATE:
        assert seen == [CALLS // 2, CALLS // 2]
    else:
        assert min(seen) > 0


def test_no_node_left_is_told_apart(node: Node) -> None:
    nodes = [Gateway(name, "127.0.0.1", 9, media=True, enabled=False) for name in ("fs-1", "fs-2")]
    node.apply([to_app("fs-1", "fs-2")], nodes)
    call = node.refused(CALLER, CALLEE, 503, "cause=38;text=.media-down.*Retry-After: 10[^0-9]")
    assert node.record(call.call_id).refusal == "media-down"


def test_an_emergency_call_goes_to_its_own_gateways(node: Node) -> None:
    with Endpoint() as caller, Endpoint(MEDIA) as fs, Endpoint() as psap:
        gateways = {"fs-1": listening("fs-1", fs, media=True), "psap": listening("psap", psap)}
        policy = Policy((TRUNK,), gateways, GB, emergency=Emergency(("112",), ("psap",)))
        node.put_in_force(policy, [to_app("fs-1", prefix="")])
        invite = caller.invite(uri=b"sip:112@127.0.0.1")
        caller.send(invite, node.sip)
        assert marks(psap.refuse_next(b"486 Busy Here", to=caller)) == {}
        assert status(caller.final_reply(invite, node.sip)) == 486


@dataclass
class Tiers:
    """A caller, a media node and a carrier, each a socket."""

    node: Node
    caller: Endpoint
    fs: Endpoint
    carrier: Endpoint

    def back(self, number: bytes, lines: Sequence[bytes]) -> bytes:
        """An INVITE of the media node for a number."""
        return self.fs.invite(uri=b"sip:" + number + b"@127.0.0.1", sender=b"<sip:anybody@x>", headers=lines)


@pytest.fixture
def tiers(node: Node) -> Iterator[Tiers]:
    """A node with an app at numbers with a 5 in front, and a carrier for all others."""
    with Endpoint() as caller, Endpoint(MEDIA) as fs, Endpoint() as carrier:
        gateways = [listening("fs-1", fs, media=True), listening("c", carrier)]
        node.apply([to_app("fs-1"), Route("out", ("",), ("c",))], gateways, trunks=[OUTSIDE])
        yield Tiers(node, caller, fs, carrier)


def test_a_call_comes_back_as_the_one_who_called(tiers: Tiers) -> None:
    invite = tiers.back(b"02079460000", signed(tiers.node, hops=2))
    tiers.fs.send(invite, tiers.node.sip)
    sent = tiers.carrier.refuse_next(b"486 Busy Here")
    assert status(tiers.fs.final_reply(invite, tiers.node.sip)) == 486
    assert marks(sent) == {}
    assert sent.startswith(b"INVITE sip:+442079460000@")
    record = tiers.node.record(header(invite, b"Call-ID").decode())
    assert (record.caller, record.trunk, record.app) == ("+441632960001", "fs-1", "")
    assert ("returned", "1a-2b-3c", "handed to media 2 times") in record.steps


@pytest.mark.parametrize("hops", [1, HOPS_MAX - 1])
def test_a_call_that_goes_to_media_again_is_counted(tiers: Tiers, hops: int) -> None:
    invite = tiers.back(b"5001", signed(tiers.node, hops=hops))
    tiers.fs.send(invite, tiers.node.sip)
    found = handover(tiers.node, tiers.fs.refuse_next(b"486 Busy Here"))
    assert (found.hops, found.caller, found.callee) == (hops + 1, "+441632960001", "5001")
    assert found.call != "1a-2b-3c"


@pytest.mark.parametrize("hops", [HOPS_MAX, HOPS_MAX + 1])
def test_a_loop_ends(tiers: Tiers, hops: int) -> None:
    invite = tiers.back(b"5001", signed(tiers.node, hops=hops))
    refused = final(tiers.node, tiers.fs, invite)
    assert status(refused) == 482
    assert b'text="media-loop"' in header(refused, b"Reason")


def test_at_the_limit_a_call_may_still_leave(tiers: Tiers) -> None:
    invite = tiers.back(b"1002", signed(tiers.node, hops=HOPS_MAX))
    tiers.fs.send(invite, tiers.node.sip)
    tiers.carrier.refuse_next(b"486 Busy Here")
    assert status(tiers.fs.final_reply(invite, tiers.node.sip)) == 486


def wrong(node: Node) -> dict[str, list[bytes]]:
    """Headers that prove nothing."""
    good = signed(node)
    return {
        "another key": signed(node, key=bytes(32)),
        "too old": signed(node, expires=int(time.time()) - 2),
        "another app": [line.replace(b"welcome", b"sesame") for line in good],
        "fewer hops": [line.replace(b"Hops: 1", b"Hops: 0") for line in good],
        "no number": [line for line in good if b"Caller" not in line],
        "no ASCII": [*good[:-1], TOKEN.encode() + b": \xff\xe9"],
    }


@pytest.mark.parametrize("what", ["another key", "too old", "another app", "fewer hops", "no number", "no ASCII"])
def test_a_wrong_token_is_refused(tiers: Tiers, what: str) -> None:
    invite = tiers.back(b"1002", wrong(tiers.node)[what])
    refused = final(tiers.node, tiers.fs, invite)
    assert status(refused) == 403
    assert b'text="media-token"' in header(refused, b"Reason")


def test_without_a_token_a_media_node_is_nobody(tiers: Tiers) -> None:
    for lines in ([], [b"X-Strowger-App: welcome"]):
        refused = final(tiers.node, tiers.fs, tiers.back(b"1002", lines))
        assert b'text="unknown-source"' in header(refused, b"Reason")


def test_a_good_token_from_elsewhere_is_worth_nothing(tiers: Tiers) -> None:
    invite = tiers.caller.invite(uri=b"sip:1002@127.0.0.1", headers=signed(tiers.node))
    tiers.caller.send(invite, tiers.node.sip)
    assert marks(tiers.carrier.refuse_next(b"486 Busy Here")) == {}
    tiers.caller.final_reply(invite, tiers.node.sip)
    assert ("caller", "1001", "1001") in steps(tiers.node, invite)


def test_a_redirection_of_a_script_is_followed(tiers: Tiers) -> None:
    invite = tiers.caller.invite(uri=b"sip:5000@127.0.0.1")
    tiers.caller.send(invite, tiers.node.sip)
    first = handover(tiers.node, tiers.fs.refuse_next(b"302 Moved", [b"Contact: <sip:5001@sip.example>"]))
    again = handover(tiers.node, tiers.fs.refuse_next(b"302 Moved", [b"Contact: Desk <sip:02079460000@x;a=b>;q=1"]))
    assert (first.hops, again.hops, again.callee, again.caller) == (1, 2, "5001", "1001")
    sent = tiers.carrier.refuse_next(b"302 Moved", [b"Contact: <sip:5002@x>"])
    assert marks(sent) == {}
    assert sent.startswith(b"INVITE sip:+442079460000@")
    # What a carrier says of the callee is the caller's to follow, as ever.
    assert status(tiers.caller.final_reply(invite, tiers.node.sip)) == 302
    record = tiers.node.record(header(invite, b"Call-ID").decode())
    assert [attempt.gateway for attempt in record.attempts] == ["fs-1", "fs-1", "c"]
    assert record.attempts[0].why == "sent on to 5001"
    assert ("callee", "02079460000", "+442079460000") in record.steps


def test_redirections_in_a_circle_end(tiers: Tiers) -> None:
    invite = tiers.caller.invite(uri=b"sip:5000@127.0.0.1")
    tiers.caller.send(invite, tiers.node.sip)
    found = [
        handover(tiers.node, tiers.fs.refuse_next(b"302 Moved", [b"Contact: <sip:5000@x>"])).hops
        for _ in range(HOPS_MAX)
    ]
    refused = tiers.caller.final_reply(invite, tiers.node.sip)
    assert found == list(range(1, HOPS_MAX + 1))
    assert status(refused) == 482
    assert b'text="media-loop"' in header(refused, b"Reason")


@pytest.mark.parametrize("lines", [[], [b"Contact: *"], [b"Contact: <sip:x.example>"], [b"Contact: \xff<<"]])
def test_a_redirection_to_nobody_is_refused(tiers: Tiers, lines: list[bytes]) -> None:
    invite = tiers.caller.invite(uri=b"sip:5000@127.0.0.1")
    tiers.caller.send(invite, tiers.node.sip)
    tiers.fs.refuse_next(b"302 Moved", lines)
    assert b'text="invalid-number"' in header(tiers.caller.final_reply(invite, tiers.node.sip), b"Reason")


FILE = """\
strowger: 1
trunks: {{lab: {{sources: [127.0.0.0/8]}}}}
gateways: {{carrier: {{address: 127.0.0.1:9}}}}
media:
  fs-1: {{address: "127.0.0.1:{first}", no_reply: 15s, breaker: off, probe: false}}
  fs-2: {{address: "127.0.0.1:{second}", no_reply: 15s, breaker: off, probe: false}}
routes:
  - {{name: app, prefixes: [default], media: {{app: welcome, args: a=1}}, strategy: priority}}
"""


def test_the_command_tells_of_media(node: Node, tmp_path: Path) -> None:
    cli = Cli(fresh, node.stack.settings.to_env())
    first, second = node.refusing(503), node.gateway("uas-expect-handover.xml")
    file = tmp_path / "media.yaml"
    file.write_text(FILE.format(first=first.port, second=second.port))
    cli("policy", "apply", str(file), "--message", "media")
    rows = [line.split()[:2] for line in cli("gateway", "list").out.splitlines() if line[0] != " "]
    assert rows == [["name", "kind"], ["carrier", "gateway"], ["fs-1", "media"], ["fs-2", "media"]]
    foretold = cli("explain", "--from", CALLER, "--to", CALLEE, "--fail", "fs-1=503").out
    assert "to media: app welcome on fs-1, then fs-2\n" in foretold
    assert cli("explain", "--from", CALLER, "--to", CALLEE, "--json").data["app"] == "welcome"
    call = node.answered(CALLER, CALLEE)
    record = node.record(call.call_id)
    assert [attempt.gateway for attempt in record.attempts] == ["fs-1", "fs-2"]
    told = cli("explain", "--call-id", call.call_id).out
    assert "route app, app welcome" in told
    assert "attempt 2 at fs-2: 200" in told
    assert '"app":"welcome"' in cli("cdr", "tail", "-n", "1", "--json").out
    cli("gateway", "drain", "fs-1", "--reason", "upgrade")
    try:
        assert "to media: app welcome on fs-2\n" in cli("explain", "--from", CALLER, "--to", CALLEE).out
    finally:
        cli("gateway", "resume", "fs-1")


@pytest.fixture(scope="module")
def prober(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that probes each second."""
    node = Node.create(tmp_path_factory.mktemp("media-prober"), name="media-prober", STROWGER_PROBE_INTERVAL="1")
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


def test_a_node_that_answers_no_probe_gets_no_call(prober: Node) -> None:
    fs = prober.gateway("uas-expect-handover.xml")
    gone = Gateway("fs-1", "127.0.0.1", free_port(), media=True, probe=True)
    prober.apply([to_app("fs-1", "fs-2")], [gone, at("fs-2", fs, media=True)])
    until(lambda: prober.live().probe(gone.uri) > 0, "it is not found to be gone", 30)
    call = prober.answered(CALLER, CALLEE)
    assert prober.records(call.call_id)[0]["gateways"] == ["fs-2"]
    facts = CallFacts(caller=CALLER, callee=CALLEE, source="127.0.0.1")
    assert [attempt.gateway for attempt in prober.explain(facts).attempts] == ["fs-2"]
