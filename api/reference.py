"""The table of operations in docs/http-api.md: `python -m api.reference` writes it anew."""

from __future__ import annotations

from pathlib import Path

from api.app import make_app
from api.xmlrpc_door import operations
from model.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "http-api.md"
BEGIN, END = "<!-- operations: begin -->\n", "<!-- operations: end -->\n"


def table() -> str:
    """The operations of the OpenAPI document, in the order of their paths."""
    rows = [
        f"| `{name}` | `{one['method']} {one['path']}` | {one['x-role']} | {one['description'].splitlines()[0]} |"
        for name, one in operations(make_app(Settings.from_env({})).openapi()).items()
    ]
    return "\n".join(["| operation | request | role | what it does |", "| --- | --- | --- | --- |", *rows, ""])


def written(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
