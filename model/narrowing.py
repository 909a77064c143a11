"""What narrows a route: for which callers, trunks and times of its prefixes it is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

DAY_MINUTES = 24 * 60
EVERY_DAY = tuple(range(7))
_DAY = timedelta(days=1)
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time that comes again, by the clock on the wall in one time zone.

    An hour that the clocks skip in spring does not come; one that they repeat in autumn comes twice.
    """

    zone: str
    "Name in the IANA time zone database, ``Europe/London``."
    days: tuple[int, ...] = EVERY_DAY
    "Days of the week on which it begins; 0 is Monday."
    start: int = 0
    "Minutes after midnight."
    end: int = DAY_MINUTES
    "Minutes after midnight, not included; not above ``start``: on the next day."
    first: str = ""
    "The first date on which it begins, ``2026-12-24``; empty: since ever."
    last: str = ""
    "The last date on which it begins; empty: for ever."

    def holds(self, now: float) -> bool:
        """Whether Unix time ``now`` lies within; not on a machine that does not know the zone."""
        zone = _zone(self.zone)
        if zone is None:
            return False
        local = datetime.fromtimestamp(now, zone)
        began = self._began(local.date(), local.hour * 60 + local.minute)
        if began is None or began.weekday() not in self.days:
            return False
        # Dates of four-digit years are in the order of their texts.
        return (not self.first or self.first <= began.isoformat()) and (not self.last or began.isoformat() <= self.last)

    def _began(self, today: date, minute: int) -> date | None:
        """The day on which the stretch began that holds this minute of ``today``; None if none does."""
        if self.start < self.end:
            return today if self.start <= minute < self.end else None
        if minute >= self.start:
            return today
        return today - _DAY if minute < self.end else None


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The calls that a route is there for: all that is said must hold; what is empty says nothing."""

    callers: tuple[str, ...] = ()
    "Normalised beginnings of the caller's number; one must fit."
    trunks: tuple[str, ...] = ()
    "Names; the call came by one of them."
    tags: tuple[str, ...] = ()
    "The call's trunk has every one of them."
    times: tuple[Window, ...] = ()
    "One of them holds."

    def mismatch(self, caller: str, trunk: str, tags: tuple[str, ...], now: float) -> str:
        """Why the route is not there for a call at Unix time ``now``; empty if it is."""
        if self.trunks and trunk not in self.trunks:
            return f"not for trunk {trunk}"
        for tag in self.tags:
            if tag not in tags:
                return f"trunk {trunk} has no tag {tag}"
        if self.callers and not caller.startswith(self.callers):
            return f"the caller begins with none of {_named(self.callers)}"
        if self.times and not any(window.holds(now) for window in self.times):
            return f"not at this time: {_clocks(self.times, now)}"
        return ""


def _named(values: tuple[str, ...]) -> str:
    more = len(values) - _MOST_NAMED
    return ", ".join(values[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _clocks(windows: Iterable[Window], now: float) -> str:
    return _named(tuple(_clock(name, now) for name in dict.fromkeys(window.zone for window in windows)))


def _clock(name: str, now: float) -> str:
    zone = _zone(name)
    if zone is None:
        return f"zone {name} is not known on this machine"
    return f"{datetime.fromtimestamp(now, zone):%a %Y-%m-%d %H:%M} in {name}"


def is_zone(name: str) -> bool:
    """Whether this machine knows the time zone ``name``."""
    return _zone(name) is not None


# Read from /usr/share/zoneinfo once for each process: no call waits for a disk. There are some 600 zones.
@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # Not known (a KeyError), not a name at all, or a directory of zones.
        return None
