"""What two policies decide differently, part by part and field by field; pure.

Two files that differ in comments, spelling or layout only are the same policy. Order counts where it decides
something: of a route's gateways, of a plan's international prefixes. It does not in lists that are searched as a
whole (networks, prefixes, causes), nor among trunks and routes, where the longest match wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from model.policy import Gateway, Policy, Route, Trunk
from model.rates import amount_text

# Lists whose order decides nothing.
UNORDERED = frozenset(("sources", "prefixes", "retry.also", "retry.never", "retry.only", "voicemail.when"))


class Kind(StrEnum):
    """What became of a part of the policy."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field of a part that is not what it was."""

    field: str
    "``rewrite.strip``; durations are in seconds."
    old: Any
    "As JSON has it; None also where the part was added."
    new: Any
    "As JSON has it; None also where the part was removed."


@dataclass(frozen=True, slots=True)
class PartChange:
    """A part of the policy that is not what it was."""

    section: str
    "``policy``, ``trunk``, ``gateway``, ``media`` or ``route``."
    name: str
    "Empty for ``policy``: what stands at the top of the file."
    kind: Kind
    fields: tuple[FieldChange, ...]
    "Of a part that was added or removed: those that are not at their defaults."

    def as_dict(self) -> dict[str, object]:
        """As JSON has it."""
        return asdict(self)


Part = Trunk | Gateway | Route


def diff(old: tuple[Policy, Iterable[Route]], new: tuple[Policy, Iterable[Route]]) -> tuple[PartChange, ...]:
    """How the policy and routes ``new`` differ from ``old``; empty: they decide every call alike."""
    (old_policy, old_routes), (new_policy, new_routes) = old, new
    return (
        *_top(old_policy, new_policy),
        *_parts("trunk", _named(old_policy.trunks), _named(new_policy.trunks)),
        *_parts("gateway", _gateways(old_policy, media=False), _gateways(new_policy, media=False)),
        *_parts("media", _gateways(old_policy, media=True), _gateways(new_policy, media=True)),
        *_parts("route", _named(old_routes), _named(new_routes)),
    )


def _gateways(policy: Policy, *, media: bool) -> Mapping[str, Part]:
    return {name: gateway for name, gateway in policy.gateways.items() if gateway.media is media}


def _named(parts: Iterable[Trunk] | Iterable[Route]) -> Mapping[str, Part]:
    return {part.name: part for part in parts}


def _top(old: Policy, new: Policy) -> Iterator[PartChange]:
    if fields := _fields(old, new):
        yield PartChange("policy", "", Kind.CHANGED, fields)


def _parts(section: str, old: Mapping[str, Part], new: Mapping[str, Part]) -> Iterator[PartChange]:
    # As the new file has them, and then what it no longer has.
    for name, part in new.items():
        if name not in old:
            own = (FieldChange(field.field, None, field.new) for field in _fields(_plain(part), part))
            yield PartChange(section, name, Kind.ADDED, tuple(own))
        elif fields := _fields(old[name], part):
            yield PartChange(section, name, Kind.CHANGED, fields)
    for name, part in old.items():
        if name not in new:
            gone = (FieldChange(field.field, field.new, None) for field in _fields(_plain(part), part))
            yield PartChange(section, name, Kind.REMOVED, tuple(gone))


def _plain(part: Part) -> Part:
    """A part of the same name with nothing said of it."""
    if isinstance(part, Trunk):
        return Trunk(part.name, ())
    return Gateway(part.name, "") if isinstance(part, Gateway) else Route(part.name, ())


def _fields(old: Policy | Part, new: Policy | Part) -> tuple[FieldChange, ...]:
    before, after = dict(_flat(_written(old))), dict(_flat(_written(new)))
    return tuple(
        FieldChange(field, before.get(field), after.get(field))
        for field in {**before, **after}
        if before.get(field) != after.get(field)
    )


def _written(value: Policy | Part) -> dict[str, Any]:
    """A value by the names that its fields have in the file."""
    data = asdict(value)
    match value:
        case Policy():
            # Those are parts of their own.
            del data["trunks"], data["gateways"]
            data["default_dialling"] = data.pop("dialling")
            data["fraud"] = {guard.pop("name"): guard for guard in data["fraud"]}
            data["exchange"] = {currency: amount_text(worth) for currency, worth in value.exchange.items()}
        case Trunk():
            data["anonymous"] = "accept" if value.anonymous else "reject"
        case Gateway():
            # Which section it stands in tells that.
            del data["media"]
            if not value.media:
                del data["weight"]
            data["breaker"] = data["breaker"] or "off"
        case Route():
            data["reject"] = data.pop("refusal")
            data |= _compared(data.pop("least_cost"))
    return data


def _compared(least_cost: dict[str, Any] | None) -> dict[str, Any]:
    if least_cost is None:
        return {}
    return {**least_cost, "max_price": amount_text(price) if (price := least_cost["max_price"]) else None}


def _flat(data: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        field = f"{path}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{field}.")
        elif isinstance(value, tuple):
            yield field, sorted(value) if field in UNORDERED else list(value)
        else:
            yield field, value
