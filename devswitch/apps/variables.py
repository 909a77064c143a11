"""Applications for variables and logs (mod_dptools.c)."""

from __future__ import annotations

import logging

from devswitch.channel.channel import Channel
from devswitch.registry import app
from devswitch.text import listed, separate

log = logging.getLogger("devswitch.console")

_LEVELS = {
    "console": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "err": logging.ERROR,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_NUMBERS = ("console", "alert", "crit", "err", "warning", "notice", "info", "debug")


def assign(channel: Channel, pair: str) -> None:
    """``name=value``; no value, or ``_undef_``, unsets."""
    name, _, value = pair.partition("=")
    name, value = name.strip(), value.strip()
    if name:
        channel.set(name, None if value == "_undef_" else value)


@app("set", after_hangup=True, inline=True)
async def set_variable(channel: Channel, data: str) -> None:
    """``name=value``."""
    assign(channel, data)


@app("unset", after_hangup=True, inline=True)
async def unset(channel: Channel, data: str) -> None:
    """Remove a variable."""
    channel.set(data.strip(), None)


@app("multiset", after_hangup=True, inline=True)
async def multiset(channel: Channel, data: str) -> None:
    """``a=b c=d``, or with another separator ``^^;a=b;c=d``."""
    for pair in listed(data):
        assign(channel, pair)


@app("multiunset", after_hangup=True, inline=True)
async def multiunset(channel: Channel, data: str) -> None:
    """``a b c``, or ``^^;a;b``."""
    for name in listed(data):
        channel.set(name, None)


@app("export", after_hangup=True, inline=True)
async def export(channel: Channel, data: str) -> None:
    """Set a variable, and give it to the legs that the call makes; ``nolocal:`` only to these."""
    name, _, value = data.partition("=")
    local = not name.startswith("nolocal:")
    bare = name.removeprefix("nolocal:")
    exported = [listed for listed in (channel.get("export_vars") or "").split(",") if listed and listed != bare]
    channel.set("export_vars", ",".join([*exported, bare]))
    channel.set(bare if local else f"nolocal:{bare}", value)


@app("set_global", after_hangup=True, inline=True)
async def set_global(channel: Channel, data: str) -> None:
    """``name=value`` for all calls."""
    name, _, value = data.partition("=")
    channel.switch.globals[name] = value


def write_log(level: str, message: str) -> bool:
    """A line for the log; false where there is no such level."""
    name = _NUMBERS[int(level)] if level.isdigit() and int(level) < len(_NUMBERS) else level.lower()
    if name not in _LEVELS:
        return False
    log.log(_LEVELS[name], "%s", message)
    return True


@app("log", after_hangup=True, inline=True)
async def log_line(channel: Channel, data: str) -> None:
    """``[level] text``."""
    level, _, message = data.partition(" ")
    log.debug("%s logs", channel.uuid)
    if not write_log(level, message):
        write_log("debug", data)


@app("info", after_hangup=True, inline=True)
async def info(channel: Channel, _: str) -> None:
    """Write the names of the call's variables to the log; values may be the caller's."""
    log.info("%s: %s", channel.uuid, " ".join(sorted(channel.variables)))


@app("event", after_hangup=True, inline=True)
async def event(channel: Channel, data: str) -> None:
    """Fire an event with headers of one's own: ``Event-Name=CUSTOM,Event-Subclass=a::b,Name=value``."""
    pairs = (pair.partition("=") for pair in separate(data, ","))
    own = {name.strip(): value.strip() for name, _, value in pairs if name.strip()}
    name = own.pop("Event-Name", "CHANNEL_APPLICATION")
    subclass = own.pop("Event-Subclass", "")
    channel.switch.bus.fire(
        name, lambda: {**channel.headers(), **own}, subclass=subclass, unique_id=channel.uuid
    )
