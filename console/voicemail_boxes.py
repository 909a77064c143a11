"""`strowger voicemail box` and `import`: mailboxes made and changed, one or many.

Settings are written FIELD=VALUE, as docs/voicemail.md and box.json name them; a CSV file has them as columns.
"""

from __future__ import annotations

import csv
import os
import pwd
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

import typer

from console import importing
from console.importing import File
from console.output import CommandFailed, Json, out, print_json
from media.voicemail import pin as pins
from media.voicemail.box import Box, from_dict, to_dict
from media.voicemail.errors import BadBoxError, BadPinError, NoSuchBoxError
from media.voicemail.store import Store
from model.listfile import ListFileError
from model.settings import Settings
from operations.importing import FLAWS_MAX
from operations.voicemail import FIELDS, settings_row

app = typer.Typer(no_args_is_help=True)

Number = Annotated[str, typer.Argument(help="Number of the box.")]
Changes = Annotated[list[str] | None, typer.Argument(help="Settings, each FIELD=VALUE; lists divided by blanks.")]

FLAGS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
_TYPES = get_type_hints(Box)


def store() -> Store:
    """The mailboxes of this machine. Raises CommandFailed where root would make files that the services cannot read."""
    folder = Settings.from_env().voicemail
    owner = next(path for path in (folder, *folder.absolute().parents) if path.exists()).stat().st_uid
    if owner and os.geteuid() == 0:
        user = f"#{owner}"
        with suppress(KeyError):
            user = pwd.getpwuid(owner).pw_name
        raise CommandFailed(f"{folder} belongs to {user}, who could not read what root makes there: `sudo -u {user} …`")
    return Store(folder)


@app.command()
def add(number: Number, settings: Changes = None) -> None:
    """Make a box; without a PIN nobody can dial in to it, so set one with `strowger voicemail box pin`."""
    where = f"box {number}"
    store().put_box(from_dict({"number": number, **parse_all(settings or ())}, where), new=True)
    out.print(f"box {number} made; `strowger voicemail box pin {number}` sets its PIN")


@app.command("set")
def change(number: Number, settings: Changes = None) -> None:
    """Change settings of a box; all others stay."""
    changes = parse_all(settings or ())
    if not changes:
        raise BadBoxError(f"say what to set, as FIELD=VALUE; fields: {', '.join(FIELDS)}")
    store().update_box(number, **changes)
    out.print(f"box {number}: {', '.join(changes)} set")


@app.command()
def show(number: Number, json: Json = False) -> None:
    """Show the settings of a box as `set` takes them; of PIN and webhook_secret only whether they are set."""
    box = store().box(number)
    data = settings_row(box)
    if json:
        print_json(data)
        return
    for name, value in data.items():
        out.print(f"{name}={_text(value)}")


@app.command()
def remove(
    number: Number, messages: Annotated[bool, typer.Option("--messages", help="Also if it holds messages.")] = False
) -> None:
    """Remove a box with its greetings; its messages too with --messages. Nothing of it can be had back."""
    boxes = store()
    counts = boxes.counts(number)
    held = counts.new + counts.saved + counts.deleted
    if held and not messages:
        raise CommandFailed(f"box {number} holds {held:,} messages; with --messages they are removed too")
    boxes.remove_box(number)
    out.print(f"box {number} removed, with {held:,} messages")


@app.command()
def pin(
    number: Number,
    stdin: Annotated[bool, typer.Option("--stdin", help="Read it from standard input, one line.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Take it away: nobody can dial in until it has one.")] = False,
) -> None:
    """Set the PIN of a box; asks for it, unseen."""
    boxes = store()
    boxes.box(number)
    if clear:
        boxes.update_box(number, pin_hash="")
        out.print(f"box {number} has no PIN now")
        return
    digits = sys.stdin.readline().strip() if stdin else _asked(number)
    boxes.set_pin(number, digits)
    out.print(f"box {number} has a new PIN")


def _asked(number: str) -> str:
    digits: str = typer.prompt(f"PIN for box {number}", hide_input=True, confirmation_prompt=True, err=True)
    return digits.strip()


