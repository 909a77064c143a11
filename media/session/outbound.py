"""Legs of our own: originate, wait for the answer, bridge, try other gateways (M10)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import uuid4

from media.esl.connection import Connection
from media.esl.errors import CommandError, EslError
from media.esl.inbound import Inbound
from media.esl.message import Event as SwitchEvent
from media.esl.message import Headers
from media.session import runtime
from media.session.core import BRIDGES
from media.session.hooks import Hooks
from media.session.placing import GIVEN_UP, end_of, kill, placed

TIMEOUT = 60
"Seconds that a leg may ring, as in Lua (CoreSession of switch_cpp.cpp)."
BRIDGE_TIMEOUT = 5.0
"Seconds that two answered legs have to come together."
RETRY_CAUSES = frozenset(
    ("NO_ROUTE_DESTINATION", "RECOVERY_ON_TIMER_EXPIRE", "INCOMPATIBLE_DESTINATION", "CALL_REJECTED",
     "NORMAL_TEMPORARY_FAILURE")
)  # fmt: skip
"After these another gateway may do better."
PARK_TIMEOUT = 14_400
"Seconds that a leg stays whose worker has died, at most; as a caller's in the dialplan of media/freeswitch."
_MARK = "strowger_leg"
_NOTHING = "DESTINATION_OUT_OF_ORDER"


class Session(Hooks):
    """A call, as a script sees it.

    Every command that asks the switch is a coroutine; once the call is over they return at once, with "", None or
    False, as in Lua, and :meth:`ready` is False. What is kept of the switch's events is a plain method.

    All of them raise :class:`~media.esl.errors.ArgumentError`, with nothing sent, for line ends in an argument.
    """

    __slots__ = ()

    @classmethod
    async def attach(cls, switch: Inbound, uuid: str) -> Session:
        """A session for a channel that is there already, on a connection of its own.

        :raises CommandError: where there is no such channel.
        """
        connection = await switch.another()
        try:
            await connection.send(f"myevents {uuid} plain")  # makes the channel the connection's
            await connection.send("noevents")
            session = cls(connection, await _channel(connection, uuid), cause="SUCCESS")
        except BaseException:
            await asyncio.shield(connection.close())
            raise
        session._own = True
        session._prepare()
        runtime.keep(session)
        return session

    @classmethod
    async def originate(
        cls, connection: Inbound, dial_string: str, other: Session | None = None, *, timeout: int = TIMEOUT
    ) -> Session:
        """Call somebody; returns with the answer, or early media, or with a session that is not ``ready()``.

        ``dial_string`` as the switch has it, ``{...}`` and ``[...]`` included. Then :meth:`hangup_cause` says why not.
        ``other``: the leg on whose behalf; its caller id is shown, and when it hangs up the new leg is given up.
        ``timeout``: seconds to ring, unless the dial string says ``originate_timeout``. The leg ends with the script,
        at the latest; :meth:`close` ends it before.
        """
        name, fork = str(uuid4()), is_fork(dial_string)
        variables = f"originate_timeout={timeout},park_timeout={PARK_TIMEOUT}:ALLOTTED_TIMEOUT"
        # Of several legs each has a uuid of its own: then a variable is what they have in common.
        variables += f",{_MARK if fork else 'origination_uuid'}={name}" + (_caller(other, dial_string) if other else "")
        end = f"hupall {GIVEN_UP} {_MARK} {name}" if fork else end_of(name)
        try:
            found = await placed(connection, f"{{{variables}}}{dial_string}", end, other)
        except CommandError as error:
            return cls(None, SwitchEvent(Headers(b"")), cause=error.reply.strip() or _NOTHING)
        try:
            return await cls.attach(connection, found)
        except CommandError:
            return cls(None, SwitchEvent(Headers(b"")), cause="NORMAL_CLEARING")  # it has ended already
        except BaseException:
            kill(connection, found)
            raise

    async def wait_for_answer(self, calling: Session | None = None) -> bool:
        """After early media: until the leg is answered, or one of both ended; True when it is answered."""
        if self.ready():
            self._prepare()
            self.connection.subscribe("CHANNEL_ANSWER")
        if not self.answered() and self.ready():
            self._last = await self._fresh()
        while self.ready() and not self.answered() and (calling is None or calling.ready()):
            await self._input_or(0.5 if calling else None)
        await self._hang_up_hook()
        return self.answered()

    async def _fresh(self) -> SwitchEvent:
        try:
            return await _channel(self.connection, self.uuid)
        except EslError:
            return self._last


async def originate(dial_string: str, other: Session | None = None, *, timeout: int = TIMEOUT) -> Session:
    """``freeswitch.Session(dial_string, other)``: :meth:`Session.originate` on the worker's switch."""
    return await Session.originate(runtime.switch(), dial_string, other, timeout=timeout)


