"""The caller profile: who calls whom, and when what happened to the call (FreeSWITCH: switch_caller.c)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace


def now() -> int:
    """Microseconds since the epoch, as FreeSWITCH counts."""
    return time.time_ns() // 1000


@dataclass(slots=True)
class Times:
    """Microseconds since the epoch; 0: not yet."""

    profile_created: int = field(default_factory=now)
    created: int = 0
    answered: int = 0
    progress: int = 0
    progress_media: int = 0
    hangup: int = 0
    transferred: int = 0
    bridged: int = 0

    def __post_init__(self) -> None:
        self.created = self.created or self.profile_created


@dataclass(slots=True)
class Profile:
    """What a dialplan may ask about a call, and events tell of it."""

    unique_id: str
    channel_name: str
    direction: str
    destination_number: str
    caller_id_number: str = ""
    caller_id_name: str = ""
    callee_id_number: str = ""
    callee_id_name: str = ""
    network_addr: str = ""
    dialplan: str = "XML"
    context: str = "default"
    username: str = ""
    source: str = "mod_sofia"
    original_number: str = ""
    original_name: str = ""
    private: bool = False
    "Whether the caller wants to be known to nobody."
    times: Times = field(default_factory=Times)

    def __post_init__(self) -> None:
        self.original_number = self.original_number or self.caller_id_number
        self.original_name = self.original_name or self.caller_id_name

    def transferred(self, destination: str, dialplan: str, context: str) -> Profile:
        """The profile of the call after a transfer."""
        times = replace(self.times, profile_created=now(), transferred=now())
        return replace(self, destination_number=destination, dialplan=dialplan, context=context, times=times)

    def flipped(self) -> Profile:
        """Seen from who was called, once a leg that we made goes its own way (switch_channel_flip_cid)."""
        return replace(
            self,
            caller_id_number=self.callee_id_number,
            caller_id_name=self.callee_id_name,
            callee_id_number=self.caller_id_number,
            callee_id_name=self.caller_id_name,
        )

    def get(self, name: str) -> str | None:
        """A field by the name that it has in a dialplan; None: there is no such field."""
        known = {
            "dialplan": self.dialplan,
            "username": self.username,
            "caller_id_name": self.caller_id_name,
            "caller_id_number": self.caller_id_number,
            "orig_caller_id_name": self.original_name,
            "orig_caller_id_number": self.original_number,
            "callee_id_name": self.callee_id_name,
            "callee_id_number": self.callee_id_number,
            "network_addr": self.network_addr,
            "ani": self.caller_id_number,
            "aniii": "",
            "rdnis": "",
            "destination_number": self.destination_number,
            "uuid": self.unique_id,
            "source": self.source,
            "context": self.context,
            "chan_name": self.channel_name,
        }
        return known.get(name)

    def headers(self, prefix: str) -> Iterator[tuple[str, str]]:
        """The profile as headers of events (switch_caller_profile_event_set_data)."""
        yield f"{prefix}-Direction", self.direction
        yield f"{prefix}-Logical-Direction", self.direction
        for name, value in (
            ("Username", self.username),
            ("Dialplan", self.dialplan),
            ("Caller-ID-Name", self.caller_id_name),
            ("Caller-ID-Number", self.caller_id_number),
            ("Orig-Caller-ID-Name", self.original_name),
            ("Orig-Caller-ID-Number", self.original_number),
            ("Callee-ID-Name", self.callee_id_name),
            ("Callee-ID-Number", self.callee_id_number),
            ("Network-Addr", self.network_addr),
            ("ANI", self.caller_id_number),
            ("Destination-Number", self.destination_number),
            ("Unique-ID", self.unique_id),
            ("Source", self.source),
            ("Context", self.context),
            ("Channel-Name", self.channel_name),
        ):
            if value:
                yield f"{prefix}-{name}", value
        yield f"{prefix}-Profile-Index", "1"
        times = self.times
        for name, stamp in (
            ("Profile-Created", times.profile_created),
            ("Channel-Created", times.created),
            ("Channel-Answered", times.answered),
            ("Channel-Progress", times.progress),
            ("Channel-Progress-Media", times.progress_media),
            ("Channel-Hangup", times.hangup),
            ("Channel-Transfer", times.transferred),
            ("Channel-Resurrect", 0),
            ("Channel-Bridged", times.bridged),
        ):
            yield f"{prefix}-{name}-Time", str(stamp)
        yield f"{prefix}-Channel-Last-Hold", "0"
        yield f"{prefix}-Channel-Hold-Accum", "0"
        yield f"{prefix}-Screen-Bit", "true"
        hidden = "true" if self.private else "false"
        yield f"{prefix}-Privacy-Hide-Name", hidden
        yield f"{prefix}-Privacy-Hide-Number", hidden
