"""What happens when the call, or the script, is over (M2, M9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from media.esl import protocol
from media.session import runtime
from media.session.callbacks import called, leaves
from media.session.errors import ScriptExit
from media.session.recording import Recording
from media.session.stream import Env

_RESUME = protocol.command("resume")  # as socket_resume=true does
_EXIT = protocol.command("exit")
DRAIN_TIMEOUT = 3600.0
"Seconds that what was sent ahead may take when the script is over."


class Hooks(Recording):
    """The hangup hook, sending ahead, and closing."""

    __slots__ = ()

    def set_hangup_hook(self, function: Callable[..., Any], arg: Any = None) -> None:
        """Call ``function(session, status, arg)`` once the call is over: ``status`` is "hangup" or "transfer".

        It runs in the script's own task: within the command that was running, or with the next one, at the latest when
        the script ends. Every variable is to be had then, by ``get_variable`` and in :meth:`hangup_env`. Returning
        "exit" or "die" ends the script.
        """
        self._hook, self._hook_arg = function, arg
        if not self._gone and self._ahead is None:
            self._prepare()

    async def check_hangup_hook(self) -> bool:
        """Run the hook now if it is due; whether it ran."""
        due = self._hook is not None and bool(self._ending)
        await self._hang_up_hook()
        return due

    def hangup_env(self) -> Env:
        """The channel as it was at its end, as the ``env`` of an api_hangup_hook: headers, and variables by name."""
        values = dict(self._last.headers) | {f"variable_{name}": value for name, value in self._unsaid.items()}
        values |= {name.removeprefix("variable_"): value for name, value in values.items()}
        return Env({"uuid": self.uuid} | values)

    async def _hang_up_hook(self) -> None:
        if self._hook is None or not self._ending:
            return
        hook, self._hook = self._hook, None
        if self._ending == "hangup":
            await self._end_of_call()
        if leaves(value := await called(hook, self, self._ending, self._hook_arg)):
            raise ScriptExit(f"the hangup hook returned {value!r}")

    @contextmanager
    def ahead(self) -> Iterator[Self]:
        """Commands within need no answer: all go out in one write, and no event is asked for.

        The switch runs them one after the other. They return nothing of worth ("", False); what has to wait raises
        :class:`~media.session.errors.AnswerNeeded`. If the block raises, nothing is sent.
        """
        hung_up, self._ahead = self._hung_up, []
        try:
            yield self
            hung_up, commands = self._hung_up, self._ahead
        finally:
            self._hung_up, self._ahead = hung_up, None
        if commands and not self._gone:
            self.connection.write(*commands)
            self._sent_ahead = True

    async def close(self) -> None:
        """The script is over: run a hook that is due, hang up (see set_auto_hangup), end the connection."""
        if self._connection is None:
            return
        try:
            await self._hang_up_hook()
            if self.ready():
                await self._let_go()
            await self._hang_up_hook()
        finally:
            runtime.forget(self)
            try:
                if not self._own:
                    await runtime.end_legs()
            finally:
                await self.connection.close()

    async def _let_go(self) -> None:
        if self._sent_ahead and not self._auto_hangup and not self._static:
            await self._run("set", "sent_ahead=done")  # comes after all that was sent
        if self._static or (self._sent_ahead and not self._prepared):
            # Closing now would take the call back in the middle of it (listener_run of mod_event_socket.c).
            if not self._auto_hangup:
                self._send(_EXIT)  # only a static socket comes here: `resume` would reset its call
            elif not self._hung_up:
                self._send(protocol.hangup())
            self._cause = "NORMAL_CLEARING"
            self.connection.silence()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_TIMEOUT):
                    await self.connection.wait_closed()
            self._ended("hangup", None)
        elif self._auto_hangup:
            await self.hangup()
        else:
            self._say()
            if not self._own:
                self._send(_RESUME)
            self._ended("transfer", None)
