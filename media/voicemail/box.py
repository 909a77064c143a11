"""The settings of a mailbox, and their file."""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from media.voicemail.errors import BadBoxError, DamagedBoxError
from media.voicemail.layout import is_number

Seconds = Annotated[int, msgspec.Meta(ge=1, le=7200)]
Amount = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Days = Annotated[int, msgspec.Meta(ge=0, le=36_500)]
Text = Annotated[str, msgspec.Meta(max_length=500)]
MailAudio = Literal["wav", "mp3", "none"]
Greeting = Literal["auto", "unavailable", "busy", "temporary", "name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A mailbox. What is given here is checked when the store writes it, or by :meth:`checked`."""

    number: str
    "1 to 32 of 0-9 A-Z a-z * # + . _ -, not beginning with a dot."
    name: Text = ""
    "Spoken where no name was recorded."
    numbers: tuple[str, ...] = ()
    "Further numbers (E.164 and such) that lead to it; each leads to one box only."
    email: Text = ""
    "Where messages are mailed to; empty: nowhere."
    webhook: Text = ""
    "URL that is told of messages; empty: none."
    webhook_secret: Text = ""
    time_zone: Text = "UTC"
    "IANA name; times are spoken in it."
    language: Text = "en"
    operator: Text = ""
    "Where 0 leads to during the greeting; empty: nowhere."
    callback: bool = True
    "Whether who listens may call back who left the message."
    transcribe: bool = True
    mail_audio: MailAudio = "wav"
    delete_after_mail: bool = False
    greeting: Greeting = "auto"
    "auto: by the reason of the call. The temporary greeting wins while its file exists."
    max_seconds: Seconds = 300
    min_seconds: Annotated[int, msgspec.Meta(ge=0, le=60)] = 3
    "What is shorter was not meant as a message."
    silence_seconds: Annotated[int, msgspec.Meta(ge=0, le=600)] = 3
    "Silence that ends a message; 0: none does."
    quota_messages: Amount = 100
    "New and saved messages together; 0: no limit."
    quota_seconds: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 0
    "Their audio together; 0: no limit."
    expire_days: Days = 0
    "Days after which a saved message is removed, from when it was saved; 0: never. A new one stays until heard."
    expire_deleted_hours: Annotated[int, msgspec.Meta(ge=0, le=876_000)] = 24
    "Hours for which a deleted message can be had back."
    phones: tuple[Text, ...] = ()
    "SIP URIs of phones whose lamp is told without having asked."
    pin_hash: str = ""
    "By media.voicemail.pin; empty: no PIN is set, and nobody can dial in."

    @property
    def wanted(self) -> tuple[str, ...]:
        """What is to be done with a message that is left now: some of transcribe, mail, webhook."""
        wishes = {"transcribe": self.transcribe, "mail": self.email, "webhook": self.webhook}
        return tuple(name for name, wish in wishes.items() if wish)

    def checked(self, where: str = "") -> Box:
        """The same; raises :class:`BadBoxError`, whose message begins with ``where`` and the field."""
        return from_dict(to_dict(self), where)


def to_dict(box: Box) -> dict[str, Any]:
    """As JSON has it."""
    return asdict(box)


def encode(box: Box) -> bytes:
    """The file's bytes."""
    return msgspec.json.format(msgspec.json.encode(box), indent=2) + b"\n"


def read(path: Path) -> Box:
    """The settings in a file. Raises :class:`DamagedBoxError` and FileNotFoundError."""
    try:
        box = from_dict(msgspec.json.decode(path.read_bytes()), str(path))
    except BadBoxError as error:
        raise DamagedBoxError(str(error)) from None
    except ValueError as error:
        raise DamagedBoxError(f"{path}: not JSON: {error}") from None
    if box.number != path.parent.name:
        raise DamagedBoxError(f"{path}: number: {box.number!r} is not the folder's name")
    return box


def from_dict(data: object, where: str = "") -> Box:
    """Settings out of JSON's objects; raises :class:`BadBoxError`."""
    prefix = f"{where}: " if where else ""
    try:
        box = msgspec.convert(data, Box)
    except msgspec.ValidationError as error:
        raise BadBoxError(prefix + _readable(str(error))) from None
    assert isinstance(data, dict)
    if unknown := sorted(set(data) - _FIELDS):
        raise BadBoxError(f"{prefix}{unknown[0]}: there is no such setting")
    for field, wrong in _flaws(box):
        raise BadBoxError(f"{prefix}{field}: {wrong}")
    return box


_FIELDS = {field.name for field in fields(Box)}
_MAIL = re.compile(r"[^@\s<>,;:\"()]+@[^@\s<>,;:\"()]+")
_DIAL = re.compile(r"[0-9A-Za-z*#+._-]{1,64}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", re.ASCII)
_PHONE = re.compile(r"sips?:[^\s<>\"@]+@[^\s<>\"@]+|sips?:[^\s<>\"@]+", re.ASCII)


def _readable(text: str) -> str:
    """``field: what is wrong`` from msgspec's ``What is wrong - at `$.field` ``."""
    message, _, place = text.partition(" - at `$")
    return f"{place.rstrip('`').lstrip('.')}: {message}" if place.strip("`") else message


def _flaws(box: Box) -> list[tuple[str, str]]:
    """Fields and what is wrong with them. No value is repeated that may be a secret."""
    found = []
    if not is_number(box.number):
        found.append(("number", f"{box.number!r} is not 1 to 32 of 0-9 A-Z a-z * # + . _ -, not beginning with a dot"))
    found += [
        (f"numbers[{place}]", f"{number!r} is no number that a box can have")
        for place, number in enumerate(box.numbers)
        if not is_number(number)
    ]
    if len({box.number, *box.numbers}) <= len(box.numbers):
        found.append(("numbers", "a number stands there twice, or is the box's own"))
    patterns = (
        ("email", box.email, _MAIL, "is no e-mail address"),
        ("operator", box.operator, _DIAL, "cannot be dialled"),
        ("language", box.language or "-", _LANGUAGE, "is no language tag such as en"),
        *((f"phones[{place}]", phone or "-", _PHONE, "is no SIP URI") for place, phone in enumerate(box.phones)),
    )
    found += [(field, f"{text!r} {what}") for field, text, fits, what in patterns if text and not fits.fullmatch(text)]
    if box.webhook and not _is_url(box.webhook):
        found.append(("webhook", f"{box.webhook!r} is no http or https URL"))
    if not _is_time_zone(box.time_zone):
        found.append(("time_zone", f"{box.time_zone!r} is no time zone such as Europe/Berlin"))
    if box.pin_hash and not box.pin_hash.startswith("scrypt$"):
        found.append(("pin_hash", "is no hash of a PIN"))
    # They come to stand in headers of mail and HTTP.
    found += [(field, "holds a control character") for field, text in _texts(box) if not text.isprintable()]
    return found


def _texts(box: Box) -> list[tuple[str, str]]:
    data = to_dict(box)
    return [(name, value) for name, value in data.items() if isinstance(value, str)]


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(re.fullmatch(r"https?://\S+", text) and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _is_time_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True
