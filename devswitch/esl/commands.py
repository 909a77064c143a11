"""The commands of the event socket, and their replies word for word (mod_event_socket.c, parse_command).

They are registered in FreeSWITCH's order: a line is taken for the first command that it begins with.
"""

from __future__ import annotations

import logging
import uuid

from devswitch.channel.execute import obey
from devswitch.channel.state import Command
from devswitch.esl.connection import COMMANDS as REGISTERED
from devswitch.esl.connection import Connection, Request, asked
from devswitch.esl.notify import notify
from devswitch.esl.subscription import FORMATS, MY_EVENTS
from devswitch.events import NAMES, encode
from devswitch.switch import Switch
from devswitch.text import number, true

log = logging.getLogger("devswitch.esl")


def _words(request: Request) -> list[str]:
    return request.line.split()[1:]


@asked("filter ", single=True)
async def _filter(connection: Connection, request: Request) -> str:
    filters = connection.subscription.filters
    name, _, value = request.line[7:].strip().partition(" ")
    if name.lower() == "delete" and value:
        name, _, value = value.partition(" ")
        keep = [] if name.lower() == "all" else [f for f in filters if f[0] != name or (value and f[1] != value)]
        filters[:] = keep
        return f"+OK filter deleted. [{name}][{value}]"
    if not value:
        return "-ERR invalid syntax"
    if name.lower() == "add":
        name, _, value = value.partition(" ")
    filters.append((name, value))
    return f"+OK filter added. [{name}]=[{value}]"


@asked("resume", controls=True, single=True)
async def _resume(connection: Connection, _: Request) -> str:
    assert connection.channel
    connection.resume = True
    connection.channel.set("socket_resume", "true")
    return "+OK"


@asked("connect", controls=True, single=True)
async def _connect(connection: Connection, _: Request) -> None:
    channel = connection.channel
    assert channel
    connection.connected.set()
    headers = {
        **connection.switch.bus.base("CHANNEL_DATA"),
        **dict(channel.profile.headers("Channel")),
        **channel.headers(),
        "Content-Type": "command/reply",
        "Reply-Text": "+OK\n",
        "Socket-Mode": "async" if connection.asynchronous else "static",
        "Control": "full" if connection.full else "single-channel",
    }
    connection.write(("".join(f"{name}: {encode(value)}\n" for name, value in headers.items()) + "\n").encode())


@asked("getvar", controls=True, single=True)
async def _getvar(connection: Connection, request: Request) -> str:
    assert connection.channel
    words = _words(request)
    # An empty reply is taken for none, so a variable that is not set reads as a command that is not known.
    return (connection.channel.get(words[0]) or "" if words else "") or "-ERR command not found"


@asked("myevents", controls=True, single=True)
@asked("myevents ", single=True)
async def _myevents(connection: Connection, request: Request) -> str:
    subscription, words = connection.subscription, _words(request)
    if subscription.only is not None:
        return "-ERR aready enabled."
    if connection.channel is None and words:
        if found := connection.switch.find(words[0]):
            connection.control(found)
        elif len(words) > 1:
            return "-ERR invalid uuid"
    subscription.only = connection.channel.uuid if connection.channel else words[0]
    subscription.names |= MY_EVENTS
    subscription.enabled = True
    subscription.form = next((word.lower() for word in words if word.lower() in FORMATS), subscription.form)
    return "+OK Events Enabled"


@asked("divert_events", single=True)
async def _divert(connection: Connection, request: Request) -> str:
    if not connection.channel:
        return "-ERR not controlling a session."
    if not (words := _words(request)):
        return "-ERR missing value."
    return "+OK events diverted" if words[0].lower() == "on" else "+OK events not diverted"


@asked("sendmsg", single=True)
async def _sendmsg(connection: Connection, request: Request) -> str:
    target = request.line[7:].strip() or request.get("session-id")
    own = connection.channel
    asked = Command(request.headers, request.body)
    if own and target in ("", own.uuid):
        if connection.asynchronous or true(request.get("async")):
            own.send(asked)
        else:
            await obey(own, asked, tells=False)
        return "+OK"
    channel = connection.switch.find(target)
    if channel is None:
        return f"-ERR invalid session id [{target}]"
    channel.send(asked)
    return "+OK"


