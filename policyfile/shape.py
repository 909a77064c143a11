"""A tree against the shape of a policy file: pydantic's verdict in an operator's words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from policyfile.document import Document, keys_of, section_at
from policyfile.problems import Finding, Path, did_you_mean, quoted
from policyfile.tree import Tree, misread
from policyfile.values import SCHEMA_VERSION

_MESSAGES = {
    "model_type": "should be a mapping (key: value)",
    "dict_type": "should be a mapping (key: value)",
    "tuple_type": "should be a list",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "too_short": "should not be empty",
    "too_long": "should have at most {max_length} items",
    "missing": "is missing",
}


@dataclass(frozen=True, slots=True)
class Shaped:
    """A document as far as its single values are in order."""

    document: Document
    "Without the plans, trunks, gateways and routes that are broken in themselves."
    route_numbers: tuple[int, ...]
    "Where each of the document's routes stands in the file, from 0."


def check_shape(tree: Tree) -> tuple[Shaped | None, list[Finding]]:
    """What is in order in ``tree``, None if nothing is, and all that is wrong with its single values."""
    document, details = _validate(tree.value)
    findings = [
        *tree.findings,
        *(_finding(detail, tree) for detail in details if _path(detail) not in tree.unread),
    ]
    broken = {finding.path for finding in tree.findings}.union(map(_path, details))
    if broken and isinstance(tree.value, dict):
        # What is sound is checked further: all problems are said at once, not one kind after the other.
        document, _ = _validate(_sound(tree.value, broken))
    if document is None:
        return None, findings
    return Shaped(document, _sound_routes(tree.value, broken)), findings


def _validate(value: object) -> tuple[Document | None, list[ErrorDetails]]:
    try:
        return Document.model_validate(value), []
    except ValidationError as error:
        # pydantic counts only the sound items of a list, and so calls one with a wrong item too short.
        details = error.errors(include_url=False)
        return None, [detail for detail in details if not (detail["type"] == "too_short" and detail["input"])]


def _path(detail: ErrorDetails) -> Path:
    path = detail["loc"]
    return path[:-1] if path and path[-1] == "[key]" else path


def _sound(document: dict[str, Any], broken: Collection[Path]) -> dict[str, Any]:
    # Half an emergency section would be none: it goes as a whole.
    heads = {path[:1] if path[:1] == ("emergency",) else path[:2] for path in broken}
    sound = {key: _sound_part(key, part, heads) for key, part in document.items() if (key,) not in heads}
    return {**sound, "strowger": SCHEMA_VERSION}


def _sound_part(key: str, part: Any, broken: Collection[Path]) -> Any:
    if isinstance(part, dict):
        return {name: value for name, value in part.items() if (key, name) not in broken}
    if isinstance(part, list):
        return [value for index, value in enumerate(part) if (key, index) not in broken]
    return part


def _sound_routes(document: Any, broken: Collection[Path]) -> tuple[int, ...]:
    heads = {path[:2] for path in broken}
    routes = [] if ("routes",) in heads else document.get("routes", [])
    return tuple(index for index in range(len(routes)) if ("routes", index) not in heads)


def _finding(detail: ErrorDetails, tree: Tree) -> Finding:
    path = _path(detail)
    if detail["type"] == "extra_forbidden":
        key = str(path[-1])
        known = keys_of(section_at(path[:-1]))
        return Finding(path[:-1], f"unknown key {quoted(key)}{did_you_mean(key, known)}", tree.line(path))
    return Finding(path, _message(detail, tree.plain(path)))


def _message(detail: ErrorDetails, plain: yaml.ScalarNode | None) -> str:
    kind = detail["type"]
    if kind == "missing" and detail["loc"] == ("strowger",):
        return f"is missing: a policy begins with 'strowger: {SCHEMA_VERSION}'"
    if kind == "string_type" and plain is not None:
        return misread(plain)
    if kind in _MESSAGES:
        return _MESSAGES[kind].format(**detail.get("ctx", {}))
    return detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
