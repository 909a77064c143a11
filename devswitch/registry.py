"""The applications and API commands that the switch knows, by name.

Modules register theirs at import (``@app("playback")``, ``@command("uuid_kill")``); ``devswitch.catalogue`` imports
them all. What is in neither table is refused by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devswitch.channel.channel import Channel
    from devswitch.switch import Switch

AppFunction = Callable[["Channel", str], Awaitable[None]]
CommandFunction = Callable[["Switch", str, "Channel | None"], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class App:
    """A dialplan application."""

    run: AppFunction
    media: bool
    "The caller hears early media before it runs (in FreeSWITCH: no SAF_SUPPORT_NOMEDIA)."
    after_hangup: bool
    "It runs on channels that have hung up, too (SAF_ZOMBIE_EXEC)."
    inline: bool
    "An action of the dialplan may run it at once (SAF_ROUTING_EXEC)."


APPS: dict[str, App] = {}
COMMANDS: dict[str, CommandFunction] = {}


def app(
    name: str, *, media: bool = False, after_hangup: bool = False, inline: bool = False
) -> Callable[[AppFunction], AppFunction]:
    """Register a dialplan application."""

    def register(function: AppFunction) -> AppFunction:
        APPS[name] = App(function, media, after_hangup, inline)
        return function

    return register


def command(*names: str) -> Callable[[CommandFunction], CommandFunction]:
    """Register an API command; it gets its arguments as one text, and answers with a text."""

    def register(function: CommandFunction) -> CommandFunction:
        COMMANDS.update(dict.fromkeys(names, function))
        return function

    return register