_OWN_HEADERS = {"content-length", "event-name", "event-subclass"}


@asked("sendevent")
async def _sendevent(connection: Connection, request: Request) -> str:
    word = (_words(request) or ["CLONE"])[0].upper()
    name = word if word in NAMES else "CLONE"
    event_uuid = str(uuid.uuid4())
    subclass = request.get("event-subclass")
    headers = {key: value for key, value in request.headers.items() if key.lower() not in _OWN_HEADERS}
    headers |= {"Command": request.line, "Event-UUID": event_uuid}
    connection.switch.bus.fire(
        name, headers, request.body, subclass=subclass, unique_id=request.get("unique-id")
    )
    if name == "NOTIFY":
        connection.switch.spawn(notify(connection.switch, request.headers, request.body))
    return f"+OK {event_uuid}"


@asked("api ")
async def _api(connection: Connection, request: Request) -> None:
    answer = await api_answer(connection.switch, request.line[4:]) or "-ERR no reply\n"
    content = answer.encode()
    connection.write(f"Content-Type: api/response\nContent-Length: {len(content)}\n\n".encode() + content)


async def api_answer(switch: Switch, line: str) -> str:
    """What a line such as ``uuid_exists 1234`` is answered."""
    name, _, arguments = line.partition(" ")
    try:
        answer = await switch.api(name, arguments)
    except Exception:
        log.exception("api %s failed", name)
        return f"-ERR {name} failed\n"
    return f"-ERR {name} Command not found!\n" if answer is None else answer


@asked("bgapi ")
async def _bgapi(connection: Connection, request: Request) -> None:
    job = request.get("job-uuid") or str(uuid.uuid4())
    name, _, arguments = request.line[6:].partition(" ")
    about = {"Job-UUID": job, "Job-Command": name} | ({"Job-Command-Arg": arguments} if arguments else {})
    if connection.channel:
        about["Job-Owner-UUID"] = connection.channel.uuid
    bus = connection.switch.bus

    async def work() -> None:
        bus.fire("BACKGROUND_JOB", about, await api_answer(connection.switch, request.line[6:]))

    connection.reply(f"+OK Job-UUID: {job}", headers=f"Job-UUID: {job}\n")
    connection.switch.spawn(work())


@asked("log")
async def _log(connection: Connection, request: Request) -> str:
    connection.logging = True
    level = (_words(request) or [""])[0]
    return f"+OK log level {level} [{number(level, 7)}]"


@asked("linger")
async def _linger(connection: Connection, request: Request) -> str:
    if not connection.channel:
        return "-ERR not controlling a session"
    words = _words(request)
    connection.linger = float(number(words[0])) if words else -1
    return f"+OK will linger {int(connection.linger)} seconds" if words else "+OK will linger"


@asked("nolinger")
async def _nolinger(connection: Connection, _: Request) -> str:
    if not connection.channel:
        return "-ERR not controlling a session"
    connection.linger = None
    return "+OK will not linger"


@asked("nolog")
async def _nolog(connection: Connection, _: Request) -> str:
    was, connection.logging = connection.logging, False
    return "+OK no longer logging" if was else "-ERR not loging"


@asked("event")
async def _event(connection: Connection, request: Request) -> str:
    if not connection.subscription.add(_words(request)):
        return "-ERR no keywords supplied"
    connection.subscription.enabled = True
    return f"+OK event listener enabled {connection.subscription.form}"


@asked("nixevent")
async def _nixevent(connection: Connection, request: Request) -> str:
    if not connection.subscription.remove(_words(request)):
        return "-ERR no keywords supplied"
    connection.subscription.enabled = True
    return "+OK events nixed"


@asked("noevents")
async def _noevents(connection: Connection, _: Request) -> str:
    if not connection.subscription.enabled:
        return "-ERR not listening for events"
    connection.subscription.clear()
    return "+OK no longer listening for events"


COMMANDS = (*dict.fromkeys(entry.prefix.strip() for entry in REGISTERED), "auth", "exit")
