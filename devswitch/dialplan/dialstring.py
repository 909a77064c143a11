"""Dial strings: ``{a=1}[b=2]sofia/internal/sip:user@host,...|...`` (switch_ivr_originate.c)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from devswitch.text import listed


class DialError(ValueError):
    """A dial string that cannot be used; ``cause`` is what FreeSWITCH says of it."""

    def __init__(self, text: str, cause: str) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Target:
    """One leg to be called."""

    text: str
    uri: str
    user: str
    proxy: str | None = None
    error: str = ""
    "The cause with which the endpoint ``error`` fails."
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DialString:
    """Groups that are tried in turn; the legs of a group ring together."""

    variables: dict[str, str]
    groups: list[list[Target]]


def parse(text: str) -> DialString:
    """Raises :class:`DialError`."""
    variables: dict[str, str] = {}
    rest = text.strip()
    while rest.startswith("{"):
        inner, rest = _bracketed(rest, "{", "}")
        variables |= inner
    if not rest:
        raise DialError("an empty dial string", "DESTINATION_OUT_OF_ORDER")
    if rest.startswith("<") or ":_:" in rest:
        raise DialError("enterprise originate (:_:) is not supported", "SERVICE_NOT_IMPLEMENTED")
    groups = [[_target(leg.strip()) for leg in _split(group, ",")] for group in _split(rest, "|")]
    return DialString(variables, groups)


def scoped(text: str) -> tuple[dict[str, str], str]:
    """The variables of ``%[name=value]`` that an application's argument begins with, and the rest."""
    return _bracketed(text[1:], "[", "]") if text.startswith("%[") and "]" in text else ({}, text)


def braced(text: str) -> dict[str, str]:
    """The variables of ``{name=value,...}``; none where it is not that (switch_event_create_brackets)."""
    return _bracketed(text, "{", "}")[0] if text.startswith("{") and "}" in text else {}


def _bracketed(text: str, opening: str, closing: str) -> tuple[dict[str, str], str]:
    depth = 0
    for position, char in enumerate(text):
        depth += {opening: 1, closing: -1}.get(char, 0)
        if not depth:
            return _variables(text[1:position]), text[position + 1 :].lstrip()
    raise DialError(f"{opening} is not closed", "DESTINATION_OUT_OF_ORDER")


def _variables(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in listed(text, ","))
    return {name.strip(): value for name, _, value in pairs if name.strip()}


def _split(text: str, separator: str) -> list[str]:
    """Apart at the separator, but not within [ ] and quotes."""
    parts, depth, quoted, begun = [], 0, False, 0
    for position, char in enumerate(text):
        if char == "'":
            quoted = not quoted
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == separator and not depth and not quoted:
            parts.append(text[begun:position])
            begun = position + 1
    return [part for part in (*parts, text[begun:]) if part.strip()]


def _target(text: str) -> Target:
    variables: dict[str, str] = {}
    while text.startswith("["):
        inner, text = _bracketed(text, "[", "]")
        variables |= inner
    kind, _, rest = text.partition("/")
    if kind == "error":
        return Target(text, "", "", error=rest.upper(), variables=variables)
    if kind != "sofia":
        raise DialError(f"endpoint {kind} is not supported", "CHAN_NOT_IMPLEMENTED")
    profile, _, destination = rest.partition("/")
    if profile == "gateway":
        raise DialError("sofia/gateway: the switch has no gateways", "INVALID_GATEWAY")
    return _sip(text, destination, variables)


def _sip(text: str, destination: str, variables: dict[str, str]) -> Target:
    destination = destination.removeprefix("sip:")
    proxy = None
    if match := re.search(r";fs_path=([^;]+)", destination):
        proxy = match[1]
        destination = destination.replace(match[0], "")
    user, at, host = destination.rpartition("@")
    if not at or not host:
        raise DialError("sofia: user@host is expected", "INVALID_URL")
    return Target(text, f"sip:{destination}", user, proxy, variables=variables)
