"""The pages of the documentation, and the blocks of code in them that tests check and run.

An HTML comment right above a block says what is particular about it; readers of the page do not see it:

``<!-- not run: REASON -->``   nobody can run it here; its `strowger` commands must still be such
``<!-- run: COMMAND -->``      what has to be done before the block, as a reader would have it done already
``<!-- file: NAME -->``        the block is what this file holds, for the commands below
``<!-- status: N -->``         with which status its last command ends
``<!-- shows -->``             what stands below its commands is what they print, ``...`` being anything
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"(?P<notes>(?:^[ ]*<!-- [^\n]* -->\n)*)"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- (not run|run|file|status|shows)(?:: (.*?))? -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code of a page."""

    page: str
    line: int
    language: str
    text: str
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def not_run(self) -> str:
        """Why it cannot be run; empty where it can."""
        return self.note("not run")

    @property
    def file(self) -> str:
        """Name of the file that it is."""
        return self.note("file")

    @property
    def before(self) -> list[str]:
        """Commands that come before it."""
        return [value for name, value in self.notes if name == "run"]

    @property
    def status(self) -> int:
        """With which status its last command ends."""
        return int(self.note("status") or 0)

    @property
    def shows(self) -> bool:
        """Whether its output is to be what commands print."""
        return any(name == "shows" for name, _ in self.notes)

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """What is typed in a block of `console`, and the lines that stand below it."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif found and found[-1][0].endswith("\\"):
                found[-1] = (found[-1][0] + "\n" + line.removeprefix("> "), [])
            elif found:
                found[-1][1].append(line)
        return found

    def note(self, name: str) -> str:
        """What a comment says."""
        return next((value for key, value in self.notes if key == name), "")

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """All pages, as paths from the root of the repository."""
    return sorted(
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "media" / "freeswitch" / "README.md"]
    )


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page, in order."""
    return tuple(_blocks(page, (ROOT / page).read_text(encoding="utf-8")))


def _blocks(page: str, text: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        indent = found["indent"]
        body = "".join(line.removeprefix(indent) for line in found["text"].splitlines(keepends=True))
        line = text.count("\n", 0, found.start("indent")) + 1
        notes = tuple((name, value or "") for name, value in _NOTE.findall(found["notes"]))
        yield Block(page, line, found["language"], body, notes)
