"""Events, consumers, API arguments, dial strings, WAV files, databases and mail of call scripts."""

from __future__ import annotations

import asyncio
import json
import sys
import wave
from collections.abc import Callable, Coroutine
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from media.esl.errors import ArgumentError, ConnectionClosed
from media.esl.inbound import Inbound
from media.esl.message import Event as SwitchEvent
from media.session import (
    Dbh,
    DbhError,
    Env,
    Event,
    EventConsumer,
    MailError,
    Session,
    Stream,
    console_log,
    email,
    retry_over_gateways,
)
from media.session.api import uuid_arguments
from media.session.logs import log_commands
from media.session.outbound import is_fork
from media.session.wavefile import insert


def made() -> Event:
    event = Event("custom", "my::event")
    event.add_header("My-Header", 'a b&<c>"d')
    event.add_body("line1\nline<2>")
    return event


def test_events_are_written_as_freeswitch_writes_them() -> None:
    assert made().serialize() == (
        "Event-Name: CUSTOM\nEvent-Subclass: my%3A%3Aevent\nMy-Header: a%20b%26%3Cc%3E%22d\n"
        "Content-Length: 13\n\nline1\nline<2>"
    )
    assert made().serialize("xml") == (
        "<event>\n  <headers>\n    <Event-Name>CUSTOM</Event-Name>\n"
        "    <Event-Subclass>my%3A%3Aevent</Event-Subclass>\n    <My-Header>a%20b%26%3Cc%3E%22d</My-Header>\n"
        "  </headers>\n  <Content-Length>13</Content-Length>\n  <body>line1\nline&lt;2&gt;</body>\n</event>\n"
    )
    assert json.loads(made().serialize("json")) == {
        "Event-Name": "CUSTOM", "Event-Subclass": "my::event", "My-Header": 'a b&<c>"d', "Content-Length": "13",
        "_body": "line1\nline<2>",
    }  # fmt: skip


def test_an_event_is_changed() -> None:
    event = made()
    assert event.get_header("my-header") == 'a b&<c>"d'
    assert event.del_header("MY-HEADER")
    assert not event.del_header("My-Header")
    assert event.set_priority("HIGH")
    assert event.get_header("priority") == "HIGH"
    assert event.get_type() == "CUSTOM"


@pytest.mark.parametrize("wrong", [("A", "b\nc"), ("A\nb", "c"), ("", "c"), ("A:", "c")])
def test_no_header_is_two(wrong: tuple[str, str]) -> None:
    with pytest.raises(ArgumentError):
        made().add_header(*wrong)


def test_an_event_has_a_name_that_the_switch_knows() -> None:
    assert Event("message_waiting").get_type() == "MESSAGE_WAITING"
    with pytest.raises(ArgumentError, match="no event"):
        Event("mesage")
    with pytest.raises(ArgumentError, match="priority"):
        Event("MESSAGE").set_priority(2)  # type: ignore[arg-type]


def test_an_event_of_the_switch_can_be_changed_too() -> None:
    event = Event.of(SwitchEvent.plain(b"Event-Name: DTMF\nDTMF-Digit: %23\n\n"))
    assert event.get_header("dtmf-digit") == "#"
    event.add_body("text")
    assert event.get_body() == "text"
    assert event.get_header("DTMF-Digit") == "#"


class Switch:
    """Keeps who listens, and what was asked for."""

    def __init__(self) -> None:
        self.handlers: list[Callable[[SwitchEvent], None]] = []
        self.asked: list[str] = []

    def listen(self, handler: Callable[[SwitchEvent], None]) -> Callable[[], None]:
        self.handlers.append(handler)
        return lambda: self.handlers.remove(handler)

    async def events(self, *names: str) -> None:
        self.asked += names

    def release(self, *names: str) -> None:
        for name in names:
            self.asked.remove(name)

    def fire(self, name: str, subclass: str = "", number: int = 0) -> None:
        event = SwitchEvent.plain(f"Event-Name: {name}\nEvent-Subclass: {subclass}\nNumber: {number}\n\n".encode())
        for handler in self.handlers:
            handler(event)


