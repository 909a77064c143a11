"""YAML text as plain values, with the line of each.

The node graph is read by hand instead of through a YAML constructor: only there are lines, doubled keys and
the text as it was written (``044``, ``no``) still known. Python objects, merge keys and other extensions have
no way in.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field

import yaml
from yaml.reader import Reader

from policyfile.problems import Finding, Path, quoted

MAX_TEXT = 4_000_000
"Characters; some ten thousand routes."
MAX_VALUES = 500_000
"Aliases counted each time they are used, so that a few lines cannot grow without bound."
MAX_DEPTH = 16

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_TEXT = frozenset({f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value"})
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]{1,18}\.[0-9]{1,18}", re.ASCII)


class UnreadableError(Exception):
    """The text is not YAML, or more of it than any policy needs."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        "1-based."


@dataclass
class Tree:
    """A YAML document."""

    value: object = None
    "Dictionaries with text keys, lists, text, integers, floats, booleans and None."
    nodes: dict[Path, yaml.Node] = field(default_factory=dict)
    keys: dict[Path, yaml.Node] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    "What is wrong already as YAML."
    unread: set[Path] = field(default_factory=set)
    "Where a stand-in takes the place of a wrong value, so that there is nothing more to say about it."

    def line(self, path: Path) -> int:
        """The 1-based line of ``path``: of its key if it has one, of what encloses it if there is none."""
        while path and path not in self.nodes:
            path = path[:-1]
        node = self.keys.get(path) or self.nodes.get(path)
        return _line(node) if node is not None else 1

    def plain(self, path: Path) -> yaml.ScalarNode | None:
        """The node at ``path`` if it is a value written without quotes."""
        node = self.nodes.get(path)
        return node if isinstance(node, yaml.ScalarNode) and not node.style else None


def read_tree(text: str) -> Tree:
    """``text`` as a tree. Raises :class:`UnreadableError`."""
    _check_text(text)
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _unreadable(error) from None
    except yaml.YAMLError as error:
        raise UnreadableError(1, f"not YAML: {str(error).splitlines()[0]}") from None
    if root is None:
        raise UnreadableError(1, "the file is empty; the first line of a policy is 'strowger: 1'")
    return _Builder().build(root)


def _check_text(text: str) -> None:
    if len(text) > MAX_TEXT:
        raise UnreadableError(1, f"larger than {MAX_TEXT} characters")
    bad = Reader.NON_PRINTABLE.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        raise UnreadableError(line, f"the character U+{ord(bad.group()):04X} is not allowed in YAML")


def _check_depth(text: str) -> None:
    # Before the nodes are composed, since composing recurses.
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise UnreadableError(event.start_mark.line + 1, f"nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _unreadable(error: yaml.MarkedYAMLError) -> UnreadableError:
    mark = error.problem_mark or error.context_mark
    message = ", ".join(part for part in (error.context, error.problem) if part)
    return UnreadableError(mark.line + 1 if mark else 1, f"not YAML: {message}")


def _line(node: yaml.Node) -> int:
    line: int = node.start_mark.line
    return line + 1


class _Builder:
    def __init__(self) -> None:
        self._tree = Tree()
        self._values = 0

    def build(self, root: yaml.Node) -> Tree:
        self._tree.value = self._value(root, ())
        return self._tree

    def _value(self, node: yaml.Node, path: Path) -> object:
        self._values += 1
        if self._values > MAX_VALUES:
            raise UnreadableError(_line(node), f"more than {MAX_VALUES} values, aliases counted where they are used")
        if len(path) > MAX_DEPTH:
            raise UnreadableError(_line(node), f"aliases more than {MAX_DEPTH} deep, or one that contains itself")
        self._tree.nodes[path] = node
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self._find(path, f"the YAML tag {quoted(node.tag)} is not supported")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._mapping_key(key_node, path)
            if key is None:
                continue
            if key in mapping:
                first = self._tree.line((*path, key))
                self._find((*path, key), f"given twice; the first is on line {first}", _line(key_node))
                continue
            self._tree.keys[(*path, key)] = key_node
            mapping[key] = self._value(value_node, (*path, key))
        return mapping

    def _mapping_key(self, node: yaml.Node, path: Path) -> str | None:
        if not isinstance(node, yaml.ScalarNode):
            self._find(path, "a key must be text", _line(node))
        elif node.tag == f"{_TAG}merge":
            self._find(
                path,
                "merge keys (<<) are not supported: repeat the keys, or use an alias (*name)",
                _line(node),
            )
        elif node.tag not in _TEXT:
            self._find(path, f"the key {misread(node)}", _line(node))
        else:
            return str(node.value)
        return None

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Hashable:
        text, tag = str(node.value), node.tag
        if tag in _TEXT:
            return text
        if tag == f"{_TAG}bool" and text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        if tag == f"{_TAG}int" and _DECIMAL.fullmatch(text):
            return int(text)
        if tag == f"{_TAG}float" and _FLOAT.fullmatch(text):
            return float(text)
        self._tree.unread.add(path)
        self._find(path, _why_unread(node))
        return None if tag == f"{_TAG}null" else text

    def _find(self, path: Path, message: str, line: int = 0) -> None:
        self._tree.findings.append(Finding(path, message, line))


def _why_unread(node: yaml.ScalarNode) -> str:
    if node.tag == f"{_TAG}null":
        # Refused even where a value is optional: a list whose items were commented out must not go unseen.
        return "is empty: give it a value, or leave the key out"
    if node.tag in (f"{_TAG}int", f"{_TAG}float"):
        # YAML 1.1 reads 044 as octal and 1:30 in base sixty: never what is meant here.
        return f"{misread(node)}, or a plain decimal number"
    return f"the YAML tag {quoted(node.tag)} is not supported"


def misread(node: yaml.ScalarNode) -> str:
    """That YAML takes the unquoted text of ``node`` for something else than text, and how to prevent it."""
    if node.tag == f"{_TAG}bool":
        kind = str(_BOOLEANS.get(node.value.lower())).lower()
    else:
        kind = "nothing" if node.tag == f"{_TAG}null" else "a number"
    return f'{node.value} without quotes is {kind} to YAML: write "{node.value}"'
