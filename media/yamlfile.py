"""YAML that people write beside their scripts: read with the line of each value, and checked against a model."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]
"Keys and indices that lead to a value."

MAX_TEXT = 1_000_000
"Characters."
MAX_VALUES = 50_000
"Aliases counted each time they are used, so that a few lines cannot grow without bound."
MAX_DEPTH = 16
_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class YamlError(ValueError):
    """A file cannot be; each line of the message names file, line and field."""


@dataclass(slots=True)
class Document:
    """A file's values, and the line of each."""

    path: Path
    value: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def at(self, place: Place, message: str) -> str:
        """What is wrong at a place, as people read it: ``menus.yaml:7: menus[0].timeout: …``."""
        found = place
        while found and found not in self.lines:
            found = found[:-1]
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        return f"{self.path}:{self.lines.get(found, 1)}: {where or 'the file'}: {message}"


def read(path: str | Path) -> Document:
    """Raises :class:`YamlError`; OSError where the file cannot be read."""
    document = Document(Path(path))
    try:
        text = document.path.read_text(encoding="utf-8")
        if len(text) > MAX_TEXT:
            raise YamlError(f"{path}:1: the file: larger than {MAX_TEXT} characters")
        loader = yaml.SafeLoader(text)
        _check_depth(text, document)
        root = loader.get_single_node()
        document.value = _Builder(document, loader).value(root, ()) if root else None
    except UnicodeDecodeError:
        raise YamlError(f"{path}:1: the file: not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlError(f"{path}:{mark.line + 1 if mark else 1}: the file: not YAML: {why}") from None
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"{path}:1: the file: not YAML: {str(error).splitlines()[0]}") from None
    if document.problems:
        raise YamlError("\n".join(document.problems))
    return document


def checked(document: Document, model: type[Model]) -> Model:
    """The document as ``model``. Raises :class:`YamlError`, which names all that is wrong."""
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        raise YamlError("\n".join(_problem(document, one) for one in error.errors())) from None


def _problem(document: Document, error: Any) -> str:
    hint = " (write it in quotes)" if error["type"] == "string_type" else ""
    return document.at(tuple(error["loc"]), error["msg"].removeprefix("Value error, ") + hint)


def _check_depth(text: str, document: Document) -> None:
    # Before the nodes are composed, since composing recurses.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1
                raise YamlError(f"{document.path}:{line}: the file: nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Builder:
    def __init__(self, document: Document, loader: yaml.SafeLoader) -> None:
        self._document, self._loader = document, loader
        self._values = 0

    def value(self, node: yaml.Node, place: Place) -> object:
        self._values += 1
        line = node.start_mark.line + 1
        self._document.lines.setdefault(place, line)
        if self._values > MAX_VALUES or len(place) > MAX_DEPTH:
            raise YamlError(f"{self._document.path}:{line}: the file: more than any menu needs, aliases counted")
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _TAGS:
            self._document.problems.append(self._document.at(place, f"the YAML tag {node.tag!r} is not supported"))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)  # type: ignore[no-untyped-call]

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[Hashable, object]:
        mapping: dict[Hashable, object] = {}
        pairs: list[tuple[yaml.Node, yaml.Node]] = node.value
        for key_node, value_node in pairs:
            key = self._loader.construct_object(key_node)  # type: ignore[no-untyped-call]
            if not isinstance(key, str):
                self._document.problems.append(self._document.at(place, f"the key {key!r} is no text: quote it"))
            elif key in mapping:
                self._document.lines[(*place, key)] = key_node.start_mark.line + 1
                self._document.problems.append(self._document.at((*place, key), "given twice"))
            else:
                self._document.lines[(*place, key)] = key_node.start_mark.line + 1
                mapping[key] = self.value(value_node, (*place, key))
        return mapping
