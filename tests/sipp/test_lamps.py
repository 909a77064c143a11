"""Message waiting (RFC 3842) on the wire: phones that subscribe, and phones that never asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from harness.lamp_phone import LampPhone
from harness.load import until
from harness.node import GB, Node
from harness.raw import status

from model.policy import Trunk
from state import keys, mwi
from state.mwi import Lamp

ON, OFF = ("yes", "1/0 (0/0)"), ("no", "0/0 (0/0)")


@pytest.fixture(scope="module")
def lamps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of its own, whose trunk is but one address."""
    node = Node.create(tmp_path_factory.mktemp("lamps"), name="lamps", workers=2)
    try:
        node.stack.start()
        node.apply([], trunks=(Trunk("office", ("127.0.0.1/32",), GB),))
        light(node, "1001")
        with LampPhone(node.sip) as phone:
            # The agent takes it in at its own pace.
            until(lambda: subscribed(phone), "the mailbox is not known", 20)
        yield node
    finally:
        node.close()


def subscribed(phone: LampPhone) -> bool:
    phone.new_dialog()
    return status(phone.subscribe(0)) == 200


def settled(node: Node) -> None:
    """Wait until the agent has heard of every answer; one that it does not hear of makes it send again."""

    def sent() -> list[float]:
        with closing(sqlite3.connect(f"file:{node.stack.settings.watchers}?mode=ro", uri=True)) as file:
            return [json.loads(text)["sent"] for (text,) in file.execute("SELECT watcher FROM watchers")]

    until(lambda: not any(sent()), "answers are missing", 30)


def light(node: Node, box: str, new: int = 0, **more: object) -> None:
    mwi.write(node.store, Lamp(box=box, new=new, **more))  # type: ignore[arg-type]


def test_a_lamp_goes_on_and_off_while_the_subscription_lives(lamps: Node) -> None:
    with LampPhone(lamps.sip) as phone:
        reply = phone.subscribe(600)
        assert status(reply) == 200
        assert b"\r\nExpires: 600\r\n" in reply
        first = phone.notified()
        assert first.lamp == OFF
        assert first.state in ("active;expires=600", "active;expires=599")
        assert (first[b"Event"], first[b"Content-Type"]) == (
            b"message-summary", b"application/simple-message-summary",
        )  # fmt: skip
        assert first[b"From"].endswith(f";tag={phone.tag}".encode())
        assert first[b"From"].count(b"tag=") == 1
        assert (first[b"To"].endswith(b";tag=phone"), first[b"Call-ID"]) == (True, phone.call_id.encode())
        light(lamps, "1001", 1)
        on = phone.notified()
        assert on.lamp == ON
        light(lamps, "1001", 0, saved=1)
        off = phone.notified()
        assert off.lamp == ("no", "0/1 (0/0)")
        assert [int(notice[b"CSeq"].split()[0]) for notice in (first, on, off)] == [1, 2, 3]
        # The same again is no change.
        light(lamps, "1001", 0, saved=1, seq=9)
        assert phone.is_left_alone()
        reply = phone.subscribe(900)
        assert status(reply) == 200
        # Sent again, since the reply was lost: the same reply, and no second NOTIFY.
        phone.endpoint.send(phone.request, phone.server)
        assert phone.endpoint.receive(b"SIP/2.0") == reply
        refreshed = phone.notified()
        assert refreshed.lamp == ("no", "0/1 (0/0)")
        assert refreshed.state in ("active;expires=900", "active;expires=899")
        assert status(phone.subscribe(0)) == 200
        assert phone.notified().state == "terminated;reason=timeout"
        light(lamps, "1001", 0)
        assert phone.is_left_alone()
        assert status(phone.subscribe(600)) == 481


def test_only_the_last_of_a_burst_is_told_to_a_phone_that_is_slow(lamps: Node) -> None:
    light(lamps, "1002")
    with LampPhone(lamps.sip, "1002") as phone:
        until(lambda: subscribed(phone), "the mailbox is not known", 20)
        phone.notified()
        phone.new_dialog()
        phone.subscribe()
        slow = phone.notified("")
        for new in range(1, 30):
            light(lamps, "1002", new)
        light(lamps, "1002", 30, saved=4, urgent_new=2)
        # Kamailio sends the first again, until it is answered.
        again = phone.notified()
        assert again[b"CSeq"] == slow[b"CSeq"]
        told = phone.notified()
        while told[b"CSeq"] == slow[b"CSeq"]:
            told = phone.notified()
        assert told.lamp == ("yes", "30/4 (2/0)")
        assert told[b"CSeq"] == b"2 NOTIFY"


@pytest.mark.parametrize(
    ("expected", "header", "options"),
    [
        (489, b"Allow-Events: message-summary", {"event": "presence"}),
        (489, b"Allow-Events: message-summary", {"event": ""}),
        (423, b"Min-Expires: 60", {"expires": 59}),
        (404, b"", {"box": "4711"}),
        (406, b"Accept: application/simple-message-summary", {"headers": ["Accept: application/pidf+xml"]}),
    ],
)
def test_what_cannot_be_subscribed_to(lamps: Node, expected: int, header: bytes, options: dict[str, object]) -> None:
    with LampPhone(lamps.sip) as phone:
        reply = phone.subscribe(**options)  # type: ignore[arg-type]
        assert status(reply) == expected
        assert header in reply
        assert phone.is_left_alone(0.3)


