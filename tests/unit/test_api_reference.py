from __future__ import annotations

from api.reference import PAGE, table, written


def test_the_page_lists_every_operation_as_it_is() -> None:
    page = PAGE.read_text()
    assert "| `lists.put` | `POST /api/v1/lists/{action}` | operate |" in table()
    assert page == written(page), "the table is old: python -m api.reference"
