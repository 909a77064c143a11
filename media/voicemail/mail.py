"""Messages sent as e-mail, over SMTP with TLS where the settings say so.

DeliveryError
├── RefusedError     for ever: another try would be refused as well
└── LaterError       may go well another time
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import smtplib
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path

from media.voicemail.box import Box
from media.voicemail.letter import compose
from media.voicemail.message import Stored
from model.settings import Settings

TIMEOUT = 30.0
"Seconds for each step of the conversation with the mail server."
LIMIT = 180.0
"Seconds for all of it."
CONVERT_LIMIT = 120.0
"Seconds that the making of an MP3 may take."
SENDERS = 4
"Mails sent at once."

log = logging.getLogger(__name__)


class DeliveryError(Exception):
    """A message was not delivered. Its text may hold what the server said: for people, not for logs."""


class RefusedError(DeliveryError):
    """For ever."""


class LaterError(DeliveryError):
    """This time."""


class Mailer:
    """Sends by the mail server of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sender = settings.mail_from or f"voicemail@{socket.gethostname()}"
        # Not the threads that disk work is done in: a server that hangs would hold them.
        self._threads = ThreadPoolExecutor(SENDERS, thread_name_prefix="mail")
        self._told = False

    async def send(self, stored: Stored, box: Box) -> None:
        """Send a message to its box's address; raises :class:`DeliveryError`, and OSError for a file."""
        audio, kind = await self._audio(stored.audio, box)
        try:
            mail = await asyncio.to_thread(compose, stored, box, self._sender, audio, kind)
        except ValueError:
            raise RefusedError("the address of the box, or STROWGER_MAIL_FROM, is none") from None
        await self._hand_over(mail)

    def close(self) -> None:
        """Forget the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _audio(self, path: Path, box: Box) -> tuple[bytes | None, str]:
        if box.mail_audio == "none":
            return None, ""
        if box.mail_audio == "mp3" and (made := await self._mp3(path)):
            return made, "mp3"
        return await asyncio.to_thread(path.read_bytes), "wav"

    async def _mp3(self, path: Path) -> bytes | None:
        """As MP3; None where no program makes one, and the mail gets the WAV."""
        command = encoder(path)
        if command is None:
            if not self._told:
                log.warning("no MP3 is made: neither lame nor ffmpeg is installed; mail has WAV instead")
            self._told = True
            return None
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        made = b""
        try:
            async with asyncio.timeout(CONVERT_LIMIT):
                made, _ = await process.communicate()
        except TimeoutError:
            pass
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or not made:
            log.warning("%s made no MP3 (status %s); mail has WAV instead", command[0], process.returncode)
            return None
        return made

    async def _hand_over(self, mail: EmailMessage) -> None:
        smtp = self._client()
        sending = asyncio.get_running_loop().run_in_executor(self._threads, self._converse, smtp, mail)
        try:
            async with asyncio.timeout(LIMIT):
                await asyncio.shield(sending)
        except TimeoutError:
            raise LaterError(f"the mail server took longer than {LIMIT:g} s") from None
        finally:
            if not sending.done():
                _cut(smtp)
                await asyncio.wait({sending}, timeout=TIMEOUT)
                with suppress(BaseException):
                    sending.exception()

    def _client(self) -> smtplib.SMTP:
        # Without an address it does not connect yet. A name is given: else it asks DNS for its own.
        name = socket.gethostname()
        if self._settings.smtp_tls == "tls":
            return smtplib.SMTP_SSL(local_hostname=name, timeout=TIMEOUT, context=ssl.create_default_context())
        return smtplib.SMTP(local_hostname=name, timeout=TIMEOUT)

    def _converse(self, smtp: smtplib.SMTP, mail: EmailMessage) -> None:
        try:
            self._log_in(smtp)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            # Of the server or of our login, not of this mail: it is well once that is.
            raise LaterError(f"the mail server cannot be used: {_said(error)}") from None
        try:
            smtp.send_message(mail)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            kind = RefusedError if _for_ever(error) else LaterError
            raise kind(f"the mail was not taken: {_said(error)}") from None
        finally:
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        settings = self._settings
        # The name that certificates are compared with, which smtplib takes from its constructor.
        smtp._host = settings.smtp.host  # type: ignore[attr-defined]
        code, text = smtp.connect(*settings.smtp)
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
        if settings.smtp_tls == "starttls":
            smtp.starttls(context=ssl.create_default_context())
        if settings.smtp_user:
            password = settings.smtp_password_file.read_text().strip() if settings.smtp_password_file else ""
            smtp.login(settings.smtp_user, password)


def encoder(path: Path) -> list[str] | None:
    """A command that writes an MP3 of a file to its standard output; None where no program is installed."""
    if program := shutil.which("lame"):
        return [program, "--quiet", "-m", "m", "-b", "32", str(path), "-"]
    if program := shutil.which("ffmpeg"):
        return [program, "-v", "error", "-i", str(path), "-f", "mp3", "-b:a", "32k", "-"]
    return None


def _for_ever(error: Exception) -> bool:
    """Whether what the server said of this mail holds for ever: RFC 5321, section 4.2.1, a status of 5yz."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(500 <= code <= 599 for code, _ in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        return 500 <= error.smtp_code <= 599
    # It does not do SMTPUTF8, which the address needs.
    return isinstance(error, smtplib.SMTPNotSupportedError | ValueError)


def _said(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{code} {text.decode(errors='replace')}" for code, text in error.recipients.values())
    if isinstance(error, smtplib.SMTPResponseException):
        text = error.smtp_error
        return f"{error.smtp_code} {text.decode(errors='replace') if isinstance(text, bytes) else text}"
    return str(error) or type(error).__name__


def _cut(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        with suppress(OSError):
            smtp.sock.shutdown(socket.SHUT_RDWR)
