from __future__ import annotations

import re
from collections.abc import Iterator

import click
import typer.main

from api.reference import PAGE, table, written
from console.cli import app

CODE = re.compile(r"`([^`]+)`")


def commands(group: click.Command, *path: str) -> Iterator[str]:
    """All that can be typed after `strowger`."""
    if not isinstance(group, click.Group):
        yield " ".join(path)
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if not found.hidden:
            yield from commands(found, *path, name)


def section(page: str, title: str) -> str:
    return page.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_page_lists_every_operation_as_it_is() -> None:
    page = PAGE.read_text()
    assert "| `lists.put` | `POST /api/v1/lists/{action}` | operate |" in table()
    assert page == written(page), "the table is old: python -m api.reference"


def test_every_command_has_its_operations_or_stays_a_command() -> None:
    page = PAGE.read_text()
    known, _, stays = section(page, "Commands and their operations").partition("What needs the machine's own")
    assert stays
    rows = [line.split("|")[1:3] for line in known.splitlines() if line.startswith("| `")]
    named = [command for left, _ in rows for command in CODE.findall(left)]
    assert len(named) == len(set(named))
    kept = set(CODE.findall(stays))
    assert not kept & set(named)
    for command in commands(typer.main.get_command(app)):
        group = command.split()[0]
        assert command in named or {command, group} & kept, f"{command} is not on the page"
    operations = set(re.findall(r"^\| `([a-z_.]+)` \| `[A-Z]+ ", table(), re.MULTILINE))
    assert operations
    assert {name for _, right in rows for name in CODE.findall(right)} <= operations
