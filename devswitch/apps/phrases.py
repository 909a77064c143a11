"""Phrase macros, as much of FreeSWITCH's as ours use: macro, input, match and nomatch, action."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

from devswitch.apps.playing import OnDigit, Status
from devswitch.apps.saying import Step, perform
from devswitch.channel.channel import Channel
from devswitch.dialplan.xmltree import Node, read
from devswitch.text import true

log = logging.getLogger("devswitch")

_FUNCTIONS = {"play-file", "say", "speak-text", "sleep", "execute"}


@dataclass(frozen=True, slots=True)
class Input:
    """What is said of an argument that matches the pattern, and of one that does not."""

    pattern: re.Pattern[str]
    match: tuple[Step, ...]
    nomatch: tuple[Step, ...]
    stops: bool


class Phrases:
    """Macros by name."""

    def __init__(self, macros: dict[str, tuple[Input, ...]] | None = None) -> None:
        self.macros = macros or {}

    @classmethod
    def load(cls, folder: Path, variables: dict[str, str]) -> Phrases:
        """Every ``*.xml`` of a folder; raises :class:`~devswitch.dialplan.xmltree.XmlError`."""
        macros: dict[str, tuple[Input, ...]] = {}
        for file in sorted(folder.glob("*.xml")):
            for node in read(file, variables).find_all("macro"):
                macros[node.get("name")] = tuple(_input(child) for child in node.children)
        return cls(macros)

    async def play(self, channel: Channel, name: str, argument: str, on_digit: OnDigit | None) -> Status:
        """Play a macro; FALSE where there is none of that name, and break where a digit stopped it."""
        if name not in self.macros:
            log.error("%s: there is no phrase %s", channel.uuid, name)
            return Status.FALSE
        for entry in self.macros[name]:
            match = entry.pattern.search(argument)
            for step in entry.match if match else entry.nomatch:
                status = await perform(channel, await _filled(channel, step, match), on_digit)
                if status is not Status.SUCCESS or not channel.ready:
                    return status
            if match and entry.stops:
                break
        return Status.SUCCESS


async def _filled(channel: Channel, step: Step, match: re.Match[str] | None) -> Step:
    data = step.data
    if match:
        data = re.sub(r"\$(\d)", lambda found: _group(match, int(found[1])), data)
    return Step(step.function, await channel.switch.expand(data, channel), step.attributes)


def _group(match: re.Match[str], index: int) -> str:
    return (match[index] or "") if index <= (match.re.groups or 0) else ""


def _input(node: Node) -> Input:
    if node.name != "input":
        raise node.refuse(f"<{node.name}> within <macro> is not supported")
    try:
        pattern = re.compile(node.get("pattern"))
    except re.error as error:
        raise node.refuse(f"pattern: {error}") from error
    steps = {name: _steps(node, name) for name in ("match", "nomatch")}
    return Input(pattern, steps["match"], steps["nomatch"], true(node.get("break_on_match")))


def _steps(node: Node, name: str) -> tuple[Step, ...]:
    return tuple(_step(action) for child in node.children if child.name == name for action in child.children)


def _step(node: Node) -> Step:
    if node.get("function") not in _FUNCTIONS:
        raise node.refuse(f'function="{node.get("function")}" is not supported')
    return Step(node.get("function"), node.get("data"), dict(node.attributes))
