"""How a call stands, its variables, and its end (M1 to M4)."""

from __future__ import annotations

from media.esl import protocol
from media.esl.errors import ArgumentError, CommandError
from media.session import recorded
from media.session.core import BRIDGES, Core
from media.session.errors import AnswerNeeded, ScriptExit
from media.session.events import Event
from media.session.logs import log_commands

_UNSET = "_undef_"
"uuid_getvar of mod_commands.c."
_TAKES_DIGITS = """att_xfer bind_digit_action bridge check_voicemail conference detect_speech digit_action_set_realm
    directory eavesdrop execute_extension fifo httapi ivr javascript lua park perl play_and_detect_speech
    play_and_get_digits python3 queue_dtmf read socket start_dtmf three_way transfer valet_park voicemail"""
TAKES_DIGITS = frozenset(_TAKES_DIGITS.split())
"Applications that ask for digits themselves: pressed meanwhile, those are theirs."
BRIDGING = TAKES_DIGITS - {"play_and_get_digits", "read"} | {"intercept"}
"Applications that may bridge the call."


class State(Core):
    """answer, hangup, variables, applications."""

    __slots__ = ()

    async def answer(self) -> bool:
        """Answer the call; True when it is answered then."""
        await self._run("answer")
        return self.answered()

    async def pre_answer(self) -> bool:
        """Early media (SIP 183); True when audio flows then."""
        await self._run("pre_answer")
        return self.media_ready()

    def answered(self) -> bool:
        """Whether the call is answered, as its last event said."""
        return self.ready() and self._last.get("Answer-State") == "answered"

    def media_ready(self) -> bool:
        """Whether audio flows: the call is answered, or has early media."""
        return self.ready() and self._last.get("Answer-State") in ("answered", "early")

    def bridged(self) -> bool:
        """Whether the call is bridged to another."""
        return self._bridged and self.ready()

    def get_state(self) -> str:
        """``CS_EXECUTE``, ``CS_HANGUP``, ... (switch_types.h), as the last event said."""
        if self._down and self._end is None and self._ending != "transfer":
            return "CS_HANGUP"
        return self._last.get("Channel-State") or "CS_NEW"

    def get_uuid(self) -> str:
        """The channel's identifier."""
        return self.uuid

    # The end

    async def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call, with a cause by name (or Q.850 number); returns when the switch said that it ended.

        An unknown cause counts as NORMAL_CLEARING (switch_channel_str2cause).
        """
        command = protocol.hangup("" if cause == "NORMAL_CLEARING" else cause)
        if self._ahead is not None or self.ready():
            self._send(command)
            self._hung_up = True
        if self._ahead is None and not self._gone:
            if self._cause == "NONE":
                self._cause = cause
            self._down = True
            await self._end_of_call()
            await self._hang_up_hook()

    def hangup_cause(self) -> str:
        """``NORMAL_CLEARING``, ``USER_BUSY``, ...; NONE while the call lasts, SUCCESS for a leg that came about."""
        return self._cause

    async def hangup_state(self) -> None:
        """When the call is ending: wait until the switch is done with it, so that every variable is final."""
        if self._down and self._ending != "transfer":
            await self._end_of_call()

    def hangup_status(self) -> str:
        """ "" while the script has the call, then "hangup" or "transfer", as a hangup hook is told."""
        return self._ending

    async def destroy(self, message: str = "") -> None:
        """Hang up, unless set_auto_hangup(False); with ``message`` the script ends there, and it is logged."""
        await self.close()
        if message:
            raise ScriptExit(message)

    def set_auto_hangup(self, value: bool) -> None:
        """False: when the script ends, the call goes back to the dialplan, to the action behind ``socket``."""
        self._auto_hangup = value

    async def transfer(self, extension: str, dialplan: str = "", context: str = "") -> bool:
        """Send the call into a dialplan; from then on :meth:`ready` is False, and nothing hangs up."""
        words = (extension, *([dialplan or "XML"] if dialplan or context else []), *([context] if context else []))
        if not extension or extension.startswith("-") or any(" " in word for word in words):
            raise ArgumentError("transfer: an extension is one word without - in front; so are dialplan and context")
        refuse_ahead(self, "transfer")
        self._say()
        self._keep_away()
        answer = await self._asked("uuid_transfer", " ".join((self.uuid, *words)))
        if not answer.startswith("+OK"):
            self._keep_away(self.channel.variable("socket_resume") or "")
            return False
        if not self._ending:
            self._ended("transfer", None)
            await self._hang_up_hook()
        return True

    # Variables

    async def get_variable(self, name: str) -> str | None:
        """A channel variable, of a call that ended too; None where it is not set."""
        if " " in name or not name:
            raise ArgumentError(f"{name!r} is no name of a channel variable")
        if name in self._unsaid:
            return self._unsaid[name]
        if self._gone:
            return self._last.variable(name) or self._last.get(_PROFILE.get(name, name))
        value = await self._asked("uuid_getvar", f"{self.uuid} {name}")
        return None if value in ("", _UNSET) else value

    async def set_variable(self, name: str, value: str | None) -> None:
        """Set a channel variable; None or "" removes it. Nothing in it is expanded, and nothing is waited for.

        :raises ArgumentError: for a line end in name or value.
        """
        if " " in name or not name:
            raise ArgumentError(f"{name!r} is no name of a channel variable")
        self._unsaid.pop(name, None)
        self._set(name, value)

    # Applications

    async def execute(self, app: str, data: str = "") -> str:
        """Run a dialplan application to its end; its response, as "FILE PLAYED", or "".

        The switch expands ``${...}`` in ``data``, API commands included, so never put a caller's words into it: see
        :func:`literal`. An unknown application hangs the call up. Input callbacks do not run meanwhile. Digits pressed
        meanwhile are kept, unless the application asks for digits itself; then what was kept is given to it first.
        """
        taken, leaves = app in TAKES_DIGITS, app == "transfer" and not data.startswith("-")
        if taken and self._digits and self._ahead is None:
            self._send(protocol.command("api", "uuid_recv_dtmf", self.uuid, "".join(d.digit for d in self._digits)))
            self._digits.clear()
        if self._ahead is None and self.ready():
            self._prepare()
            if app in BRIDGING:
                self.connection.subscribe(*BRIDGES)
        self._say()
        recorded.tell_of(app, data)
        self._taken = taken
        if leaves:
            self._keep_away()
        try:
            event = await self._run(app, data)
        finally:
            self._taken = False
        if leaves and event is not None:
            self._ended("transfer", event)  # its way out of our room is known only a moment later
        await self._hang_up_hook()
        answer = (event.get("Application-Response") or "") if event else ""
        return "" if answer == "_none_" else answer

    async def execute_string(self, line: str) -> str:
        """``playback /tmp/a.wav``: application and argument as one text."""
        app, _, data = line.strip().partition(" ")
        return await self.execute(app, data)

    async def send_event(self, event: Event) -> bool:
        """Send the event's body to the caller as a text message, as switch_core_session_receive_event() does."""
        text = " ".join(event.get_body().split())
        return bool(text) and (await self._asked("uuid_chat", f"{self.uuid} {text}")).startswith("+OK")

    def console_log(self, level: str, message: str) -> None:
        """Write to the switch's log; nothing is waited for. No digits, please, and no words of callers."""
        self._send(*log_commands(level, message))

    async def _asked(self, command: str, args: str) -> str:
        """An API command; "" where the switch says -ERR or there is no call any more."""
        try:
            answer = await self._api(command, args)
        except CommandError:
            answer = ""
        await self._hang_up_hook()
        return answer

    async def close(self) -> None:
        """The script is done with the call; see :mod:`media.session.hooks`."""
        raise NotImplementedError

    async def _hang_up_hook(self) -> None:
        raise NotImplementedError


_PROFILE = {
    "caller_id_name": "Caller-Caller-ID-Name", "caller_id_number": "Caller-Caller-ID-Number", "uuid": "Unique-ID",
    "destination_number": "Caller-Destination-Number", "network_addr": "Caller-Network-Addr", "ani": "Caller-ANI",
    "context": "Caller-Context", "rdnis": "Caller-RDNIS", "source": "Caller-Source", "chan_name": "Channel-Name",
    "hangup_cause": "Hangup-Cause",
}  # fmt: skip
"Of these the switch makes variables, though in events they are headers (switch_caller_get_field_by_name)."


def literal(text: str) -> str:
    """``text`` for an argument of :meth:`State.execute`, so that the switch expands nothing in it."""
    # switch_channel_expand_variables() takes a backslash off, but only from a text that has anything to expand.
    return text.replace("\\", "\\\\").replace("$", "\\$") if "$" in text or "\\" in text else text


def refuse_ahead(session: Core, name: str) -> None:
    """:class:`AnswerNeeded` within ``ahead()``."""
    if session._ahead is not None:
        raise AnswerNeeded(name)
