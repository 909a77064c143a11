"""One channel of the switch: its connection, what its events tell, and waiting until it ends.

Digits come from DTMF events alone. FreeSWITCH takes a digit off the channel's queue in whatever runs there, be it
`playback` or the park between two commands, and mostly throws it away; but each time it fires DTMF
(switch_channel_dequeue_dtmf of switch_channel.c). So the session keeps them, and none is lost or read twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from media.esl import protocol
from media.esl.connection import Connection, Waiting
from media.esl.errors import CommandError, ConnectionClosed
from media.esl.message import Event as SwitchEvent
from media.esl.message import Message
from media.session import pressed
from media.session.errors import AnswerNeeded

if TYPE_CHECKING:
    from model.handover import Handover

T = TypeVar("T")

EVENTS = ("CHANNEL_EXECUTE_COMPLETE", "DTMF", "CHANNEL_HANGUP_COMPLETE")
"All that is subscribed to, and not before a command has to wait."
BRIDGES = ("CHANNEL_BRIDGE", "CHANNEL_UNBRIDGE")
"And these before what may bridge the call."
LINGER = 10
"Seconds that the switch keeps our connection after the hangup; without it the last events are lost."
_LINGER = protocol.command("linger", str(LINGER))
END_TIMEOUT = 5.0
"Seconds we wait for the end of a call that we hung up."
STOP_TIMEOUT = 1.0
"Seconds that an application of ``SOUNDS`` has to end, when its script no longer waits for it."
SOUNDS = ("phrase", "playback", "record", "say", "speak")
_WAITING_ROOMS = ("socket", "park")
_UNENDED = "%[playback_terminators=none]"
_SCOPED = "scope_variable_playback_terminators"
_AT_ONCE = ("answer", "pre_answer", "set")
"Applications that look for no other command while they run."


@dataclass(frozen=True, slots=True)
class Digit:
    """A pressed key, as an input callback gets it; ``obj["digit"]`` works as in Lua."""

    digit: str
    duration: int
    "In samples of 8 kHz."

    def __getitem__(self, name: str) -> str | int:
        if name == "digit":
            return self.digit
        if name == "duration":
            return self.duration
        raise KeyError(name)

    def __repr__(self) -> str:
        return "<Digit>"  # a caller's


class Core:
    """What the themes of :class:`~media.session.Session` stand on."""

    __slots__ = (
        "_ahead", "_answered", "_auto_hangup", "_bridged", "_callback", "_callback_arg", "_cause", "_connection",
        "_digits", "_down", "_end", "_ending", "_gone", "_heard", "_hidden", "_hook", "_hook_arg", "_hung_up",
        "_inputs", "_last", "_moving", "_own", "_prepared", "_scopes", "_sent_ahead", "_static", "_stopping", "_taken",
        "_tts", "_unanswered", "_unsaid", "_waiting", "channel", "handover", "script_args", "uuid",
    )  # fmt: skip

    def __init__(self, connection: Connection | None, channel: SwitchEvent, *, cause: str = "NONE") -> None:
        """``channel``: all that is known of the channel, as the switch told it; ``connection`` None: it never was."""
        self.channel = channel
        self.uuid = channel.uuid
        self.handover: Handover | None = None
        "What the SIP tier said, where it handed the call over."
        self.script_args = ""
        "Arguments of the script, as written in the policy."
        self._connection = connection
        self._last = channel
        self._prepared = self._bridged = self._taken = self._heard = self._sent_ahead = self._moving = False
        self._hung_up = self._hidden = self._answered = self._static = False
        self._own: asyncio.Future[None] | bool = False
        self._ahead: list[bytes] | None = None
        self._auto_hangup = True
        self._cause = cause
        self._down = self._gone = connection is None
        self._end: SwitchEvent | None = None
        self._ending = "" if connection else "hangup"
        self._digits: deque[Digit] = deque()
        self._inputs: deque[Digit | SwitchEvent] = deque()
        self._waiting: set[asyncio.Future[None]] = set()
        self._stopping: asyncio.Future[None] | None = None
        self._scopes: list[asyncio.Timeout] = []
        self._unanswered: Waiting = set()
        self._callback: Callable[..., Any] | None = None
        self._callback_arg: Any = None
        self._hook: Callable[..., Any] | None = None
        self._hook_arg: Any = None
        self._unsaid: dict[str, str] = {}
        self._tts = ("", "")
        if connection:
            connection.listen(self._event)
            connection.on_notice = self._notice
            # A switch that dies says nothing.
            connection.on_end = lambda: self._ended("hangup", None)

    @property
    def connection(self) -> Connection:
        """That of this call alone; :class:`ConnectionClosed` for a call that never came about."""
        if self._connection is None:
            raise ConnectionClosed("there is no such call")
        return self._connection

    def ready(self) -> bool:
        """Whether the script has the call: False once it hung up, or was transferred."""
        return not self._down and not self._ending and not self.connection.closed

    # What the switch tells

    def _event(self, event: SwitchEvent) -> None:
        name = event.name
        if name == "DTMF":
            self._digit(Digit(event["DTMF-Digit"], int(event.get("DTMF-Duration") or 0)))
        elif name == "CHANNEL_HANGUP_COMPLETE":
            self._ended("hangup", event)
        elif name == "CHANNEL_EXECUTE_COMPLETE":
            self._executed(event)
        elif name in ("CHANNEL_BRIDGE", "CHANNEL_UNBRIDGE"):
            self._last, self._bridged = event, name == "CHANNEL_BRIDGE"
            # A leg that ended the bridge by hanging up says so before CHANNEL_HANGUP_COMPLETE comes.
            self._down = self._down or event.get("Answer-State") == "hangup"
            self._wake()
        elif name == "CHANNEL_ANSWER":
            self._last = event
            self._wake()
        elif self._heard:
            self._input(event)

    def _executed(self, event: SwitchEvent) -> None:
        if self._stopping and not self._stopping.done():
            self._stopping.set_result(None)
        # That our own waiting room ended without a hangup means that the channel goes elsewhere.
        # (uuid_bridge takes it out as well, and park_after_bridge gives it back.)
        if self._moving:
            return
        if event.get("Application") in _WAITING_ROOMS and event.get("Answer-State") != "hangup":
            self._keep_away()
            self._ended("transfer", event)

    def _notice(self, message: Message) -> None:
        if message.content_type == "text/disconnect-notice":
            self._down = True
            if message.headers.get("Content-Disposition") != "linger":
                self._ended("hangup", None)

    def _ended(self, ending: str, event: SwitchEvent | None) -> None:
        if event is not None and (self._end is None or ending == "hangup"):
            self._end = self._last = event
            self._cause = event.get("Hangup-Cause") or self._cause
        self._ending = self._ending or ending
        self._gone = True
        self._down = True
        if ending == "transfer" and not self.connection.closed:
            # Whoever has the channel now: an end of ours that comes late would reset it (listener_run).
            self.connection.write(protocol.command("exit"))
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(0)
        for asked in self._unanswered:
            if not asked.done():
                asked.set_exception(ConnectionClosed("the call is over"))
        if self._own is True and ending == "hangup":
            self._own = asyncio.ensure_future(self.connection.close())  # nothing more will come
        self._wake()

    def _digit(self, digit: Digit) -> None:
        pressed.tell(self, digit.digit, hidden=self._hidden)
        if self._heard:
            self._input(digit)
        elif not self._taken:
            self._digits.append(digit)
            self._wake()

    def _input(self, thing: Digit | SwitchEvent) -> None:
        self._inputs.append(thing)
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    # Asking the switch

    def _prepare(self) -> None:
        """Events and linger, once, in front of the first command that waits."""
        if not self._prepared and not self._gone:
            self._prepared = True
            self.connection.subscribe(*EVENTS, more=(_LINGER,))

    async def _until_end(self, waited: Awaitable[T]) -> T | None:
        """What ``waited`` gives; None when the call ends first."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.append(scope)
                try:
                    return await waited
                finally:
                    self._scopes.remove(scope)
        except ConnectionClosed:
            self._over()
            return None
        except TimeoutError:
            if scope.expired():
                return None
            raise

    async def _run(self, app: str, arg: str = "", *, lock: bool = False) -> SwitchEvent | None:
        """Run an application to its end; None where the call ended before, or what was asked is sent ahead."""
        if self._ahead is not None:
            self._ahead.append(self._later(app, arg))
            return None
        if not self.ready():
            protocol.execute(app, arg)  # what cannot be sent is refused, whether there is a call or not
            return None
        self._prepare()
        try:
            event = await self.connection.execute(app, arg, lock=lock, among=self._unanswered)
        except ConnectionClosed:
            self._over()
            return None
        except asyncio.CancelledError:
            if app in SOUNDS and self.ready():
                await self._stop()
            raise
        except CommandError:
            self._ended("hangup", None)  # sendmsg is refused for a channel that is gone, and for nothing else
            return None
        if event is not None:
            self._last = self._end or event
            self._down = self._down or event.get("Answer-State") == "hangup"
            if self._down:
                await self._end_of_call()
        return event

    def _later(self, app: str, arg: str) -> bytes:
        if not self._static:
            # Without the lock a channel that plays looks for commands, and runs the next within this one.
            return protocol.execute(app, arg, lock=app not in _AT_ONCE)
        if self.channel.get(_SCOPED) == "none":
            arg = arg.removeprefix(_UNENDED)  # as the dialplan has it for the whole socket
        return protocol.execute(app, arg)

    async def _stop(self) -> None:
        """End what is heard, and wait for that: what is sent before would run within it, and it would go on after."""
        self._stopping = asyncio.get_running_loop().create_future()
        self._send(protocol.command("api", "uuid_break", self.uuid))
        await asyncio.wait((self._stopping,), timeout=STOP_TIMEOUT)
        self._stopping = None

    async def _api(self, command: str, args: str = "") -> str:
        """What an API command wrote; :class:`CommandError` on ``-ERR``; "" when the call is over."""
        if self._ahead is not None:
            raise AnswerNeeded(command)
        if self._gone:
            return ""
        try:
            return await self.connection.api(command, args, among=self._unanswered)
        except ConnectionClosed:
            self._over()
            return ""

    def _over(self) -> None:
        """The connection ended; or the call did, and who waited was told so."""
        if not self._gone:
            self._ended("hangup", None)

    def _send(self, *commands: bytes) -> None:
        """Commands whose replies nobody waits for."""
        if self._ahead is not None:
            self._ahead += commands
        elif not self._gone and not self.connection.closed:
            self.connection.write(*commands)

    def _keep(self, name: str, value: str) -> None:
        """Set a variable that few ask for: the switch is told of it when something else than we may look."""
        self._unsaid[name] = value

    def _say(self) -> None:
        unsaid, self._unsaid = self._unsaid, {}
        for name, value in unsaid.items():
            self._set(name, value)

    def _set(self, name: str, value: str | None) -> None:
        # The API command acts at once and takes the value as it is; the application `set` would expand ${...} in it.
        self._send(
            protocol.command("api", "uuid_setvar", self.uuid, _variable(name), *([quoted(value)] if value else []))
        )

    def _keep_away(self, value: str = "false") -> None:
        """The end of our connection must not send a call back into the dialplan that somebody sent elsewhere."""
        if self.channel.variable("socket_resume") is not None:
            self._set("socket_resume", value)

    # Waiting

    async def _input_or(self, seconds: float | None) -> bool:
        """Wait for a digit, an event or the end of the call; False when ``seconds`` passed without."""
        if self._gone:
            return True
        # Two may wait at once: a command with callbacks, and its application, which waits for the end of the call.
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(seconds):
                await waiting
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(waiting)
        return True

    async def _end_of_call(self) -> None:
        """The channel is down: until its last event, or the end of the connection."""
        if not self._gone:
            loop = asyncio.get_running_loop()
            late = loop.time() + END_TIMEOUT
            while not self._gone and (left := late - loop.time()) > 0 and not self.connection.closed:
                await self._input_or(left)
        if not self._gone:
            self._ended("hangup", None)

    def _variables(self) -> Mapping[str, str]:
        return self._last.headers


def terminated_by(digits: str, data: str) -> str:
    """An argument of `playback` and its like, which ``digits`` end: none, any; by default ``*`` (on_dtmf of
    mod_dptools.c)."""
    # The variable is there while the application runs (switch_core_session_exec of switch_core_session.c); a bracket
    # behind it would count as more variables (switch_event_create_brackets of switch_event.c).
    return data if data.lstrip().startswith("[") else f"%[playback_terminators={digits}]{data}"


def quoted(value: str) -> str:
    """``value`` as one of the blank-separated arguments of an API command."""
    # separate_string_blank_delim() and cleanup_separated_string() of switch_utils.c
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _variable(name: str) -> str:
    # uuid_setvar and uuid_getvar take what stands behind a blank for another argument.
    if not name or " " in name:
        raise ValueError(f"{name!r} is no name of a channel variable")
    return name
