"""FreeSWITCH's XML dialplan, as much of it as ours uses (mod_dialplan_xml.c).

Contexts, extensions (``continue``), conditions (``field``, ``expression``, ``break``), actions and anti-actions
(``application``, ``data``, ``inline``). Whatever else stands in a file is refused, with file and line.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from devswitch.dialplan.xmltree import Node, XmlError, parse, preprocess, read
from devswitch.text import true

Expand = Callable[[str], Awaitable[str]]
Run = Callable[["Action"], Awaitable[None]]

_FRAME = {"include", "document", "section", "X-PRE-PROCESS"}
_BREAKS = {"on-false", "on-true", "always", "never"}
_ALLOWED = {
    "context": {"name"},
    "extension": {"name", "continue"},
    "condition": {"field", "expression", "break"},
    "action": {"application", "data", "inline"},
    "anti-action": {"application", "data", "inline"},
}
_INSIDE = {"context": {"extension"}, "extension": {"condition"}, "condition": {"action", "anti-action", "expression"}}


@dataclass(frozen=True, slots=True)
class Action:
    """An application to execute."""

    application: str
    data: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """An action as written in the dialplan."""

    action: Action
    inline: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """When it matches, the actions; when not, the others."""

    field: str
    expression: str
    "A regular expression, with variables in it or not."
    breaks: str
    actions: tuple[Step, ...]
    anti_actions: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """Conditions in order."""

    name: str
    continues: bool
    conditions: tuple[Condition, ...]


class Dialplan:
    """Contexts by name."""

    def __init__(self, contexts: dict[str, list[Extension]] | None = None) -> None:
        self.contexts = contexts or {}

    @classmethod
    def load(cls, folder: Path, variables: dict[str, str]) -> Dialplan:
        """Every ``*.xml`` of a folder, in order of name; raises :class:`~devswitch.dialplan.xmltree.XmlError`."""
        files = sorted(folder.glob("*.xml"))
        if not files:
            raise XmlError(f"{folder}: no dialplan, that is no file *.xml")
        return cls._of(read(file, variables) for file in files)

    @classmethod
    def from_text(cls, text: str, variables: dict[str, str] | None = None, file: str = "dialplan.xml") -> Dialplan:
        """The dialplan in one text."""
        return cls._of([parse(preprocess(text, variables or {}), file)])

    @classmethod
    def _of(cls, roots: Iterable[Node]) -> Dialplan:
        contexts: dict[str, list[Extension]] = {}
        for root in roots:
            for context in _contexts(root):
                extensions = contexts.setdefault(context.get("name"), [])
                extensions += [_extension(node) for node in context.children]
        return cls(contexts)

    async def route(self, context: str, expand: Expand, run: Run) -> list[Action]:
        """The applications for a call, none where nothing matches.

        ``expand`` gives a field's or a text's value, ``run`` executes an inline action at once.
        """
        found: list[Action] = []
        for extension in self.contexts.get(context, ()):
            before = len(found)
            await _walk(extension, found, expand, run)
            if len(found) > before and not extension.continues:
                break
        return found


async def _walk(extension: Extension, found: list[Action], expand: Expand, run: Run) -> None:
    for condition in extension.conditions:
        groups = await _match(condition, expand)
        matched = groups is not None
        for step in condition.actions if matched else condition.anti_actions:
            action = _filled(step.action, groups or [])
            if step.inline:
                await run(action)
            else:
                found.append(action)
        if condition.breaks == "always" or condition.breaks == ("on-true" if matched else "on-false"):
            return


async def _match(condition: Condition, expand: Expand) -> list[str] | None:
    if not condition.field:
        return []
    field = condition.field if "$" in condition.field else f"${{{condition.field}}}"
    try:
        match = re.search(await expand(condition.expression), await expand(field))
    except re.error:
        return None  # what a variable made of it
    return [match[0], *(group or "" for group in match.groups())] if match else None


def _filled(action: Action, groups: list[str]) -> Action:
    """``$1`` and its like, where the expression has groups; other dollars stay."""
    if len(groups) < 2:
        return action

    def group(match: re.Match[str]) -> str:
        index = int(match[1])
        return groups[index] if index < len(groups) else ""

    return Action(re.sub(r"\$(\d+)", group, action.application), re.sub(r"\$(\d+)", group, action.data))


def _contexts(node: Node) -> Iterable[Node]:
    for child in node.children:
        if child.name == "X-PRE-PROCESS" and child.get("cmd") not in {"set", "global"}:
            raise child.refuse(f'X-PRE-PROCESS cmd="{child.get("cmd")}" is not supported')
        if child.name == "context":
            _check(child)
            yield child
        elif child.name in _FRAME:
            yield from _contexts(child)
        else:
            raise child.refuse(f"<{child.name}> is not supported")


def _check(node: Node) -> None:
    for name in node.attributes.keys() - _ALLOWED.get(node.name, set()):
        raise node.refuse(f'<{node.name} {name}="..."> is not supported')
    for child in node.children:
        if child.name not in _INSIDE.get(node.name, set()):
            raise child.refuse(f"<{child.name}> within <{node.name}> is not supported")
        _check(child)


def _extension(node: Node) -> Extension:
    conditions = tuple(_condition(child) for child in node.children)
    return Extension(node.get("name"), true(node.get("continue")), conditions)


def _condition(node: Node) -> Condition:
    breaks = node.get("break", "on-false")
    if breaks not in _BREAKS:
        raise node.refuse(f'break="{breaks}": one of {", ".join(sorted(_BREAKS))} is expected')
    expression = node.get("expression") or next((c.text for c in node.children if c.name == "expression"), "")
    try:
        if "${" not in expression:
            re.compile(expression)
    except re.error as error:
        raise node.refuse(f"expression: {error}") from error
    steps = {kind: tuple(_step(c) for c in node.children if c.name == kind) for kind in ("action", "anti-action")}
    return Condition(node.get("field"), expression, breaks, steps["action"], steps["anti-action"])


def _step(node: Node) -> Step:
    if not node.get("application"):
        raise node.refuse(f"<{node.name}> without application")
    return Step(Action(node.get("application"), node.get("data") or node.text.strip()), true(node.get("inline")))


def inline(text: str) -> list[Action]:
    """The dialplan ``inline``: ``app:data,app:data``; ``m:^:`` before it chooses another separator than the comma."""
    separator = ","
    if match := re.match(r"m:(.):", text):
        separator, text = match[1], text[match.end() :]
    pairs = (part.strip().partition(":") for part in text.split(separator) if part.strip())
    return [Action(name, data) for name, _, data in pairs]
