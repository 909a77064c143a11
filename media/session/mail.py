"""E-mail, with a converted attachment (M15)."""

from __future__ import annotations

import asyncio
import mimetypes
import os
import smtplib
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from media.esl.errors import ArgumentError

TIMEOUT = 30.0
"Seconds for each step of the conversation with the mail server."
CONVERT_TIMEOUT = 120.0
"Seconds that a conversion may take."
SERVER = "STROWGER_SMTP"
"Names the mail server, as host:port; without it localhost:25."


class MailError(Exception):
    """A mail could not be made or sent."""


async def email(
    to: str,
    sender: str,
    headers: str,
    body: str = "",
    file: str = "",
    convert_cmd: str | Sequence[str] = "",
    convert_ext: str = "",
    *,
    server: tuple[str, int] | None = None,
) -> bool:
    """Send a mail; True once the mail server has taken it.

    ``headers``: lines as ``Subject: you've got mail``. ``file``: attached. ``convert_cmd`` and ``convert_ext``: first
    made another by ``convert_cmd FILE FILE.ext``, without a shell; "mp3enc", or a list where it has arguments.
    ``server``: host and port; else STROWGER_SMTP says.

    :raises ArgumentError: a line end in an address, or a header that is none.
    :raises MailError: the conversion failed, or the server refused the mail.
    :raises OSError: the file cannot be read, or no server is there.
    """
    message = composed(to, sender, headers, body)
    if file:
        path = Path(file)
        if convert_cmd and convert_ext:
            path = await _converted(path, convert_cmd, convert_ext)
        await asyncio.to_thread(_attach, message, path)
    await asyncio.to_thread(_send, message, server or _server())
    return True


def composed(to: str, sender: str, headers: str, body: str) -> EmailMessage:
    """The mail, as yet without attachment; raises as :func:`email`."""
    message = EmailMessage()
    for name, value in [("To", to), ("From", sender), *_fields(headers)]:
        if name.lower() in ("to", "from") and message[name] is not None:
            raise ArgumentError(f"headers: {name} is given already")
        if any(bad in value for bad in "\r\n\0"):
            raise ArgumentError(f"{name}: a line end in a header")
        try:
            message[name] = value
        except ValueError as error:
            raise ArgumentError(f"{name}: {error}") from None
    if not to or not sender:
        raise ArgumentError("email: to and from are needed")
    if message["Date"] is None:
        message["Date"] = formatdate(localtime=True)
    if message["Message-ID"] is None:
        message["Message-ID"] = make_msgid()
    message.set_content(body)
    return message


def _fields(headers: str) -> list[tuple[str, str]]:
    found = []
    # Not splitlines(): a caller's name may hold a line end of Unicode, and would be a header of its own behind it.
    for line in headers.replace("\r\n", "\n").split("\n"):
        name, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or not name.replace("-", "").isalnum():
            raise ArgumentError("headers: every line is 'Name: value'")
        found.append((name.title(), value.strip()))
    return found


async def _converted(path: Path, command: str | Sequence[str], extension: str) -> Path:
    words = [command] if isinstance(command, str) else list(command)
    made = path.with_suffix("." + extension.lstrip("."))
    if made == path:
        raise ArgumentError(f"{path}: the converted file would be the file itself")
    process = await asyncio.create_subprocess_exec(
        *words, str(path), str(made), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(CONVERT_TIMEOUT):
            _, errors = await process.communicate()
    except TimeoutError:
        raise MailError(f"{words[0]} took longer than {CONVERT_TIMEOUT} s") from None
    finally:
        if process.returncode is None:  # too slow, or the script is cancelled
            process.kill()
            await process.wait()
    if process.returncode or not made.exists():
        raise MailError(f"{words[0]} failed: {errors.decode(errors='replace').strip()[-200:]}")
    return made


def _attach(message: EmailMessage, path: Path) -> None:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    main, _, sub = kind.partition("/")
    message.add_attachment(path.read_bytes(), maintype=main, subtype=sub, filename=path.name)


def _server() -> tuple[str, int]:
    text = os.environ.get(SERVER, "localhost:25")
    host, _, port = text.partition(":")
    if not host or not (port or "25").isdecimal():
        raise MailError(f"{SERVER}: {text!r} is not host:port")
    return host, int(port or 25)


def _send(message: EmailMessage, server: tuple[str, int]) -> None:
    try:
        with smtplib.SMTP(*server, timeout=TIMEOUT) as smtp:
            smtp.send_message(message)
    except smtplib.SMTPException as error:
        raise MailError(f"the mail server {server[0]}:{server[1]}: {error}") from None
