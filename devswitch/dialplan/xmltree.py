"""XML with the line of each element, and FreeSWITCH's preprocessing: ``$${global}`` and ``X-PRE-PROCESS cmd="set"``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat


class XmlError(ValueError):
    """A file cannot be used; the text says which, where and why."""


@dataclass(slots=True)
class Node:
    """An element."""

    name: str
    attributes: dict[str, str]
    file: str
    line: int
    children: list[Node] = field(default_factory=list)
    text: str = ""

    def get(self, name: str, default: str = "") -> str:
        return self.attributes.get(name, default)

    def find_all(self, name: str) -> Iterator[Node]:
        """The elements of that name, at any depth, in order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.find_all(name)

    def refuse(self, why: str) -> XmlError:
        return XmlError(f"{self.file}:{self.line}: {why}")


def preprocess(text: str, variables: dict[str, str]) -> str:
    """Expand ``$${name}`` line by line; ``set`` and ``global`` change ``variables`` from there on."""
    lines = []
    for original in text.splitlines():
        line = re.sub(r"\$\$\{([^}]*)\}", lambda match: variables.get(str(match[1]), ""), original)
        for match in re.finditer(r'<X-PRE-PROCESS\s+cmd="(?:set|global)"\s+data="([^"=]+)=([^"]*)"\s*/>', line):
            variables[match[1]] = match[2]
        lines.append(line)
    return "\n".join(lines)


def read(path: Path, variables: dict[str, str]) -> Node:
    """The root of a file; raises :class:`XmlError`."""
    try:
        return parse(preprocess(path.read_text(), variables), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise XmlError(f"{path}: {error}") from error


def parse(text: str, file: str) -> Node:
    """The root of a document; raises :class:`XmlError`."""
    top = Node("", {}, file, 0)
    stack = [top]
    parser = expat.ParserCreate()

    def opened(name: str, attributes: dict[str, str]) -> None:
        node = Node(name, attributes, file, parser.CurrentLineNumber)
        stack[-1].children.append(node)
        stack.append(node)

    def text_of(data: str) -> None:
        stack[-1].text += data

    parser.StartElementHandler = opened
    parser.EndElementHandler = lambda _name: stack.pop()
    parser.CharacterDataHandler = text_of
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        raise XmlError(f"{file}:{error.lineno}: {expat.ErrorString(error.code)}") from error
    return top
