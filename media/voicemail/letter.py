"""The e-mail that a message is sent as: the same in every try, so that who gets it twice can tell. Pure."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from zoneinfo import ZoneInfo

from media.voicemail.box import Box
from media.voicemail.message import Message, Stored

DOMAIN = "voicemail.strowger"
"Right side of a Message-ID (RFC 5322, section 3.6.4). Neither a host's name nor a sender's, which may change."


def compose(stored: Stored, box: Box, sender: str, audio: bytes | None, kind: str = "wav") -> EmailMessage:
    """The mail; ``audio`` is attached, ``kind`` is wav or mp3. Raises ValueError for an address that is none."""
    message, mail = stored.message, EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = box.email
    mail["Subject"] = f"{'Urgent voice' if message.urgent else 'Voice'} message from {_uncoded(_caller(message))}"
    mail["Date"] = format_datetime(_received(message, box))
    mail["Message-ID"] = message_id(message)
    # RFC 3834: nobody's answering machine is to answer.
    mail["Auto-Submitted"] = "auto-generated"
    if message.urgent:
        mail["Importance"] = "high"
        mail["X-Priority"] = "1"
    mail.set_content("\n".join(_text(stored, box)))
    if audio is not None:
        name = f"{message.id}.{kind}"
        mail.add_attachment(audio, maintype="audio", subtype="mpeg" if kind == "mp3" else "wav", filename=name)
    return mail


def message_id(message: Message) -> str:
    """For ever the same, and no other message's: its id holds a time and 32 random bits, the digest the rest."""
    return f"<{message.id}.{message.sha256[:16] or '0'}@{DOMAIN}>"


def _text(stored: Stored, box: Box) -> list[str]:
    message = stored.message
    received = _received(message, box).strftime("%A, %d %B %Y, %H:%M %Z")
    lines = [
        f"From:     {_caller(message)}",
        f"To:       {_plain(message.callee) or box.number}",
        f"Received: {received}",
        f"Length:   {int(message.seconds) // 60}:{int(message.seconds) % 60:02}",
    ]
    if message.urgent:
        lines.append("Marked as urgent.")
    if message.forwarded_from:
        lines.append(f"Passed on by mailbox {message.forwarded_from}.")
    return [*lines, "", *_transcript(stored, box)]


def _transcript(stored: Stored, box: Box) -> list[str]:
    found = stored.transcript
    if found is None:
        return ["The transcript was not ready when this was sent."] if box.transcribe else []
    if found.get("state") != "done":
        return ["No transcript could be made."]
    return ["Transcript, made by machine:", "", _plain(str(found.get("text", ""))) or "(nothing was understood)"]


def _received(message: Message, box: Box) -> datetime:
    return datetime.fromtimestamp(message.received, ZoneInfo(box.time_zone))


def _caller(message: Message) -> str:
    number, name = _plain(message.caller), _plain(message.caller_name)
    if number and name and name != number:
        return f"{name} ({number})"
    return number or name or "a withheld number"


def _uncoded(text: str) -> str:
    """For a header: Python would decode what a caller wrote as an encoded word (RFC 2047), line ends and NUL too."""
    return text.replace("=?", "= ?")


def _plain(text: str) -> str:
    """What a caller said of himself, as one line of printable text: a line end would make a header of its own."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
