"""Phones that nobody here wrote: baresip and sipsak register, call, forward and are called."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.baresip import BARESIP, Baresip
from harness.node import GB, Node, at

from model.policy import Policy, Route, Subscribers, Trunk, Voicemail
from model.subscriber import Forwards, Subscriber, hashes

REALM = "phones.example"
SIPSAK = "/usr/bin/sipsak"


def subscriber(name: str, **more: object) -> Subscriber:
    return Subscriber(name=name, realm=REALM, ha1=hashes(name, REALM, f"secret-of-{name}"), **more)  # type: ignore[arg-type]


def put(node: Node, one: Subscriber) -> None:
    node.confirmed(node.store.put_subscriber(one, node.store.subscriber(one.name)))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with phones, and a media node that SIPp plays."""
    own = Node.create(tmp_path_factory.mktemp("phones"), name="phones", workers=2)
    try:
        own.stack.start()
        media = at("media", own.answering(), media=True)
        own.put_in_force(
            Policy(
                trunks=(Trunk("office", ("127.0.0.2/32",), GB),),
                gateways={"media": media},
                dialling=GB,
                subscribers=Subscribers(REALM, GB),
            ),
            (Route("phones", ("1",), subscribers=True, ring=5.0, voicemail=Voicemail()),),
        )
        for name in ("1001", "1002", "1003", "1004"):
            put(own, subscriber(name))
        yield own
    finally:
        own.close()


@pytest.fixture
def phones(node: Node, tmp_path: Path) -> Iterator[tuple[Baresip, Baresip]]:
    """Two phones that have registered: 1001 answers at once, 1002 rings."""
    with (
        Baresip(node.sip, "1001", "secret-of-1001", tmp_path / "1001", answers=True) as first,
        Baresip(node.sip, "1002", "secret-of-1002", tmp_path / "1002") as second,
    ):
        first.registered()
        second.registered()
        yield first, second


def test_two_phones_call_each_other(node: Node, phones: tuple[Baresip, Baresip]) -> None:
    first, second = phones
    second.tell("dial", "1001")
    second.heard("CALL_ESTABLISHED")
    first.heard("CALL_ESTABLISHED")
    second.tell("hangup")
    first.heard("CALL_CLOSED")
    before = len(second.events)
    first.tell("dial", "1002")
    second.heard("CALL_INCOMING", before)
    second.tell("accept")
    second.heard("CALL_ESTABLISHED", before)
    first.tell("hangup")
    second.heard("CALL_CLOSED", before)


def test_a_call_that_nobody_takes_goes_to_voicemail(node: Node, phones: tuple[Baresip, Baresip]) -> None:
    first, _ = phones
    # 1002 rings and does not answer; 1003 has no phone.
    for callee in ("1002", "1003"):
        before = len(first.events)
        first.tell("dial", callee)
        established = first.heard("CALL_ESTABLISHED", before)
        events = node.events(str(established["id"]))
        told = next(event for event in events if event["event"] == "failed")
        assert (told["gateway"], told["app"]) == (f"subscriber:{callee}", "voicemail")
        assert told["reason"] == {"1002": "no-answer", "1003": "unreachable"}[callee]
        first.tell("hangup")
        first.heard("CALL_CLOSED", before)


def test_a_call_is_forwarded(node: Node, phones: tuple[Baresip, Baresip]) -> None:
    first, second = phones
    put(node, subscriber("1003", forwards=Forwards(always="1001")))
    second.tell("dial", "1003")
    second.heard("CALL_ESTABLISHED")
    first.heard("CALL_ESTABLISHED")
    second.tell("hangup")
    first.heard("CALL_CLOSED")
    put(node, subscriber("1003"))


def test_a_restart_of_kamailio_loses_no_phone(node: Node, phones: tuple[Baresip, Baresip]) -> None:
    first, second = phones
    node.stack.processes["kamailio"].stop()
    node.stack.start_kamailio()
    second.tell("dial", "1001")
    second.heard("CALL_ESTABLISHED")
    first.heard("CALL_ESTABLISHED")
    second.tell("hangup")
    first.heard("CALL_CLOSED")


def test_a_phone_is_called_by_the_connection_that_it_registered_over(node: Node, tmp_path: Path) -> None:
    with (
        Baresip(node.sip, "1003", "secret-of-1003", tmp_path / "1003", transport="tcp", answers=True) as callee,
        Baresip(node.sip, "1001", "secret-of-1001", tmp_path / "1001") as caller,
    ):
        callee.registered()
        caller.registered()
        caller.tell("dial", "1003")
        callee.heard("CALL_ESTABLISHED")
        caller.heard("CALL_ESTABLISHED")
        caller.tell("hangup")
        callee.heard("CALL_CLOSED")


def test_a_wrong_password_does_not_register(node: Node, tmp_path: Path) -> None:
    with Baresip(node.sip, "1004", "another-secret", tmp_path / "wrong") as phone:
        phone.refused()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_sipsak_registers(node: Node, transport: str) -> None:
    host, port = node.sip

    def run(password: str) -> int:
        command = [
            SIPSAK, "-U", "-i", "-s", f"sip:1003@{host}:{port}", "-a", password, "-u", "1003", "-E", transport,
            "-x", "60", "-H", "127.0.0.1",  # Not every machine finds its own name.
        ]  # fmt: skip
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode

    assert run("secret-of-1003") == 0
    assert run("another-secret") != 0


def test_they_are_installed() -> None:
    assert shutil.which(BARESIP)
    assert shutil.which(SIPSAK)
