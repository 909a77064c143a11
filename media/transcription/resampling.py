"""From one sample rate to another by a windowed sinc, block by block."""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.typing import NDArray

_ZEROS = 16
"Zero crossings of the sinc on each side."
_BETA = 8.0
"Of the Kaiser window: 80 dB down."

Samples = NDArray[np.float32]


class Resampler:
    """From ``own`` to ``wanted`` samples a second; what goes in as blocks comes out as one signal, without seams."""

    def __init__(self, own: int, wanted: int) -> None:
        step = gcd(own, wanted)
        self._up, self._down = wanted // step, own // step
        self._half = -(-_ZEROS * max(self._up, self._down) // self._up)
        self._filters = _polyphase(self._up, self._down, self._half)
        self._kept: Samples = np.zeros(self._half, np.float32)
        self._next = 0
        "Where the next output sample lies, in steps of `up` to an input sample, from the first that has all its taps."

    def feed(self, samples: Samples) -> Samples:
        """The part of the result that is known with these."""
        if self._up == self._down:
            return samples
        have = np.concatenate((self._kept, samples))
        places = len(have) - 2 * self._half
        if places <= 0:
            self._kept = have
            return np.zeros(0, np.float32)
        at = np.arange(self._next, places * self._up, self._down)
        windows = np.lib.stride_tricks.sliding_window_view(have, 2 * self._half + 1)
        result: Samples = np.einsum("ij,ij->i", windows[at // self._up], self._filters[at % self._up])
        self._next = (int(at[-1]) + self._down if len(at) else self._next) - places * self._up
        self._kept = have[places:]
        return result

    def finish(self) -> Samples:
        """The rest, as if silence followed."""
        return self.feed(np.zeros(self._half, np.float32))


def _polyphase(up: int, down: int, half: int) -> Samples:
    # An input sample k places from the window's middle counts for an output sample `phase / up` behind that middle.
    cutoff = min(1.0, up / down)
    distance = np.arange(-half, half + 1)[None, :] - np.arange(up)[:, None] / up
    inside = np.clip(1 - (distance / half) ** 2, 0, None)
    taps = cutoff * np.sinc(cutoff * distance) * np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA)
    filters: Samples = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters
