"""The table of ``docs/settings.md``, made from the settings themselves.

``python -m model.settings_page docs/settings.md`` brings the page up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from model.settings import SETTINGS

BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


def table() -> str:
    """A row for each setting."""
    rows = [f"| `{setting.name}` | {_default(setting.default)} | {setting.meaning} |" for setting in SETTINGS]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows, ""])


def updated(page: str) -> str:
    """The page with the table as it is now. Raises ValueError where it has no markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no markers to put the table between")
    return before + BEGIN + table() + END + after


def _default(text: str) -> str:
    if not text:
        return "(none)"
    return text if text.startswith("(") else f"`{text}`"


def main(path: str) -> None:
    """Bring the page at ``path`` up to date."""
    page = Path(path)
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