def test_what_is_accepted_may_stand_in_several_headers(lamps: Node) -> None:
    with LampPhone(lamps.sip) as phone:
        types = ["Accept: application/pidf+xml", "Accept: application/simple-message-summary"]
        assert status(phone.subscribe(0, headers=types)) == 200
        phone.notified()


def test_strangers_learn_nothing(lamps: Node) -> None:
    with LampPhone(lamps.sip, address="127.0.0.2") as stranger:
        assert status(stranger.subscribe()) == 403
        stranger.new_dialog()
        assert status(stranger.subscribe(box="4711")) == 403
        assert stranger.is_left_alone(0.3)


def test_bounds_of_expires_and_an_event_with_an_id(lamps: Node) -> None:
    with LampPhone(lamps.sip) as phone:
        assert b"\r\nExpires: 3600\r\n" in phone.subscribe(None, event="message-summary;id=7")
        assert phone.notified()[b"Event"] == b"message-summary;id=7"
        phone.new_dialog()
        assert b"\r\nExpires: 7200\r\n" in phone.subscribe(999999)
        # Who no longer knows of a subscription is left alone from then on.
        phone.notified("481 Subscription Does Not Exist")
        light(lamps, "1001", 5)
        told = phone.notified()
        assert told[b"Event"] == b"message-summary;id=7"
        assert phone.is_left_alone()


def test_a_mailbox_that_goes_ends_its_subscriptions(lamps: Node) -> None:
    light(lamps, "1003", 1)
    with LampPhone(lamps.sip, "1003") as phone:
        until(lambda: subscribed(phone), "the mailbox is not known", 20)
        phone.notified()
        phone.new_dialog()
        phone.subscribe()
        phone.notified()
        mwi.remove(lamps.store, "1003")
        assert phone.notified().state == "terminated;reason=noresource"
        phone.new_dialog()
        assert status(phone.subscribe()) == 404


def test_phones_that_never_asked_are_told_and_a_dead_one_holds_nobody_up(lamps: Node) -> None:
    with LampPhone(lamps.sip, "2001") as dead, LampPhone(lamps.sip, "2002") as phone:
        listed = (dead.uri, phone.uri, "sip:2003@phone.example.net")
        light(lamps, "2000", 1, phones=listed)
        lost = dead.notified("")
        notice = phone.notified()
        assert notice.lamp == ON
        assert notice.message.startswith(f"NOTIFY {phone.uri} SIP/2.0\r\n".encode())
        assert (notice[b"Event"], notice[b"Subscription-State"]) == (b"message-summary", b"active")
        assert notice[b"To"] == f"<{phone.uri}>".encode()
        assert f"\r\nMessage-Account: sip:2000@127.0.0.1:{lamps.sip[1]}\r\n".encode() in notice.message
        light(lamps, "2000", 0, phones=listed)
        assert phone.notified().lamp == OFF
        assert dead.notified("")[b"CSeq"] == lost[b"CSeq"]
        # When it answers again, it is told what is true by then.
        told = dead.notified()
        while told[b"CSeq"] == lost[b"CSeq"]:
            told = dead.notified()
        assert told.lamp == OFF
        # One that is not listed any more hears nothing more.
        light(lamps, "2000", 3, phones=(dead.uri,))
        assert dead.notified().lamp == ("yes", "3/0 (0/0)")
        assert phone.is_left_alone()


def test_whatever_is_started_anew_subscriptions_stay(lamps: Node) -> None:
    stack = lamps.stack
    light(lamps, "3000", 0)
    with LampPhone(lamps.sip, "3000") as phone, LampPhone(lamps.sip, "3000") as unasked:
        until(lambda: subscribed(phone), "the mailbox is not known", 20)
        phone.notified()
        phone.new_dialog()
        phone.subscribe()
        assert phone.notified().lamp == OFF

        settled(lamps)
        stack.processes["kamailio"].stop()
        light(lamps, "3000", 1, phones=(unasked.uri,))
        stack.start_kamailio()
        assert (phone.notified().lamp, unasked.notified().lamp) == (ON, ON)

        settled(lamps)
        stack.processes["agent"].kill()
        # Nobody can answer, and that is said at once.
        other = LampPhone(lamps.sip, "3000")
        with other:
            assert status(other.subscribe()) == 503
        light(lamps, "3000", 2, phones=(unasked.uri,))
        stack.start_agent()
        assert (phone.notified().lamp[1], unasked.notified().lamp[1]) == ("2/0 (0/0)", "2/0 (0/0)")

        settled(lamps)
        stack.processes["redis"].kill()
        assert status(phone.subscribe()) == 200
        assert phone.notified().lamp[1] == "2/0 (0/0)"
        stack.start_redis()
        lamps.store._redis.delete(keys.MWI, keys.MWI_CHANGES)
        # A Redis that has lost everything is no news; what is written into it is.
        assert phone.is_left_alone()
        light(lamps, "3000", 2, phones=(unasked.uri,))
        assert phone.is_left_alone()
        light(lamps, "3000", 0, phones=(unasked.uri,))
        assert (phone.notified().lamp, unasked.notified().lamp) == (OFF, OFF)
        assert unasked.is_left_alone()