def test_a_consumer_has_what_it_is_bound_to() -> None:
    async def main() -> None:
        switch = Switch()
        async with EventConsumer("CUSTOM", "a::b", switch=cast(Inbound, switch), limit=2) as consumer:
            await consumer.bind("RELOADXML")
            assert switch.asked == ["CUSTOM a::b", "RELOADXML"]
            assert await consumer.pop() is None
            assert await consumer.pop(1, 10) is None
            for number, (name, subclass) in enumerate([("CUSTOM", "a::b"), ("CUSTOM", "c::d"), ("DTMF", "")]):
                switch.fire(name, subclass, number)
            switch.fire("RELOADXML", "", 3)
            assert [await popped(consumer), await popped(consumer)] == ["0", "3"]
            for number in range(5):
                switch.fire("RELOADXML", "", number)
            assert consumer.dropped == 3
            assert await popped(consumer) == "3"  # the oldest are gone
        assert (switch.handlers, switch.asked) == ([], [])
        assert [event.get_header("Number") async for event in consumer] == ["4"]

    asyncio.run(main())


async def popped(consumer: EventConsumer) -> str | None:
    event = await consumer.pop(1, 1000)
    return event and event.get_header("Number")


def test_a_script_without_a_worker_says_so() -> None:
    with pytest.raises(ConnectionClosed, match="no worker"):
        console_log("info", "hello")


def test_lines_for_the_log() -> None:
    assert log_commands("NOTICE", "one\n\ntwo\n") == [b"api log notice one\n\n", b"api log notice two\n\n"]
    assert log_commands("loud", "one") == [b"api log debug one\n\n"]


def test_arguments_of_the_uuid_commands() -> None:
    assert uuid_arguments("hold", "u", ("toggle",)) == "toggle u"
    assert uuid_arguments("setvar", "u", ("name", "value")) == "u name value"
    assert uuid_arguments("kill", "u", ()) == "u"
    for command, uuid in (("record", "u"), ("kill", ""), ("kill", "u all")):
        with pytest.raises(ArgumentError):
            uuid_arguments(command, uuid, ())


@pytest.mark.parametrize(
    ("dial_string", "fork"),
    [("sofia/gateway/a/1", False), ("{a=1,b=2}[c=3|4]sofia/x/1", False), ("a/1,b/2", True), ("a/1|b/2", True),
     ("<a=1>a/1:_:b/2", True)],
)  # fmt: skip
def test_a_dial_string_of_many_channels(dial_string: str, fork: bool) -> None:
    assert is_fork(dial_string) is fork


@pytest.mark.parametrize(
    ("answers", "tries", "called", "result"),
    [(["CALL_REJECTED", ""], 3, ["one", "two"], "leg"),
     (["CALL_REJECTED", "NO_ROUTE_DESTINATION", "CALL_REJECTED"], 3, ["one", "two", "one"], "CALL_REJECTED"),
     (["USER_BUSY"], 3, ["one"], "USER_BUSY"), (["CALL_REJECTED"], 1, ["one"], "CALL_REJECTED")],
)  # fmt: skip
def test_gateways_are_tried_in_turn(
    monkeypatch: pytest.MonkeyPatch, answers: list[str], tries: int, called: list[str], result: str
) -> None:
    dialled: list[str] = []

    async def originate(switch: Inbound, dial_string: str, other: Session | None = None, **_: int) -> Session:
        dialled.append(dial_string)
        leg = Session(None, SwitchEvent.plain(b"Event-Name: CHANNEL_DATA\n\n"), cause=answers[len(dialled) - 1])
        monkeypatch.setattr(Session, "ready", lambda leg: leg.hangup_cause() == "")
        return leg

    monkeypatch.setattr(Session, "originate", originate)
    found = asyncio.run(retry_over_gateways(("one", "two"), tries, switch=cast(Inbound, Switch())))
    assert dialled == called
    assert ("leg" if isinstance(found, Session) else found) == result


def test_a_leg_that_never_was() -> None:
    async def main() -> None:
        leg = Session(None, SwitchEvent.plain(b"Event-Name: CHANNEL_DATA\n\n"), cause="USER_BUSY")
        assert not leg.ready()
        assert leg.hangup_cause() == "USER_BUSY"
        assert await leg.get_digits(1) == ""
        assert not await leg.stream_file("a.wav")
        assert await leg.get_variable("a") is None
        await leg.hangup()
        await leg.close()

    asyncio.run(main())


