"""The messages of a folder as a caller walks through them: loaded in pages, each one only when it is asked for.

What happens to a message is done at once, and the walk stays as it is: a deleted message keeps its place until the
caller leaves the folder, so that it can be undeleted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from media.voicemail.layout import Folder

PAGE = 50
"Messages whose ids are asked for at once."

Load = Callable[[int, int], Awaitable[Sequence[str]]]
"``load(offset, count)``: ids of the folder as it is now, in the order in which they are heard."


@dataclass(slots=True)
class Entry:
    """One message of the walk."""

    id: str
    folder: Folder
    "Where it is now."
    origin: Folder
    "Where it was when the walk came to it, and comes back to when it is undeleted."
    heard: bool = False
    "Whether it was played to its end."
    kept: bool = False
    "Whether the caller said where it is to be."

    @property
    def moves(self) -> bool:
        """Whether it is heard now, and so no longer new."""
        return self.heard and not self.kept and self.folder == "new"


class Listing:
    """A walk through one folder."""

    def __init__(self, folder: Folder, load: Load) -> None:
        self.folder = folder
        self._load = load
        self._entries: list[Entry] = []
        self._known: set[str] = set()
        self._at = -1
        self._complete = False

    @property
    def current(self) -> Entry | None:
        """The message that the caller is at; None before the first."""
        return self._entries[self._at] if self._at >= 0 else None

    @property
    def number(self) -> int:
        """Its number in the walk, from 1."""
        return self._at + 1

    async def first(self) -> Entry | None:
        """Go to the first message; None where there is none, and then nothing changes."""
        return await self._go(0)

    async def next(self) -> Entry | None:
        """Go to the next one; None behind the last."""
        return await self._go(self._at + 1)

    async def previous(self) -> Entry | None:
        """Go to the one before; None before the first."""
        return await self._go(self._at - 1)

    async def is_last(self) -> bool:
        """Whether none follows."""
        return not await self._reach(self._at + 1)

    async def _go(self, at: int) -> Entry | None:
        if at < 0 or not await self._reach(at):
            return None
        self._at = at
        return self._entries[at]

    async def _reach(self, at: int) -> bool:
        # What was moved out of the folder is no longer counted there; what came meanwhile may have come in front.
        offset = sum(entry.folder == self.folder for entry in self._entries)
        while at >= len(self._entries) and not self._complete:
            ids = await self._load(offset, PAGE)
            offset += len(ids)
            self._complete = len(ids) < PAGE
            for id in ids:
                if id not in self._known:
                    self._known.add(id)
                    self._entries.append(Entry(id, self.folder, self.folder))
        return at < len(self._entries)
