"""One reading of the folder of scripts, as modules that no other reading sees.

Each reading is a package of its own in ``sys.modules``, made from the bytes that were read: an import that a live call
makes later finds the same reading, whatever is on disk by then. ``import prompts`` in a script means ``prompts.py`` of
the folder where there is one, even where the standard library has the name too; nothing outside the scripts sees it.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import itertools
import logging
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_numbers = itertools.count(1)


class Modules:
    """The modules of one reading. They leave ``sys.modules`` when nobody holds this object any more."""

    def __init__(self, root: Path, texts: Mapping[str, bytes]) -> None:
        self.package = f"strowger_scripts_{next(_numbers)}"
        self._finder = finder = _Finder(self.package, root, texts)
        package = ModuleType(self.package)
        package.__path__ = []
        sys.modules[self.package] = package
        sys.meta_path.append(finder)
        weakref.finalize(self, _forget, self.package, finder)

    def load(self, file: str) -> ModuleType:
        """The module of a file such as ``welcome.py``, and all of the folder that it may import later, by a function.

        Raises whatever their code raises.
        """
        seen, new = set[str](), {file.removesuffix(".py")}
        while new:
            name = new.pop()
            importlib.import_module(f"{self.package}.{name}")
            seen.add(name)
            new |= self._finder.imports(name) - seen
        return sys.modules[f"{self.package}.{file.removesuffix('.py')}"]


class _Finder(MetaPathFinder, Loader):
    def __init__(self, package: str, root: Path, texts: Mapping[str, bytes]) -> None:
        self._package = package
        self._root = root
        self._texts = {name: text for name, text in texts.items() if name.endswith(".py")}
        self._names = {name.partition("/")[0].removesuffix(".py") for name in self._texts}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """For the import system."""
        if not name.startswith(f"{self._package}."):
            return None
        below = name.removeprefix(f"{self._package}.")
        if (file := self._file(below)) is not None:
            spec = ModuleSpec(name, self, origin=str(self._root / file), is_package=file.endswith("/__init__.py"))
            spec.has_location = True
            return spec
        folder = any(file.startswith(f"{below.replace('.', '/')}/") for file in self._texts)
        return ModuleSpec(name, self, is_package=True) if folder else None

    def imports(self, name: str) -> set[str]:
        """The modules of the folder that the module ``name`` imports, wherever in its code."""
        file = self._file(name)
        if file is None:
            return set()
        package = name if file.endswith("/__init__.py") else name.rpartition(".")[0]
        return {found for found in _imported(self._texts[file], package) if self._file(found)}

    def _file(self, name: str) -> str | None:
        below = name.replace(".", "/")
        return next((file for file in (f"{below}/__init__.py", f"{below}.py") if file in self._texts), None)

    def exec_module(self, module: ModuleType) -> None:
        """For the import system."""
        module.__dict__["__builtins__"] = self._builtins
        path = module.__spec__.origin if module.__spec__ else None
        if path is not None:
            text = self._texts[str(Path(path).relative_to(self._root))]
            # From the bytes: compiled files are checked by size and second of change, and two edits may look the same.
            exec(_compiled(text, path), module.__dict__)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or top not in self._names:
            return __import__(name, globals, locals, fromlist, level)
        found = __import__(f"{self._package}.{name}", globals, locals, fromlist, 0)
        # `import a.b` binds a.
        return found if fromlist else sys.modules[f"{self._package}.{top}"]


def _compiled(text: bytes, path: str) -> CodeType:
    try:
        return compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        if isinstance(error, SyntaxError) and error.filename:
            raise
        # Null bytes: ValueError before Python 3.12, and since then without a place.
        raise SyntaxError(str(error), (path, 0, None, None)) from None


def _imported(text: bytes, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            yield base
            yield from (f"{base}.{alias.name}".lstrip(".") for alias in node.names)


def _forget(package: str, finder: MetaPathFinder) -> None:
    # Another list, and other threads' imports go on with theirs.
    sys.meta_path = [other for other in sys.meta_path if other is not finder]
    # getLogger(__name__) is kept by name for ever, and here each reading has names of its own.
    for table in (sys.modules, logging.Logger.manager.loggerDict):
        for name in list(table):
            if name == package or name.startswith(f"{package}."):
                del table[name]
