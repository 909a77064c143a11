"""The `strowger` command in a directory of its own, and what it leaves there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

COMMAND = [sys.executable, "-m", "console.cli"]
ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """Ours, without settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("STROWGER_")}


def processes_of(directory: Path) -> list[str]:
    """Command lines of the processes that run in or name a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            surroundings = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(directory) in command or f"STROWGER_RUN={directory}" in surroundings:
            found.append(command)
    return found


def demonstrate(
    directory: Path, *options: str, command: Sequence[str] = COMMAND, **more: str
) -> subprocess.CompletedProcess[str]:
    """How `strowger demo` ends."""
    return subprocess.run(
        [*command, "demo", "--directory", str(directory), *options],
        env={**environment(), **more}, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
