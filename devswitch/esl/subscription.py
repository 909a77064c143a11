"""Which events an ESL connection gets: names, subclasses, one call's, filters (mod_event_socket.c, event_handler)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from devswitch.events import NAMES, Event

FORMATS = ("plain", "json")

MY_EVENTS = frozenset(
    f"CHANNEL_{name}"
    for name in (
        *("ANSWER", "APPLICATION", "BRIDGE", "CREATE", "DATA", "DESTROY", "EXECUTE", "EXECUTE_COMPLETE", "HANGUP"),
        *("HANGUP_COMPLETE", "ORIGINATE", "UUID", "OUTGOING", "PARK", "PROGRESS", "PROGRESS_MEDIA", "STATE"),
        *("UNBRIDGE", "UNPARK"),
    )
) | {"DETECTED_SPEECH", "DTMF", "NOTALK", "TALK"}
"What myevents subscribes to."


@dataclass(slots=True)
class Subscription:
    """The events of one connection."""

    names: set[str] = field(default_factory=set)
    customs: set[str] = field(default_factory=set)
    filters: list[tuple[str, str]] = field(default_factory=list)
    form: str = "plain"
    enabled: bool = False
    only: str | None = None
    "The call whose events alone are sent (myevents)."

    def add(self, words: list[str]) -> bool:
        """``event plain CUSTOM a b``: false where no event was named."""
        if words and words[0].lower() in FORMATS:
            self.form = words.pop(0).lower()
        return self._each(words, self.names.add, self.customs.add)

    def remove(self, words: list[str]) -> bool:
        """``nixevent``: false where no event was named."""
        if "ALL" in self.names and any(word.upper() in NAMES for word in words):
            self.names = set(NAMES - {"ALL"})
        return self._each(words, self._drop, self.customs.discard)

    def _drop(self, name: str) -> None:
        if name == "ALL":
            self.names.clear()
        # Of CUSTOM only the subclasses go (parse_command of mod_event_socket.c).
        if name != "CUSTOM":
            self.names.discard(name)

    @staticmethod
    def _each(words: list[str], name: object, custom: object) -> bool:
        found = False
        for index, word in enumerate(words):
            if word.upper() in NAMES:
                found = True
                name(word.upper())  # type: ignore[operator]
            if word.upper() == "CUSTOM":
                for subclass in words[index + 1 :]:
                    custom(subclass)  # type: ignore[operator]
                break
        return found

    def clear(self) -> None:
        self.names.clear()
        self.customs.clear()
        self.enabled = False

    def wants(self, name: str, subclass: str, unique_id: str) -> bool:
        """Whether an event may have to be sent; what only its headers tell is asked of :meth:`passes`."""
        if not self.enabled or not self._named(name, subclass):
            return False
        if self.only is not None and unique_id != self.only and name != "BACKGROUND_JOB":
            return False
        calls = [value for header, value in self.filters if header.lower() == "unique-id" and value[:1] not in "+-/"]
        return len(calls) != len(self.filters) or not calls or unique_id in calls

    def _named(self, name: str, subclass: str) -> bool:
        if "ALL" in self.names:
            return True
        return name in self.names and (name != "CUSTOM" or not subclass or subclass in self.customs)

    def passes(self, event: Event) -> bool:
        """Whether the filters let an event pass."""
        if self.only is not None and self.only not in (event.find("Unique-ID"), event.find("Job-Owner-UUID")):
            return False
        if not self.filters:
            return True
        passes = False
        for name, value in self.filters:
            if (held := event.find(name)) is None:
                continue
            positive = not value.lstrip(" ").startswith("-")
            if passes and positive:
                continue
            if _equal(held, value):
                passes = positive
                if not positive:
                    break
        return passes


def _equal(held: str, wanted: str) -> bool:
    wanted = wanted.lstrip(" +-")
    if wanted.startswith("/"):
        return re.search(wanted.strip("/"), held) is not None
    return held.lower() == wanted.lower()
