"""Commands of the switch's API (M4)."""

from __future__ import annotations

import time
from typing import Literal

from media.esl.connection import Connection
from media.esl.errors import ArgumentError, CommandError
from media.esl.inbound import Inbound
from media.session import recorded, runtime

UuidCommand = Literal[
    "answer", "audio", "break", "bridge", "broadcast", "buglist", "chat", "debug_media", "deflect", "displace",
    "display", "drop_dtmf", "dual_transfer", "dump", "early_ok", "exists", "fileman", "flush_dtmf", "getvar", "hold",
    "jitterbuffer", "kill", "limit", "limit_release", "loglevel", "media", "media_reneg", "outgoing_answer", "park",
    "pause", "phone_event", "pre_answer", "preprocess", "record", "recovery_refresh", "recv_dtmf", "redirect",
    "ring_ready", "send_dtmf", "send_info", "send_message", "send_text", "session_heartbeat", "set_media_stats",
    "setvar", "setvar_multi", "simplify", "transfer", "video_refresh", "xfer_zombie", "zombie_exec",
]  # fmt: skip
_LEAST = {
    "audio": 1, "bridge": 1, "broadcast": 1, "chat": 1, "deflect": 1, "displace": 1, "display": 1, "dual_transfer": 1,
    "fileman": 1, "getvar": 1, "limit": 3, "loglevel": 1, "pause": 1, "record": 2, "recv_dtmf": 1, "redirect": 1,
    "send_dtmf": 1, "send_info": 1, "send_message": 1, "send_text": 1, "setvar": 1, "setvar_multi": 1, "transfer": 1,
}  # fmt: skip
"Arguments beside the uuid that a command cannot do without."
_WORD_FIRST = {"hold": ("off", "toggle"), "media": ("off",)}
"Their word stands before the uuid: ``uuid_hold off <uuid>``."


class API:
    """Asks the switch; by default the worker's."""

    __slots__ = ("_switch",)

    def __init__(self, switch: Inbound | Connection | None = None) -> None:
        self._switch = switch or runtime.switch()

    async def execute(self, command: str, args: str = "") -> str:
        """What the command wrote, errors (``-ERR ...``) included, as in Lua.

        :raises ArgumentError: for a line end in ``args``.
        :raises ConnectionClosed: without a connection to the switch.
        """
        try:
            return await self._switch.api(command, args)
        except CommandError as error:
            return f"-ERR {error.reply}"

    async def execute_string(self, line: str) -> str:
        """``sofia status``: command and arguments as one text."""
        command, _, args = line.strip().partition(" ")
        return await self.execute(command, args)

    async def background(self, command: str, args: str = "") -> str:
        """As :meth:`execute`, run by the switch in a thread of its own (bgapi): for what takes long, as `originate`."""
        try:
            return await self._switch.bgapi(command, args)
        except CommandError as error:
            return f"-ERR {error.reply}"

    async def uuid(self, command: UuidCommand, uuid: str, *args: str | int) -> str:
        """``uuid("hold", session.uuid, "toggle")``: any command of the uuid_* family.

        :raises ArgumentError: where an argument is missing.
        """
        line = uuid_arguments(command, uuid, args)
        if command == "record" and args[0] == "start":
            recorded.tell(str(args[1]))
        return await self.execute(f"uuid_{command}", line)

    def get_time(self) -> str:
        """Now, in milliseconds since 1970, as text."""
        return str(time.time_ns() // 1_000_000)


def uuid_arguments(command: str, uuid: str, args: tuple[str | int, ...]) -> str:
    """What stands behind ``uuid_<command>``; :class:`ArgumentError` where something is missing."""
    least = _LEAST.get(command, 0)
    if len(args) < least or not uuid or " " in uuid:
        raise ArgumentError(f"uuid_{command} wants a uuid and {least} argument{'' if least == 1 else 's'} at least")
    words = [str(arg) for arg in args]
    if words and words[0] in _WORD_FIRST.get(command, ()):
        return " ".join((words[0], uuid, *words[1:]))
    return " ".join((uuid, *words))
