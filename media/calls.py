"""Runs scripts: for the calls that the switch hands over, and without a call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from media import builtin
from media.esl import protocol
from media.esl.errors import ConnectionClosed, EslError
from media.esl.inbound import Inbound
from media.esl.server import OutboundCall
from media.intents import Intents
from media.loader import Scripts
from media.registry import Loaded
from media.runner import ScriptFailed, Taken, guarded, run, run_until
from media.served import ServedSession
from media.session import Env, Session, Stream, runtime
from media.wanted import SCRIPT, Wanted, wanted
from model.handover import HandoverError, HandoverLoop
from telemetry.logs import CALL, CALL_ID, CHANNEL
from telemetry.registry import Names

T = TypeVar("T")
REFUSED = "INCOMING_CALL_BARRED"
"For a call without proof: 403. Of CALL_REJECTED FreeSWITCH makes 603 (hangup_cause_to_sip of mod_sofia.c)."
LOOP = "EXCHANGE_ROUTING_ERROR"
"For a call that was handed over too often: 483."
UNKNOWN = "UNALLOCATED_NUMBER"
"For a script that is not there: 404."
FAILED = "NORMAL_UNSPECIFIED"
"""For a script that raised: 480 where it had not answered. A 5xx counts against the node's breaker, and the next node
would be tried: so one script could take all nodes out of use."""
SCRIPTS = 200
"Names of scripts that metrics tell apart; those that come later are \"other\"."
WAITS = "strowger_waits"
"Channel variable by which the dialplan knows a call whose script is not sent ahead, against what it was told."
GRACE = 30.0
"Seconds that a script may go on after its call, for hangup hooks and the like; then it is cancelled."

log = logging.getLogger(__name__)


class NotRun(Exception):
    """A script was not run; the message says why."""


@dataclass(slots=True, eq=False)
class Running:
    """A script at work."""

    found: Loaded
    uuid: str = ""
    "The call's channel, if it has one."
    since: float = field(default_factory=time.time)
    "Unix time, in seconds."
    session: ServedSession | None = None
    "Of the call, if it has one."
    taken: Taken = field(default_factory=Taken)
    result: str = "failed"
    "How it ends: done, failed or cancelled."
    label: str = ""
    "In metrics: of the script that it began with."


class Calls:
    """What one worker has under way."""

    def __init__(self, scripts: Scripts, secret: bytes, intents: Intents, switch: Inbound) -> None:
        self.running: set[Running] = set()
        self.at_work: dict[str, int] = {}
        "Scripts at work, by label."
        self.ended: dict[tuple[str, str], int] = {}
        "Scripts that ended, by label and how."
        self._scripts, self._secret, self._intents, self._switch = scripts, secret, intents, switch
        self._names = Names(SCRIPTS)
        self._detached: set[asyncio.Task[Any]] = set()
        "Scripts that run without a call, waited for or not."

    async def take(self, call: OutboundCall) -> None:
        """Serve a call that the switch handed over; the connection ends with this."""
        try:
            # The call has a task of its own, and so all that is logged in it is about this call.
            CHANNEL.set(call.uuid)
            CALL_ID.set(call.channel.variable("sip_call_id") or "")
            want = wanted(call.channel, self._secret, time.time())
            CALL.set(want.handover.call if want.handover is not None else "")
            found = await self.find(want.key, call=not want.detached)
        except HandoverError as error:
            return _refuse(call, LOOP if isinstance(error, HandoverLoop) else REFUSED, str(error))
        except NotRun as error:
            return _refuse(call, UNKNOWN, str(error))
        if call.static and (want.detached or not found.script.ahead):
            return _take_again(call, found)
        if want.detached or not found.script.attached:
            await self._beside(call, want, found)
        else:
            await self._attached(call, want, found)

    async def run(self, key: str, args: str = "", parameters: Mapping[str, str] | None = None) -> str:
        """Run a script without a call; what it wrote to ``stream``. Raises NotRun and ScriptFailed."""
        return await self._task(self._run(await self.find(key, call=False), args, parameters or {}))

    async def begin(self, key: str, args: str = "", parameters: Mapping[str, str] | None = None) -> None:
        """The same, without waiting for it. Raises NotRun."""
        self._begin(await self.find(key, call=False), args, parameters or {})

    async def finish(self) -> None:
        """Until no script runs without a call."""
        while self._detached:
            await asyncio.wait(self._detached)

    def cancel(self) -> None:
        """End scripts that run without a call."""
        for task in self._detached:
            task.cancel()

    async def find(self, key: str, *, call: bool) -> Loaded:
        """The script of a name or number; ``call``: there is one for it. Raises NotRun."""
        found = builtin.find(key) or (await self._scripts.current()).find(key)
        if found is None:
            # A key without a letter may be a number that somebody dialled.
            shown = f"script {key!r}" if any(char.isalpha() for char in key) else "script of that number"
            raise NotRun(f"there is no {shown}")
        if found.script.attached and not call:
            raise NotRun(f"the script {found.script.name!r} takes session, and so needs a call")
        return found

    async def _attached(self, call: OutboundCall, want: Wanted, found: Loaded) -> None:
        runtime.use(self._switch)
        owe = partial(self._intents.owe, call.uuid, found.script.name, found.place)
        session = ServedSession(call, want, self._secret, owe)
        running = self._began(Running(found, call.uuid, session=session))
        try:
            done = await self._serve(call, session, found, want.args, running.taken)
            while (following := running.taken.take()) is not None and session.ready():
                running.found = found = following[0]
                await self._cleared(session)
                done = await self._serve(call, session, found, following[1], running.taken)
            with suppress(ScriptFailed):
                # Runs the hook, and hangs up, unless that is not wanted. Who is cancelled before leaves it owed.
                await guarded(found, self._scripts.folder, session.close() if done else _fail(session))
            running.result = "done" if done else "failed"
        except asyncio.CancelledError:
            running.result = "cancelled"
            raise
        finally:
            self._ended(running)
        if session.owed:
            self._intents.settle(call.uuid)

    async def _cleared(self, session: ServedSession) -> None:
        """Nothing that the script before began goes on; its hangup hook stays, until another is set."""
        session.unset_input_callback()
        with suppress(EslError):
            if session.bridged() and (other := await session.get_variable("bridge_uuid")):
                await self._switch.api("uuid_kill", other)
                await session.apart()
            elif session.sent_ahead:
                await self._switch.api("uuid_break", f"{session.uuid} all")

    async def _serve(
        self, call: OutboundCall, session: ServedSession, found: Loaded, args: str, taken: Taken
    ) -> bool:  # fmt: skip
        """Run the script of a call; whether that went well."""
        given: dict[str, Any] = {"session": session, "stream": Stream(), "args": args}
        if "env" in found.script.wants:
            # Not otherwise: it takes reading every header of the channel, of which there are a hundred.
            given["env"] = Env(_variables(call))
        try:
            if found.script.ahead:
                with session.ahead():
                    await run_until(found, self._scripts.folder, session.over, GRACE, taken, **given)
            else:
                await run_until(found, self._scripts.folder, session.over, GRACE, taken, **given)
            return True
        except ScriptFailed:
            return False

    async def _beside(self, call: OutboundCall, want: Wanted, found: Loaded) -> None:
        """A script that does not take the call: the dialplan goes on, at once or after it."""
        parameters = _variables(call)
        if want.detached:
            self._begin(found, want.args, parameters)
        else:
            await self._quietly(found, want.args, parameters)
        _tell(call, protocol.command("resume"))

    async def _run(self, found: Loaded, args: str, parameters: Mapping[str, str]) -> str:
        runtime.use(self._switch)
        stream = Stream()
        running = self._began(Running(found))
        try:
            try:
                await run(found, self._scripts.folder, env=Env(parameters), stream=stream, args=args)
            finally:
                # Legs end with the script that made them, as in Lua.
                with suppress(ScriptFailed):
                    await guarded(found, self._scripts.folder, runtime.end_legs())
            running.result = "done"
        except asyncio.CancelledError:
            running.result = "cancelled"
            raise
        finally:
            self._ended(running)
        return stream.get_data()

    def _began(self, running: Running) -> Running:
        running.label = label = self._names.label(running.found.script.name)
        self.running.add(running)
        self.at_work[label] = self.at_work.get(label, 0) + 1
        return running

    def _ended(self, running: Running) -> None:
        # Plain numbers, which a scrape makes metrics of: those of the library are ten functions more for each call.
        self.running.discard(running)
        self.at_work[running.label] -= 1
        how = running.label, running.result
        self.ended[how] = self.ended.get(how, 0) + 1

    def _begin(self, found: Loaded, args: str, parameters: Mapping[str, str]) -> None:
        self._task(self._quietly(found, args, parameters))

    def _task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        return task

    async def _quietly(self, found: Loaded, args: str, parameters: Mapping[str, str]) -> None:
        with suppress(ScriptFailed):  # logged already
            await self._run(found, args, parameters)


def _variables(call: OutboundCall) -> dict[str, str]:
    """What is known of a call, as a hook's env has it: variables by their names, the rest as the event has it."""
    return {name.removeprefix("variable_"): value for name, value in call.channel.headers.items()}


async def _fail(session: Session) -> None:
    try:
        await session.hangup(FAILED)
    finally:
        await session.close()


def _refuse(call: OutboundCall, cause: str, why: str) -> None:
    log.warning("call %s refused: %s", call.uuid, why)
    _tell(call, protocol.sendmsg(None, {"call-command": "hangup", "hangup-cause": cause}))


def _take_again(call: OutboundCall, found: Loaded) -> None:
    """The switch takes the script for one that is sent ahead, and it is none any more: its call comes again."""
    name = found.script.name
    if call.channel.variable(SCRIPT) or call.channel.variable(WAITS):
        log.warning("the script %s is not sent ahead: the dialplan has to say async full where its calls go", name)
        return
    log.info("the script %s is not sent ahead any more: its call comes again", name)
    again = "${destination_number} ${dialplan} ${context}"
    _tell(call, protocol.execute("set", f"{WAITS}=true"), protocol.execute("transfer", again), protocol.command("exit"))


def _tell(call: OutboundCall, *commands: bytes) -> None:
    with suppress(ConnectionClosed):  # the caller has gone meanwhile
        call.connection.write(*commands)
