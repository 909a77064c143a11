"""Events a script makes, and those it is given (M11)."""

from __future__ import annotations

import json
from typing import Literal
from urllib.parse import quote
from xml.sax.saxutils import escape

from media.esl.errors import ArgumentError
from media.esl.message import Event as SwitchEvent
from media.session import runtime

# EVENT_NAMES of switch_event.c (1.11.1).
_NAMES = """CUSTOM CLONE CHANNEL_CREATE CHANNEL_DESTROY CHANNEL_STATE CHANNEL_CALLSTATE CHANNEL_ANSWER CHANNEL_HANGUP
    CHANNEL_HANGUP_COMPLETE CHANNEL_EXECUTE CHANNEL_EXECUTE_COMPLETE CHANNEL_HOLD CHANNEL_UNHOLD CHANNEL_BRIDGE
    CHANNEL_UNBRIDGE CHANNEL_PROGRESS CHANNEL_PROGRESS_MEDIA CHANNEL_OUTGOING CHANNEL_PARK CHANNEL_UNPARK
    CHANNEL_APPLICATION CHANNEL_ORIGINATE CHANNEL_UUID API LOG INBOUND_CHAN OUTBOUND_CHAN STARTUP SHUTDOWN PUBLISH
    UNPUBLISH TALK NOTALK SESSION_CRASH MODULE_LOAD MODULE_UNLOAD DTMF MESSAGE PRESENCE_IN NOTIFY_IN PRESENCE_OUT
    PRESENCE_PROBE MESSAGE_WAITING MESSAGE_QUERY ROSTER CODEC BACKGROUND_JOB DETECTED_SPEECH DETECTED_TONE
    PRIVATE_COMMAND HEARTBEAT TRAP ADD_SCHEDULE DEL_SCHEDULE EXE_SCHEDULE RE_SCHEDULE RELOADXML NOTIFY PHONE_FEATURE
    PHONE_FEATURE_SUBSCRIBE SEND_MESSAGE RECV_MESSAGE REQUEST_PARAMS CHANNEL_DATA GENERAL COMMAND SESSION_HEARTBEAT
    CLIENT_DISCONNECTED SERVER_DISCONNECTED SEND_INFO RECV_INFO RECV_RTCP_MESSAGE SEND_RTCP_MESSAGE CALL_SECURE NAT
    RECORD_START RECORD_STOP PLAYBACK_START PLAYBACK_STOP CALL_UPDATE FAILURE SOCKET_DATA MEDIA_BUG_START
    MEDIA_BUG_STOP CONFERENCE_DATA_QUERY CONFERENCE_DATA CALL_SETUP_REQ CALL_SETUP_RESULT CALL_DETAIL DEVICE_STATE
    TEXT SHUTDOWN_REQUESTED CERT_RELOAD ALL"""
NAMES = frozenset(_NAMES.split())
Priority = Literal["NORMAL", "LOW", "HIGH"]
"switch_priority_t of switch_types.h; Lua has no value of that type, so its setPriority always fails."
_SAFE = "!$'()*,-./_~"  # all but SWITCH_URL_UNSAFE of switch_utils.h


def event_name(name: str) -> str:
    """``message_waiting`` → ``MESSAGE_WAITING``; :class:`ArgumentError` where the switch has no such event."""
    upper = name.upper().removeprefix("SWITCH_EVENT_")
    if upper not in NAMES:
        raise ArgumentError(f"{name!r} is no event of the switch")
    return upper


