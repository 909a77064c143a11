"""What is wrong with files of menus and phrases, beyond what their models see: sounds and scripts that are missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from media import yamlfile
from media.session.errors import MenuError, PhraseError
from media.session.menufile import load_menus
from media.session.phrasefile import load_phrases
from media.speech.prompts import CATALOGUE
from media.yamlfile import Document, Place, YamlError

SUFFIXES = (".yaml", ".yml")
_SOUNDS = ("greeting_sound", "short_greeting_sound", "invalid_sound", "exit_sound", "transfer_sound")
_RATES = ("", "8000", "16000", "32000", "48000")
_SCRIPT = re.compile(r"\bstrowger_script=([\w.+*#-]+)")


@dataclass(slots=True)
class Findings:
    """Of one file."""

    path: Path
    kind: str = ""
    "menus, phrases, or neither."
    problems: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    "Sounds and phrases that only the switch knows."


def candidates(folder: Path) -> list[Path]:
    """The files in a folder of scripts that may hold menus or phrases."""
    found = (path for suffix in SUFFIXES for path in folder.rglob(f"*{suffix}"))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def check(path: Path, sounds: Sequence[Path], scripts: set[str] | None) -> Findings:
    """Check one file.

    ``sounds``: where relative names may begin; ``scripts``: the names that there are, None: not known.
    """
    findings = Findings(path)
    try:
        document = yamlfile.read(path)
        findings.kind = _kind(document)
        if findings.kind == "menus":
            load_menus(path)
        elif findings.kind == "phrases":
            load_phrases(path)
    except (YamlError, MenuError, PhraseError) as error:
        findings.problems = str(error).splitlines()
        return findings
    except OSError as error:
        findings.problems = [f"{error.filename or path}:1: the file: {error.strerror}"]
        return findings
    if findings.kind != "neither":
        _Check(document, findings, sounds, scripts).run()
    return findings


def script_names(folder: Path) -> set[str]:
    """The names and numbers that the modules of a folder declare; nothing of them is run."""
    names: set[str] = set()
    for path in folder.glob("*.py"):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            continue  # `strowger media status` says what is wrong with it
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "script":
                words = [*node.args, *(keyword.value for keyword in node.keywords)]
                names |= {one.value for word in words for one in ast.walk(word) if _is_text(one)}  # type: ignore[attr-defined]
    return names


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _kind(document: Document) -> str:
    keys = document.value if isinstance(document.value, dict) else {}
    return "menus" if "menus" in keys else "phrases" if "phrases" in keys else "neither"


class _Check:
    def __init__(
        self, document: Document, findings: Findings, sounds: Sequence[Path], scripts: set[str] | None
    ) -> None:
        self.document, self.findings, self.sounds, self.scripts = document, findings, sounds, scripts
        self.macros: set[str] = set()

    def run(self) -> None:
        value = self.document.value
        assert isinstance(value, dict)
        if self.findings.kind == "phrases":
            for place, name in _played(value["phrases"]):
                self._sound(place, name)
            return
        if value.get("phrases"):
            self.macros = set(load_phrases(self.document.path.parent / value["phrases"]).macros)
        for number, menu in enumerate(value["menus"]):
            for name in _SOUNDS:
                self._sound(("menus", number, name), menu.get(name) or "")
            if macro := menu.get("confirm_macro"):
                self._phrase(("menus", number, "confirm_macro"), macro)
            for at, action in enumerate(menu.get("actions") or ()):
                self._action(("menus", number, "actions", at, "with"), action)

    def _action(self, place: Place, action: Mapping[str, str]) -> None:
        argument = action.get("with") or action.get("argument") or ""
        if action["do"] == "menu-play-sound":
            self._sound(place, argument)
        elif action["do"] == "menu-say-phrase":
            self._phrase(place, argument.partition(",")[0])
        elif action["do"] == "menu-exec-app":
            for name in _SCRIPT.findall(argument):
                if self.scripts is not None and name not in self.scripts:
                    self._problem(place, f"there is no script {name!r}")

    def _sound(self, place: Place, name: str) -> None:
        kind, _, rest = name.partition(":")
        if not name or "$" in name or "://" in name or name in CATALOGUE or kind == "say":
            return
        if kind == "phrase":
            self._phrase(place, rest.partition(":")[0])
        elif Path(name).is_absolute():
            if not Path(name).is_file():
                self._problem(place, f"there is no {name}")
        elif not self.sounds:
            self.findings.unchecked.append(self.document.at(place, f"{name}: no directory of sounds is named"))
        elif not any(_is_there(folder / name) for folder in self.sounds):
            self._problem(
                place, f"there is no prompt {name!r}, and no such file in {' or '.join(map(str, self.sounds))}"
            )

    def _phrase(self, place: Place, macro: str) -> None:
        if macro not in self.macros:
            self.findings.unchecked.append(self.document.at(place, f"the phrase {macro!r}, which is the switch's"))

    def _problem(self, place: Place, message: str) -> None:
        self.findings.problems.append(self.document.at(place, message))


def _is_there(path: Path) -> bool:
    return any((path.parent / rate / path.name).is_file() for rate in _RATES)


def _played(phrases: Mapping[str, list[dict[str, list[dict[str, str]]]]]) -> Iterator[tuple[Place, str]]:
    for name, entries in phrases.items():
        for number, entry in enumerate(entries):
            for at, action in enumerate(entry["do"]):
                if "play" in action:
                    yield ("phrases", name, number, "do", at, "play"), action["play"]
