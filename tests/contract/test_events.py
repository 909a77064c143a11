"""M11 and M12: events that scripts make, and those they wait for."""

from __future__ import annotations

import asyncio
import json
from xml.etree import ElementTree

import pytest
from harness.phone import Call, Phone
from harness.switches import Switch
from harness.talk import serving, talk, with_phone

from media.esl.errors import ArgumentError
from media.session import API, Event, EventConsumer, Session, runtime

BODY = "dial_record_id: 1234\ncall_disposition: AA\n"


def test_a_custom_event_comes_as_it_was_made(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        async with EventConsumer("CUSTOM", "dial::dial-result") as consumer:
            event = Event("custom", "dial::dial-result")
            event.add_header("My-Header", "with blanks, ünd 100%")
            event.add_header("Gone", "soon")
            event.del_header("Gone")
            event.add_body(BODY)
            assert await event.fire()
            got = await consumer.pop(1, 5000)
            assert got is not None
            assert got.get_type() == "CUSTOM"
            assert got.get_header("Event-Subclass") == "dial::dial-result"
            assert got.get_header("My-Header") == "with blanks, ünd 100%"
            assert got.get_header("Gone") is None
            assert got.get_body() == BODY
            assert got.get_header("Event-Date-Timestamp")

    with_phone(switch, scenario)


@pytest.mark.parametrize("name", ["CUSTOM", "ALL"])
def test_what_no_consumer_wants_any_more_is_not_sent(switch: Switch, name: str) -> None:
    async def scenario(phone: Phone) -> None:
        arrived: list[str] = []
        runtime.switch().listen(lambda event: arrived.append(event.subclass))
        async with EventConsumer("CUSTOM", "contract::stays") as stays:
            async with EventConsumer(name, "contract::goes" if name == "CUSTOM" else ""):
                pass
            for subclass in ("contract::goes", "contract::stays"):
                await Event("custom", subclass).fire()
            assert await stays.pop(1, 5000)
        # What a job of ours wrote comes all the same.
        assert (await API().background("echo", "x")).strip() == "x"
        assert arrived == ["contract::stays"]

    with_phone(switch, scenario)


@pytest.mark.parametrize("format", ["text", "xml", "json"])
def test_an_event_of_the_switch_is_written_whole(switch: Switch, format: str) -> None:
    async def scenario(phone: Phone) -> None:
        async with EventConsumer("CUSTOM", "contract::written") as consumer:
            event = Event("custom", "contract::written")
            event.add_header("My-Header", "a <b> & c")
            event.add_body(BODY)
            await event.fire()
            got = await consumer.pop(1, 5000)
            assert got is not None
            written = got.serialize(format)
            if format == "json":
                read = json.loads(written)
                assert (read["My-Header"], read["_body"]) == ("a <b> & c", BODY)
            elif format == "xml":
                assert ElementTree.fromstring(written).findtext("headers/Event-Name") == "CUSTOM"
            else:
                assert "Event-Name: CUSTOM\n" in written
                assert written.endswith(BODY)

    with_phone(switch, scenario)


@pytest.mark.parametrize(("waiting", "account"), [("yes", "sip:1002@example.com"), ("no", "sip:1002@example.com")])
def test_message_waiting_is_on_and_off(switch: Switch, waiting: str, account: str) -> None:
    async def scenario(phone: Phone) -> None:
        async with EventConsumer("message_waiting") as consumer:
            event = Event("message_waiting")
            event.add_header("MWI-Messages-Waiting", waiting)
            event.add_header("MWI-Message-Account", account)
            event.add_header("Sofia-Profile", "private")
            await event.fire()
            got = await consumer.pop(1, 5000)
            assert got is not None
            assert got.get_header("MWI-Messages-Waiting") == waiting

    with_phone(switch, scenario)


def test_a_notify_reaches_the_phone(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        event = Event("notify")
        for name, value in {
            "profile": "private", "event-string": "message-summary", "to-uri": phone.uri, "contact-uri": phone.uri,
            "from-uri": "sip:voicemail@127.0.0.1", "content-type": "application/simple-message-summary",
        }.items():  # fmt: skip
            event.add_header(name, value)
        event.add_body("Messages-Waiting: yes\r\nVoice-Message: 2/1 (0/0)\r\n")
        await event.fire()
        got = await phone.asked()
        assert got.method == "NOTIFY"
        assert got.headers["Event"] == "message-summary"
        assert b"Voice-Message: 2/1 (0/0)" in got.body

    with_phone(switch, scenario)


def test_a_message_is_an_event_too(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        async with EventConsumer("MESSAGE") as consumer:
            event = Event("MESSAGE")
            event.add_header("Generic_Name_Header", "Header_Generic")
            event.add_body("Body_Generic")
            await event.fire()
            got = await consumer.pop(1, 5000)
            assert got is not None
            assert (got.get_type(), got.get_body()) == ("MESSAGE", "Body_Generic")

    with_phone(switch, scenario)


@pytest.mark.parametrize("evil", ["a\nb", "a\r\n\r\nb"])
def test_headers_with_line_ends_are_refused(evil: str) -> None:
    event = Event("custom", "contract::evil")
    with pytest.raises(ArgumentError):
        event.add_header("Name", evil)
    with pytest.raises(ArgumentError):
        event.add_header(evil, "value")


def test_an_empty_consumer_gives_nothing_at_once_or_after_its_time(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        async with EventConsumer("CUSTOM", "nobody::fires-this") as consumer:
            assert await consumer.pop() is None
            before = asyncio.get_running_loop().time()
            assert await consumer.pop(1, 300) is None
            assert asyncio.get_running_loop().time() - before >= 0.28

    with_phone(switch, scenario)


def test_a_consumer_is_bound_to_several(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        consumer = EventConsumer()
        await consumer.bind("CUSTOM", "contract::first")
        await consumer.bind("CUSTOM", "contract::second")
        for name in ("first", "other", "second"):
            await Event("custom", f"contract::{name}").fire()
        got = [await consumer.pop(1, 5000), await consumer.pop(1, 5000)]
        assert [event and event.get_header("Event-Subclass") for event in got] == [
            "contract::first",
            "contract::second",
        ]
        consumer.cleanup()

    with_phone(switch, scenario)


def test_a_full_consumer_drops_the_oldest_and_counts_them(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        async with EventConsumer("CUSTOM", "contract::flood", limit=2) as consumer:
            for number in range(5):
                event = Event("custom", "contract::flood")
                event.add_header("Number", str(number))
                await event.fire()
            # Once this one came, all before it did.
            async with EventConsumer("CUSTOM", "contract::last") as last:
                await Event("custom", "contract::last").fire()
                assert await last.pop(1, 5000)
            assert consumer.dropped == 3
            got = [await consumer.pop(), await consumer.pop(), await consumer.pop()]
            assert [event and event.get_header("Number") for event in got] == ["3", "4", None]

    with_phone(switch, scenario)


def test_the_events_of_a_call_come_in_order(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.hangup()

    async def scenario(phone: Phone) -> None:
        consumer = EventConsumer()
        for name in ("CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE"):
            await consumer.bind(name)
        async with serving(switch, script) as served:
            call = phone.call("5007")
            await call.ended()
            await served.done()
        seen: list[str] = []
        async for event in consumer:
            seen.append(event.get_type())
            if event.get_type() == "CHANNEL_HANGUP_COMPLETE":
                assert event.get_header("Caller-Destination-Number") == "5007"
                assert event.get_header("Hangup-Cause") == "NORMAL_CLEARING"
                break
        assert seen == ["CHANNEL_CREATE", "CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE"]
        consumer.cleanup()

    with_phone(switch, scenario)


@pytest.mark.freeswitch_only("it sends no MESSAGE within a call (uuid_chat)")
def test_an_event_is_sent_to_a_call(switch: Switch) -> None:
    async def script(session: Session) -> None:
        event = Event("message")
        event.add_body("hello")
        assert await session.send_event(event)

    async def caller(call: Call) -> None:
        await call.ended()

    talk(switch, script, caller)
