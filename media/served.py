"""The session of a call that a worker serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from media.esl.errors import ArgumentError
from media.esl.message import Event
from media.esl.server import OutboundCall
from media.session import Session
from media.wanted import Wanted

PROFILE = "private"
"Sofia's profile towards the SIP tier (media/freeswitch/sip_profiles)."
SIP_TIER = "strowger_sip"
"Channel variable of a call that a worker placed: HOST:PORT of the SIP tier. No peer can set it."
APART = 5.0
"Seconds that a bridge has to end whose other side was ended."


class ServedSession(Session):
    """A session that knows of the hand-over, and whose hangup hook is written down.

    So a worker that dies does not forget the hook in silence.
    """

    __slots__ = ("_owe", "_secret", "over", "owed")

    def __init__(self, call: OutboundCall, want: Wanted, secret: bytes, owe: Callable[[], None]) -> None:
        """``owe`` writes the hook down."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        "Done when the script has the call no more."
        super().__init__(call.connection, call.channel)
        self.handover, self.script_args = want.handover, want.args
        self._static = call.static
        self._secret, self._owe = secret, owe
        self.owed = False
        "Whether it was written down."

    def set_hangup_hook(self, function: Callable[..., Any], arg: Any = None) -> None:
        """See :class:`Session`."""
        if not self.owed:
            self._owe()
            self.owed = True
        super().set_hangup_hook(function, arg)

    async def send_back(self, number: str) -> str:
        """Send the call on to ``number`` by way of the SIP tier, which decides where that is.

        Returns when the two are apart again, with the cause of the call to the number: "SUCCESS" where it was
        answered, "USER_BUSY", ...; and "" where this call has ended. It stays with the script.

        :raises ArgumentError: for a number that could not be one, and a call that no SIP tier handed over.
        """
        if self.handover is None:
            raise ArgumentError("send_back: the call did not come from the SIP tier")
        if not number or not all(char.isalnum() or char in "+*#-._" for char in number):
            raise ArgumentError("send_back: a number is letters, digits and + * # - . _")
        # The token that came with the call is too old by now, maybe. mod_sofia copies sip_h_* to the new leg.
        for name, value in self.handover.fresh(time.time()).headers(self._secret):
            await self.set_variable(f"sip_h_{name}", value)
        told = self.channel.variable
        # Of a call that a worker placed the switch knows no peer that sent it.
        where = told(SIP_TIER) or f"{told('sip_network_ip')}:{told('sip_network_port')}"
        profile = told("sofia_profile_name") or PROFILE
        # Else no header goes to a leg (dialplan of media/freeswitch): this one alone leads to whom the token is for.
        await self.set_variable("sip_copy_custom_headers", "true")
        try:
            await self.execute("bridge", f"sofia/{profile}/sip:{quote(number, safe='+*')}@{where}")
        finally:
            await self.set_variable("sip_copy_custom_headers", "false")
        return await self.get_variable("originate_disposition") or ""

    @property
    def sent_ahead(self) -> bool:
        """Whether something runs that nobody waits for."""
        return self._sent_ahead

    async def apart(self) -> None:
        """Until the call is bridged no more."""
        while self.bridged() and await self._input_or(APART):
            pass

    def _ended(self, ending: str, event: Event | None) -> None:
        super()._ended(ending, event)
        if not self.over.done():
            self.over.set_result(None)