def test_stream_and_env() -> None:
    stream = Stream()
    stream.write("hello ")
    stream.write("world")
    assert stream.get_data() == "hello world"
    env = Env({"command": "status\nof all"})
    env.add_header("cool", "true")
    assert (env.get_header("command"), env.get_header("cool")) == ("status\nof all", "true")


# WAV files


def wav(path: Path, samples: list[int], rate: int = 8000, channels: int = 1) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.array(samples, "<i2").tobytes())
    return str(path)


def samples_of(path: str) -> tuple[int, list[int]]:
    with wave.open(path, "rb") as file:
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2").tolist()


@pytest.mark.parametrize(("at", "result"), [(0, [9, 9, 1, 2, 3]), (2, [1, 2, 9, 9, 3]), (99, [1, 2, 3, 9, 9])])
def test_insert_file(tmp_path: Path, at: int, result: list[int]) -> None:
    first, second = wav(tmp_path / "a.wav", [1, 2, 3]), wav(tmp_path / "b.wav", [9, 9])
    insert(first, second, at, 8000)
    assert samples_of(first) == (8000, result)


def test_insert_file_at_the_rate_of_the_call(tmp_path: Path) -> None:
    first = wav(tmp_path / "a.wav", [0, 10, 20, 30], 16000)
    second = wav(tmp_path / "b.wav", [4, 6, 4, 6], 8000, 2)
    insert(first, second, 0, 8000)
    assert samples_of(first) == (8000, [5, 5, 0, 20])


def test_insert_file_leaves_the_file_where_the_other_is_none(tmp_path: Path) -> None:
    first = wav(tmp_path / "a.wav", [1])
    (tmp_path / "b.wav").write_text("no audio")
    with pytest.raises(ValueError, match=r"b\.wav: not PCM WAV"):
        insert(first, str(tmp_path / "b.wav"), 0, 8000)
    assert samples_of(first) == (8000, [1])


# Databases


def on_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Dbh], Coroutine[Any, Any, None]]
) -> None:
    async def main() -> None:
        monkeypatch.setattr(Dbh, "folder", tmp_path / "db")
        async with Dbh("sqlite://my_db") as dbh:
            await use(dbh)
        assert not await dbh.connected()
        assert not await dbh.release()

    asyncio.run(main())
    assert (tmp_path / "db" / "my_db.db").exists()


def test_the_example_of_the_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(dbh: Dbh) -> None:
        assert await dbh.connected()
        create = "CREATE TABLE my_table (id INTEGER(8), name VARCHAR(255))"
        assert await dbh.test_reactive("SELECT * FROM my_table", "DROP TABLE my_table", create)
        await dbh.query("INSERT INTO my_table VALUES(1, 'foo')")
        await dbh.query("INSERT INTO my_table VALUES(:id, :name)", parameters={"id": 2, "name": "b'a%r: x"})
        rows: list[dict[str, Any]] = []
        await dbh.query("SELECT id, name FROM my_table", rows.append)
        assert rows == [{"id": 1, "name": "foo"}, {"id": 2, "name": "b'a%r: x"}]
        await dbh.query("UPDATE my_table SET name = 'changed'")
        assert dbh.affected_rows() == 2
        assert await dbh.test_reactive("SELECT * FROM my_table", "DROP TABLE my_table", create)  # still there
        await dbh.query("DELETE FROM my_table WHERE id = 1")
        assert dbh.affected_rows() == 1

    on_database(tmp_path, monkeypatch, use)


def test_a_row_callback_that_returns_a_number_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(dbh: Dbh) -> None:
        seen: list[int] = []

        async def row(found: dict[str, Any]) -> int:
            seen.append(found["n"])
            return 1 if found["n"] == 3 else 0

        numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500) SELECT n FROM c"
        await dbh.query(numbers, row)
        assert seen == [1, 2, 3]
        everything: list[int] = []
        await dbh.query(numbers, lambda found: everything.append(found["n"]))
        assert everything == list(range(1, 501))

    on_database(tmp_path, monkeypatch, use)


def test_what_a_database_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(dbh: Dbh) -> None:
        with pytest.raises(DbhError, match="no such table"):
            await dbh.query("SELECT * FROM missing")
        assert await dbh.connected()

    on_database(tmp_path, monkeypatch, use)