class Event:
    """Headers and perhaps a body. Values are text, and stand on one line."""

    __slots__ = ("_body", "_headers", "_source")

    def __init__(self, name: str, subclass: str = "") -> None:
        """``name`` in any case; with ``subclass`` the event is a CUSTOM one.

        :raises ArgumentError: for a name the switch does not know.
        """
        kind = event_name(name)
        self._headers: dict[str, str] | None = {"Event-Name": "CUSTOM" if subclass else kind}
        self._body = ""
        self._source: SwitchEvent | None = None
        if subclass:
            self.add_header("Event-Subclass", subclass)

    @classmethod
    def of(cls, source: SwitchEvent) -> Event:
        """An event that came from the switch; its headers are read when somebody looks."""
        event = cls.__new__(cls)
        event._headers, event._body, event._source = None, "", source
        return event

    def __repr__(self) -> str:
        return f"<Event {self.get_type()}>"  # the rest may be a caller's

    @property
    def headers(self) -> dict[str, str]:
        """All headers, in order; what is changed here is changed in the event."""
        if self._headers is None:
            assert self._source is not None
            self._headers = dict(self._source.headers)
        return self._headers

    def add_header(self, name: str, value: str) -> bool:
        """Set a header; :class:`ArgumentError` for a line end in name or value."""
        if any(bad in name + value for bad in "\r\n\0") or not name or ":" in name:
            raise ArgumentError(f"{name!r}: neither name nor value of a header may have a line end")
        self.headers[name] = value
        return True

    def del_header(self, name: str) -> bool:
        """Remove a header; False where there is none."""
        found = self._key(name)
        return found is not None and self.headers.pop(found, None) is not None

    def get_header(self, name: str) -> str | None:
        """The header's value, names in any case; None where there is none."""
        if self._headers is None:
            assert self._source is not None
            return self._source.get(name)
        found = self._key(name)
        return None if found is None else self._headers[found]

    def add_body(self, text: str) -> bool:
        """Replace the body; lines and all."""
        self._headers = self.headers  # read before their source goes
        self._body, self._source = text, None
        return True

    def get_body(self) -> str:
        """The body, or "" (nil in Lua)."""
        return self._source.body if self._source is not None and not self._body else self._body

    def get_type(self) -> str:
        """``CUSTOM``, ``CHANNEL_ANSWER``, ..."""
        return self.get_header("Event-Name") or ""

    def set_priority(self, priority: Priority) -> bool:
        """NORMAL, LOW or HIGH, as the header ``priority``; :class:`ArgumentError` for another."""
        if priority not in ("NORMAL", "LOW", "HIGH"):
            raise ArgumentError(f"priority {priority!r}: want NORMAL, LOW or HIGH")
        return self.add_header("priority", priority)

    def serialize(self, format: str = "text") -> str:
        """As the switch writes it: "text" (values percent-encoded), "xml" or "json"."""
        headers, body = dict(self.headers), self.get_body()
        if body:
            headers.pop("Content-Length", None)
        if format == "json":
            return json.dumps(headers | ({"Content-Length": _length(body), "_body": body} if body else {}))
        if format == "xml":
            return _xml(headers, body)
        lines = [f"{name}: {quote(value, safe=_SAFE)}\n" for name, value in headers.items()]
        return "".join(lines) + (f"Content-Length: {_length(body)}\n\n{body}" if body else "\n")

    async def fire(self) -> bool:
        """Give the event to the switch, which gives it to all who asked for such.

        :raises CommandError: when the switch refuses it.
        :raises ConnectionClosed: without a connection to the switch.
        """
        headers = {name: value for name, value in self.headers.items() if name not in ("Event-Name", "Content-Length")}
        return (await runtime.switch().sendevent(self.get_type(), headers, self.get_body())).ok

    def _key(self, name: str) -> str | None:
        if name in self.headers:
            return name
        lower = name.lower()
        return next((known for known in self.headers if known.lower() == lower), None)


def _length(body: str) -> str:
    return str(len(body.encode()))


def _xml(headers: dict[str, str], body: str) -> str:
    lines = [f"    <{name}>{escape(quote(value, safe=_SAFE))}</{name}>\n" for name, value in headers.items()]
    end = f"  <Content-Length>{_length(body)}</Content-Length>\n  <body>{escape(body)}</body>\n" if body else ""
    return f"<event>\n  <headers>\n{''.join(lines)}  </headers>\n{end}</event>\n"