def parse_all(words: Sequence[str]) -> dict[str, Any]:
    """Settings out of FIELD=VALUE. Raises :class:`BadBoxError`, which names the field."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise BadBoxError(f"{word!r} is not FIELD=VALUE")
        if name in found:
            raise BadBoxError(f"{name}: is set twice")
        found[name] = parse(name, text)
    return found


def parse(name: str, text: str) -> Any:
    """One setting's value. Raises :class:`BadBoxError`, which names the field."""
    if name not in FIELDS:
        raise BadBoxError(f"{name}: there is no such setting; there are: {', '.join(FIELDS)}")
    wanted = _TYPES[name]
    if wanted is bool:
        if text.lower() not in FLAGS:
            raise BadBoxError(f"{name}: {text!r} is neither yes nor no")
        return FLAGS[text.lower()]
    if wanted is int:
        if not (text.isascii() and text.isdigit()):
            raise BadBoxError(f"{name}: {text!r} is not a whole number")
        return int(text)
    return tuple(text.replace(",", " ").split()) if get_args(wanted) and wanted.__origin__ is tuple else text


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, tuple | list) else str(value)


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a CSV file: a box to make or to change."""

    number: str
    changes: Mapping[str, Any]
    pin: str


def import_boxes(file: File, json: Json = False) -> None:
    """Make or change many boxes from a CSV file.

    Its first line names the columns: number, pin, and settings as `box set` takes them. What a box has already and the
    file does not name stays; an empty PIN changes none. Where a line is wrong, nothing is imported.
    """
    boxes = store()
    with importing.progress() as bar:
        rows = _checked(boxes, importing.Reading(file, bar, skip_bad=False), str(file))
        task = bar.add_task("writing", total=len(rows))
        made = 0
        for row in rows:
            made += _put(boxes, row)
            bar.advance(task)
    if json:
        print_json({"made": made, "changed": len(rows) - made})
    else:
        out.print(f"{made:,} boxes made, {len(rows) - made:,} changed")


def _checked(boxes: Store, reading: importing.Reading, file: str) -> list[Row]:
    there, rows, flaws = set(boxes.boxes()), [], []
    owners: dict[str, str] = {}
    for line, row in _rows(reading, file):
        try:
            rows.append(_row(row))
            before = to_dict(boxes.box(rows[-1].number)) if rows[-1].number in there else {}
            _claim(boxes, from_dict({**before, "number": rows[-1].number, **rows[-1].changes}), owners)
        except (BadBoxError, BadPinError) as error:
            flaws.append(f"{file}:{line}: {error}")
    if flaws:
        more = [f"{len(flaws) - FLAWS_MAX:,} lines more"] if len(flaws) > FLAWS_MAX else []
        said = [*flaws[: FLAWS_MAX], *more, f"{len(flaws)} lines are wrong; nothing was imported"]
        raise ListFileError("\n".join(said))
    return rows


def _rows(reading: importing.Reading, file: str) -> Iterator[tuple[int, dict[str, str]]]:
    found = csv.DictReader(reading.lines(), strict=True)
    try:
        columns = found.fieldnames or []
        unknown = sorted(set(columns) - {"number", "pin", *FIELDS})
        if "number" not in columns or unknown or len(set(columns)) < len(columns):
            why = f"there is no setting {unknown[0]!r}" if unknown else "want a column number, and none twice"
            raise ListFileError(f"{file}:1: {why}; columns: number, pin, {', '.join(FIELDS)}")
        for row in found:
            yield found.line_num, {name: text for name, text in row.items() if name is not None and text is not None}
            if None in row or None in row.values():
                raise ListFileError(f"{file}:{found.line_num}: not as many columns as the first line has")
    except csv.Error as error:
        # Its own count stands where the last good line was.
        raise ListFileError(f"{file}:{found.reader.line_num}: {error}") from None


def _row(row: dict[str, str]) -> Row:
    number, digits = row.pop("number").strip(), row.pop("pin", "").strip()
    if digits and (why := pins.weak(digits, number)):
        raise BadPinError(f"pin: {why}")
    # An empty cell leaves a setting as it is, or as it is in a new box.
    changes = {name: parse(name, text.strip()) for name, text in row.items() if text.strip()}
    return Row(number, changes, digits)


def _claim(boxes: Store, box: Box, owners: dict[str, str]) -> None:
    """Each number leads to one box: of the file, and of those that are there."""
    for number in (box.number, *box.numbers):
        owner = owners.setdefault(number, _owner(boxes, number) or box.number)
        if owner != box.number:
            raise BadBoxError(f"numbers: {number} is box {owner}'s already")
    if owners.get(f"box {box.number}"):
        raise BadBoxError(f"number: box {box.number} stands there twice")
    owners[f"box {box.number}"] = box.number


def _owner(boxes: Store, number: str) -> str:
    try:
        return boxes.find_box(number)
    except NoSuchBoxError:
        return ""


def _put(boxes: Store, row: Row) -> bool:
    """Whether the box was made."""
    hashed: dict[str, Any] = {"pin_hash": pins.hashed(row.pin)} if row.pin else {}
    try:
        boxes.update_box(row.number, **row.changes, **hashed)
        return False
    except NoSuchBoxError:
        boxes.put_box(Box(number=row.number, **row.changes, **hashed))
        return True
