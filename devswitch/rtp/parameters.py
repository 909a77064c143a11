"""What an RTP stream has to know of its peer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamParameters:
    """What two sides agreed on, by their session descriptions."""

    host: str
    port: int
    codec: int
    "Payload type of the audio: PCMU (0) or PCMA (8)."
    events: int | None
    "Payload type of telephone-event, if both know it."
    sends: bool = True
    "Whether we send."
