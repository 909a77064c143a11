"""Which scripts are in force, and how a new reading of the folder follows upon the one before.

- A file that does not load is refused, with its place; what it brought before stays in force, with the modules that
  it was loaded with. So is a file that is empty but brought scripts: editors empty a file before they write it.
- Two files with one name or number are both refused.
- What is not in the folder any more is not in force.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from media import places
from media.folder import scripts_in
from media.modules import Modules
from media.script import REGISTERED, Script, ScriptError


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A script in force."""

    script: Script
    file: str
    "Its path below the folder."
    version: str
    "Changes with the bytes of its file."
    since: float
    "Unix time, in seconds, at which it was loaded."
    modules: Modules = field(repr=False, compare=False)
    "Held so that later imports of a call find what it began with."

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.script.line}"


Brought = Mapping[str, tuple[Loaded, ...]]
"File to its scripts."


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The scripts in force at one moment."""

    files: Brought = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    "File to why its present text is not in force."
    by_key: Mapping[str, Loaded] = field(default_factory=dict)
    "Name or number to script."

    def find(self, key: str) -> Loaded | None:
        """The script of a name or number."""
        return self.by_key.get(key)

    def scripts(self) -> list[Loaded]:
        """All of them, by name."""
        return sorted((found for brought in self.files.values() for found in brought), key=lambda of: of.script.name)


def succeed(old: Registry, root: Path, texts: Mapping[str, bytes]) -> Registry:
    """The registry after ``old`` for a folder with ``texts``. Runs the code of its modules."""
    modules, refused = Modules(root, texts), dict[str, str]()
    new: dict[str, tuple[Loaded, ...]] = {}
    for file in scripts_in(texts):
        try:
            new[file] = _load(modules, file, texts[file], old.files.get(file, ()))
        except (Exception, SystemExit) as error:
            refused[file] = places.describe(error, root)
    files = _without_doubles(new, old.files, refused)
    return Registry(files=files, refused=refused, by_key=_by_key(files))


def _load(modules: Modules, file: str, text: bytes, before: tuple[Loaded, ...]) -> tuple[Loaded, ...]:
    if before and not text.strip():
        raise ScriptError("the file is empty; delete it, if that is meant")
    found: list[Script] = getattr(modules.load(file), REGISTERED, [])
    version, now = hashlib.sha256(text).hexdigest()[:8], time.time()
    _refuse_doubles_within(found)
    return tuple(Loaded(script=script, file=file, version=version, since=now, modules=modules) for script in found)


def _refuse_doubles_within(scripts: Iterable[Script]) -> None:
    seen: dict[str, Script] = {}
    for script in scripts:
        for key in script.keys:
            if key in seen:
                raise ScriptError(f"the scripts of lines {seen[key].line} and {script.line} are both {key!r}")
            seen[key] = script


def _without_doubles(new: dict[str, tuple[Loaded, ...]], old: Brought, refused: dict[str, str]) -> Brought:
    """``new`` with what the refused files brought before. What is refused here is added to ``refused``."""
    while True:
        files = {**{file: old[file] for file in refused if file in old}, **new}
        doubles = _doubles(files) & new.keys()
        if not doubles:
            return files
        # What a file brought before may be another's by now, so look again. What is old was in force together.
        refused.update({file: _double(file, files) for file in doubles})
        for file in doubles:
            del new[file]


def _owners(files: Brought) -> dict[str, list[Loaded]]:
    owners: dict[str, list[Loaded]] = defaultdict(list)
    for brought in files.values():
        for loaded in brought:
            for key in loaded.script.keys:
                owners[key].append(loaded)
    return owners


def _doubles(files: Brought) -> set[str]:
    return {loaded.file for owners in _owners(files).values() if len(owners) > 1 for loaded in owners}


def _double(file: str, files: Brought) -> str:
    for key, owners in sorted(_owners(files).items()):
        if len(owners) > 1 and file in {loaded.file for loaded in owners}:
            return f"{' and '.join(sorted(loaded.place for loaded in owners))} are both {key!r}"
    raise AssertionError(file)


def _by_key(files: Brought) -> dict[str, Loaded]:
    return {key: owners[0] for key, owners in _owners(files).items()}
