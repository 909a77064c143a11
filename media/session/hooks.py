"""What happens when the call, or the script, is over (M2, M9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from media.esl import protocol
from media.esl.errors import EslError
from media.session import runtime
from media.session.callbacks import called, leaves
from media.session.errors import ScriptExit
from media.session.recording import Recording
from media.session.stream import Env

_RESUME = protocol.command("resume")  # as socket_resume=true does
_EXIT = protocol.command("exit")
DRAIN_TIMEOUT = 3600.0
"Seconds that what was sent ahead may take when the script is over."
_LATE = EslError(f"what was sent ahead takes more than {DRAIN_TIMEOUT:g} s")


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

    def ahead(self) -> Ahead:
        """Commands within need no answer: all go out in one write, and no event is asked for.

        The switch runs them one after the other. They return nothing of worth ("", False); what has to wait raises
        :class:`~media.session.errors.AnswerNeeded`. If the block raises, nothing is sent.
        """
        return Ahead(self)

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
            late = asyncio.get_running_loop().call_later(DRAIN_TIMEOUT, self.connection.link.abort, _LATE)
            try:
                await self.connection.wait_closed()
            finally:
                late.cancel()
            self._ended("hangup", None)
        elif self._auto_hangup:
            await self.hangup()
        else:
            self._say()
            if not self._own:
                self._send(_RESUME)
            self._ended("transfer", None)


class Ahead:
    """What :meth:`Hooks.ahead` gives. No generator: six functions more for each call."""

    __slots__ = ("_hung_up", "_session")

    def __init__(self, session: Hooks) -> None:
        self._session = session
        self._hung_up = session._hung_up

    def __enter__(self) -> Hooks:
        self._session._ahead = []
        return self._session

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        session = self._session
        commands, session._ahead = session._ahead, None
        if failed is not None:
            session._hung_up = self._hung_up
        elif commands and not session._gone:
            session.connection.write(*commands)
            session._sent_ahead = True
