"""A difference between policies as people read it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from console.output import out
from policyfile.diff import FieldChange, Kind, PartChange

_MARKS = {Kind.ADDED: ("+", "green"), Kind.REMOVED: ("-", "red"), Kind.CHANGED: ("~", "yellow")}


def print_diff(changes: Iterable[PartChange]) -> None:
    """One line for each part and each field; colours only on a terminal, as everywhere."""
    for change in changes:
        mark, style = _MARKS[change.kind]
        out.print(f"{mark} {change.section} {change.name}".rstrip(), style=style)
        for field in change.fields:
            out.print(f"    {field.field}: {_values(change.kind, field)}")


def _values(kind: Kind, field: FieldChange) -> str:
    old, new = (json.dumps(value, ensure_ascii=False) for value in (field.old, field.new))
    return {Kind.ADDED: new, Kind.REMOVED: old}.get(kind, f"{old} -> {new}")
