"""The event socket of the embedded switch: every reply is FreeSWITCH's, word for word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import pytest
from harness.fake_leg import World

from devswitch.channel.channel import Channel
from devswitch.esl.connection import Connection, Request, read_request
from devswitch.esl.subscription import Subscription
from devswitch.events import Event, encode


class Wire:
    """A writer that keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.transport = self

    def write(self, data: bytes) -> None:
        self.data += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...

    def take(self) -> str:
        text, self.data = self.data.decode(), b""
        return text


class Client:
    """A connection without a network."""

    def __init__(self, world: World, **options: object) -> None:
        self.wire = Wire()
        self.connection = Connection(world.switch, asyncio.StreamReader(), self.wire, **options)  # type: ignore[arg-type]
        world.switch.bus.listeners.append(self.connection)

    async def ask(self, line: str, headers: dict[str, str] | None = None, body: str = "") -> str:
        await self.connection.handle(Request(line, headers or {}, body))
        return self.wire.take()

    async def reply(self, line: str, headers: dict[str, str] | None = None) -> str:
        text = await self.ask(line, headers)
        assert text.startswith("Content-Type: command/reply\nReply-Text: ")
        assert text.endswith("\n\n")
        return text.split("Reply-Text: ", 1)[1].split("\n")[0]


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        async with World() as world:
            await scenario(world)

    asyncio.run(play())


async def parked(world: World) -> Channel:
    leg = world.begin("answer", "park")
    await world.ear.wait("CHANNEL_PARK", Unique_ID=leg.uuid)
    return world.switch.channels[leg.uuid]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("bogus", "-ERR command not found"),
        ("event", "-ERR no keywords supplied"),
        ("event foo", "-ERR no keywords supplied"),
        ("event plain ALL", "+OK event listener enabled plain"),
        ("event json DTMF", "+OK event listener enabled json"),
        ("nixevent", "-ERR no keywords supplied"),
        ("nixevent DTMF", "+OK events nixed"),
        ("noevents", "-ERR not listening for events"),
        ("filter x", "-ERR invalid syntax"),
        ("filter Unique-ID abc", "+OK filter added. [Unique-ID]=[abc]"),
        ("filter delete all", "+OK filter deleted. [all][]"),
        ("filter delete Unique-ID abc", "+OK filter deleted. [Unique-ID][abc]"),
        ("linger", "-ERR not controlling a session"),
        ("nolinger", "-ERR not controlling a session"),
        ("myevents", "-ERR command not found"),
        ("myevents 1234", "+OK Events Enabled"),
        ("divert_events on", "-ERR not controlling a session."),
        ("getvar x", "-ERR command not found"),
        ("log 3", "+OK log level 3 [3]"),
        ("nolog", "-ERR not loging"),
        ("sendmsg", "-ERR invalid session id []"),
        ("sendmsg abc", "-ERR invalid session id [abc]"),
        ("resume", "-ERR command not found"),
        ("connect", "-ERR command not found"),
        ("exit", "+OK bye"),
    ],
)
def test_replies(line: str, reply: str) -> None:
    async def scenario(world: World) -> None:
        assert await Client(world).reply(line) == reply

    run(scenario)


def test_a_password_is_needed() -> None:
    async def scenario(world: World) -> None:
        client = Client(world, password="secret")
        assert await client.reply("api status") == "-ERR command not found"
        assert await client.reply("auth secret") == "+OK accepted"
        assert "api/response" in await client.ask("api status")
        wrong = Client(world, password="secret")
        assert await wrong.reply("auth Secret") == "-ERR invalid"
        assert not wrong.connection.running

    run(scenario)


def test_api_and_bgapi() -> None:
    async def scenario(world: World) -> None:
        client = Client(world)
        assert await client.ask("api echo é") == "Content-Type: api/response\nContent-Length: 2\n\né"
        assert (await client.ask("api nosuch x")).endswith("-ERR nosuch Command not found!\n")
        assert (await client.ask("api global_getvar nosuch")).endswith("-ERR no reply\n")
        assert await client.reply("bgapi echo later", {"Job-UUID": "j1"}) == "+OK Job-UUID: j1"
        done = await world.ear.wait("BACKGROUND_JOB", Job_UUID="j1")
        assert (done.headers["Job-Command"], done.headers["Job-Command-Arg"], done.body) == ("echo", "later", "later")

    run(scenario)


def test_a_worker_that_controls_a_call() -> None:
    async def scenario(world: World) -> None:
        channel = await parked(world)
        client = Client(world, channel=channel)
        connected = await client.ask("connect")
        lines = dict(line.split(": ", 1) for line in connected.strip().split("\n"))
        assert unquote(lines["Reply-Text"]) == "+OK\n"
        assert (lines["Event-Name"], lines["Socket-Mode"], lines["Control"]) == ("CHANNEL_DATA", "async", "full")
        assert (lines["Unique-ID"], lines["Channel-Destination-Number"]) == (channel.uuid, "5000")
        assert "Content-Length" not in lines
        assert await client.reply("linger 3") == "+OK will linger 3 seconds"
        assert await client.reply("linger") == "+OK will linger"
        assert await client.reply("nolinger") == "+OK will not linger"
        assert await client.reply("getvar direction") == "inbound"
        assert await client.reply("resume") == "+OK"
        assert await client.reply("myevents json") == "+OK Events Enabled"
        assert await client.reply("myevents") == "-ERR aready enabled."

    run(scenario)


