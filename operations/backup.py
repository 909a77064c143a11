"""Backups: everything that cannot be made anew, in one file."""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, cast

from media.voicemail.layout import FOLDERS, Layout
from media.voicemail.locks import held
from model.settings import Settings
from operations import backup_tables as tables
from operations.backup_archive import Manifest, Writing, lines
from operations.errors import ImpossibleError
from state import schema
from state.store import Store, StoreError

VOICEMAIL = "voicemail"
SECRETS = "secrets"
KINDS = (*tables.PLAIN, VOICEMAIL)
"In the order in which they are written."
TRIES = 3
Progress = Callable[[str, int], None]
"Is told of a kind, and how many rows or files of it were done since."


def write(
    store: Store, settings: Settings, target: IO[bytes], *, with_secrets: bool = False, progress: Progress
) -> Manifest:
    """Write a backup to ``target``. Raises :class:`StoreError`, :class:`ImpossibleError`, OSError.

    ``with_secrets``: with the keys and secrets of this node.
    """
    found = schema.schema(store)
    if not found:
        raise ImpossibleError("there is nothing to back up: no policy was applied yet")
    about = Manifest(program=version("strowger"), schema=found, created=time.time(), node=settings.node)
    with tempfile.TemporaryDirectory() as folder, Writing(target, about) as archive:
        for name, path in _dumped(store, Path(folder), about, progress):
            with path.open("rb") as file:
                archive.add(name, file, path.stat().st_size)
        if (settings.voicemail / "boxes").is_dir():
            _add_voicemail(archive, Layout(settings.voicemail), progress)
        if with_secrets:
            _add_secrets(archive, settings, progress)
    return about


def _dumped(store: Store, folder: Path, about: Manifest, progress: Progress) -> Iterator[tuple[str, Path]]:
    """All tables as files, of one moment as far as they depend on each other."""
    for _ in range(TRIES):
        before = tables.moment(store)
        about.counts.clear()
        try:
            done = [item for kind in tables.PLAIN for item in _dump(store, kind, folder, about, progress)]
        except StoreError:
            if tables.moment(store) == before:
                raise
            continue
        if tables.moment(store) == before:
            yield from done
            return
    raise ImpossibleError("a policy or an import took effect each time that tables were read: try again")


def _dump(store: Store, kind: str, folder: Path, about: Manifest, progress: Progress) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for table in tables.tables(store, kind):
        path = folder / f"{kind}-{len(found)}"
        with path.open("wb") as file:
            for count, line in enumerate(lines(tables.rows(store, table)), 1):
                file.write(line)
                if not count % tables.CHUNK:
                    progress(kind, tables.CHUNK)
                about.counts[kind] = about.counts.get(kind, 0) + 1
        found.append((f"redis/{kind}/{table.name}.jsonl", path))
    return found


def _add_voicemail(archive: Writing, layout: Layout, progress: Progress) -> None:
    numbers = {link.name: os.readlink(link) for link in sorted(layout.numbers.iterdir()) if link.is_symlink()}
    data = json.dumps(numbers).encode()
    archive.add(f"{VOICEMAIL}/numbers.json", io.BytesIO(data), len(data))
    messages = 0
    for box in sorted(layout.boxes.iterdir()):
        # So that none of its messages is moved or removed meanwhile.
        with held(layout.lock(box.name)):
            for path in sorted(path for path in box.rglob("*") if path.is_file() and not path.name.startswith(".")):
                # Gone since it was listed: a greeting, or what a recording leaves behind when it has become a message.
                with suppress(FileNotFoundError):
                    _add_file(archive, f"{VOICEMAIL}/{path.relative_to(layout.root)}", path)
                    progress(VOICEMAIL, 1)
            messages += sum(len(list((box / name).iterdir())) for name in FOLDERS if (box / name).is_dir())
    archive.manifest.counts[VOICEMAIL] = messages


def secret_files(settings: Settings) -> dict[str, Path]:
    """Keys and secrets of a node, by their names in a backup."""
    named = {
        "media-secret": settings.media_secret_file, "esl-password": settings.esl_password_file,
        "smtp-password": settings.smtp_password_file,
    }  # fmt: skip
    found = {f"{SECRETS}/{name}": path for name, path in named.items() if path is not None}
    if settings.secrets.is_dir():
        found |= {f"{SECRETS}/named/{path.name}": path for path in sorted(settings.secrets.iterdir()) if path.is_file()}
    return found


def _add_secrets(archive: Writing, settings: Settings, progress: Progress) -> None:
    for name, path in secret_files(settings).items():
        if path.exists():
            _add_file(archive, name, path)
            archive.manifest.counts[SECRETS] = archive.manifest.counts.get(SECRETS, 0) + 1
            progress(SECRETS, 1)


def _add_file(archive: Writing, name: str, path: Path) -> None:
    with path.open("rb") as file:
        # Of the file that is open, whatever takes its place.
        archive.add(name, cast("IO[bytes]", file), os.fstat(file.fileno()).st_size)
