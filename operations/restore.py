"""Restores: what a backup holds takes the place of what is there, all at once, or nothing does."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, cast

from media.voicemail import durable
from media.voicemail.layout import Layout, is_number
from media.voicemail.locks import held
from model.settings import Settings
from operations import backup_tables as tables
from operations.backup import KINDS, SECRETS, VOICEMAIL, Progress, secret_files
from operations.backup_archive import BadBackupError, Manifest, members, verified
from operations.errors import ImpossibleError, InvalidError
from state import keys, mwi, schema
from state.store import Store, _away

SECRET_MODE = 0o600


def restore(
    store: Store,
    settings: Settings,
    source: IO[bytes],
    *,
    only: Collection[str] = (),
    force: bool = False,
    progress: Progress,
) -> Manifest:
    """Bring back what a backup holds; ``source`` is read twice. Raises :class:`BadBackupError` before anything is done.

    ``only``: these kinds; none: all but secrets. ``force``: also over what is there. Secrets that are there stay.
    Raises :class:`InvalidError`, :class:`ImpossibleError`, :class:`state.store.StoreError`, OSError.
    """
    manifest = verified(source)
    wanted = set(only) or set(KINDS)
    if unknown := wanted - {*KINDS, SECRETS}:
        raise InvalidError(f"no kind {sorted(unknown)[0]!r}: there are {', '.join((*KINDS, SECRETS))}")
    _check_schema(store, manifest, wanted)
    if not force:
        _check_empty(store, settings, manifest, wanted)
    boxes = Boxes(Layout(settings.voicemail)) if _has(manifest, wanted, VOICEMAIL) else None
    with tables.Staging(store) as staging:
        kinds = [kind for kind in tables.PLAIN if _has(manifest, wanted, kind)]
        gone = [table.key for kind in kinds for table in tables.tables(store, kind)]
        lit = set(mwi.read_all(store)[1])
        try:
            for name, file in members(source):
                _bring(name, file, wanted, staging, boxes, progress)
                staging.renew()
            if boxes is not None:
                boxes.prepare()
            if staging.staged or boxes is not None:
                staging.commit(
                    schema=manifest.schema, generation=secrets.token_hex(8), also_gone=gone, force=force
                )
            if boxes is not None:
                # Only now: Redis may refuse, and what was there is gone after this.
                boxes.commit()
                tables.forget_index(store)
            if staging.staged:
                mwi.tell(store, lit | set(mwi.read_all(store)[1]))
        finally:
            if boxes is not None:
                boxes.clean()
    if SECRETS in wanted:
        _bring_secrets(source, settings, progress)
    return manifest


def _has(manifest: Manifest, wanted: set[str], kind: str) -> bool:
    folder = f"{VOICEMAIL}/" if kind == VOICEMAIL else f"redis/{kind}/"
    return kind in wanted and any(name.startswith(folder) for name in manifest.members)


def _check_schema(store: Store, manifest: Manifest, wanted: set[str]) -> None:
    if not keys.OLDEST <= manifest.schema <= keys.SCHEMA:
        raise ImpossibleError(
            f"the backup holds schema {manifest.schema}, which this version does not know: restore it with "
            f"{manifest.program}, and upgrade then"
        )
    there = schema.schema(store)
    if there and there != manifest.schema and not wanted.issuperset(KINDS):
        raise ImpossibleError(f"the backup holds schema {manifest.schema}, Redis {there}: restore all of it, or none")


def _check_empty(store: Store, settings: Settings, manifest: Manifest, wanted: set[str]) -> None:
    full = []
    for kind in (kind for kind in tables.PLAIN if _has(manifest, wanted, kind)):
        there = [table for table in tables.tables(store, kind) if not (table.stream or table.made_anew)]
        with _away():
            if any(store._redis.exists(table.key) for table in there):
                full.append(kind)
    boxes = settings.voicemail / "boxes"
    if _has(manifest, wanted, VOICEMAIL) and boxes.is_dir() and any(boxes.iterdir()):
        full.append(VOICEMAIL)
    if full:
        raise ImpossibleError(f"there is something already: {', '.join(full)}; --force replaces it")


def _bring(
    name: str, file: IO[bytes], wanted: set[str], staging: tables.Staging, boxes: Boxes | None, progress: Progress
) -> None:
    top, _, rest = name.partition("/")
    if top == "redis":
        kind, _, table = rest.removesuffix(".jsonl").partition("/")
        if kind in wanted and kind in tables.PLAIN:
            staging.put(tables.named(kind, table), _counted(file, kind, progress))
    elif top == VOICEMAIL and boxes is not None:
        boxes.put(rest, file)
        progress(VOICEMAIL, 1)


def _counted(file: IO[bytes], kind: str, progress: Progress) -> Iterator[tables.Row]:
    for count, line in enumerate(file, 1):
        yield cast("tables.Row", json.loads(line))
        if not count % tables.CHUNK:
            progress(kind, tables.CHUNK)


class Boxes:
    """Mailboxes that are made beside those there, and then take their place."""

    def __init__(self, layout: Layout) -> None:
        layout.make()
        self._layout = layout
        self._beside = layout.making / f"restored.{secrets.token_hex(4)}"
        for folder in (self._beside, self._beside / "boxes", self._beside / "numbers"):
            durable.make_folder(folder)

    def put(self, name: str, file: IO[bytes]) -> None:
        """Write a file of a mailbox, or make the links that lead to boxes. Raises :class:`BadBackupError`."""
        if name == "numbers.json":
            for number, box in json.load(file).items():
                if not (is_number(number) and is_number(box)):
                    raise BadBackupError(f"{number!r} is no number of a box")
                (self._beside / "numbers" / number).symlink_to(box)
            return
        # What is old there counts as left behind.
        os.utime(self._beside)
        path = self._beside / name
        self._make(path.parent)
        with path.open("wb") as target:
            shutil.copyfileobj(file, target)
        # There is a PIN's hash in it.
        path.chmod(SECRET_MODE if path.name == "box.json" else durable.FILE_MODE)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            self._make(folder.parent)
            durable.make_folder(folder)

    def prepare(self) -> None:
        """Have all of it be on the disk, so that little can go wrong any more."""
        for box in (self._beside / "boxes").iterdir():
            # As an empty mailbox has them.
            for name in ("greetings", "new", "saved", "deleted", "urgent"):
                self._make(box / name)
        self._own()
        os.sync()

    def commit(self) -> None:
        """Put them in force. What was there goes."""
        with held(self._layout.settings_lock):
            for name in ("boxes", "numbers"):
                there = self._layout.root / name
                os.rename(there, self._beside / f"{name}.before")
                os.rename(self._beside / name, there)
            durable.sync(self._layout.root)
            for mark in self._layout.pending.iterdir():
                mark.unlink(missing_ok=True)

    def _own(self) -> None:
        """To whom mailboxes belong, where root does this."""
        if os.geteuid():
            return
        owner = self._layout.root.stat()
        for path in (self._beside, *self._beside.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    def clean(self) -> None:
        """Remove what is of no use any more."""
        shutil.rmtree(self._beside, ignore_errors=True)


def _bring_secrets(source: IO[bytes], settings: Settings, progress: Progress) -> None:
    places = secret_files(settings)
    for name, file in members(source):
        if not name.startswith(f"{SECRETS}/"):
            continue
        path = places.get(name, settings.secrets / Path(name).name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.write(path, file.read(), mode=SECRET_MODE)
            progress(SECRETS, 1)
