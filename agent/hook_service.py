"""The hook process of a node: questions out of Kamailio's pipe, answers back into Kamailio over HTTP on loopback.

It holds nothing that must outlive it: each question brings what it takes to ask it, and of one that is lost Kamailio
itself makes an end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from agent import hook_asking
from agent.hook_delivery import Delivery
from agent.http_client import Client
from agent.pipe import make_pipe
from kemi.hook import Heard, Question, decode_question
from model.settings import Settings
from telemetry import hook as metrics
from telemetry.health import Check
from telemetry.listener import Listener, of_loop
from telemetry.logs import about_call
from telemetry.registry import Names, raised

log = logging.getLogger("strowger.hook")

READ = 1 << 18
# Seconds that Kamailio may take to go on with a call.
DELIVERY = 5.0
REPORT_EVERY = 1.0
# Answers of which latencies are told.
REMEMBERED = 1000
# Names of hooks that metrics tell apart.
HOOKS = 100
# Seconds between two lines in the log that tell of the same failure of the same hook.
SAID_AGAIN = 10.0


@dataclass(slots=True)
class _Known:
    """What is told of one hook."""

    outstanding: int = 0
    asked: int = 0
    late: int = 0
    "Answers for which no call waited any more."
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def told(self) -> dict[str, float | int | None]:
        seconds = sorted(self.seconds)
        return {
            "outstanding": self.outstanding,
            "asked": self.asked,
            "late": self.late,
            "p50": _quantile(seconds, 0.5),
            "p99": _quantile(seconds, 0.99),
        }


def _give_way() -> None:
    """Wake up without interrupting who is at work: the SIP workers, on whom all calls wait (sched(7), SCHED_BATCH)."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _quantile(seconds: list[float], part: float) -> float | None:
    return round(seconds[min(len(seconds) - 1, int(part * len(seconds)))], 6) if seconds else None


class HookService:
    """Asks until it is stopped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hooks: dict[str, _Known] = {}
        self._said: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Apart, so that no hook has a part in how Kamailio is reached.
        self._client, self._kamailio = Client(), Delivery(settings.rpc_port)
        self._rest = b""
        self._names = Names(HOOKS)

    async def run(self) -> None:
        """Returns after SIGTERM or SIGINT. Raises OSError where the pipe cannot be made."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        _give_way()
        pipe = make_pipe(self._settings.hook_pipe)
        Listener(self._settings.hook_metrics, of_loop(self._check, self._sample)).start()
        loop.add_reader(pipe, self._read, pipe)
        try:
            while not stop.is_set():
                self._report()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REPORT_EVERY)
        finally:
            loop.remove_reader(pipe)
            # Nobody reads any more: workers see that, and do not ask.
            os.close(pipe)
            self._settings.hook_report.unlink(missing_ok=True)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=DELIVERY)
            self._client.close()
            self._kamailio.close()

    async def _check(self) -> list[Check]:
        waiting = sum(known.outstanding for known in self._hooks.values())
        reading = self._settings.hook_pipe.exists()
        return [Check("pipe", reading, f"questions are read; {waiting} wait for an answer" if reading else "is gone")]

    async def _sample(self) -> None:
        for name, known in self._hooks.items():
            label = self._names.label(name)
            metrics.OUTSTANDING.labels(label).set(known.outstanding)
            raised(metrics.LATE.labels(label), known.late)

    def _read(self, pipe: int) -> None:
        with suppress(BlockingIOError):
            *lines, self._rest = (self._rest + os.read(pipe, READ)).split(b"\n")
            self._take(lines)

    def _take(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            try:
                question = decode_question(line)
            except (msgspec.DecodeError, RecursionError) as error:
                log.warning("a line in the pipe is no question: %s", error)
            else:
                # The task has the context of its beginning: what it logs is about this call.
                with about_call(*question.ids()):
                    task = asyncio.get_running_loop().create_task(self._serve(question))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _serve(self, question: Question) -> None:
        known = self._hooks.setdefault(question.hook.name, _Known())
        try:
            found = await self._heard(question, known)
        except Exception:
            # One question that cannot be is not the end of the others.
            log.exception("hook %s: something went wrong", question.hook.name)
            found = Heard(question.hook.name, "internal")
        self._say(found)
        name = self._names.label(question.hook.name)
        metrics.ANSWERS.labels(name, found.failed or "answered").inc()
        if not await self._deliver(question, found):
            known.late += 1

    async def _heard(self, question: Question, known: _Known) -> Heard:
        hook = question.hook
        if known.outstanding >= hook.at_most:
            return Heard(hook.name, "busy", f"{hook.at_most} questions wait for an answer")
        known.outstanding += 1
        known.asked += 1
        began = time.monotonic()
        try:
            found = await hook_asking.ask(question, self._client, self._settings.secrets)
        finally:
            known.outstanding -= 1
        if not found.failed:
            took = time.monotonic() - began
            known.seconds.append(took)
            metrics.SECONDS.labels(self._names.label(hook.name)).observe(took)
        return found

    async def _deliver(self, question: Question, found: Heard) -> bool:
        """Whether a call went on with it."""
        try:
            async with asyncio.timeout(DELIVERY):
                return await self._kamailio.tell(question.transaction, found.dumps().encode())
        except OSError as error:
            why = f"Kamailio does not take answers: {type(error).__name__}: {error}"
            self._log(question.hook.name, "delivery", why)
            return False

    def _say(self, found: Heard) -> None:
        if found.failed:
            self._log(found.hook, found.failed, found.detail)

    def _log(self, hook: str, what: str, detail: str) -> None:
        now = time.monotonic()
        if now - self._said.get((hook, what), -SAID_AGAIN) >= SAID_AGAIN:
            self._said[hook, what] = now
            log.warning("hook %s: no answer: %s: %s", hook, what, detail)

    def _report(self) -> None:
        report = {
            "pid": os.getpid(),
            "at": time.time(),
            "hooks": {name: known.told() for name, known in self._hooks.items()},
        }
        path = self._settings.hook_report
        fresh = path.with_name(f".{path.name}")
        try:
            fresh.write_text(json.dumps(report))
            fresh.rename(path)
        except OSError as error:
            self._log("", "report", str(error))
