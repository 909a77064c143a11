"""Voicemail in tests: services as processes, a mail server with TLS, and who is told by webhook."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as MAIL_POLICY
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from console.ports import free_port
from console.process import Process
from console.serve import ROOT
from harness.redis_server import RedisServer
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import Box, Message, Store
from model.settings import Settings

WAIT = 60.0


def until(true: Callable[[], Any], what: str, seconds: float = WAIT) -> None:
    """Wait for something that no event tells."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def write_audio(path: Path, seconds: float = 4.0) -> None:
    """What a switch writes."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x10\x20" * int(8000 * seconds))


class World:
    """A Redis, a directory of mailboxes, and services."""

    def __init__(self, root: Path, **more: str) -> None:
        self.root = root
        self.redis = RedisServer(root, free_port())
        self.told = root / "told"
        self.told.mkdir()
        environment = {
            "STROWGER_NODE": "test",
            "STROWGER_REDIS_URL": self.redis.url,
            "STROWGER_VOICEMAIL": str(root / "voicemail"),
            "STROWGER_RUN": str(root / "run"),
            "STROWGER_TRANSCRIBER": f"harness.job_engines:Told:{self.told}",
            "STROWGER_SMTP": f"127.0.0.1:{free_port()}",
            **more,
        }
        self.environment = environment
        self.settings = Settings.from_env(environment)
        self.store = Store(self.settings.voicemail)
        self.services: list[Process] = []

    def mode(self, mode: str) -> None:
        """What the engine does from now on."""
        (self.told / "mode").write_text(mode)

    @property
    def heard(self) -> int:
        """How many audios engines were given."""
        path = self.told / "heard"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def serve(self, **more: str) -> Process:
        """One more service."""
        log = self.root / f"service-{len(self.services)}.log"
        command = [sys.executable, "-P", "-m", "console.main", "serve", "voicemail"]
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
        process = Process("voicemail", command, {**os.environ, **self.environment, **more, "PYTHONPATH": path}, log)
        process.start()
        self.services.append(process)
        until(lambda: "is at work" in log.read_text() or not process.running, "the service is at work")
        assert process.running, log.read_text()
        return process

    def leave(self, box: str = "1001", *, urgent: bool = False, **about: str) -> Message:
        """A message, as a media worker with Redis leaves one."""

        async def left() -> Message:
            mailboxes = Mailboxes(
                self.store, self.settings.redis_url, transcript_wait=self.settings.transcript_wait
            )
            recording = await mailboxes.begin(box, **{"caller": "+442079460123", **about})
            write_audio(recording.audio)
            try:
                return await mailboxes.accept(recording, urgent=urgent)
            finally:
                await mailboxes.close()

        return asyncio.run(left())

    def put(self, **settings: Any) -> None:
        """Box 1001, which only Redis's keeper is not told of."""
        self.store.put_box(Box(**{"number": "1001", "min_seconds": 1, **settings}))

    def transcript(self, message: Message) -> dict[str, Any]:
        """What stands beside a message, maybe nothing."""
        return self.store.message(message.box, message.id).transcript or {}

    def delivery(self, message: Message, kind: str) -> str:
        """What became of its mail or webhook, maybe nothing."""
        found = (self.store.message(message.box, message.id).delivery or {}).get(kind, {})
        return str(found.get("state", ""))

    def log(self) -> str:
        """Of all services."""
        return "".join(service.log.read_text() for service in self.services)

    def close(self) -> None:
        """End everything."""
        for service in self.services:
            service.kill()
        self.redis.stop()


@contextmanager
def world(root: Path, **more: str) -> Iterator[World]:
    """A world with its Redis started, ended afterwards."""
    made = World(root, **more)
    try:
        made.redis.start()
        yield made
    finally:
        made.close()


# Mail


@dataclass
class Mailbox:
    """What a mail server got, and how it answers."""

    mails: list[EmailMessage] = field(default_factory=list)
    answer: str = "250 OK"
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    "Whether each mail came by STARTTLS."
    silent: bool = False
    "Whether it takes mails and does not say so."

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a mail."""
        if self.answer.startswith("250"):
            content = cast(bytes, envelope.content)
            self.mails.append(cast(EmailMessage, message_from_bytes(content, policy=MAIL_POLICY)))
            self.secure.append(session.ssl is not None)
        while self.silent:
            await asyncio.sleep(0.01)
        return self.answer

    def log_in(self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        """Let a user in."""
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"s3cret")

    @property
    def ids(self) -> list[str]:
        """Message-IDs."""
        return [mail["Message-ID"] for mail in self.mails]


class Server(Controller):
    """A mail server; the way in which aiosmtpd tries its own port knows no TLS from the first byte."""

    def _trigger_server(self) -> None:
        with socket.create_connection((self.hostname, self.port), WAIT) as plain:
            if not self.ssl_context:
                plain.recv(1024)
                return
            # Our own certificate, for a host of another name.
            context = ssl._create_unverified_context()
            with context.wrap_socket(plain) as secure:
                secure.recv(1024)


@contextmanager
def mail_server(
    port: int, context: ssl.SSLContext | None = None, *, login: bool = False, at_once: bool = False
) -> Iterator[Mailbox]:
    """A mail server on 127.0.0.1; with a context it speaks TLS ``at_once``, or wants STARTTLS."""
    mailbox = Mailbox()
    options: dict[str, Any] = {}
    if context and at_once:
        options |= {"ssl_context": context}
    elif context:
        options |= {"tls_context": context, "require_starttls": True}
    if login:
        options |= {"authenticator": mailbox.log_in, "auth_required": True, "auth_require_tls": True}
    controller = Server(mailbox, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


# Webhooks


@dataclass
class Hook:
    """Who is told: what came, and how it answers."""

    url: str = ""
    requests: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    status: int = 204
    location: str = ""
    release: threading.Event = field(default_factory=threading.Event)
    hang: bool = False

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was told."""
        return [json.loads(body) for _, body in self.requests]


@contextmanager
def hook_server(context: ssl.SSLContext | None = None) -> Iterator[Hook]:
    """An HTTP server on 127.0.0.1; with a context by TLS."""
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.requests.append((dict(self.headers.items()), body))
            if hook.hang:
                hook.release.wait(WAIT)
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class WebServer(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Who went away in the midst of it is no news."""

    server = WebServer(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    hook.url = f"http{'s' if context else ''}://localhost:{server.server_address[1]}/told?by=us"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
