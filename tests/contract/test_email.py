"""M15: mail of a script, through a real conversation with a mail server."""

from __future__ import annotations

import asyncio
import email.policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as Conversation
from harness.audio import tone
from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.esl.errors import ArgumentError
from media.session import MailError, Session
from media.session import email as send


class Mailbox:
    """Takes mail, but not for nobody@example.com."""

    def __init__(self) -> None:
        self.mails: list[tuple[Envelope, EmailMessage]] = []

    async def handle_RCPT(
        self, server: SMTP, session: Conversation, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuse one, take the others."""
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Conversation, envelope: Envelope) -> str:
        """Keep it."""
        assert isinstance(envelope.content, bytes)
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append((envelope, mail))
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


def mailing(switch: Switch, mailbox: Mailbox, sends, recorded: Path | None = None) -> None:  # type: ignore[no-untyped-def]
    """A call whose script records, where there is a path, and then ``sends(server)``."""

    async def script(session: Session) -> None:
        server = await asyncio.get_running_loop().create_server(lambda: SMTP(mailbox), "127.0.0.1", 0)
        async with server:
            await session.answer()
            if recorded:
                await session.stream_file("tone_stream://%(200,0,1000)")
                await session.record_file(str(recorded), 1, 0, 0)
            await sends(server.sockets[0].getsockname()[:2])

    async def caller(call: Call) -> None:
        if recorded:
            await call.hears(1000)
            call.play(tone(600, 5.0))
        await call.ended()

    talk(switch, script, caller)


def test_a_recording_is_sent_converted(switch: Switch, mailbox: Mailbox, tmp_path: Path) -> None:
    recorded = switch.recordings / "mail.wav"
    convert = tmp_path / "mp3enc"
    convert.write_text('#!/bin/sh\nprintf "converted " > "$2"; cat "$1" >> "$2"\n')
    convert.chmod(0o755)

    async def sends(server: tuple[str, int]) -> None:
        headers = "subject: Voicemail from 1234\nX-Priority: 1\n"
        body = "Hello,\n\nyou've got a voicemail: Grüße"
        file = str(recorded)
        assert await send("to@example.com", "from@example.com", headers, body, file, str(convert), "mp3", server=server)

    mailing(switch, mailbox, sends, recorded)
    [(envelope, mail)] = mailbox.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("from@example.com", ["to@example.com"])
    assert (mail["Subject"], mail["X-Priority"]) == ("Voicemail from 1234", "1")
    text = mail.get_body()
    assert text is not None
    assert "Grüße" in text.get_content()
    [attached] = mail.iter_attachments()
    assert attached.get_filename() == "mail.mp3"
    assert attached.get_content() == b"converted " + recorded.read_bytes()
    assert len(recorded.read_bytes()) > 8000


def test_a_mail_that_is_refused_or_cannot_be(switch: Switch, mailbox: Mailbox) -> None:
    async def sends(server: tuple[str, int]) -> None:
        with pytest.raises(MailError):
            await send("nobody@example.com", "from@example.com", "Subject: x", "", server=server)
        with pytest.raises(ArgumentError):
            await send("to@example.com\nBcc: all@example.com", "from@example.com", "Subject: x", server=server)
        with pytest.raises(FileNotFoundError):
            await send("to@example.com", "from@example.com", "Subject: x", "", "/nowhere.wav", server=server)

    mailing(switch, mailbox, sends)
    assert not mailbox.mails
