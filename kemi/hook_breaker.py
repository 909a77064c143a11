"""When nobody asks a route hook for a while, since it gave no answer so often in a row; pure.

Nothing is known of a hook that answers. Once it is paused, one call at a time asks again when the pause is over; its
answer ends that, and without one the pause begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from model.hook import Hook

OPEN, TRIAL, PAUSED = "open", "trial", "paused"
"Whether a call may ask: as any, as the one on trial, or not."


@dataclass(frozen=True, slots=True)
class Breaker:
    """One hook, as one node knows it."""

    failures: int = 0
    "Questions without an answer, in a row."
    until: float = 0.0
    "Unix time until which nobody asks; 0: all do."
    trial: float = 0.0
    "Unix time until which a question on trial is taken to be under way."

    def dumps(self) -> str:
        """As text for Kamailio's shared memory."""
        return f"{self.failures} {self.until!r} {self.trial!r}"

    @classmethod
    def loads(cls, text: object) -> Breaker:
        """From the text that :meth:`dumps` made; of anything else nothing is known."""
        try:
            failures, until, trial = str(text).split()
            return cls(int(failures), float(until), float(trial))
        except ValueError:
            return NOTHING

    def state(self, now: float) -> str:
        """In words."""
        return "asked" if not self.until else PAUSED if self.until > now else "on trial"


NOTHING = Breaker()


def claimed(known: Breaker, hook: Hook, late: float, now: float) -> tuple[Breaker, str]:
    """Whether a call may ask at Unix time ``now``, and what is known from then on.

    ``late``: seconds after the time-out at which at least it is known that no answer came.
    """
    if not known.until:
        return known, OPEN
    if known.until > now or known.trial > now:
        return known, PAUSED
    return replace(known, trial=now + hook.timeout + late + 1), TRIAL


def failed(known: Breaker, hook: Hook, now: float) -> Breaker:
    """After a question without an answer."""
    failures = known.failures + 1
    if known.until > now:
        # Asked before the pause began.
        return known
    return Breaker(failures, now + hook.pause if failures >= hook.failures else 0.0)
