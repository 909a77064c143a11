"""What a media worker does for whoever asks by way of Redis (state/commands.py): with live calls, and new ones.

Every worker is asked for a live call; the one that has it does it. So nothing is written anywhere for each call.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast
from uuid import uuid4

from redis.asyncio import Redis
from redis.exceptions import RedisError

from media import builtin
from media.calls import Calls, NotRun, Running
from media.esl.errors import ArgumentError, CommandError, EslError
from media.esl.inbound import Inbound
from media.registry import Loaded
from media.served import PROFILE, SIP_TIER
from media.session.core import quoted
from media.speech.errors import SpeechError
from media.speech.speaker import Speaker, Text
from media.wanted import ARGS, SCRIPT
from model.handover import DIRECT, Handover
from model.settings import Address, Settings
from state import commands, keys
from state.clients import connect
from state.commands import Command
from telemetry.logs import about_call

REPORT_TTL = 3
"Seconds after which a worker that says nothing counts as gone."
REPORT_EVERY = 1.0
RETRY_EVERY = 0.5
CONTEXT = "strowger"
"Of the dialplan that leads to the workers (media/freeswitch/dialplan)."
RING_MAX = 120
"Seconds that somebody who is called may take to answer."
TEXT_MAX = 2000
LETS_GO = 2.0
"Seconds that a script has to let go of a call."
SIDES = {"caller": "aleg", "callee": "bleg", "both": "both"}
ORIGINATED = "originate"

log = logging.getLogger(__name__)
Status = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class NotDone(Exception):
    """A command is refused; the message says why."""


class Remote:
    """Takes commands until it is cancelled."""

    def __init__(
        self, settings: Settings, calls: Calls, switch: Inbound, speaker: Speaker, secret: bytes, status: Status,
        drained: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.name = f"{settings.node}/{settings.worker_address.port}"
        self._settings, self._calls, self._switch, self._speaker = settings, calls, switch, speaker
        self._secret, self._status, self._drained = secret, status, drained
        self._client: Redis = connect(settings.redis_url)
        self._tasks = set[asyncio.Task[None]]()
        self._table: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "play": self._play, "transfer": self._transfer, "run": self._run, "originate": self._originate,
        }  # fmt: skip

    async def run(self) -> None:
        """Report, and take commands."""
        reporting = asyncio.create_task(self._report())
        try:
            while True:
                try:
                    found: Any = await cast(
                        "Awaitable[Any]", self._client.blpop([keys.commands(self._recipient)], timeout=commands.BLOCK)
                    )
                except RedisError as error:
                    log.debug("no command is taken: %s", error)
                    await asyncio.sleep(RETRY_EVERY)
                    continue
                if found is not None:
                    with suppress(ValueError):
                        self._begin(Command.decode(found[1]))
        finally:
            reporting.cancel()
            for task in self._tasks:
                task.cancel()
            with suppress(RedisError):
                await self._client.delete(keys.media_worker(self.name))
                await cast("Awaitable[int]", self._client.srem(keys.MEDIA_WORKERS, self.name))
            await self._client.aclose()

    @property
    def _recipient(self) -> str:
        return commands.worker(self.name)

    async def _report(self) -> None:
        while True:
            status = await self._status({})
            report = {name: status[name] for name in ("address", "pid", "since", "draining", "calls", "taken")}
            report |= {"node": self._settings.node, "switch": status["switch"]}
            with suppress(RedisError):
                async with self._client.pipeline(transaction=True) as pipe:
                    pipe.sadd(keys.MEDIA_WORKERS, self.name)
                    pipe.set(keys.media_worker(self.name), json.dumps(report), ex=REPORT_TTL)
                    await pipe.execute()
            await asyncio.sleep(REPORT_EVERY)

    def _begin(self, command: Command) -> None:
        # Beside this loop: speech may take a while to be made, and the next command may be for another call.
        task = asyncio.create_task(self._answer(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, command: Command) -> None:
        said = await self.obey(command)
        key = keys.command_answers(command.id)
        with suppress(RedisError):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.rpush(key, json.dumps([self._recipient, said]))
                pipe.expire(key, commands.KEPT)
                await pipe.execute()

    async def obey(self, command: Command) -> dict[str, Any]:
        """Do what is asked; what is answered, with ``error`` where it is refused."""
        with about_call(*command.about()):
            return await self._obey(command)

    async def _obey(self, command: Command) -> dict[str, Any]:
        done = self._table.get(command.name)
        if done is None:
            return {"error": f"a media worker knows no command {command.name!r}"}
        try:
            answer = await done(**command.arguments)
        except (NotDone, NotRun, ArgumentError, SpeechError) as error:
            return {"error": str(error)}
        except EslError as error:
            return {"error": f"the switch: {error}"}
        except Exception as error:
            log.exception("the command %s failed", command.name)
            return {"error": type(error).__name__}
        log.info("did %s for %s", command.name, command.who or "nobody named")
        return answer

    def _find(self, call: str, call_id: str) -> Running:
        for running in self._calls.running:
            session = running.session
            if session is None or not session.ready():
                continue
            handover = session.handover
            known = (handover.call if handover else "", session.uuid)
            if call in known or (call_id and session.channel.variable("sip_call_id") == call_id):
                return running
        raise NotDone("no media worker has this call")

    async def _play(
        self, *, call: str, call_id: str = "", text: str = "", prompt: str = "", tone: str = "", side: str = "both"
    ) -> dict[str, Any]:
        """Play words, a prompt or a tone into a call, beside whatever its script does."""
        running = self._find(call, call_id)
        what = await self._sound(text, prompt, tone)
        await self._switch.api("uuid_broadcast", f"{running.uuid} {quoted(what)} {SIDES[side]}")
        return {"uuid": running.uuid, "script": running.found.script.name}

    async def _sound(self, text: str, prompt: str, tone: str) -> str:
        if tone:
            return f"tone_stream://{tone}"
        lines = await self._speaker.lines(Text(text) if text else prompt)
        if len(lines) != 1:
            raise NotDone("that cannot be played as one")
        return lines[0]

    async def _run(self, *, call: str, call_id: str = "", script: str, args: str = "") -> dict[str, Any]:
        """Take a call from its script, and give it to another."""
        running = self._find(call, call_id)
        await self._move(running, await self._calls.find(script, call=True), args)
        return {"uuid": running.uuid, "script": script}

    async def _transfer(self, *, call: str, call_id: str = "", number: str) -> dict[str, Any]:
        """Take a call from its script, and send it on to a number by way of the SIP tier."""
        running = self._find(call, call_id)
        if running.session is None or running.session.handover is None:
            raise NotDone("the call did not come from the SIP tier, and cannot be sent back there")
        before = running.found.script.name
        await self._move(running, await self._calls.find(builtin.TRANSFER, call=True), number)
        return {"uuid": running.uuid, "script": before}

    async def _move(self, running: Running, found: Loaded, args: str) -> None:
        # Not by a transfer in the switch: the end of the old connection would free the call from the new one.
        try:
            async with asyncio.timeout(LETS_GO):
                await running.taken.give(found, args)
        except TimeoutError:
            raise NotDone(f"its script {running.found.script.name} does not let go of the call") from None

    async def _originate(
        self, *, to: str, caller: str = "", script: str, args: str = "", timeout: int = 60
    ) -> dict[str, Any]:
        """Call a number by way of the SIP tier, and give who answers to a script. Answered once the number is called;
        whether anybody answers is told by the events of the call.
        """
        await self._calls.find(script, call=True)
        if self._drained():
            raise NotDone("the media worker is drained")
        _ = self._switch.connection
        uuid = str(uuid4())
        handover = Handover(
            call=f"{ORIGINATED}-{uuid}", app="", caller=caller, callee=to, reason=DIRECT
        ).fresh(time.time())  # fmt: skip
        where = self._settings.originate_sip or Address(self._settings.sip_addresses[0], self._settings.sip_port)
        variables = {
            "origination_uuid": uuid,
            "origination_caller_id_number": caller,
            "origination_caller_id_name": caller,
            "originate_timeout": str(min(timeout, RING_MAX)),
            "ignore_early_media": "true",
            SCRIPT: script,
            ARGS: args,
            SIP_TIER: str(where),
            **{f"sip_h_{name}": value for name, value in handover.headers(self._secret)},
        }
        line = ",".join(f"{name}={_safe(name, value)}" for name, value in variables.items() if value)
        dial = f"{{{line}}}sofia/{PROFILE}/sip:{to}@{where}"
        with about_call(handover.call):
            task = asyncio.create_task(self._placed(f"{quoted(dial)} {script} XML {CONTEXT}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {"call": handover.call, "uuid": uuid}

    async def _placed(self, arguments: str) -> None:
        try:
            await self._switch.bgapi("originate", arguments)
        except CommandError as error:
            log.info("a call that was asked for did not come about: %s", error.reply)
        except EslError as error:
            log.warning("a call that was asked for is not placed: %s", error)


def _safe(name: str, value: str) -> str:
    """A value within the braces of a dial string."""
    if any(char in value for char in "'\\{}[]<>\r\n|") or value.startswith("^^"):
        raise ArgumentError(f"{name} may not have any of ' \\ {{ }} [ ] < > | and line ends in it")
    return f"'{value}'"
