"""Digits that come as INFO: ``application/dtmf-relay`` and ``application/dtmf``."""

from __future__ import annotations

import re

from devswitch.leg import RATE
from devswitch.rtp.dtmf import DIGITS
from devswitch.sip.message import Request

DEFAULT_DURATION = 2000
"In samples: FreeSWITCH's default (switch_types.h, SWITCH_DEFAULT_DTMF_DURATION)."
_SIGNAL = re.compile(r"Signal\s*=\s*([0-9*#A-Da-d])", re.IGNORECASE)
_DURATION = re.compile(r"Duration\s*=\s*(\d{1,5})", re.IGNORECASE)


def digit_of(request: Request) -> tuple[str, int] | None:
    """Digit and duration in samples, or None if the request tells none."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    text = request.body.decode("ascii", "replace").strip()
    if kind == "application/dtmf" and len(text) == 1 and text.upper() in DIGITS:
        return text.upper(), DEFAULT_DURATION
    if kind != "application/dtmf-relay" or not (signal := _SIGNAL.search(text)):
        return None
    duration = _DURATION.search(text)
    return signal[1].upper(), int(duration[1]) * RATE // 1000 if duration else DEFAULT_DURATION
