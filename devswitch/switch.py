"""The switch: its channels, its variables, and what happens when a call comes in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from devswitch.apps.phrases import Phrases
from devswitch.apps.playing import OnDigit, Status
from devswitch.channel import execute, lifecycle
from devswitch.channel.channel import Channel
from devswitch.channel.profile import Profile
from devswitch.channel.sipvars import inbound_variables, is_private
from devswitch.channel.state import State
from devswitch.dialplan.dialplan import Action, Dialplan
from devswitch.events import Bus
from devswitch.leg import Leg
from devswitch.registry import COMMANDS
from devswitch.sip.message import Request
from devswitch.text import expand, true

log = logging.getLogger("devswitch")

VERSION = "1.11.1"
"The FreeSWITCH whose behaviour is followed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the switch is set up; paths may be absent where nothing needs them."""

    profile: str = "internal"
    "The name of its SIP profile, as in sofia/internal/..."
    context: str = "strowger"
    "The dialplan's context for calls that come in."
    dialplan: Path | None = None
    sounds: Path = Path("sounds")
    recordings: Path = Path("recordings")
    phrases: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    "Global variables."


class Endpoint(Protocol):
    """What the switch needs of its SIP socket."""

    paused: bool

    @property
    def address(self) -> tuple[str, int]: ...

    def originate(
        self,
        uri: str,
        *,
        caller: str,
        caller_name: str = "",
        headers: Mapping[str, str] = ...,
        proxy: str | None = None,
    ) -> Leg: ...

    async def send_request(self, method: str, uri: str, headers: Mapping[str, str], body: str = "") -> int: ...


class Switch:
    """Everything that lives for as long as the switch does."""

    def __init__(self, options: Options, dialplan: Dialplan | None = None) -> None:
        self.options = options
        self.bus = Bus()
        self.started = time.time()
        self.globals: dict[str, str] = {
            "sound_prefix": str(options.sounds),
            "sounds_dir": str(options.sounds),
            "recordings_dir": str(options.recordings),
            "core_uuid": self.bus.core_uuid,
            **options.variables,
        }
        self.channels: dict[str, Channel] = {}
        self.dialplan = dialplan or Dialplan()
        self.endpoint: Endpoint | None = None
        self.tables: dict[str, dict[str, str]] = {"db": {}, "hash": {}}
        "What the commands db and hash keep, by realm/key."
        self.sessions = 0
        self.scheduled = 0
        self.stopping = asyncio.Event()
        self.phrases = Phrases()
        self.execute = execute.execute
        self.execute_on = execute.execute_on
        self.run_commands = execute.run_commands
        self._tasks: set[asyncio.Task[Any]] = set()

    def load_dialplan(self) -> None:
        """Read the dialplan anew; raises :class:`~devswitch.dialplan.xmltree.XmlError`, and the old one stays."""
        if self.options.dialplan:
            self.dialplan = Dialplan.load(self.options.dialplan, self.globals)

    # -- channels ----------------------------------------------------------------------------------------------------

    def on_invite(self, leg: Leg) -> None:
        """A call came in: its channel begins to live."""
        profile = Profile(
            unique_id=leg.uuid,
            channel_name=f"sofia/{self.options.profile}/{leg.caller}@{leg.remote_address}",
            direction="inbound",
            destination_number=leg.callee,
            caller_id_number=leg.caller,
            caller_id_name=leg.caller_name or leg.caller,
            username=leg.caller,
            network_addr=leg.remote_address,
            context=self.options.context,
            private=is_private(leg),
        )
        channel = Channel(self, leg, profile)
        channel.variables.update(inbound_variables(leg, self.options.profile))
        self.begin(channel)

    def on_message(self, request: Request) -> None:
        """A MESSAGE outside of calls came in: an event of that name tells of it."""
        if request.method == "MESSAGE":
            sender, target = request.from_.uri, request.to.uri
            headers = {"proto": "sip", "from": sender, "to": target, "type": request.headers.get("Content-Type", "")}
            self.bus.fire("MESSAGE", headers, request.body.decode(errors="replace"))

    def begin(self, channel: Channel) -> None:
        """Let a channel live."""
        self.sessions += 1
        channel.variables |= {
            "direction": channel.profile.direction,
            "uuid": channel.uuid,
            "session_id": str(self.sessions),
            "channel_name": channel.name,
        }
        self.channels[channel.uuid] = channel
        self.spawn(lifecycle.live(channel))

    def find(self, uuid: str) -> Channel | None:
        """A channel that has not hung up (switch_core_session_locate)."""
        channel = self.channels.get(uuid)
        return channel if channel and channel.up else None

    def transfer(self, channel: Channel, extension: str, dialplan: str = "", context: str = "") -> None:
        """Send a channel to another extension (switch_ivr_session_transfer)."""
        _flip(channel)
        profile = channel.profile
        if profile.dialplan.lower() == "inline" and not dialplan:
            dialplan = "XML"
        channel.profile = profile.transferred(
            extension or "service", dialplan or profile.dialplan, context or profile.context
        )
        channel.transferring = True
        channel.extension.clear()
        channel.move(State.CS_ROUTING)

    def run_actions(self, channel: Channel, actions: list[Action]) -> None:
        """Let a channel execute these applications, whatever it does now."""
        _flip(channel)
        channel.extension = deque(actions)
        channel.transferring = channel.running_state is State.CS_EXECUTE
        channel.move(State.CS_EXECUTE)

    # -- commands and texts ------------------------------------------------------------------------------------------

    async def api(self, name: str, arguments: str = "", channel: Channel | None = None) -> str | None:
        """What an API command answers; None: there is no such command."""
        command = COMMANDS.get(name.lower())
        if command is None:
            return None
        answer = await command(self, arguments, channel)
        self.bus.fire("API", {"API-Command": name} | ({"API-Command-Argument": arguments} if arguments else {}))
        return answer

    async def phrase(self, channel: Channel, name: str, argument: str, on_digit: OnDigit | None) -> Status:
        """Play a phrase macro."""
        return await self.phrases.play(channel, name, argument, on_digit)

    async def expand(self, text: str, channel: Channel | None = None) -> str:
        """``text`` with variables and API commands expanded."""
        lookup: Callable[[str], str | None] = channel.get if channel else self.globals.get

        async def call(name: str, arguments: str) -> str:
            # Off as in media/freeswitch: a caller's name may be written so that it would run something.
            if not true(self.globals.get("api_expansion", "")):
                return "<API Execute Permission Denied>"
            return await self.api(name, arguments, channel) or ""

        return await expand(text, lookup, call)

    # -- life --------------------------------------------------------------------------------------------------------

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """Run something beside; it is cancelled when the switch stops."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self, seconds: float = 5.0) -> None:
        """Hang up every call, and give them ``seconds`` to end."""
        for channel in list(self.channels.values()):
            channel.hangup("SYSTEM_SHUTDOWN")
        living = [task for task in self._tasks if task is not asyncio.current_task()]
        if living:
            await asyncio.wait(living, timeout=seconds)
        for task in self._tasks:
            task.cancel()


def _flip(channel: Channel) -> None:
    channel.in_dialplan = True
    if not channel.leg.inbound and "channel_cid_flipped" not in channel.variables:
        channel.set("pre_transfer_caller_id_number", channel.profile.caller_id_number)
        channel.set("channel_cid_flipped", "yes")
        channel.profile = channel.profile.flipped()
