"""Where phones are registered, as a node keeps it over a restart of its Kamailio.

Kamailio's usrloc has it in memory. After each REGISTER a worker writes the contacts of that subscriber into a file of
their own, whole and by a rename, so that neither a killed Kamailio nor a power cut leaves half of one. Before
Kamailio starts, all files become the table that usrloc reads (its module db_text).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import quote, unquote

# The columns of usrloc's table, version 9 in Kamailio 5.6 to 6.1, in the spelling of db_text.
_COLUMNS = (
    "id(int,auto) ruid(string) username(string) domain(string,null) contact(string) received(string,null) "
    "path(string,null) expires(int) q(double) callid(string) cseq(int) last_modified(int) flags(int) cflags(int) "
    "user_agent(string,null) socket(string,null) methods(int,null) instance(string,null) reg_id(int) server_id(int) "
    "connection_id(int) keepalive(int) partition(int)"
)
_VERSIONS = "id(int,auto) table_name(string) table_version(int)\n1:location:9\n"
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", ":": "\\:", "\0": "\\0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A registered phone."""

    uri: str
    expires: int
    "Unix time."
    received: str = ""
    "SIP URI to send to instead, where that is another place."
    socket: str = ""
    "Ours that it registered at, ``udp:192.0.2.1:5060``."
    user_agent: str = ""
    call_id: str = ""
    cseq: int = 0
    q: int = -1
    "Thousandths; -1: not said."
    instance: str = ""
    ruid: str = ""
    methods: int = -1
    "Kamailio's bits; all where nothing was said."
    path: str = ""
    "The proxies that requests to it go by (RFC 3327): what their Route header has."
    flags: int = 0
    "Kamailio's bits: the branch flags of an attempt to it."

    @property
    def hop(self) -> str:
        """Where a request to it is sent, where that is not its URI; else empty."""
        return _first(self.path) or self.received

    @property
    def target(self) -> str:
        """Where a request to it is sent."""
        return self.hop or self.uri


def write(directory: Path, name: str, contacts: Iterable[Contact]) -> None:
    """Put a subscriber's contacts in place of those before. Raises OSError."""
    path = _path(directory, name)
    kept = [asdict(contact) for contact in contacts]
    if not kept:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(json.dumps(kept))
    fresh.rename(path)


def read(directory: Path, name: str, now: float) -> tuple[Contact, ...]:
    """A subscriber's contacts at Unix time ``now``."""
    return _read(_path(directory, name), now)


def read_all(directory: Path, now: float) -> Iterator[tuple[str, tuple[Contact, ...]]]:
    """Every subscriber with contacts at Unix time ``now``."""
    for path in sorted(directory.glob("??/*.json")):
        if contacts := _read(path, now):
            yield unquote(path.name.removesuffix(".json")), contacts


def restore(directory: Path, table: Path, now: float) -> int:
    """Make the directory ``table`` the tables that usrloc reads at Unix time ``now``; the number of contacts.

    Raises OSError.
    """
    table.mkdir(parents=True, exist_ok=True)
    for path in list(directory.glob("??/*.json")):
        if not _read(path, now):
            path.unlink(missing_ok=True)
    rows = [_row(name, contact) for name, contacts in read_all(directory, now) for contact in contacts]
    lines = "".join(f"{number}:{row}\n" for number, row in enumerate(rows, 1))
    (table / "version").write_text(_VERSIONS)
    (table / "location").write_text(f"{_COLUMNS}\n{lines}")
    return len(rows)


def _first(path: str) -> str:
    return path.partition(">")[0].rpartition("<")[2]


def _row(name: str, contact: Contact) -> str:
    values = (
        contact.ruid, name, "", contact.uri, contact.received, contact.path, contact.expires,
        contact.q / 1000 if contact.q >= 0 else -1, contact.call_id or "-", contact.cseq, 0, 0, contact.flags,
        contact.user_agent, contact.socket,
        contact.methods, contact.instance, 0, 0, -1, 0, 0,
    )  # fmt: skip
    return ":".join(str(value).translate(_ESCAPES) for value in values)


def _path(directory: Path, name: str) -> Path:
    # A dot would hide it from the pattern, and two of them lead upwards.
    safe = quote(name.lower(), safe="+").replace(".", "%2E")
    return directory / f"{sum(safe.encode()) % 256:02x}" / f"{safe}.json"


def _read(path: Path, now: float) -> tuple[Contact, ...]:
    known = {field.name for field in fields(Contact)}
    try:
        data = json.loads(path.read_text())
        found = [Contact(**{key: value for key, value in item.items() if key in known}) for item in data]
        return tuple(contact for contact in found if contact.expires > now)
    except (OSError, ValueError, TypeError, AttributeError):
        # Not there, or not whole after a power cut: the phone registers again.
        return ()
