"""Events with FreeSWITCH's header names, and the bus that brings them to listeners.

Serialising events is most of what a switch spends on ESL, so an event is built only when a listener wants one of its
name, and written out only once in each format (FreeSWITCH: switch_event.c).
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote

_SUBSCRIBED = (
    "CUSTOM CLONE CHANNEL_CREATE CHANNEL_DESTROY CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_HANGUP "
    "CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_BRIDGE "
    "CHANNEL_UNBRIDGE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_UNPARK "
    "CHANNEL_APPLICATION CHANNEL_ORIGINATE CHANNEL_UUID API LOG INBOUND_CHAN OUTBOUND_CHAN STARTUP SHUTDOWN PUBLISH "
    "UNPUBLISH TALK NOTALK SESSION_CRASH MODULE_LOAD MODULE_UNLOAD DTMF MESSAGE PRESENCE_IN NOTIFY_IN PRESENCE_OUT "
    "PRESENCE_PROBE MESSAGE_WAITING MESSAGE_QUERY ROSTER CODEC BACKGROUND_JOB DETECTED_SPEECH DETECTED_TONE "
    "PRIVATE_COMMAND HEARTBEAT TRAP ADD_SCHEDULE DEL_SCHEDULE EXE_SCHEDULE RE_SCHEDULE RELOADXML NOTIFY PHONE_FEATURE "
    "PHONE_FEATURE_SUBSCRIBE SEND_MESSAGE RECV_MESSAGE REQUEST_PARAMS CHANNEL_DATA GENERAL COMMAND SESSION_HEARTBEAT "
    "CLIENT_DISCONNECTED SERVER_DISCONNECTED SEND_INFO RECV_INFO RECV_RTCP_MESSAGE SEND_RTCP_MESSAGE CALL_SECURE NAT "
    "RECORD_START RECORD_STOP PLAYBACK_START PLAYBACK_STOP CALL_UPDATE FAILURE SOCKET_DATA MEDIA_BUG_START "
    "MEDIA_BUG_STOP CONFERENCE_DATA_QUERY CONFERENCE_DATA CALL_SETUP_REQ CALL_SETUP_RESULT CALL_DETAIL DEVICE_STATE "
    "TEXT SHUTDOWN_REQUESTED CERT_RELOAD ALL"
)
NAMES = frozenset(_SUBSCRIBED.split())
"The names that a client may subscribe to."

_FIRED = (
    "CHANNEL_CREATE CHANNEL_DESTROY CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_HANGUP "
    "CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_PROGRESS "
    "CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_ORIGINATE CHANNEL_PARK CHANNEL_UNPARK CHANNEL_DATA DTMF "
    "MEDIA_BUG_START MEDIA_BUG_STOP BACKGROUND_JOB API MESSAGE PRIVATE_COMMAND PLAYBACK_START PLAYBACK_STOP "
    "RECORD_START RECORD_STOP RELOADXML"
)
FIRED = frozenset(_FIRED.split())
"The names that the switch fires by itself; a client may send any."

_URL_SAFE = "!$'()*,/"  # SWITCH_URL_UNSAFE names what is escaped; this is the rest of printable ASCII


@lru_cache(maxsize=8192)
def encode(value: str) -> str:
    """A header's value as FreeSWITCH writes it in text/event-plain (switch_url_encode)."""
    return quote(value, safe=_URL_SAFE)


@dataclass(slots=True)
class Event:
    """One event: headers in order, and a body."""

    name: str
    headers: dict[str, str]
    body: str = ""
    _written: dict[str, bytes] = field(default_factory=dict)

    @property
    def subclass(self) -> str:
        return self.headers.get("Event-Subclass", "")

    def find(self, name: str) -> str | None:
        """A header's value, whatever the case of its name."""
        if (value := self.headers.get(name)) is not None:
            return value
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    def plain(self) -> str:
        lines = [f"{name}: {encode(value)}\n" for name, value in self.headers.items() if name != "Content-Length"]
        if not self.body:
            return "".join(lines) + "\n"
        return "".join(lines) + f"Content-Length: {len(self.body.encode())}\n\n{self.body}"

    def json(self) -> str:
        content: dict[str, str] = dict(self.headers)
        if self.body:
            content |= {"Content-Length": str(len(self.body.encode())), "_body": self.body}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

    def written(self, form: str) -> bytes:
        """The event as a message of ESL, in ``plain`` or ``json``."""
        if form not in self._written:
            body = (self.json() if form == "json" else self.plain()).encode()
            head = f"Content-Length: {len(body)}\nContent-Type: text/event-{form}\n\n"
            self._written[form] = head.encode() + body
        return self._written[form]


class Listener(Protocol):
    """Who gets events."""

    def wants(self, name: str, subclass: str, unique_id: str) -> bool:
        """Asked before the event is built."""

    def deliver(self, event: Event) -> None:
        """Called in the order in which events happen. It may not wait."""


class Bus:
    """Every event passes here."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.core_uuid = str(uuid.uuid4())
        self._sequence = itertools.count(1)
        self._host = {
            "FreeSWITCH-Hostname": socket.gethostname(),
            "FreeSWITCH-Switchname": os.environ.get("DEVSWITCH_NAME", socket.gethostname()),
            "FreeSWITCH-IPv4": "127.0.0.1",
            "FreeSWITCH-IPv6": "::1",
        }

    def base(self, name: str, subclass: str = "") -> dict[str, str]:
        """The headers that every event begins with."""
        now = time.time()
        headers = {"Event-Subclass": subclass} if subclass else {}
        return (
            headers
            | {"Event-Name": name, "Core-UUID": self.core_uuid}
            | self._host
            | {
                "Event-Date-Local": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)),
                "Event-Date-GMT": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)),
                "Event-Date-Timestamp": str(int(now * 1_000_000)),
                "Event-Sequence": str(next(self._sequence)),
            }
        )

    def fire(
        self,
        name: str,
        headers: Callable[[], Mapping[str, str]] | Mapping[str, str],
        body: str = "",
        *,
        subclass: str = "",
        unique_id: str = "",
    ) -> None:
        """Bring an event to those who want it; ``headers`` is called only if somebody does."""
        wanting = [listener for listener in self.listeners if listener.wants(name, subclass, unique_id)]
        if wanting:
            own = headers() if callable(headers) else headers
            self._deliver(wanting, Event(name, {**self.base(name, subclass), **own}, body))

    @staticmethod
    def _deliver(listeners: Iterable[Listener], event: Event) -> None:
        for listener in listeners:
            listener.deliver(event)
