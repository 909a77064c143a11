"""The media worker: takes calls from FreeSWITCH and runs call scripts for them, until it is told to end.

SIGTERM drains it: FreeSWITCH finds nobody listening and tries the next worker of its dialplan, and calls under way go
on, for at most STROWGER_WORKER_DRAIN seconds. A second SIGTERM ends them too: their connections are closed, and the
dialplan goes on as it does for a worker that died.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from http import HTTPStatus
from typing import Any

from media import control, http, metering, remote
from media.ahead import Ahead
from media.calls import Calls, NotRun
from media.control import ControlError
from media.esl.errors import EslError
from media.esl.inbound import Inbound
from media.esl.server import OutboundServer
from media.http import HttpError, Request
from media.intents import Intents
from media.loader import Scripts
from media.runner import ScriptFailed
from media.session import pressed, recorded, runtime
from media.speech import speaker
from media.speech.speaker import Speaker
from media.transcription import live
from media.voicemail import mailboxes
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import Store
from media.watchdog import Watchdog
from model.settings import Settings
from state import recordings
from state.events import Events, entry
from state.notes import Notes
from telemetry.health import Check
from telemetry.listener import Listener, of_loop
from telemetry.logs import about_call

SWITCH_LIMIT = 5.0
"Seconds that the switch has to be drained."
HTTP_LIMIT = 60.0
"Seconds that a script has to answer over HTTP."

log = logging.getLogger(__name__)


class Worker:
    """One worker process. Made and run within an event loop."""

    def __init__(self, settings: Settings, secret: bytes, password: str) -> None:
        self._settings = settings
        self._began = time.time()
        self._scripts = Scripts(settings.scripts)
        self._intents = Intents(settings.media_state / f"worker-{settings.worker_address.port}")
        self._ahead = Ahead(self._scripts)
        self._switch = Inbound(settings.esl_address, password, on_connect=self._ahead.connected)
        self._scripts.on_loaded = lambda: self._ahead.loaded(self._switch)
        self._calls = Calls(self._scripts, secret, self._intents, self._switch)
        self._server = OutboundServer(*settings.worker_address, self._calls.take)
        self._speaker = Speaker.of(settings)
        self._watchdog = Watchdog(settings.scripts)
        self.remote = remote.Remote(
            settings, self._calls, self._switch, self._speaker, secret, self._status, lambda: self._drained
        )
        self._draining: asyncio.Task[bool] | None = None
        self._paused = False
        "Whether we told the switch to take no new calls."
        self.ready = asyncio.Event()
        "Set once it takes calls."
        self._told = asyncio.Event()
        self._told_again = asyncio.Event()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT.

        Raises OSError where an address is taken or the directory of mailboxes cannot be used, ControlError where a
        worker is.
        """
        runtime.use(self._switch)
        speaker.use(self._speaker)
        self._scripts.load()
        async with AsyncExitStack() as stack:
            events = Events(self._settings.redis_url)
            stack.push_async_callback(events.close)
            live.use(events.publish)
            notes = Notes(events.client)
            stack.push_async_callback(notes.close)
            pressed.use(partial(_tell_of_key, notes), shown=self._settings.event_digits)
            stack.callback(pressed.use, None)
            folders = self._settings.voicemail, self._settings.recordings
            recorded.use(partial(_tell_of_recording, notes), *folders)
            stack.callback(recorded.use, None, *folders)
            stack.push_async_callback(self._open_mailboxes().close)
            commands = {"status": self._status, "reload": self._reload, "run": self._run}
            commands |= {"drain": self._drain, "resume": self._resume}
            path = self._settings.worker_socket
            # Not as a context: since Python 3.12 that would wait for whoever keeps a connection open.
            stack.callback((await control.serve(path, commands)).close)
            stack.callback(path.unlink, missing_ok=True)
            self._report_interrupted()
            await stack.enter_async_context(self._switch)
            stack.callback((await http.serve(*self._settings.worker_http, self._answer)).close)
            await self._server.start()
            stack.push_async_callback(self._server.close)
            asking = asyncio.create_task(self.remote.run(), name="commands")
            stack.push_async_callback(_ended, asking)
            self._watchdog.start()
            stack.callback(self._watchdog.stop)
            self._listen_to_signals()
            Listener(self._settings.media_metrics, of_loop(self._check, self._sample)).start()
            self.ready.set()
            log.info("media worker takes calls at %s", self._settings.worker_address)
            await self._told.wait()
            await self._end()

    def _open_mailboxes(self) -> Mailboxes:
        boxes = Mailboxes(
            Store(self._settings.voicemail),
            self._settings.redis_url,
            transcript_wait=self._settings.transcript_wait,
        )
        mailboxes.use(boxes)
        return boxes

    def _listen_to_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """What SIGTERM does: end with the calls under way; the second time at once."""
        (self._told_again if self._told.is_set() else self._told).set()

    async def _end(self) -> None:
        # Before it is said: who reads that may try at once.
        self._server.shut()
        log.info("takes no more calls; %d under way", self._server.calls)
        done = asyncio.ensure_future(self._finish())
        again = asyncio.ensure_future(self._told_again.wait())
        limit = self._settings.worker_drain
        await asyncio.wait({done, again}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            log.warning("ends with %d calls under way", self._server.calls)
        for task in (done, again):
            task.cancel()
        self._calls.cancel()

    async def _finish(self) -> None:
        await self._server.drain()
        await self._calls.finish()

    def _report_interrupted(self) -> None:
        for intent in self._intents.recover():
            with about_call(intent.call, intent.call_id):
                log.error(
                    "call %s was interrupted: the hangup hook of %s (%s) did not run to its end, and is not run again",
                    intent.uuid, intent.script, intent.place,
                )  # fmt: skip

    async def _check(self) -> list[Check]:
        return metering.checks(await self._status({}))

    async def _sample(self) -> None:
        speech = self._speaker.speech
        calls = self._calls
        metering.sample(
            await self._status({}), self._server.refused, speech.hits, speech.misses, calls.at_work, calls.ended
        )

    # Commands

    @property
    def _drained(self) -> bool:
        return self._draining is not None or self._told.is_set()

    async def _status(self, _request: dict[str, Any]) -> dict[str, Any]:
        registry = await self._scripts.current()
        return {
            "address": str(self._settings.worker_address),
            "pid": os.getpid(),
            "since": self._began,
            "draining": self._drained or self._paused,
            "calls": self._server.calls,
            "taken": self._server.taken,
            "blocked": self._watchdog.blocks,
            "switch": self._switch_status(),
            "running": [
                {"script": run.found.script.name, "version": run.found.version, "call": run.uuid, "since": run.since}
                for run in sorted(self._calls.running, key=lambda run: run.since)
            ],
            "scripts": [
                {
                    "name": found.script.name, "numbers": list(found.script.numbers), "place": found.place,
                    "version": found.version, "loaded": found.since, "error": registry.refused.get(found.file),
                    "call": found.script.attached, "http": found.script.http,
                }
                for found in registry.scripts()
            ],
            "refused": dict(registry.refused),
            "trouble": self._scripts.trouble,
            "interrupted": [
                {"call": owed.uuid, "script": owed.script, "place": owed.place, "since": owed.since}
                for owed in self._intents.interrupted
            ],
        }  # fmt: skip

    def _switch_status(self) -> dict[str, Any]:
        status: dict[str, Any] = {"address": str(self._settings.esl_address), "connected": True, "error": ""}
        try:
            _ = self._switch.connection
        except EslError as error:
            status |= {"connected": False, "error": str(error)}
        return status

    async def _reload(self, _request: dict[str, Any]) -> dict[str, Any]:
        registry = await self._scripts.reload()
        names = [found.script.name for found in registry.scripts()]
        return {"scripts": names, "refused": dict(registry.refused), "trouble": self._scripts.trouble}

    async def _pause_switch(self, how: str) -> None:
        """``pause``: the switch takes no new calls, and answers OPTIONS with 503; ``resume``."""
        try:
            await self._switch.api("fsctl", f"{how} inbound", timeout=SWITCH_LIMIT)
        except (EslError, TimeoutError) as error:
            raise ControlError(f"the switch was not told to {how}: {error}") from None
        self._paused = how == "pause"
        log.info("the switch %s", "takes no new calls" if self._paused else "takes calls")

    async def _drain(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("switch"):
            # Not the worker as well: calls under way may still want one, as after a transfer.
            await self._pause_switch("pause")
            return {"calls": self._server.calls}
        if self._draining is None:
            self._server.shut()
            self._draining = asyncio.create_task(self._server.drain())
            log.info("drained: takes no more calls")
        return {"calls": self._server.calls}

    async def _resume(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._told.is_set():
            raise ControlError("the media worker is ending")
        if request.get("switch"):
            await self._pause_switch("resume")
            return {}
        if self._draining is None:
            raise ControlError("the media worker is not drained")
        try:
            await self._server.start()
        except OSError as error:
            raise ControlError(str(error)) from None
        self._draining.cancel()
        self._draining = None
        log.info("takes calls again")
        return {}

    async def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        name, args = str(request.get("name", "")), str(request.get("args", ""))
        try:
            if request.get("detach"):
                await self._calls.begin(name, args)
                return {"output": ""}
            return {"output": await self._calls.run(name, args)}
        except (NotRun, ScriptFailed) as error:
            raise ControlError(str(error)) from None

    # HTTP

    async def _answer(self, request: Request) -> tuple[HTTPStatus, str]:
        found = (await self._scripts.current()).find(request.name)
        if found is None or not found.script.http:
            raise HttpError(HTTPStatus.NOT_FOUND, "no such script is run over HTTP")
        parameters = {"Request-Method": request.method, **request.parameters}
        args = request.parameters.get("args", "")
        try:
            if request.parameters.get("detach") == "true":
                await self._calls.begin(request.name, args, parameters)
                return HTTPStatus.ACCEPTED, ""
            async with asyncio.timeout(HTTP_LIMIT):
                return HTTPStatus.OK, await self._calls.run(request.name, args, parameters)
        except NotRun as error:
            raise HttpError(HTTPStatus.CONFLICT, str(error)) from None
        except ScriptFailed as error:
            raise HttpError(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)) from None
        except TimeoutError:
            raise HttpError(HTTPStatus.GATEWAY_TIMEOUT, f"no answer within {HTTP_LIMIT:g} s") from None


def _tell_of_key(notes: Notes, kind: str, data: Mapping[str, Any]) -> None:
    notes.tell("the event of a key", entry(kind, data), level=logging.DEBUG)


def _tell_of_recording(notes: Notes, call: str, name: str) -> None:
    notes.tell(f"the name of a recording, for the record of call {call},", *recordings.note(call, name))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def work(settings: Settings, secret: bytes, password: str) -> None:
    """Be a media worker until SIGTERM or SIGINT."""
    await Worker(settings, secret, password).run()
