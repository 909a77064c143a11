"""The face of a call script: a coroutine under a name.

    from media.script import script

    @script("welcome", numbers=("5000",))
    async def welcome(session):
        await session.answer()
        await session.stream_file("ivr/ivr-welcome_to_freeswitch.wav")
        await session.hangup()

A script names the parameters that it wants, of these, in any order:

- ``session``: the call. A script with it is attached to a call: it is run for one, and the call ends with it.
- ``env``: headers by name: what the command line or the web request says, or the variables of the call.
- ``stream``: takes what the script has to say; whoever ran it reads that.
- ``args``: the text that it was given, from the policy, the dialplan or the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Awaitable[object]])
PARAMETERS = ("session", "env", "stream", "args")
REGISTERED = "__scripts__"
"Where a module keeps its scripts: a list, so that two under one name are both seen."


class ScriptError(ValueError):
    """A script is not declared as it must be; the message says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script as its module declares it."""

    name: str
    function: Callable[..., Awaitable[object]]
    numbers: tuple[str, ...]
    wants: tuple[str, ...]
    "Names of the parameters that it takes."
    http: bool
    "Whether it may be run over HTTP."
    ahead: bool = False
    "Whether all that it asks of the switch is sent at once, at its end."

    @property
    def attached(self) -> bool:
        """Whether it needs a call."""
        return "session" in self.wants

    @property
    def keys(self) -> frozenset[str]:
        """The names and numbers it answers to."""
        return frozenset((self.name, *self.numbers))

    @property
    def line(self) -> int:
        """Where it begins in its file."""
        return self.function.__code__.co_firstlineno

    def run(self, **given: Any) -> Awaitable[object]:
        """Call it with those of ``given`` that it wants."""
        return self.function(**{name: given[name] for name in self.wants})


def script(
    name: str, *, numbers: tuple[str, ...] = (), http: bool = False, ahead: bool = False
) -> Callable[[Function], Function]:
    """Declare the coroutine below as the script ``name``; the function stays what it was.

    ``numbers`` are called numbers that lead to it where a call names no script. With ``http`` it may be run over HTTP.
    With ``ahead`` the whole of it is sent ahead, as if it stood in ``with session.ahead()``: its commands go out when
    it has ended, and none of them has an answer. Raises :class:`ScriptError`.
    """
    if not isinstance(name, str) or not _sound(name):
        raise ScriptError(f"a script's name is letters, digits and . _ + * # -, not {name!r}")
    if isinstance(numbers, str) or not all(isinstance(number, str) and _sound(number) for number in numbers):
        raise ScriptError(f'the numbers of {name!r} are texts in a tuple, such as ("5000",), not {numbers!r}')

    def declare(function: Function) -> Function:
        wants = _wants(name, function)
        if ahead and "session" not in wants:
            raise ScriptError(f"{name!r} is to be sent ahead, and has no session to send anything by")
        found = Script(name=name, function=function, numbers=tuple(numbers), wants=wants, http=http, ahead=ahead)
        function.__globals__.setdefault(REGISTERED, []).append(found)
        return function

    return declare


def _sound(key: str) -> bool:
    """Whether it can stand in a URL, a dialplan and a shell as it is."""
    return bool(key) and all(char.isalnum() or char in "._+*#-" for char in key)


def _wants(name: str, function: Function) -> tuple[str, ...]:
    if not inspect.iscoroutinefunction(function):
        raise ScriptError(f"{name!r} is not declared with async def")
    wants = tuple(inspect.signature(function).parameters)
    for parameter in wants:
        if parameter not in PARAMETERS:
            raise ScriptError(f"{name!r} takes {parameter!r}; a script takes any of {', '.join(PARAMETERS)}")
    return wants
