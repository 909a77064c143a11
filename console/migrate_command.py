"""`strowger migrate`: Redis as this version would write it, once every node has this version."""

from __future__ import annotations

from typing import Annotated

import typer

from console.output import out
from model.settings import Settings
from state import keys, schema
from state.store import Store


def migrate(
    force: Annotated[bool, typer.Option("--force", help="Whatever live nodes say that they know.")] = False,
) -> None:
    """Bring what Redis holds to this version's schema, after every node was upgraded. Harmless where it is there."""
    store = Store(Settings.from_env().redis_url)
    for before, after in schema.migrate(store, force=force):
        out.print(f"schema {before} to {after} ...")
    out.print(f"Redis holds schema {keys.SCHEMA}")
