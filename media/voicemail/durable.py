"""Writes that outlive a crash: whole or not at all, and on the disk when the function returns.

A rename is one step for whoever looks; it has reached the disk once the folders that it changed are fsynced.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

FOLDER_MODE = 0o2770
"The switch may be another user of the same group, which what is made below inherits (setgid)."
FILE_MODE = 0o640
"So that it can play the file."


def make_folder(path: Path) -> None:
    """A folder that the switch may write to. Raises FileExistsError."""
    path.mkdir()
    # Not by mkdir's mode: of that, the umask takes away.
    path.chmod(FOLDER_MODE)


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, reach the disk; also those that another process wrote."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, data: bytes, *, mode: int = FILE_MODE) -> None:
    """Make or replace a file. Its folder holds the new one under another name for a moment."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(handle, "wb") as file:
            os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def move(source: Path, target: Path) -> None:
    """One rename. Raises FileNotFoundError where somebody was quicker."""
    os.rename(source, target)
    sync(target.parent)
    sync(source.parent)


def throw_away(path: Path, trash: Path) -> None:
    """Remove a folder with all that is in it, as one step. Raises FileNotFoundError where somebody was quicker."""
    gone = trash / f"{path.name}.{secrets.token_hex(4)}"
    os.rename(path, gone)
    sync(path.parent)
    shutil.rmtree(gone, ignore_errors=True)
