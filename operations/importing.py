"""What imports have in common: all errors of a file at once, and one change at the end."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Protocol

from model.listfile import Flaw, ListFileError
from operations.changes import Row, in_force
from state.bulk import CHUNK, Import
from state.store import Store

# Errors that are listed before reading stops.
FLAWS_MAX = 100
# Seconds that a node may take to say that it has begun.
CONFIRM_TIMEOUT = 30.0


class Sending(Protocol):
    """Where records go: an import, or what is done instead."""

    def send(self, records: list[tuple[str, str]]) -> None:
        """Send a chunk."""


class Reading:
    """The records of a file, as they are imported."""

    def __init__(self, name: str, *, skip_bad: bool) -> None:
        """``name`` stands in messages."""
        self.name = name
        self._skip_bad = skip_bad
        self.flaws: list[Flaw] = []
        self.records = 0

    def send(self, records: Iterable[tuple[str, str] | Flaw], work: Sending) -> None:
        """Send what is sound. Raises :class:`ListFileError` where something is not, and nothing may be skipped."""
        chunk: list[tuple[str, str]] = []
        for record in records:
            if isinstance(record, Flaw):
                self._note(record)
                continue
            self.records += 1
            chunk.append(record)
            if len(chunk) == CHUNK:
                if self._skip_bad or not self.flaws:
                    work.send(chunk)
                chunk = []
        if self.flaws and not self._skip_bad:
            raise self._error()
        work.send(chunk)

    def row(self) -> Row:
        """What was read, as JSON shows it."""
        skipped = [{"line": flaw.line, "field": flaw.field, "message": flaw.message} for flaw in self.flaws]
        return {"imported": self.records, "skipped": skipped}

    def text(self, flaw: Flaw) -> str:
        """A flaw for people."""
        return flaw_text(self.name, flaw)

    def _note(self, flaw: Flaw) -> None:
        self.flaws.append(flaw)
        if not self._skip_bad and len(self.flaws) >= FLAWS_MAX:
            raise self._error()

    def _error(self) -> ListFileError:
        lines = [self.text(flaw) for flaw in self.flaws]
        more = ", and reading stopped here" if len(lines) >= FLAWS_MAX else ""
        return ListFileError("\n".join([*lines, f"{len(lines)} lines are wrong{more}; nothing was imported"]))


def flaw_text(name: str, flaw: Flaw) -> str:
    """What is wrong with a line of the file ``name``, for people."""
    where = f"{name}:{flaw.line}: "
    return f"{where}{flaw.field}: {flaw.message}" if flaw.field else where + flaw.message


Records = Callable[[Iterable[str]], Iterator[tuple[str, str] | Flaw]]
"Lines to records."


def lines_of(file: BinaryIO) -> Iterator[str]:
    """The lines of a file, one at a time; what is no UTF-8 comes as lone surrogates."""
    # csv wants line ends as they are.
    return io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")


def imported(
    store: Store, work: Import, file: BinaryIO, records: Records, *, replace: bool, skip_bad: bool, what: str,
    policy_version: int | None = None,
) -> Row:  # fmt: skip
    """Import a file as one change, and wait for the nodes. Raises ListFileError, ImportBusyError, ConflictError."""
    reading = Reading("body", skip_bad=skip_bad)
    with work:
        reading.send(records(lines_of(file)), work)
        if not reading.records and not replace:
            raise ListFileError(f"no {what}; nothing was imported")
        for _ in work.build():
            pass
        change = work.commit(policy_version)
    return {**reading.row(), "replaced": replace, **in_force(store, change, CONFIRM_TIMEOUT)}
