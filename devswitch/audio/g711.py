"""G.711 by tables: µ-law and A-law to 16 bit linear and back (ITU-T G.711)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from devswitch.leg import Frame

ULAW, ALAW = 0, 8
"Payload types (RFC 3551)."
SILENCE = {ULAW: 0xFF, ALAW: 0xD5}
"The byte that means no sound."


def _ulaw_to_linear() -> Frame:
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_to_linear() -> Frame:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    low = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, low, (low + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _encoder(decoded: Frame) -> NDArray[np.uint8]:
    """For each 16 bit pattern the code whose value is nearest."""
    order = np.argsort(decoded, kind="stable")
    levels = decoded[order].astype(np.int32)
    samples = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    borders = (levels[:-1] + levels[1:]) // 2
    return order[np.searchsorted(borders, samples, side="left")].astype(np.uint8)


_DECODED = {ULAW: _ulaw_to_linear(), ALAW: _alaw_to_linear()}
_ENCODED = {law: _encoder(table) for law, table in _DECODED.items()}
# Two codes are equally near to zero; silence is the positive one.
for _law, _code in SILENCE.items():
    _ENCODED[_law][0] = _code


def decode(payload: bytes, law: int) -> Frame:
    """A payload of any length as samples."""
    return _DECODED[law][np.frombuffer(payload, np.uint8)]


def encode(samples: Frame, law: int) -> bytes:
    """Samples as a payload, one byte each."""
    return _ENCODED[law][samples.view(np.uint16)].tobytes()
