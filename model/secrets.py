"""Secrets that a policy names: passwords and keys, a file each, so that no policy, history or log ever holds one.

Raises only :class:`SecretError`, whose text names the file and what is wrong with it, and never what is in it.
"""

from __future__ import annotations

import re
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"What a secret may be called; no path leads out of the directory."


class SecretError(Exception):
    """A secret is not there, or must not be used as it is."""


def read_secret(directory: Path, name: str) -> str:
    """The secret ``name``: the first line of the file of that name in ``directory``.

    Raises :class:`SecretError` where there is none, or where others than its owner and group may read it.
    """
    path = directory / name
    if not NAME.fullmatch(name):
        raise SecretError(f"{name!r} is no name of a secret: letters, digits, and _.- behind the first")
    try:
        if path.stat().st_mode & 0o007:
            raise SecretError(f"{path}: everybody may use it; chmod 640 it, or 600")
        line = path.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise SecretError(f"{path}: {reason}") from None
    if not line:
        raise SecretError(f"{path}: its first line is empty")
    return line


class Secrets:
    """The secrets of a directory, each read again when its file has changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, tuple[int, str]] = {}

    def read(self, name: str) -> str:
        """See :func:`read_secret`."""
        try:
            changed = (self._directory / name).stat().st_mtime_ns
        except OSError:
            return read_secret(self._directory, name)
        known = self._known.get(name)
        if known is None or known[0] != changed:
            known = self._known[name] = changed, read_secret(self._directory, name)
        return known[1]
