"""Two legs that hear each other."""

from __future__ import annotations

from devswitch.leg import Leg
from devswitch.sources import Pipe, PipeSink


class Bridge:
    """Joins two legs until :meth:`close`; what they were playing stops."""

    def __init__(self, one: Leg, other: Leg) -> None:
        self._joins = [self._join(one, other), self._join(other, one)]

    def close(self) -> None:
        for hearing, sink, saying, pipe in self._joins:
            if sink in hearing.sinks:
                hearing.sinks.remove(sink)
            if saying.source is pipe:
                saying.source = None

    @staticmethod
    def _join(hearing: Leg, saying: Leg) -> tuple[Leg, PipeSink, Leg, Pipe]:
        pipe = Pipe()
        sink = PipeSink(pipe)
        hearing.sinks.append(sink)
        saying.source = pipe
        return hearing, sink, saying, pipe