def test_a_client_takes_control_of_a_call() -> None:
    async def scenario(world: World) -> None:
        channel = await parked(world)
        client = Client(world)
        assert await client.reply(f"myevents {channel.uuid} plain") == "+OK Events Enabled"
        assert await client.reply("linger 1") == "+OK will linger 1 seconds"
        assert await client.reply("sendmsg", {"call-command": "hangup"}) == "+OK"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE")
        assert await Client(world).reply("myevents nosuch plain") == "-ERR invalid uuid"

    run(scenario)


def test_without_full_only_the_call_is_obeyed() -> None:
    async def scenario(world: World) -> None:
        client = Client(world, channel=await parked(world), full=False)
        assert await client.reply("api status") == "-ERR command not found"
        assert await client.reply("linger") == "-ERR command not found"
        assert await client.reply("sendmsg") == "+OK"

    run(scenario)


EXECUTE = {"call-command": "execute", "execute-app-name": "set", "execute-app-arg": "a=1"}


def test_sendmsg_executes_in_order_and_tells_by_event_uuid() -> None:
    async def scenario(world: World) -> None:
        channel = await parked(world)
        client = Client(world)
        for number in ("1", "2"):
            headers = {**EXECUTE, "execute-app-arg": f"a={number}", "Event-UUID": f"e{number}"}
            assert await client.reply(f"sendmsg {channel.uuid}", headers) == "+OK"
        done = await world.ear.wait("CHANNEL_EXECUTE_COMPLETE", Application_UUID="e2")
        assert done.headers["variable_a"] == "2"
        assert await client.reply("sendmsg", {"session-id": channel.uuid, "call-command": "hangup"}) == "+OK"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE")

    run(scenario)


def test_a_command_interrupts_an_application_unless_that_was_locked() -> None:
    async def scenario(world: World) -> None:
        channel = await parked(world)
        client = Client(world)
        play = {"call-command": "execute", "execute-app-name": "playback", "execute-app-arg": "silence_stream://-1"}
        await client.reply(f"sendmsg {channel.uuid}", play)
        await world.ear.wait("PLAYBACK_START")
        await client.reply(f"sendmsg {channel.uuid}", EXECUTE)
        await world.ear.wait("CHANNEL_EXECUTE_COMPLETE", Application="set")
        assert not world.ear.named("PLAYBACK_STOP")
        await world.api(f"uuid_break {channel.uuid}")
        await world.ear.wait("PLAYBACK_STOP")

        await client.reply(f"sendmsg {channel.uuid}", {**play, "event-lock": "true"})
        await world.ear.wait("PLAYBACK_START", 2)
        await client.reply(f"sendmsg {channel.uuid}", EXECUTE)
        await world.api(f"uuid_break {channel.uuid}")
        await world.ear.wait("CHANNEL_EXECUTE_COMPLETE", 2, Application="set")
        names = [(e.name, e.headers.get("Application")) for e in world.ear.events]
        last_set = len(names) - 1 - names[::-1].index(("CHANNEL_EXECUTE", "set"))
        assert last_set > len(names) - 1 - names[::-1].index(("PLAYBACK_STOP", None))

    run(scenario)


def test_without_async_the_reply_comes_when_it_is_done() -> None:
    async def scenario(world: World) -> None:
        channel = await parked(world)
        client = Client(world, channel=channel, asynchronous=False)
        assert await client.reply("sendmsg", EXECUTE) == "+OK"
        assert channel.variables["a"] == "1"
        assert not world.ear.named("PRIVATE_COMMAND")

    run(scenario)


def test_loops_and_an_argument_as_body() -> None:
    async def scenario(world: World) -> None:
        channel = await parked(world)
        client = Client(world)
        headers = {"call-command": "execute", "execute-app-name": "sleep", "content-type": "text/plain", "loops": "2"}
        await client.ask(f"sendmsg {channel.uuid}", headers, "510")
        second = await world.ear.wait("CHANNEL_EXECUTE", 2, Application="sleep")
        assert (second.headers["Application-Data"], second.headers["variable_current_loop"]) == ("510", "2")

    run(scenario)


def test_a_call_gets_a_list_of_applications() -> None:
    async def scenario(world: World) -> None:
        channel = await parked(world)
        wanted = {"call-command": "xferext", "application": "hangup USER_BUSY"}
        await Client(world).ask(f"sendmsg {channel.uuid}", wanted)
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Hangup_Cause="USER_BUSY")

    run(scenario)


def test_events_of_ones_own() -> None:
    async def scenario(world: World) -> None:
        client = Client(world)
        await client.reply("event plain CUSTOM a::b")
        reply = await client.ask("sendevent CUSTOM", {"Event-Subclass": "a::b", "Name": "x y"}, "the body")
        event, _, answered = reply.rpartition("Content-Type: command/reply\n")
        assert answered.startswith("Reply-Text: +OK ")
        head, headers, body = event.split("\n\n", 2)
        assert "Content-Type: text/event-plain" in head
        assert int(head.split("Content-Length: ")[1].split("\n")[0]) == len(f"{headers}\n\n{body}")
        assert headers.startswith("Event-Subclass: a%3A%3Ab\nEvent-Name: CUSTOM\n")
        assert "\nName: x%20y\n" in headers
        assert (headers.split("Content-Length: ")[1], body) == ("8", "the body")
        assert "text/event" not in await client.ask("sendevent CUSTOM", {"Event-Subclass": "c::d"})

    run(scenario)


def test_a_notify_is_sent_for_an_event() -> None:
    async def scenario(world: World) -> None:
        headers = {"to-uri": "sip:1@h", "event-string": "message-summary"}
        await Client(world).ask("sendevent NOTIFY", headers, "Messages-Waiting: yes")
        while not world.endpoint.requests:
            await asyncio.sleep(0)
        method, uri, sent, body = world.endpoint.requests[0]
        assert (method, uri, sent["Event"], body) == ("NOTIFY", "sip:1@h", "message-summary", "Messages-Waiting: yes")

    run(scenario)


def test_json() -> None:
    event = Event("CUSTOM", {"Event-Name": "CUSTOM", "Name": "é\n"}, "body")
    head, _, body = event.written("json").partition(b"\n\n")
    assert b"Content-Type: text/event-json" in head
    assert json.loads(body) == {"Event-Name": "CUSTOM", "Name": "é\n", "Content-Length": "4", "_body": "body"}


def test_values_are_encoded_as_freeswitch_does() -> None:
    assert encode("a b:c/d,(e)%'é\r\n+<>@") == "a%20b%3Ac/d,(e)%25'%C3%A9%0D%0A%2B%3C%3E%40"


def test_an_event_that_nobody_wants_is_not_built() -> None:
    async def scenario(world: World) -> None:
        world.switch.bus.listeners.remove(world.ear)
        client = Client(world)
        await client.reply("event plain DTMF")

        def build() -> dict[str, str]:
            raise AssertionError

        world.switch.bus.fire("CHANNEL_STATE", build)

    run(scenario)


class TestSubscription:
    def subscribed(self, *words: str) -> Subscription:
        subscription = Subscription()
        subscription.add(list(words))
        subscription.enabled = True
        return subscription

    def test_custom_events_by_subclass(self) -> None:
        subscription = self.subscribed("plain", "DTMF", "CUSTOM", "a::b")
        assert subscription.wants("CUSTOM", "a::b", "")
        assert subscription.wants("CUSTOM", "", "")
        assert not subscription.wants("CUSTOM", "c::d", "")
        assert self.subscribed("ALL").wants("CUSTOM", "c::d", "")

    def test_one_of_all_is_taken_away(self) -> None:
        subscription = self.subscribed("ALL")
        assert subscription.remove(["DTMF"])
        assert not subscription.wants("DTMF", "", "")
        assert subscription.wants("CHANNEL_PARK", "", "")

    @pytest.mark.parametrize(
        ("filters", "passes"),
        [
            ([("unique-id", "ABC")], True),
            ([("Unique-ID", "x")], False),
            ([("Unique-ID", "x"), ("Answer-State", "early")], True),
            ([("Unique-ID", "abc"), ("Answer-State", "-early")], False),
            ([("Answer-State", "/^ea/")], True),
            ([("No-Such", "x")], False),
        ],
    )
    def test_filters(self, filters: list[tuple[str, str]], passes: bool) -> None:
        subscription = self.subscribed("ALL")
        subscription.filters = filters
        event = Event("DTMF", {"Unique-ID": "abc", "Answer-State": "early"})
        assert subscription.passes(event) is passes

    def test_a_filter_by_call_spares_the_events_of_others(self) -> None:
        subscription = self.subscribed("ALL")
        subscription.filters = [("Unique-ID", "abc")]
        assert subscription.wants("DTMF", "", "abc")
        assert not subscription.wants("DTMF", "", "other")


def test_commands_are_read_from_a_stream() -> None:
    async def read() -> list[Request | None]:
        reader = asyncio.StreamReader()
        reader.feed_data(b"\n\nsendmsg x\r\nName: value: 1\r\nContent-Length: 3\r\n\r\na\nb\n\nexit\n\nhalf")
        reader.feed_eof()
        return [await read_request(reader) for _ in range(4)]

    first, second, half, last = asyncio.run(read())
    assert first == Request("sendmsg x", {"Name": "value: 1", "Content-Length": "3"}, "a\nb")
    assert second == Request("exit", {})
    assert half is None
    assert last is None
