"""Which events somebody wants; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from operations.errors import InvalidError

Event = Mapping[str, Any]
VALUES_MAX = 200
"Values that a filter may name in all."
LENGTH_MAX = 200
Anchor = tuple[str, str]
"A field and a value of it: where to look for those who may want an event."
EVERYTHING: Anchor = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Events that have one of the values of each of these that is not empty."""

    kind: tuple[str, ...] = ()
    "Kinds, or how they begin: ``call.``."
    call: tuple[str, ...] = ()
    "Ids or Call-IDs of calls."
    trunk: tuple[str, ...] = ()
    gateway: tuple[str, ...] = ()
    "Of several of a call, any."
    number: tuple[str, ...] = ()
    "Caller or callee, as the call has it."

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """From JSON or a query: a text or a list of texts for each name. Raises InvalidError."""
        names = [field.name for field in fields(cls)]
        for name in given:
            if name not in names:
                raise InvalidError(f"{name!r} is nothing to ask for: {', '.join(names)}")
        found = {name: _texts(name, value) for name, value in given.items()}
        if sum(map(len, found.values())) > VALUES_MAX:
            raise InvalidError(f"a filter names {VALUES_MAX} values at most")
        return cls(**found)

    def passes(self, event: Event) -> bool:
        """Whether an event is wanted."""
        data = event["data"]
        return (
            (not self.kind or event["kind"].startswith(self.kind))
            and (not self.call or data.get("call") in self.call or data.get("call_id") in self.call)
            and (not self.trunk or data.get("trunk") in self.trunk)
            and (not self.number or data.get("caller") in self.number or data.get("callee") in self.number)
            and (not self.gateway or any(gateway in self.gateway for gateway in gateways(data)))
        )

    def anchors(self) -> list[Anchor]:
        """Every event that passes has one of these among its own; the fewest events have them."""
        for name in ("call", "number", "gateway", "trunk"):
            if values := getattr(self, name):
                return [(name, value) for value in values]
        return [EVERYTHING]


def gateways(data: Mapping[str, Any]) -> list[str]:
    """The gateways that an event names."""
    several = data.get("gateways")
    return [data.get("gateway", ""), *(several if isinstance(several, list) else ())]


def anchors_of(event: Event) -> Iterator[Anchor]:
    """Where those stand who may want an event; one may come twice."""
    data = event["data"]
    yield EVERYTHING
    for name, kept in (("call", "call"), ("call", "call_id"), ("number", "caller"), ("number", "callee"),
                       ("trunk", "trunk")):  # fmt: skip
        if isinstance(value := data.get(kept), str) and value:
            yield name, value
    for gateway in gateways(data):
        if isinstance(gateway, str) and gateway:
            yield "gateway", gateway


def _texts(name: str, value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) and one for one in values):
        raise InvalidError(f"{name}: a text, or a list of texts")
    if any(len(one) > LENGTH_MAX for one in values):
        raise InvalidError(f"{name}: a text of {LENGTH_MAX} characters at most")
    return tuple(values)
