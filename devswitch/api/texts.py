"""API commands that know no call: variables, texts, time, small tables (mod_commands.c, mod_db.c, mod_hash.c)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
import uuid
from urllib.parse import unquote

from devswitch.apps.phrases import Phrases
from devswitch.apps.variables import write_log
from devswitch.channel.channel import Channel
from devswitch.dialplan.xmltree import XmlError
from devswitch.events import encode
from devswitch.registry import command
from devswitch.switch import Switch
from devswitch.text import number

log = logging.getLogger("devswitch")

_NOTHING = "-ERR no reply\n"


@command("echo")
async def echo(_: Switch, arguments: str, __: Channel | None) -> str:
    return arguments


@command("eval")
async def evaluate(switch: Switch, arguments: str, channel: Channel | None) -> str:
    """``[uuid:UUID ]text`` with its variables expanded."""
    found, text = _with_uuid(switch, arguments)
    return await switch.expand(text, found or channel)


@command("expand")
async def expand(switch: Switch, arguments: str, channel: Channel | None) -> str:
    """``[uuid:UUID ]command``: run a command whose arguments are expanded before."""
    found, text = _with_uuid(switch, arguments)
    name, _, rest = (await switch.expand(text, found or channel)).partition(" ")
    answer = await switch.api(name, rest, channel)
    return f"-ERR {name} Command not found!\n" if answer is None else answer


def _with_uuid(switch: Switch, arguments: str) -> tuple[Channel | None, str]:
    if not arguments.startswith("uuid:"):
        return None, arguments
    uuid_, _, text = arguments[5:].partition(" ")
    return switch.find(uuid_), text


@command("create_uuid")
async def create_uuid(_: Switch, __: str, ___: Channel | None) -> str:
    return str(uuid.uuid4())


@command("global_getvar")
async def global_getvar(switch: Switch, arguments: str, _: Channel | None) -> str:
    if name := arguments.strip():
        return switch.globals.get(name, "")
    return "".join(f"{name}={value}\n" for name, value in switch.globals.items())


@command("global_setvar")
async def global_setvar(switch: Switch, arguments: str, _: Channel | None) -> str:
    name, _separator, value = arguments.partition("=")
    switch.globals[name.strip()] = value
    return "+OK"


@command("log")
async def log_line(_: Switch, arguments: str, __: Channel | None) -> str:
    level, _separator, message = arguments.partition(" ")
    return "+OK\n" if write_log(level, message) else "-USAGE: <level> <message>\n"


@command("md5")
async def md5(_: Switch, arguments: str, __: Channel | None) -> str:
    return hashlib.md5(arguments.encode(), usedforsecurity=False).hexdigest()


@command("url_encode")
async def url_encode(_: Switch, arguments: str, __: Channel | None) -> str:
    return encode(arguments)


@command("url_decode")
async def url_decode(_: Switch, arguments: str, __: Channel | None) -> str:
    return unquote(arguments)


@command("toupper")
async def toupper(_: Switch, arguments: str, __: Channel | None) -> str:
    return arguments.upper()


@command("tolower")
async def tolower(_: Switch, arguments: str, __: Channel | None) -> str:
    return arguments.lower()


@command("regex")
async def regex(_: Switch, arguments: str, __: Channel | None) -> str:
    """``text|pattern[|substitution[|n or b]]``; another separator with ``m:~text~pattern``."""
    separator, text = "|", arguments
    if match := re.match(r"m:(.)", arguments):
        separator, text = match[1], arguments[match.end() :]
    parts = text.split(separator)
    if len(parts) < 2:
        return "-ERR"
    try:
        found = re.search(parts[1].strip("/") if parts[1].startswith("/") else parts[1], parts[0])
    except re.error as error:
        log.error("regex: %s", error)
        return "false"
    if len(parts) < 3:
        return "true" if found else "false"
    if found is None:
        return {"n": "", "b": "false"}.get(parts[3] if len(parts) > 3 else "", parts[0])
    return re.sub(r"[$%](\d+)", lambda m: (found[int(m[1])] or "") if int(m[1]) <= found.re.groups else "", parts[2])


@command("cond")
async def cond(_: Switch, arguments: str, __: Channel | None) -> str:
    """``a == b ? yes : no``, also with != > >= < <=; numbers are compared as numbers."""
    match = re.fullmatch(r"\s*(.*?)\s+(==|!=|>=|<=|>|<)\s+(.*?)\s*\?\s*(.*?)\s*:\s*(.*?)\s*", arguments, re.DOTALL)
    if not match:
        return "-ERR"
    left, sign, right, yes, no = (_unquoted(group) for group in match.groups())
    try:
        order = float(left) - float(right)
    except ValueError:
        order = (left > right) - (left < right)
    true = {"==": not order, "!=": bool(order), ">": order > 0, ">=": order >= 0, "<": order < 0, "<=": order <= 0}
    return yes if true[sign] else no


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "'" else text


@command("strepoch")
async def strepoch(_: Switch, arguments: str, __: Channel | None) -> str:
    """Seconds since the epoch, now or at ``YYYY-mm-dd HH:MM:SS``."""
    if text := arguments.strip():
        try:
            return str(int(time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))))
        except ValueError:
            return "-ERR\n"
    return str(int(time.time()))


@command("strmicroepoch")
async def strmicroepoch(_: Switch, __: str, ___: Channel | None) -> str:
    return str(time.time_ns() // 1000)


@command("strftime")
async def strftime(_: Switch, arguments: str, __: Channel | None) -> str:
    """``[epoch|]format``."""
    stamp, found, form = arguments.partition("|")
    moment = time.localtime(number(stamp)) if found else time.localtime()
    return time.strftime((form if found else arguments) or "%Y-%m-%d %H:%M:%S", moment)


@command("msleep")
async def msleep(_: Switch, arguments: str, __: Channel | None) -> str:
    await asyncio.sleep(number(arguments) / 1000)
    return "+OK"


@command("db")
async def db(switch: Switch, arguments: str, _: Channel | None) -> str:
    """``insert/realm/key/value``, ``select|delete|exists/realm/key``, ``count/realm``."""
    answer = _table(switch.tables["db"], arguments)
    return {"missing": "+OK", "ok": "+OK"}.get(answer or "", answer or "-ERR invalid arguments\n")


@command("hash")
async def hash_(switch: Switch, arguments: str, _: Channel | None) -> str:
    """The same table functions, with hash's answers."""
    answer = _table(switch.tables["hash"], arguments)
    known = {"missing": "-ERR Not found\n", "ok": "+OK\n"}
    return known.get(answer or "", answer or "-USAGE: [insert|delete|select]/<realm>/<key>/<value>\n")


