"""Subscribers out of a CSV file: all lines are in order, or nothing is done."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from model.listfile import Flaw, ListFileError, rows_of
from model.numbers import Dialling
from model.policy import Subscribers
from model.subscriber import Subscriber, SubscriberError, check_name, hashes
from operations.changes import Row, in_force
from operations.importing import FLAWS_MAX, flaw_text, lines_of
from operations.subscribers import FIELDS, changed, section_in_force
from state.store import Change, ConflictError, Store

COLUMNS = ("name", "password", *FIELDS)
"That a file may have, in any order; name has to be there."
CONFIRM_TIMEOUT = 60.0
"Seconds that nodes may take: each subscriber is a change of its own."


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file."""

    added: int
    changed: int
    last: Change


def imported(store: Store, file: BinaryIO) -> Row:
    """Add and change the subscribers of a file, and wait for the nodes.

    Raises ListFileError, ImpossibleError, ConflictError.
    """
    done = put_all(store, "body", lines_of(file))
    return {"added": done.added, "changed": done.changed, **in_force(store, done.last, CONFIRM_TIMEOUT)}


def put_all(store: Store, name: str, lines: Iterable[str]) -> Imported:
    """Add and change the subscribers of a file, whose ``name`` stands in messages. Raises as :func:`imported`."""
    section, dialling = section_in_force(store)
    known = {one.name: one for one in store.subscribers()}
    made = read(name, lines, section, dialling, known)
    for done, one in enumerate(made):
        try:
            last = store.put_subscriber(one, known.get(one.name))
        except ConflictError as error:
            why = f"{error}; {done} of {len(made)} are in force: import the file again"
            raise ConflictError(why) from None
    added = sum(one.name not in known for one in made)
    return Imported(added, len(made) - added, last)


def read(
    name: str, lines: Iterable[str], section: Subscribers, dialling: Dialling, known: Mapping[str, Subscriber]
) -> list[Subscriber]:
    """The subscribers of a file; ``known``: those that are there. Raises ListFileError, which lists what is wrong."""
    made: dict[str, Subscriber] = {}
    flaws: list[Flaw] = []
    for found in _read(lines, section, dialling, known):
        match found:
            case Flaw():
                flaws.append(found)
                if len(flaws) == FLAWS_MAX:
                    break
            case line, one if one.name in made:
                flaws.append(Flaw(line, "name", f"{one.name} stands in the file twice"))
            case _, one:
                made[one.name] = one
    if flaws:
        said = [flaw_text(name, flaw) for flaw in flaws]
        raise ListFileError("\n".join([*said, f"{len(said)} lines are wrong; nothing was imported"]))
    if not made:
        raise ListFileError(f"{name}: no subscribers; nothing was imported")
    return list(made.values())


def _read(
    lines: Iterable[str], section: Subscribers, dialling: Dialling, known: Mapping[str, Subscriber]
) -> Iterator[tuple[int, Subscriber] | Flaw]:
    rows, columns = rows_of(lines), list[str]()
    for row in rows:
        if isinstance(row, Flaw):
            yield row
            continue
        line, cells = row
        if not columns:
            columns = [cell.lower() for cell in cells]
            if "name" not in columns or not set(columns) <= set(COLUMNS) or len(set(columns)) < len(columns):
                yield Flaw(line, "", f"the first line names the columns, name among them, of: {', '.join(COLUMNS)}")
                return
        elif len(cells) != len(columns):
            yield Flaw(line, "", f"{len(cells)} fields, where the first line names {len(columns)}")
        else:
            try:
                yield line, _of_row(dict(zip(columns, cells, strict=True)), section, dialling, known)
            except SubscriberError as error:
                yield Flaw(line, "", str(error))
    if not columns:
        yield Flaw(1, "", "the file is empty")


def _of_row(
    row: Mapping[str, str], section: Subscribers, dialling: Dialling, known: Mapping[str, Subscriber]
) -> Subscriber:  # fmt: skip
    name, password = check_name(row["name"]), row.get("password", "")
    before = known.get(name)
    if before is None and not password:
        raise SubscriberError(f"{name} is new and needs a password")
    one = before or Subscriber(name=name, realm="", ha1={}, created=time.time())
    if password:
        one = replace(one, realm=section.realm, ha1=hashes(name, section.realm, password))
    return changed(one, [f"{field}={row[field]}" for field in FIELDS if row.get(field)], dialling)
