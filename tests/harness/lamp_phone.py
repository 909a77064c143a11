"""A phone's lamp for tests: subscribes to a mailbox by UDP, answers NOTIFYs, and knows what they said."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from harness.dialog import header
from harness.raw import Endpoint, status

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Notice:
    """A NOTIFY that came."""

    message: bytes

    @property
    def id(self) -> tuple[bytes, bytes]:
        """What one that is sent again has in common with the first."""
        return self[b"Call-ID"], self[b"CSeq"]

    @property
    def state(self) -> str:
        """Its Subscription-State."""
        return header(self.message, b"Subscription-State").decode()

    @property
    def lamp(self) -> tuple[str, str]:
        """Whether messages wait, and the counts as they are written."""
        body = self.message.partition(b"\r\n\r\n")[2].decode()
        found = re.fullmatch(r"Messages-Waiting: (yes|no)\r\nMessage-Account: \S+\r\nVoice-Message: (.*)\r\n", body)
        assert found, body
        return found[1], found[2]

    def __getitem__(self, name: bytes) -> bytes:
        return header(self.message, name)


@dataclass(slots=True)
class LampPhone:
    """A phone; a context manager."""

    server: tuple[str, int]
    box: str = "1001"
    address: str = "127.0.0.1"
    endpoint: Endpoint = field(init=False)
    tag: str = ""
    "The node's, in the dialog of the subscription."
    call_id: str = ""
    cseq: int = 0
    request: bytes = b""
    "Its last SUBSCRIBE."
    _answered: dict[tuple[bytes, bytes], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.endpoint = Endpoint(self.address)
        self.new_dialog()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.endpoint.socket.close()

    @property
    def uri(self) -> str:
        """Where it is reached."""
        return f"sip:{self.box}@{self.address}:{self.endpoint.port}"

    def new_dialog(self) -> None:
        """Forget the subscription, as a phone that was switched off."""
        self.tag, self.call_id = "", f"lamp-{self.endpoint.port}-{next(_numbers)}"

    def subscribe(
        self, expires: int | None = 600, *, event: str = "message-summary", headers: Sequence[str] = (), box: str = ""
    ) -> bytes:
        """Subscribe, or refresh where there is a subscription; the final reply."""
        self.cseq += 1
        host, port = self.server
        user = box or self.box
        lines = [
            f"SUBSCRIBE sip:{user}@{host}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.address}:{self.endpoint.port};branch=z9hG4bK-lamp-{self.call_id}-{self.cseq}",
            f"From: <sip:{self.box}@{host}>;tag=phone",
            f"To: <sip:{user}@{host}>{f';tag={self.tag}' if self.tag else ''}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} SUBSCRIBE",
            f"Contact: <{self.uri}>",
            "Max-Forwards: 70",
            *([f"Event: {event}"] if event else []),
            *([] if expires is None else [f"Expires: {expires}"]),
            *headers,
            "Content-Length: 0",
        ]
        self.request = "\r\n".join([*lines, "", ""]).encode()
        self.endpoint.send(self.request, self.server)
        reply = self.endpoint.receive(b"SIP/2.0")
        if status(reply) == 200:
            self.tag = header(reply, b"To").partition(b"tag=")[2].decode()
        return reply

    def notified(self, line: str = "200 OK", timeout: float = 30.0) -> Notice:
        """The next NOTIFY, which it answers with ``line``; with an empty one, not at all.

        One that is sent again although it was answered is answered again, and is no other.
        """
        self.endpoint.socket.settimeout(timeout)
        while (notice := Notice(self.endpoint.receive(b"NOTIFY"))).id in self._answered:
            self._answer(notice, self._answered[notice.id])
        if line:
            self._answered[notice.id] = line
            self._answer(notice, line)
        return notice

    def _answer(self, notice: Notice, line: str) -> None:
        copied = (name + b": " + notice[name] for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq"))
        reply = (b"SIP/2.0 " + line.encode(), *copied, b"Content-Length: 0", b"", b"")
        self.endpoint.send(b"\r\n".join(reply), self.server)

    def is_left_alone(self, seconds: float = 0.7) -> bool:
        """Whether no NOTIFY comes for some time."""
        self.endpoint.socket.settimeout(seconds)
        try:
            while (notice := Notice(self.endpoint.receive(b"NOTIFY"))).id in self._answered:
                self._answer(notice, self._answered[notice.id])
        except TimeoutError:
            return True
        return False
