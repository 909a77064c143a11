"""How much of what a phone sent a switch has recorded: frame by frame, since a late frame moves all that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.audio import FRAME, Samples

LOUD = 500
"Level of the loudest sample of a frame in which there is sound."


@dataclass(frozen=True)
class Match:
    """Which of the frames with sound that were sent a recording has, in their order."""

    first: int
    "Number of the first frame that is there; of all frames, if none is."
    last: int
    missing: int
    "Frames that are not there, of those from the first one on."
    foreign: int
    "Frames of the recording that have sound, and were not sent."


def found_of(sent: Samples, recorded: Samples) -> Match:
    """What of ``sent`` is in ``recorded``."""
    data, at, there = recorded.astype("<i2").tobytes(), 0, []
    frames = [sent[begin : begin + FRAME] for begin in range(0, len(sent), FRAME)]
    loud = [number for number, frame in enumerate(frames) if _is_loud(frame)]
    for number in loud:
        frame = frames[number].astype("<i2").tobytes()
        if (place := data.find(frame, at)) >= 0:
            there.append(number)
            at = place + len(frame)
    heard = sum(_is_loud(recorded[begin : begin + FRAME]) for begin in range(0, len(recorded) - FRAME + 1, FRAME))
    if not there:
        return Match(len(frames), 0, 0, heard)
    missing = sum(number >= there[0] for number in loud) - len(there)
    return Match(there[0], there[-1], missing, max(0, heard - len(there)))


def _is_loud(frame: Samples) -> bool:
    return bool(np.abs(frame.astype(np.int32)).max(initial=0) > LOUD)
