"""A worker's side of route hooks: the call is suspended, the question goes into a pipe, and no worker waits.

The hook process (:mod:`agent.hook_service`) reads the pipe, asks, and hands the answer to Kamailio over HTTP on
loopback, which goes on with the call in another process. Where nothing of that comes to be, the time of the suspended
transaction ends, and its failure route has the fallback.
"""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import structs

from kemi import hook, hook_breaker
from kemi.hook import SECONDS_LATE, Heard, Question
from kemi.hook_breaker import Breaker
from kemi.outcome import Ask
from model.call import CallFacts
from model.hook import Hook

BREAKERS, COUNTS = "hooks", "hookcounts"
"Tables in Kamailio's shared memory: hook to breaker; hook, a blank and what came of a question, to how often."

NOWHERE = f"{-1 << 31}/{-1 << 31}"
"As long as any transaction."

UNCOUNTED = frozenset({"busy", "paused", "away", "full", "long"})
"Why there is no answer although nobody asked the hook itself: that says nothing of it."


class Table(Protocol):
    """Kamailio's htable module, as far as it is used here."""

    def sht_get(self, table: str, key: str) -> Any: ...
    def sht_setxs(self, table: str, key: str, value: str, expire: int) -> Any: ...
    def sht_rm(self, table: str, key: str) -> Any: ...
    def sht_inc(self, table: str, key: str) -> Any: ...
    def sht_lock(self, table: str, key: str) -> Any: ...
    def sht_unlock(self, table: str, key: str) -> Any: ...


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A call that waits for an answer, as text on its transaction."""

    call: str
    call_id: str
    from_tag: str
    hook: Hook
    facts: CallFacts

    def dumps(self) -> str:
        """As text."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def loads(cls, text: str) -> Asked:
        """From the text that :meth:`dumps` made."""
        return _decode(text)


_decode = msgspec.json.Decoder(Asked).decode


class Sending:
    """A question on its way; a context manager."""

    def __init__(self, pipe: int, question: Question) -> None:
        self._pipe, self._question = pipe, question

    def __enter__(self) -> Sending:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._pipe)

    def send(self, index: int, label: int) -> None:
        """Ask it for the suspended transaction of this index and label."""
        # Numbers of 32 bits, which the cfg reads with a sign.
        transaction = "/".join(str(number - (1 << 32) if number >> 31 else number) for number in (index, label))
        # Another worker may have filled the pipe meanwhile: then the transaction's time ends.
        with suppress(OSError):
            os.write(self._pipe, msgspec.json.encode(structs.replace(self._question, transaction=transaction)) + b"\n")


class Asking:
    """Of one worker."""

    def __init__(self, table: Table, pipe: Path) -> None:
        self._table, self._pipe = table, pipe

    def may_ask(self, known: Hook, now: float) -> bool:
        """Whether a call asks this hook now, and is maybe its trial; if not, that is counted."""
        if self._table.sht_get(BREAKERS, known.name) is None:
            # As nearly always.
            return True
        said = hook_breaker.OPEN

        def claim(before: Breaker) -> Breaker:
            nonlocal said
            after, said = hook_breaker.claimed(before, known, SECONDS_LATE, now)
            return after

        self._change(known, claim)
        return said != hook_breaker.PAUSED

    def question(self, ask: Ask, asked: Asked, now: float) -> Sending:
        """A question that can be sent; raises OSError where nobody reads, or not fast enough, or it is too long."""
        body = hook.question(ask, asked.facts, asked.call, asked.call_id, now)
        whole = Question(NOWHERE, ask.hook, now + ask.hook.timeout, msgspec.Raw(body))
        # What is longer might be torn, or mixed with another's.
        if len(msgspec.json.encode(whole)) >= select.PIPE_BUF:
            raise OSError(errno.EMSGSIZE, "too long for the pipe")
        pipe = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
        waiting = select.poll()
        waiting.register(pipe, select.POLLOUT)
        if not waiting.poll(0):
            os.close(pipe)
            raise BlockingIOError(errno.EAGAIN, "the pipe is full")
        return Sending(pipe, whole)

    def settled(self, known: Hook, found: Heard, now: float) -> None:
        """Note what came of a question, or why none was asked."""
        self._table.sht_inc(COUNTS, f"{known.name} {found.failed or 'answered'}")
        if found.failed in UNCOUNTED:
            return
        if found.failed:
            self._change(known, lambda before: hook_breaker.failed(before, known, now))
        elif self._table.sht_get(BREAKERS, known.name) is not None:
            self._change(known, lambda _: hook_breaker.NOTHING)

    def _change(self, known: Hook, change: Any) -> None:
        self._table.sht_lock(BREAKERS, known.name)
        try:
            before = Breaker.loads(self._table.sht_get(BREAKERS, known.name))
            after = change(before)
            if after == before:
                return
            if after == hook_breaker.NOTHING:
                self._table.sht_rm(BREAKERS, known.name)
            else:
                self._table.sht_setxs(BREAKERS, known.name, after.dumps(), int(known.pause + known.timeout) + 600)
        finally:
            self._table.sht_unlock(BREAKERS, known.name)


def why_unasked(error: OSError) -> str:
    """In one word, why a question did not get into the pipe."""
    return {errno.EAGAIN: "full", errno.EMSGSIZE: "long"}.get(error.errno or 0, "away")
