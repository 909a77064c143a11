"""A session of ours on a made-up switch: applications end at once, unless a test says otherwise."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from harness.esl_peer import CHANNEL, Command, EslPeer, Wire, run
from media.esl.server import OutboundCall, OutboundServer
from media.session import Session

UUID = CHANNEL["Unique-ID"]
App = Callable[[Wire, Command], None]


class FakeSwitch(EslPeer):
    """Answers what a session asks; ``apps`` by name, ``variables`` as uuid_setvar left them."""

    def __init__(self) -> None:
        super().__init__()
        self.apps: dict[str, App] = {}
        self.ran: list[tuple[str, str]] = []
        self.terminators: list[str | None] = []
        "Digits that end each of ``ran``, as the argument says."
        self.api: list[str] = []
        self.variables: dict[str, str] = {}
        self.answers |= {"sendmsg": self._sendmsg, "api": self._api}

    def complete(self, wire: Wire, command: Command, more: Mapping[str, str] = {}) -> None:
        """CHANNEL_EXECUTE_COMPLETE of an application."""
        base = {"Unique-ID": UUID, "Answer-State": "answered", "Channel-State": "CS_EXECUTE"}
        ours = {"Application": command.headers["execute-app-name"], "Application-UUID": command.headers["Event-UUID"]}
        wire.event("CHANNEL_EXECUTE_COMPLETE", base | ours | dict(more))

    def hang_up(self, wire: Wire, cause: str = "NORMAL_CLEARING", **variables: str) -> None:
        """What FreeSWITCH sends with linger on."""
        wire.raw(b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nContent-Length: 0\n\n")
        ended = {"Unique-ID": UUID, "Answer-State": "hangup", "Channel-State": "CS_REPORTING", "Hangup-Cause": cause}
        wire.event("CHANNEL_HANGUP_COMPLETE", ended | {f"variable_{name}": value for name, value in variables.items()})

    def press(self, wire: Wire, digits: str) -> None:
        """DTMF events."""
        for digit in digits:
            wire.event("DTMF", {"Unique-ID": UUID, "DTMF-Digit": digit, "DTMF-Duration": "800"})

    def _sendmsg(self, wire: Wire, command: Command) -> None:
        wire.reply("+OK")
        if command.headers["call-command"] == "hangup":
            self.hang_up(wire, command.headers.get("hangup-cause", "NORMAL_CLEARING"))
            if not any(sent.name == "linger" for sent in wire.commands):
                wire.end()
            return
        app = command.headers["execute-app-name"]
        given = command.argument
        scoped = re.fullmatch(r"(?s)(?:%\[playback_terminators=([\w#*]+)\])?(.*)", given)
        assert scoped
        self.ran.append((app, scoped[2]))
        self.terminators.append(scoped[1])
        if "Event-UUID" in command.headers:
            self.apps.get(app, self.complete)(wire, command)

    def _api(self, wire: Wire, command: Command) -> None:
        line = command.line.removeprefix("api ")
        self.api.append(line)
        name, _, args = line.partition(" ")
        words = args.split(" ", 2)
        if name == "uuid_setvar":
            self.variables[words[1]] = words[2][1:-1] if len(words) > 2 else ""
            wire.response("+OK\n")
        elif name == "uuid_getvar":
            wire.response(self.variables.get(words[1]) or "_undef_")
        else:
            wire.response("+OK\n")


CALLER = {**CHANNEL, "Call-Direction": "inbound"}


def with_session(
    script: Callable[[Session, FakeSwitch], Awaitable[Any]], channel: Mapping[str, str] = CALLER
) -> FakeSwitch:
    """Run ``script(session, switch)`` on a call of the fake switch; its wire is ``switch.wire``."""
    switch = FakeSwitch()

    async def main() -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def on_call(call: OutboundCall) -> None:
            session = Session(call.connection, call.channel)
            try:
                await script(session, switch)
                await session.close()
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        server = OutboundServer("127.0.0.1", 0, on_call)
        await server.start()
        try:
            async with switch:
                await switch.call(server.port, channel)
                await done
        finally:
            await server.close()

    run(main())
    return switch
