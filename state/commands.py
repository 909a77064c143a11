"""Commands to one node's agent or one media worker, by way of Redis: so nobody has to open a port for them.

Each recipient takes commands from a list of its own, one after another. An answer comes into a list of that command.
Who waited in vain takes the command back: then it is known that nobody did it, and nobody will.

    CommandError(StoreError)
    +-- NotTakenError     the recipient is not there; nothing was done
    +-- NoAnswerError     the recipient took it, and did not answer in time; it may be done yet
    +-- RefusedError      the recipient says why it did not do it
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from state import keys
from state.store import TIMEOUT, Store, StoreError, _away

ANSWER_TIMEOUT = 3.0
"Seconds that an answer may take, unless somebody says otherwise."
KEPT = 30
"Seconds that a command waits whose sender died, and an answer that nobody fetches."
BLOCK = TIMEOUT / 2
"Seconds that one look at a list lasts: less than a client waits for an answer."


class CommandError(StoreError):
    """A command was not done, as far as is known; the message says why."""


class NotTakenError(CommandError):
    """The recipient is not there; nothing was done."""


class NoAnswerError(CommandError):
    """The recipient took it, and did not answer in time; it may be done yet."""


class RefusedError(CommandError):
    """The recipient says why it did not do it."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command as its recipient gets it."""

    id: str
    name: str
    arguments: dict[str, Any]
    who: str
    "On whose behalf, as the audit has it."

    def encode(self) -> str:
        """As one element of a list."""
        return json.dumps([self.id, self.name, self.arguments, self.who])

    @classmethod
    def decode(cls, text: str) -> Command:
        """From what :meth:`encode` made. Raises ValueError."""
        try:
            return cls(*json.loads(text))
        except TypeError as error:
            raise ValueError(f"no command: {error}") from None

    def about(self) -> tuple[str, str]:
        """The call that it is about: its record's id and its Call-ID; empty where it names none."""
        return str(self.arguments.get("call", "")), str(self.arguments.get("call_id", ""))


def node(name: str) -> str:
    """The agent of a node, as a recipient."""
    return f"node:{name}"


def worker(name: str) -> str:
    """A media worker, as a recipient."""
    return f"worker:{name}"


def ask(
    store: Store, recipient: str, name: str, *, who: str = "", wait: float = ANSWER_TIMEOUT, **arguments: Any
) -> dict[str, Any]:
    """What ``recipient`` answers to a command within ``wait`` seconds. Raises :class:`CommandError`, StoreError."""
    answers = ask_each(store, [recipient], name, who=who, wait=wait, **arguments)
    answer = answers[recipient]
    if isinstance(answer, CommandError):
        raise answer
    return answer


def ask_each(
    store: Store, recipients: Iterable[str], name: str, *, who: str = "", wait: float = ANSWER_TIMEOUT,
    enough: int = 0, **arguments: Any,
) -> dict[str, dict[str, Any] | CommandError]:  # fmt: skip
    """The same of several at once; with ``enough`` until so many did it, and the others are not waited for.

    Raises StoreError.
    """
    wanted = tuple(dict.fromkeys(recipients))
    command = Command(secrets.token_hex(8), name, arguments, who)
    text, answers = command.encode(), dict[str, dict[str, Any] | CommandError]()
    with _away():
        pipe = store._redis.pipeline(transaction=True)
        for recipient in wanted:
            pipe.rpush(keys.commands(recipient), text)
            pipe.expire(keys.commands(recipient), KEPT)
        pipe.execute()
        until = time.monotonic() + wait
        done = 0
        while len(answers) < len(wanted) and (not enough or done < enough):
            if (left := until - time.monotonic()) <= 0:
                break
            found: Any = store._redis.blpop([keys.command_answers(command.id)], timeout=max(0.01, min(BLOCK, left)))
            if found is not None:
                sender, answer = json.loads(found[1])
                answers[sender] = answer if "error" not in answer else RefusedError(str(answer["error"]))
                done += "error" not in answer
        for recipient in wanted:
            if recipient not in answers:
                answers[recipient] = _taken_back(store, recipient, text, wait)
    return answers


def _taken_back(store: Store, recipient: str, text: str, wait: float) -> CommandError:
    kind, _, name = recipient.partition(":")
    if store._redis.lrem(keys.commands(recipient), 1, text):
        return NotTakenError(f"{kind} {name} takes no commands: is it running? Nothing was done")
    return NoAnswerError(f"{kind} {name} did not answer within {wait:g} s; it may do it yet")


def take(store: Store, recipient: str) -> Command | None:
    """The next command for ``recipient``, waited for at most about a second. Raises StoreError."""
    with _away():
        found: Any = store._redis.blpop([keys.commands(recipient)], timeout=BLOCK)
    if found is None:
        return None
    try:
        return Command.decode(found[1])
    except ValueError:
        return None


def answer(store: Store, recipient: str, command: Command, said: dict[str, Any]) -> None:
    """Tell who sent the command what became of it: anything, or ``error`` with the reason. Raises StoreError."""
    key = keys.command_answers(command.id)
    with _away():
        pipe = store._redis.pipeline(transaction=True)
        pipe.rpush(key, json.dumps([recipient, said]))
        pipe.expire(key, KEPT)
        pipe.execute()


def workers(store: Store) -> dict[str, dict[str, Any]]:
    """The reports of the media workers that are live, by name. Raises StoreError."""
    with _away():
        names = sorted(cast("set[str]", store._redis.smembers(keys.MEDIA_WORKERS)))
        texts: Any = store._redis.mget([keys.media_worker(name) for name in names]) if names else []
    return {name: json.loads(text) for name, text in zip(names, texts, strict=True) if text}
