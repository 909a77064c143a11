"""Which reply is whose; pure.

The switch answers commands in their order and names none of them. So every command takes a slot when it is written,
and the slot stays when nobody waits any more: it swallows the late reply that would else be the next command's.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from media.esl.errors import CommandError, ProtocolError
from media.esl.message import Message, Reply

log = logging.getLogger(__name__)

RESPONSE = "api/response"
NOTHING = "-ERR no reply\n"
"What api_exec() of mod_event_socket.c says for a command that wrote nothing."


class Waiter(Protocol):
    """What a future is to us."""

    def done(self) -> bool:
        """Whether it is answered, or given up."""

    def set_result(self, result: Message, /) -> None:
        """The reply."""

    def set_exception(self, exception: BaseException, /) -> None:
        """There will be none."""


class Failing(Protocol):
    """What a future of something else is to us."""

    def done(self) -> bool:
        """Whether it is there, or given up."""

    def set_exception(self, exception: BaseException, /) -> None:
        """It will not be."""


class Replies:
    """The commands that wait for their reply."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots: deque[tuple[str, Waiter | None]] = deque()

    def __len__(self) -> int:
        return len(self._slots)

    def expect(self, name: str, waiter: Waiter | None) -> None:
        """A command was written; without ``waiter`` its reply is dropped."""
        self._slots.append((name, waiter))

    def reply(self, message: Message) -> None:
        """The next reply.

        :raises ProtocolError: where none was asked for, or that of ``api`` comes to another command.
        """
        if not self._slots:
            raise ProtocolError(f"a {message.content_type} that nobody asked for")
        name, waiter = self._slots.popleft()
        # "api" is answered with command/reply where it is not allowed (userauth of mod_event_socket.c).
        if message.content_type == RESPONSE and not name.startswith("api"):
            raise ProtocolError(f"an {RESPONSE} to {name}")
        if waiter is None:
            if text(message).startswith("-ERR"):
                log.warning("%s, sent ahead, was refused", name)
        elif not waiter.done():
            waiter.set_result(message)

    def fail(self, error: Callable[[], BaseException]) -> None:
        """There will be no more replies."""
        slots, self._slots = self._slots, deque()
        for _, waiter in slots:
            if waiter is not None and not waiter.done():
                waiter.set_exception(error())


class Unless:
    """The reply to what has its result in an event: only a refusal is of interest.

    So who waits is not woken for the reply.
    """

    __slots__ = ("_name", "_result")

    def __init__(self, name: str, result: Failing) -> None:
        self._name, self._result = name, result

    def done(self) -> bool:
        """See :class:`Waiter`."""
        return self._result.done()

    def set_result(self, reply: Message) -> None:
        """See :class:`Waiter`."""
        try:
            accepted(self._name, reply)
        except CommandError as error:
            self._result.set_exception(error)

    def set_exception(self, error: BaseException) -> None:
        """See :class:`Waiter`."""
        self._result.set_exception(error)


def text(message: Message) -> str:
    """What a reply says: ``+OK ...``, ``-ERR ...``, or the body of an api/response."""
    if message.content_type == RESPONSE:
        return message.body.decode("utf-8", "replace")
    return message.headers.get("Reply-Text", "")


def accepted(name: str, message: Message) -> Reply:
    """The reply to ``name``; :class:`CommandError` on ``-ERR``."""
    said = text(message)
    return Reply("" if said == NOTHING else succeeded(name, said), message.headers)


def succeeded(name: str, answer: str) -> str:
    """The answer; :class:`CommandError` on ``-ERR``."""
    if answer.startswith("-ERR"):
        raise CommandError(name, answer[4:].strip())
    return answer
