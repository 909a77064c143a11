"""Header fields (RFC 3261, 7.3): names in any case or compact, several values of a name in their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

COMPACT = {
    "i": "Call-ID",
    "m": "Contact",
    "e": "Content-Encoding",
    "l": "Content-Length",
    "c": "Content-Type",
    "f": "From",
    "s": "Subject",
    "k": "Supported",
    "t": "To",
    "v": "Via",
    "r": "Refer-To",
    "b": "Referred-By",
    "o": "Event",
    "u": "Allow-Events",
    "x": "Session-Expires",
}


class Headers(Mapping[str, str]):
    """Header fields in the order they stand; ``headers[name]`` joins the values of a name by a comma."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = [(COMPACT.get(name.lower(), name), value) for name, value in fields]

    def all(self, name: str) -> list[str]:
        """The fields of a name as they stand, each perhaps with several values."""
        wanted = name.lower()
        return [value for key, value in self._fields if key.lower() == wanted]

    def values_of(self, name: str) -> list[str]:
        """The values of a name whose fields are lists (Via, Route, Contact, Require ...)."""
        return [value for field in self.all(name) for value in split_list(field)]

    def add(self, name: str, value: str) -> None:
        self._fields.append((name, value))

    def set(self, name: str, value: str) -> None:
        """Put one value in place of all of that name."""
        wanted = name.lower()
        self._fields = [field for field in self._fields if field[0].lower() != wanted]
        self._fields.append((name, value))

    def copy(self) -> Headers:
        return Headers(self._fields)

    def fields(self) -> list[tuple[str, str]]:
        """Every field, in order."""
        return list(self._fields)

    def __getitem__(self, name: str) -> str:
        found = self.all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __iter__(self) -> Iterator[str]:
        seen = {name.lower(): name for name, _ in reversed(self._fields)}
        return iter(dict.fromkeys(seen[name.lower()] for name, _ in self._fields))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._fields})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.all(name))


def split_list(field: str) -> list[str]:
    """Split at the commas that stand neither in quotes nor in angle brackets."""
    if "," not in field:
        return [field.strip()] if field.strip() else []
    parts, start, quoted, depth, skip = [], 0, False, 0, False
    for index, char in enumerate(field):
        if skip:
            skip = False
        elif quoted:
            skip, quoted = char == "\\", char != '"'
        elif char == '"':
            quoted = True
        elif char in "<>":
            depth = int(char == "<")
        elif char == "," and not depth:
            parts.append(field[start:index])
            start = index + 1
    return [part.strip() for part in [*parts, field[start:]] if part.strip()]
