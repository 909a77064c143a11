"""Lines for the switch's log, global variables, and a pause (M3, M16)."""

from __future__ import annotations

import asyncio

from media.esl import protocol
from media.esl.errors import CommandError
from media.session import runtime

LEVELS = ("console", "alert", "crit", "err", "warning", "notice", "info", "debug")


def log_commands(level: str, message: str) -> list[bytes]:
    """``api log`` for each line; an unknown level is debug, as in Lua (CoreSession::consoleLog)."""
    known = level.lower() if level.lower() in LEVELS else "debug"
    return [protocol.command("api", "log", known, line) for line in message.splitlines() if line.strip()]


def console_log(level: str, message: str) -> None:
    """Write to the switch's log; console, alert, crit, err, warning, notice, info or debug.

    Nothing is waited for. A message of many lines becomes as many entries.

    :raises ConnectionClosed: without a connection to the switch.
    """
    if commands := log_commands(level, message):
        runtime.switch().connection.write(*commands)


def console_clean_log(message: str) -> None:
    """As :func:`console_log` at level "console"; over ESL FreeSWITCH knows no line without a time stamp."""
    console_log("console", message)


async def get_global_variable(name: str) -> str | None:
    """A global variable of the switch, as ``$${hold_music}``; None where there is none."""
    try:
        return (await runtime.switch().api("global_getvar", name)).strip() or None
    except CommandError:
        return None  # "-ERR no reply" is what a command that wrote nothing comes to


async def msleep(ms: int) -> None:
    """Wait so many milliseconds. With a call, use ``session.sleep``: it ends with the call."""
    await asyncio.sleep(ms / 1000)
