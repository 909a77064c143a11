"""`strowger support-bundle`: what whoever helps wants to see of this node."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from console.node_commands import node_status
from console.output import err, out
from model.settings import Settings
from operations import support_bundle
from state.store import Store


def support_bundle_command(
    file: Annotated[Path, typer.Argument(help="Where to; - writes standard output.", dir_okay=False, allow_dash=True)],
) -> None:
    """Write versions, settings, health, policy, metrics and last log lines into one file, without secrets or numbers.

    Numbers stand in it under other names, and the policy without what authenticates. Look into it before passing it on.
    """
    settings = Settings.from_env()
    store = Store(settings.redis_url)

    def told(name: str) -> None:
        err.print(f"{name} ...")

    if str(file) == "-":
        support_bundle.write(store, settings, sys.stdout.buffer, status=node_status(settings), progress=told)
        return
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
        names = support_bundle.write(store, settings, target, status=node_status(settings), progress=told)
    out.print(f"{len(names)} files written to {file}")