async def bridge(first: Session, second: Session) -> bool:
    """Connect two legs; returns when they are apart again, each with its script. False where the switch would not.

    Afterwards no leg can go back to the dialplan by set_auto_hangup(False): it has left its place there.
    """
    if not (first.ready() and second.ready()):
        return False
    if not first.media_ready() and first.channel.get("Call-Direction") == "inbound":
        await first.pre_answer()
    for leg in (first, second):
        leg._prepare()
        leg.connection.subscribe(*BRIDGES)
        leg._set("park_after_bridge", "true")
        leg._set("park_timeout", f"{PARK_TIMEOUT}:ALLOTTED_TIMEOUT")  # serves for one park
        leg._moving = True
    try:
        answer = await first._asked("uuid_bridge", f"{first.uuid} {second.uuid}")
        return answer.startswith("+OK") and await _bridged(first, second)
    finally:
        first._moving = second._moving = False


async def _bridged(first: Session, second: Session) -> bool:
    while first.ready() and second.ready() and not first.bridged():
        if not await first._input_or(BRIDGE_TIMEOUT):
            return False
    while first.bridged():
        await first._input_or(None)
    for leg in (first, second):
        await leg._hang_up_hook()
    return True


async def retry_over_gateways(
    dial_strings: Sequence[str],
    max_tries: int = 3,
    causes: Iterable[str] = RETRY_CAUSES,
    *,
    other: Session | None = None,
    switch: Inbound | None = None,
    timeout: int = TIMEOUT,
) -> Session | str:
    """Try gateways in turn, and again from the first, at most ``max_tries`` calls; the leg, or the last cause.

    Only after one of ``causes`` is another tried: what speaks of the callee, as USER_BUSY, ends it.
    """
    if not dial_strings or max_tries < 1:
        raise ValueError("retry_over_gateways: no dial string, or no try")
    wanted = frozenset(causes)
    for number in range(max_tries):
        dial_string = dial_strings[number % len(dial_strings)]
        leg = await Session.originate(switch or runtime.switch(), dial_string, other, timeout=timeout)
        if leg.ready():
            return leg
        cause = leg.hangup_cause()
        if cause not in wanted or (other is not None and not other.ready()):
            break
    return cause


def is_fork(dial_string: str) -> bool:
    """Whether it names several channels: then no identifier of ours can be theirs."""
    bare, depth = [], 0
    for char in dial_string:
        depth += char in "[{<"
        if not depth:
            bare.append(char)
        depth -= char in "]}>"
    text = "".join(bare)
    return "," in text or "|" in text or ":_:" in text


def _caller(other: Session, dial_string: str) -> str:
    number, name = other.channel.get("Caller-Caller-ID-Number"), other.channel.get("Caller-Caller-ID-Name")
    found = ""
    for variable, value in (("origination_caller_id_number", number), ("origination_caller_id_name", name)):
        # A name is the caller's own words; what could end the list of variables or be expanded stays out.
        safe = "".join(char for char in value or "" if char.isalnum() or char in "+ .-_@")
        if safe and variable not in dial_string:
            found += f",{variable}='{safe}'"
    return found


async def _channel(connection: Connection, uuid: str) -> SwitchEvent:
    text = await connection.api("uuid_dump", uuid)
    return SwitchEvent(Headers(text.encode(), encoded=True))
