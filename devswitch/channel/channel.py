"""A channel: one leg of a call with its state, variables, digits and the commands that wait for it.

States, call states and the order of events are those of FreeSWITCH (switch_channel.c). A channel has one task that
executes applications; everything else (digits, commands, hangups) only leaves word and wakes that task.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from devswitch.channel.headers import event_headers
from devswitch.channel.profile import Profile, now
from devswitch.channel.sipvars import hangup_variables
from devswitch.channel.state import Command, State
from devswitch.leg import Frame, Leg, LegEnded

if TYPE_CHECKING:
    from devswitch.apps.playing import Playing
    from devswitch.apps.recording import Recording
    from devswitch.audio.recorder import Recorder
    from devswitch.dialplan.dialplan import Action
    from devswitch.switch import Switch


class Channel:
    """One leg of a call."""

    def __init__(self, switch: Switch, leg: Leg, profile: Profile) -> None:
        self.switch = switch
        self.leg = leg
        self.profile = profile
        self.uuid = leg.uuid
        self.name = profile.channel_name
        self.variables: dict[str, str] = {}
        self.scopes: list[dict[str, str]] = []
        "Variables of the applications that run, each for as long as it does."
        self.state = State.CS_NEW
        self.running_state = State.CS_NEW
        self.call_state = "DOWN"
        self.answered = False
        self.early = False
        self.hangup_cause = ""
        self.extension: deque[Action] = deque()
        "Applications that the dialplan still has for the channel."
        self.digits: deque[tuple[str, int]] = deque()
        self.commands: deque[Command] = deque()
        self.locked = False
        "A command with event-lock is being executed: the others wait."
        self.parsing = 0
        self.broken = False
        self.stop_broadcast = False
        self.controlled = False
        self.transferring = False
        self.in_dialplan = leg.inbound
        self.dialled = ""
        "The digits that were taken off the queue."
        self.partner: Channel | None = None
        self.joining: Channel | None = None
        "Whom uuid_bridge wants it to talk to."
        self.other: Profile | None = None
        self.bridged = False
        self.originator = False
        self.closers: list[Callable[[], None]] = []
        "Called when the channel has hung up, before the report."
        self.watchers: list[Callable[[], None]] = []
        "Called whenever the channel's task is woken."
        self.holders: list[asyncio.Future[None]] = []
        "Those whom the channel's end waits for (a lingering ESL connection)."
        self.playing: Playing | None = None
        "What is played, and may be paused, sought and the like."
        self.said: Frame | None = None
        "What the leg was last given to say."
        self.recorder: Recorder | None = None
        "Of the application record, while it runs."
        self.recordings: dict[str, Recording] = {}
        "Recordings of the call that run beside, by path."
        self._awake = asyncio.Event()
        leg.on_digit = self.queue_digit
        leg.on_hangup = self._left

    # -- variables ---------------------------------------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """A variable, else a field of the profile, else a global variable."""
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if (value := self.variables.get(name)) is not None:
            return value
        if (value := self.profile.get(name)) is not None:
            return value
        return self.switch.globals.get(name)

    def set(self, name: str, value: str | None) -> None:
        """Set a variable; empty values remove it, as switch_channel_set_variable does."""
        if value:
            self.variables[name] = value
        else:
            self.variables.pop(name, None)

    # -- state -------------------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """It has not hung up."""
        return self.state < State.CS_HANGUP or self.state is State.CS_NONE

    @property
    def ready(self) -> bool:
        """Applications may go on: neither hung up nor transferred (switch_channel_ready)."""
        return not self.hangup_cause and self.state == self.running_state and not self.transferring

    @property
    def media_ready(self) -> bool:
        return self.answered or self.early

    @property
    def answer_state(self) -> str:
        if self.hangup_cause:
            return "hangup"
        return "answered" if self.answered else "early" if self.early else "ringing"

    def move(self, state: State) -> None:
        """Go to another state; the running application sees that it is to end."""
        if self.up:
            self.state = state
            self.wake()

    def enter(self, state: State) -> None:
        """The channel's task has come to a state (switch_channel_perform_set_running_state)."""
        self.state = self.running_state = state
        if self.profile.direction == "inbound" and state < State.CS_HANGUP:
            if state is State.CS_ROUTING:
                self.calling("RINGING")
            elif self.media_ready:
                self.calling("ACTIVE" if self.answered else "EARLY")
        self.fire("CHANNEL_STATE")

    def calling(self, call_state: str) -> None:
        """Tell a new call state."""
        if call_state != self.call_state and self.call_state != "HANGUP":
            before, self.call_state = self.call_state, call_state
            self.fire("CHANNEL_CALLSTATE", {"Original-Channel-Call-State": before})

    def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call; the channel's task does the rest. Later causes are ignored."""
        if self.hangup_cause:
            return
        self.hangup_cause = cause
        self.state = State.CS_HANGUP
        self.profile.times.hangup = now()
        if self.partner:
            self.partner.set("last_bridge_hangup_cause", cause)
            specific = self.variables.get("proto_specific_hangup_cause")
            self.partner.set("last_bridge_proto_specific_hangup_cause", specific)
        self.fire("CHANNEL_HANGUP")
        self.wake()

    def _left(self, cause: str, status: int) -> None:
        if not self.hangup_cause:
            inbound = self.profile.direction == "inbound"
            for name, value in hangup_variables(cause, status, inbound=inbound).items():
                self.set(name, value)
        self.hangup(cause)

    # -- what the caller hears of the state --------------------------------------------------------------------------

    async def answer(self) -> None:
        """Answer the call, unless it is."""
        if self.answered or not self.up:
            return
        with contextlib.suppress(LegEnded):
            await self.leg.answer()
            self.note_answer()
            await self.switch.execute_on(self, "execute_on_answer")

    async def pre_answer(self) -> bool:
        """Let early media flow, unless media does; false if it cannot."""
        if self.media_ready or not self.up:
            return self.media_ready
        if not self.leg.inbound:
            return False
        try:
            await self.leg.pre_answer()
        except LegEnded:
            return False
        self.note_early_media()
        await self.switch.execute_on(self, "execute_on_media")
        return True

    async def ring(self) -> None:
        """Tell the caller that it rings, unless media flows."""
        if self.media_ready or not self.up:
            return
        with contextlib.suppress(LegEnded):
            await self.leg.ring()
            self.note_ringing()
            await self.switch.execute_on(self, "execute_on_ring")

    def note_answer(self) -> None:
        """Both ends know that the call is answered."""
        if self.answered:
            return
        self.answered = True
        self.profile.times.answered = now()
        self.set("endpoint_disposition", "ANSWER")
        self.fire("CHANNEL_ANSWER")
        self.calling("ACTIVE")

    def note_early_media(self) -> None:
        if self.media_ready:
            return
        self.early = True
        self.profile.times.progress_media = now()
        self.set("endpoint_disposition", "EARLY MEDIA")
        self.fire("CHANNEL_PROGRESS_MEDIA")
        self.calling("EARLY")

    def note_ringing(self) -> None:
        if self.profile.times.progress or self.media_ready:
            return
        self.profile.times.progress = now()
        self.fire("CHANNEL_PROGRESS")
        self.calling("RINGING")

    # -- digits ------------------------------------------------------------------------------------------------------

    def queue_digit(self, digit: str, duration: int = 2000) -> None:
        """A digit came; duration in samples."""
        self.digits.append((digit, duration))
        self.wake()

    def take_digit(self) -> str:
        """The next digit, taken off the queue; only now does FreeSWITCH tell of it (switch_channel_dequeue_dtmf)."""
        digit, duration = self.digits.popleft()
        self.dialled += digit
        duration = min(max(duration, 400), 192000)
        self.fire("DTMF", {"DTMF-Digit": digit, "DTMF-Duration": str(duration), "DTMF-Source": "RTP"})
        return digit

    # -- waiting -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something happened that the running application may care for."""
        self._awake.set()
        for watch in list(self.watchers):
            watch()

    async def idle(self, seconds: float | None = None) -> None:
        """Wait until something happens, or for ``seconds``; commands sent meanwhile are executed within."""
        if not self.runnable:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), seconds)
        self._awake.clear()
        if self.runnable:
            await self.switch.run_commands(self)

    @property
    def runnable(self) -> bool:
        """A command waits, and none that is being executed holds it up."""
        return bool(self.commands) and not self.locked and self.up

    def interrupt(self) -> None:
        """Break off what the channel does (uuid_break)."""
        self.broken = True
        if self.parsing:
            self.stop_broadcast = True
        self.wake()

    def take_break(self) -> bool:
        """Whether somebody broke it off; asked once."""
        broken, self.broken = self.broken, False
        return broken

    def send(self, command: Command) -> None:
        """Leave a command for the channel's task."""
        self.commands.append(command)
        self.wake()

    # -- events ------------------------------------------------------------------------------------------------------

    def fire(self, name: str, extra: Mapping[str, str] | None = None) -> None:
        """Fire an event of the channel."""
        self.switch.bus.fire(name, lambda: {**self.headers(), **(extra or {})}, unique_id=self.uuid)

    def headers(self) -> dict[str, str]:
        """What every event of the channel says."""
        return event_headers(self)
