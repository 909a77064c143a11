"""What the switch sees of a call: one SIP dialog with its RTP stream, the audio that goes in, and the audio that comes.

Audio is 8 kHz mono: numpy arrays of 160 samples of int16, which is 20 ms. Errors: :class:`LegEnded`, and nothing else,
is raised by a leg whose call is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE = 8000
"Samples a second, in all audio of the switch."
FRAME = 160
"Samples in a frame."
FRAME_SECONDS = FRAME / RATE

Frame: TypeAlias = NDArray[np.int16]
SILENCE: Frame = np.zeros(FRAME, np.int16)
SILENCE.flags.writeable = False
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class LegEnded(Exception):
    """The call was over before, or while, what was asked for could be done."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the call is over: {cause}")
        self.cause = cause
        "The name that FreeSWITCH gives the cause."


class Source(Protocol):
    """Where the audio sent to the peer comes from."""

    def frame(self) -> Frame | None:
        """The next 160 samples; None once it has ended. Called every 20 ms, so it may not wait."""


class Sink(Protocol):
    """Where the audio heard from the peer goes."""

    def frame(self, samples: Frame, /) -> None:
        """160 samples, every 20 ms: silence where nothing was received. It may not wait."""


class Leg(Protocol):
    """One SIP dialog with its RTP stream."""

    uuid: str
    inbound: bool
    headers: Mapping[str, str]
    "Of the INVITE (inbound) or the final reply (outbound): names in any case, several values joined by a comma."
    caller: str
    callee: str
    caller_name: str
    remote_address: str
    "IP address."
    remote_port: int
    "Where its INVITE came from, or went to."
    call_id: str
    source: Source | None
    "Pulled every 20 ms; silence is sent while it is None or has ended."
    sinks: list[Sink]
    on_digit: Callable[[str, int], None] | None
    "Called with the digit and its duration in samples."
    on_hangup: Callable[[str, int], None] | None
    "Called once, with FreeSWITCH's cause and the SIP status that ended the call (0: BYE)."
    on_progress: Callable[[int], None] | None
    "Outbound: called with the status of each provisional reply from 180 on."
    on_answer: Callable[[int], None] | None
    "Outbound: called with 200."

    async def pre_answer(self) -> None:
        """Send 183 with SDP; audio flows."""

    async def ring(self) -> None:
        """Send 180."""

    async def answer(self) -> None:
        """Send 200, and return when the ACK came; raise :class:`LegEnded` if the call ends instead."""

    async def hangup(self, cause: str = "NORMAL_CLEARING", headers: Mapping[str, str] = NO_HEADERS) -> None:
        """End the call by BYE, CANCEL or the final reply that FreeSWITCH sends for ``cause``; else do nothing."""

    async def refer(self, uri: str) -> None:
        """Ask the peer to call ``uri`` instead (REFER); raise :class:`LegEnded` if the call is over."""

    async def redirect(self, uri: str) -> None:
        """Refer a caller who was not answered to ``uri`` (302)."""

    async def send_digits(self, digits: str, ms: int = 100) -> None:
        """Send digits as RFC 4733 events of ``ms`` milliseconds each, and return when the last was sent."""
