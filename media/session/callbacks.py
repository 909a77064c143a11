"""Input callbacks: what the caller presses while something plays (M7).

A callback may return, as text (switch_ivr_process_fh of switch_ivr.c):

=================================  ====================================================================
None, "", True, "true"             go on
False, "false", "break", "stop"    stop what runs; so does any other text
"pause"                            pause, and with the next "pause" go on
"restart"                          from the beginning, at normal speed
"seek:+2000", "seek:-2000"         so many milliseconds from where we are; "seek:2000": from the beginning
"speed:+1", "speed:-1", "speed:0"  faster, slower (-2 to 2; each step is a quarter), normal
"volume:+1", "volume:-1"           louder, softer (-4 to 4); "volume:0": as recorded
"truncate"                         stop
"exit", "die"                      end the script
=================================  ====================================================================

pause, restart, seek, speed and volume act on files; while anything else runs, nothing comes of them (in Lua they stop
it).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from media.esl import protocol
from media.esl.message import Event as SwitchEvent
from media.session.core import Core, Digit
from media.session.errors import ScriptExit
from media.session.events import Event

T = TypeVar("T")

HEARD = ("MESSAGE", "DETECTED_SPEECH", "RECV_INFO")
"Events of the channel that an input callback gets."
_EXITS = ("exit", "die")


def leaves(value: Any) -> bool:
    """Whether what a callback or hook returned ends the script."""
    return isinstance(value, str) and value.lower() in _EXITS


def file_command(value: Any) -> str:
    """What a returned value asks of the playing file, for ``uuid_fileman``; "" when it stops it."""
    if not isinstance(value, str):
        return ""
    name, colon, step = (part.strip() for part in value.lower().partition(":"))
    if name in ("pause", "restart"):
        return name
    # A sign alone counts as one step, or one second.
    if name in ("speed", "volume", "seek") and colon and (step in ("+", "-") or step.lstrip("+-").isdigit()):
        return f"{name}:{step}"
    return ""


async def called(function: Callable[..., Any], *args: Any) -> Any:
    """What a function or a coroutine function returns."""
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


class Callbacks(Core):
    """Sets the callback, and runs it while a command lasts."""

    __slots__ = ()

    def set_input_callback(self, function: Callable[..., Any], arg: Any = None) -> None:
        """Call ``function(session, type, obj, arg)`` while a file, tone, speech, recording or sleep lasts.

        ``type`` is "dtmf" (``obj`` is a :class:`Digit`) or "event" (``obj`` is an :class:`Event`). The function may be
        a coroutine function. What it may return stands at the top of this module; an error of it ends the script.
        """
        self._callback, self._callback_arg = function, arg

    def unset_input_callback(self) -> None:
        """Digits are kept for the next command again."""
        self._callback = self._callback_arg = None

    async def _heard_while(self, waited: Awaitable[T]) -> tuple[T | None, bool]:
        """What ``waited`` gives, with callbacks meanwhile; and whether one of them stopped it."""
        if self._callback is None or self._ahead is not None or not self.ready():
            return await waited, False
        task = asyncio.ensure_future(waited)
        task.add_done_callback(lambda _: self._wake())
        self._hear()
        try:
            stopped = await self._serve(task)
            return await task, stopped
        finally:
            self._unhear()
            task.cancel()

    async def _serve(self, task: asyncio.Future[Any]) -> bool:
        while not task.done():
            if not self._inputs:
                await self._input_or(None)
                if self._gone and not task.done():
                    await asyncio.wait((task,))
            elif self._stops(await self._call_back(self._inputs.popleft())):
                self._send(protocol.command("api", "uuid_break", self.uuid))
                self._unhear()  # what comes now is the next command's
                await asyncio.wait((task,))
                return True
        return False

    def _hear(self) -> None:
        """Digits and events are the callback's, those kept so far first."""
        self.connection.subscribe(*HEARD)
        self._heard = True
        self._inputs.extend(self._digits)
        self._digits.clear()

    def _unhear(self) -> None:
        self._heard = False
        self._digits.extend(thing for thing in self._inputs if isinstance(thing, Digit))
        self._inputs.clear()

    async def _call_back(self, thing: Digit | SwitchEvent) -> Any:
        kind, obj = ("dtmf", thing) if isinstance(thing, Digit) else ("event", Event.of(thing))
        assert self._callback is not None
        value = await called(self._callback, self, kind, obj, self._callback_arg)
        if leaves(value):
            raise ScriptExit(f"an input callback returned {value!r}")
        return value

    def _stops(self, value: Any) -> bool:
        """Do what a callback returned; whether that stops the command."""
        if value is None or value is True or value in ("", "true", "undefined", "seek"):
            return False
        if command := file_command(value):
            # Refused where no file plays, as within recording: then nothing comes of it.
            self._send(protocol.command("api", "uuid_fileman", self.uuid, command))
            return False
        return True