@pytest.mark.parametrize("dsn", ["sqlite://../x", "sqlite://", "odbc://a:b:c", "nonsense", "oracle9://x"])
def test_names_that_are_no_database(dsn: str) -> None:
    with pytest.raises(DbhError):
        Dbh(dsn)


# Mail


async def _taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mails: list[bytes]) -> None:
    writer.write(b"220 test\r\n")
    while line := await reader.readline():
        verb = line[:4].upper().strip()
        if verb == b"DATA":
            writer.write(b"354 go on\r\n")
            data = await reader.readuntil(b"\r\n.\r\n")
            mails.append(line + data)
        elif verb == b"RCPT" and b"nobody" in line:
            writer.write(b"550 no such user\r\n")
            continue
        elif verb == b"QUIT":
            break
        writer.write(b"250 ok\r\n")
    writer.write(b"221 bye\r\n")
    writer.close()


def sent(*args: Any, **more: Any) -> EmailMessage:
    """The mail as the server got it."""
    mails: list[bytes] = []

    async def main() -> None:
        server = await asyncio.start_server(lambda r, w: _taken(r, w, mails), "127.0.0.1", 0)
        async with server:
            assert await email(*args, **more, server=server.sockets[0].getsockname()[:2])

    asyncio.run(main())
    data = mails[0].partition(b"DATA\r\n")[2] or mails[0].partition(b"\r\n")[2]
    return cast(
        EmailMessage, message_from_bytes(data.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n."), policy=default)
    )


def test_a_mail_with_a_converted_attachment(tmp_path: Path) -> None:
    recording = tmp_path / "message.wav"
    recording.write_bytes(b"RIFF" + bytes(range(256)))
    convert = [sys.executable, "-c", "import sys; open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read()[::-1])"]
    mail = sent(
        "bob@example.com", "pbx@example.com", "subject: Voicemail from 1234\nX-Own: yes\n", "Hello,\n\nlisten: ünï",
        str(recording), convert, "mp3",
    )  # fmt: skip
    assert (mail["To"], mail["From"], mail["Subject"]) == (
        "bob@example.com", "pbx@example.com", "Voicemail from 1234",
    )  # fmt: skip
    assert mail["X-Own"] == "yes"
    text = mail.get_body(("plain",))
    assert text is not None
    assert "listen: ünï" in text.get_content()
    (attached,) = mail.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("message.mp3", "audio/mpeg")
    assert attached.get_content() == recording.read_bytes()[::-1]


def test_a_plain_mail() -> None:
    mail = sent("bob@example.com", "pbx@example.com", "Subject: hi", "there\n.\n")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == "there\n.\n"
    assert mail["Date"]
    assert mail["Message-Id"]


@pytest.mark.parametrize(
    ("to", "sender", "headers"),
    [("a@b\nBcc: c@d", "x@y", ""), ("a@b", "x@y\r\nBcc: c@d", ""), ("a@b", "x@y", "no header"), ("", "x@y", ""),
     ("a@b", "x@y", "To: c@d"), ("a@b", "x@y", "Subject: call from x\u2028Bcc: c@d"),
     ("a@b", "x@y", "Subject: call from x\x85Bcc: c@d"), ("a@b", "x@y", "Subject: x\x0bBcc: c@d")],
)  # fmt: skip
def test_no_header_is_smuggled_into_a_mail(to: str, sender: str, headers: str) -> None:
    with pytest.raises(ArgumentError):
        asyncio.run(email(to, sender, headers, server=("127.0.0.1", 1)))


def test_a_conversion_that_fails(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    with pytest.raises(MailError, match="false failed"):
        asyncio.run(email("a@b", "x@y", "", "", str(tmp_path / "a.wav"), "false", "mp3", server=("127.0.0.1", 1)))


@pytest.mark.parametrize("server", ["nobody.invalid:25:25", "127.0.0.1:x", ":"])
def test_a_mail_server_that_is_none_is_named(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROWGER_SMTP", server)
    with pytest.raises(MailError, match="STROWGER_SMTP"):
        asyncio.run(email("a@b", "x@y", ""))


def test_a_mail_that_the_server_refuses() -> None:
    with pytest.raises(MailError, match="no such user"):
        sent("nobody@example.com", "x@y.example", "")
