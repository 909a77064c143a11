"""Who is told of which mailbox's lamp: subscribers, and phones that never asked. Kept in a file, so that an agent that
is started anew goes on with the dialogs that stand.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

log = logging.getLogger("strowger.agent")

# A phone that was exchanged a few times leaves subscriptions that nobody answers, until they expire.
MOST_PER_BOX = 32
# Errors of SQLite that say nothing against the file itself.
_SOUND = frozenset((
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM,
))  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Watcher:
    """One that gets NOTIFYs: the dialog of a subscription, or a phone outside any."""

    key: str
    box: str
    host: str
    "In the account that the phone is told of."
    target: str
    "Request-URI."
    peer: str = ""
    "URI of where to send; empty: to the target."
    other: str = ""
    "URI of where to send if nobody answers there; empty: there is no other."
    socket: str = ""
    "Ours that we send from; empty: whichever is of its family."
    sender: str
    "From, with our tag."
    receiver: str
    "To."
    caller_tag: str = ""
    call_id: str
    event: str
    contact: str
    routes: str = ""
    expires: float = 0.0
    "Unix time; 0 for a phone that never asked."
    heard: int = 0
    "CSeq of its last request."
    cseq: int = 0
    "Of our last NOTIFY."
    told: tuple[int, ...] = ()
    "The counts that the last NOTIFY had."
    owed: bool = False
    "It gets a NOTIFY though nothing changed."
    ended: str = ""
    "Reason: its next NOTIFY is the last."
    sent: float = 0.0
    "Unix time of a NOTIFY that was not answered yet; 0: there is none."
    failed: int = 0
    "NOTIFYs without an answer since the last that was answered."
    not_before: float = 0.0
    "Unix time."

    @property
    def solicited(self) -> bool:
        """Whether it subscribed."""
        return self.expires > 0


class Watchers:
    """All watchers of this node, by key and by mailbox; and the lamps as they were last seen.

    What the file cannot take, say on a full disk, stays in memory alone: phones are told all the same.
    """

    def __init__(self, path: Path) -> None:
        self._all: dict[str, Watcher] = {}
        self._boxes: dict[str, set[str]] = {}
        self._complained = False
        self._file, rows = _opened(path)
        for text in rows:
            try:
                self._add(_decoded(text))
            except (ValueError, TypeError, KeyError):
                log.warning("a phone is forgotten, which another release of this program kept")

    def __iter__(self) -> Iterator[Watcher]:
        return iter(list(self._all.values()))

    def get(self, key: str) -> Watcher | None:
        """The watcher of a key."""
        return self._all.get(key)

    def of(self, box: str) -> list[Watcher]:
        """The watchers of a mailbox."""
        return [self._all[key] for key in sorted(self._boxes.get(box, ()))]

    def save(self, watcher: Watcher) -> None:
        """Keep a watcher as it is now."""
        self._add(watcher)
        self._write("REPLACE INTO watchers VALUES (?, ?)", watcher.key, json.dumps(asdict(watcher)))

    def remove(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        if self._all.pop(watcher.key, None) is not None:
            self._boxes[watcher.box].discard(watcher.key)
            self._write("DELETE FROM watchers WHERE key = ?", watcher.key)

    def lamps(self) -> dict[str, str]:
        """The lamps as they were last seen: by mailbox, as in Redis."""
        return dict(self._file.execute("SELECT box, lamp FROM lamps"))

    def save_lamp(self, box: str, text: str | None) -> None:
        """Keep a lamp as it was seen; None where there is none any more."""
        if text is None:
            self._write("DELETE FROM lamps WHERE box = ?", box)
        else:
            self._write("REPLACE INTO lamps VALUES (?, ?)", box, text)

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _add(self, watcher: Watcher) -> None:
        self._all[watcher.key] = watcher
        self._boxes.setdefault(watcher.box, set()).add(watcher.key)

    def _write(self, statement: str, *values: str) -> None:
        try:
            self._file.execute(statement, values)
        except sqlite3.Error as error:
            if not self._complained:
                log.warning("who is told of which mailbox is not written down: %s", error)
            self._complained = True
        else:
            self._complained = False


def _opened(path: Path) -> tuple[sqlite3.Connection, list[str]]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _read(path)
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in _SOUND:
                raise
            log.warning("%s is put aside, phones will subscribe anew: %s", path, error)
            _put_aside(path)
            return _read(path)
    except (OSError, sqlite3.Error) as error:
        log.warning("%s cannot be used, who is told of which mailbox is not written down: %s", path, error)
        return _read(":memory:")


def _read(path: Path | str) -> tuple[sqlite3.Connection, list[str]]:
    file = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    try:
        # After a power cut the last seconds may be missing; phones subscribe anew.
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = OFF")
        file.execute("CREATE TABLE IF NOT EXISTS watchers (key TEXT PRIMARY KEY, watcher TEXT) WITHOUT ROWID")
        file.execute("CREATE TABLE IF NOT EXISTS lamps (box TEXT PRIMARY KEY, lamp TEXT) WITHOUT ROWID")
        file.execute("SELECT box, lamp FROM lamps").fetchall()
        return file, [text for (text,) in file.execute("SELECT watcher FROM watchers")]
    except sqlite3.Error:
        file.close()
        raise


def _put_aside(path: Path) -> None:
    # With its journal, which SQLite would take for that of the next file of the name.
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(path.with_suffix(".broken" + suffix))


def _decoded(text: str) -> Watcher:
    data = json.loads(text)
    return Watcher(**{**data, "told": tuple(data["told"])})
