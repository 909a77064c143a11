"""Session descriptions (RFC 4566) and their offers and answers (RFC 3264): one audio stream of G.711 with RFC 4733."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from devswitch.rtp.parameters import StreamParameters
from devswitch.sip.errors import NegotiationError, SdpError

CODECS = {0: "PCMU", 8: "PCMA"}
"Payload types and names (RFC 3551) of what the switch speaks, the first preferred."
EVENTS = "TELEPHONE-EVENT"
DEFAULT_EVENTS = 101
_ANSWERS = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
_MEDIA = re.compile(r"(\w+) (\d{1,5})(?:/\d+)? (\S+)((?: \S+)*)")
_RTPMAP = re.compile(r"rtpmap:(\d{1,3}) +([^/\s]+)/(\d+)(?:/(\d+))?")


@dataclass(slots=True)
class Media:
    """One m= section."""

    kind: str
    port: int
    protocol: str
    formats: list[str]
    host: str = ""
    direction: str = "sendrecv"
    names: dict[int, str] = field(default_factory=dict)
    "Of payload types, in capitals, at 8000 Hz only."

    def payload_types(self) -> list[int]:
        return [int(text) for text in self.formats if text.isascii() and text.isdigit() and int(text) < 128]


@dataclass(slots=True)
class Description:
    """A session description, as far as the switch needs it."""

    media: list[Media]

    def audio(self) -> Media:
        """The first audio that is on offer; raise :class:`NegotiationError`."""
        for media in self.media:
            if media.kind == "audio" and media.protocol == "RTP/AVP" and media.port:
                return media
        raise NegotiationError("no audio over RTP/AVP")


def parse(body: bytes) -> Description:
    """Read a description; raise :class:`SdpError`."""
    media: list[Media] = []
    host, direction = "", "sendrecv"
    for line in body.decode("utf-8", "replace").splitlines():
        kind, equals, value = line.strip().partition("=")
        if not equals and kind:
            raise SdpError(f"no line of SDP: {line[:60]!r}")
        if kind == "m":
            media.append(_media(value, host, direction))
        elif kind == "c" and media:
            media[-1].host = _connection(value)
        elif kind == "c":
            host = _connection(value)
        elif kind == "a" and media:
            _attribute(media[-1], value)
        elif kind == "a" and value in _ANSWERS:
            direction = value
    if not media:
        raise SdpError("no media")
    return Description(media)


def negotiate(remote: Description) -> StreamParameters:
    """What we agree on with ``remote``, an offer or an answer; raise :class:`NegotiationError`."""
    audio = remote.audio()
    # A static payload type needs no rtpmap (RFC 3551, 6); one that has another name is another codec.
    codecs = [
        number for number in audio.payload_types() if audio.names.get(number, CODECS.get(number)) in CODECS.values()
    ]
    codecs = [number for number in codecs if number in CODECS]
    if not codecs:
        raise NegotiationError("no codec in common")
    if ":" in audio.host or not audio.host:
        raise NegotiationError("no IPv4 address for the audio")
    events = next((number for number, name in audio.names.items() if name == EVENTS), None)
    # RFC 3264, 8.4: this is how RFC 2543 put a call on hold.
    held = audio.host == "0.0.0.0"
    return StreamParameters(
        audio.host,
        audio.port,
        codecs[0],
        events,
        sends=not held and audio.direction in ("sendrecv", "recvonly"),
    )


def offer(host: str, port: int, *, version: int = 1) -> bytes:
    """Everything that we speak."""
    return _describe(host, version, [_audio(port, list(CODECS), DEFAULT_EVENTS, "sendrecv")])


def answer(remote: Description, stream: StreamParameters, host: str, port: int, *, version: int = 1) -> bytes:
    """The answer that states ``stream``; media which we do not take are refused (RFC 3264, 6)."""
    taken = remote.audio()
    ours = _audio(port, [stream.codec], stream.events, _ANSWERS[_effective(taken)])
    refused = [f"m={media.kind} 0 {media.protocol} {' '.join(media.formats)}" for media in remote.media]
    return _describe(
        host, version, [ours if media is taken else no for media, no in zip(remote.media, refused, strict=True)]
    )


def _effective(audio: Media) -> str:
    return "sendonly" if audio.host == "0.0.0.0" and audio.direction == "sendrecv" else audio.direction


def _describe(host: str, version: int, media: list[str]) -> bytes:
    head = ["v=0", f"o=strowger 1 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    return ("\r\n".join([*head, *media]) + "\r\n").encode()


def _audio(port: int, codecs: list[int], events: int | None, direction: str) -> str:
    lines = [f"m=audio {port} RTP/AVP {' '.join(map(str, [*codecs, *([] if events is None else [events])]))}"]
    lines += [f"a=rtpmap:{number} {CODECS[number]}/8000" for number in codecs]
    if events is not None:
        lines += [f"a=rtpmap:{events} telephone-event/8000", f"a=fmtp:{events} 0-15"]
    return "\r\n".join([*lines, "a=ptime:20", f"a={direction}"])


def _media(value: str, host: str, direction: str) -> Media:
    match = _MEDIA.fullmatch(value.strip())
    if not match or int(match[2]) > 65535:
        raise SdpError(f"no media line: {value[:60]!r}")
    return Media(match[1], int(match[2]), match[3], match[4].split(), host, direction)


def _connection(value: str) -> str:
    parts = value.split()
    if len(parts) != 3:
        raise SdpError(f"no connection line: {value[:60]!r}")
    return parts[2].partition("/")[0]


def _attribute(media: Media, value: str) -> None:
    if value in _ANSWERS:
        media.direction = value
    elif (match := _RTPMAP.fullmatch(value)) and int(match[3]) == 8000 and match[4] in (None, "1"):
        media.names[int(match[1])] = match[2].upper()
    elif match:
        media.names[int(match[1])] = f"{match[2]}/{match[3]}"