def _table(table: dict[str, str], arguments: str) -> str | None:
    action, *rest = arguments.split("/", 3)
    name = "/".join(rest[:2])
    match action, len(rest):
        case ("insert", 3):
            table[name] = rest[2]
            return "ok"
        case ("select", 2):
            return table.get(name) or _NOTHING
        case ("delete", 2):
            return "ok" if table.pop(name, None) is not None else "missing"
        case ("exists", 2):
            return "true" if name in table else "false"
        case ("count", 1):
            return str(sum(key.startswith(f"{rest[0]}/") for key in table))
    return None


@command("reloadxml")
async def reloadxml(switch: Switch, _: str, __: Channel | None) -> str:
    try:
        switch.load_dialplan()
        if switch.options.phrases:
            switch.phrases = Phrases.load(switch.options.phrases, switch.globals)
    except XmlError as error:
        log.error("%s", error)
        return f"-ERR [{error}]\n"
    switch.bus.fire("RELOADXML", {})
    return "+OK [Success]\n"


@command("sched_api")
async def sched_api(switch: Switch, arguments: str, _: Channel | None) -> str:
    """``[+]seconds group command``: run a command later."""
    words = arguments.split(None, 2)
    if len(words) < 3:
        return "-USAGE: [+@]<time> <group_name> <command_string>[&]\n"
    when, _group, line = words
    seconds = float(number(when[1:])) if when.startswith("+") else number(when) - time.time()
    switch.scheduled += 1
    switch.spawn(_later(switch, max(seconds, 0), line))
    return f"+OK Added: {switch.scheduled}\n"


async def _later(switch: Switch, seconds: float, line: str) -> None:
    await asyncio.sleep(seconds)
    name, _, arguments = line.partition(" ")
    if await switch.api(name, arguments) is None:
        log.error("sched_api: there is no command %s", name)
