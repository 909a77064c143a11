"""Policies, routes and entries as JSON, the same in Redis and in the snapshot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from model.entries import Action, Entry, Kind
from model.fraud import Guard, Threshold
from model.hook import Hook
from model.identity import Presentation, TrunkIdentity
from model.limits import Limits
from model.narrowing import Narrowing, Window
from model.numbers import Dialling
from model.policy import (
    DEFAULT_BREAKER,
    Auth,
    Breaker,
    Drain,
    Emergency,
    Gateway,
    LeastCost,
    MediaApp,
    Place,
    Policy,
    Refusal,
    Registration,
    RetryRule,
    Rewrite,
    Route,
    Strategy,
    Subscribers,
    Trunk,
    Voicemail,
)
from model.quality import Bounds, Quality
from model.side import PLAIN, Side

_OF_FEW = (
    "hook", "least_cost", "limits", "media", "narrowing", "quality", "relay", "subscribers", "voicemail", "weights",
)  # fmt: skip

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def encode_policy(policy: Policy) -> str:
    """A policy as JSON text."""
    return _encode(_policy(policy))


def _policy(policy: Policy) -> dict[str, Any]:
    data = asdict(policy)
    for name in ("currency", "exchange"):
        if not data[name]:
            del data[name]
    for name, gateway in policy.gateways.items():
        # Left out where it is the default, which therefore is one object for all plans to tell.
        if gateway.breaker == DEFAULT_BREAKER:
            del data["gateways"][name]["breaker"]
        if not gateway.probe:
            del data["gateways"][name]["probe"]
        if not gateway.media:
            del data["gateways"][name]["media"], data["gateways"][name]["weight"]
    if policy.subscribers is None:
        del data["subscribers"]
    if not policy.fraud:
        del data["fraud"]
    if not policy.hooks:
        del data["hooks"]
    for part in (*data["trunks"], *data["gateways"].values(), data.get("subscribers") or {}):
        # As few have, so that what others have is read by versions that do not know of it.
        for name in ("auth", "identity", "limits", "names", "places", "registration"):
            if not part.get(name, True):
                del part[name]
    plain = asdict(PLAIN)
    for part in (*data["trunks"], *data["gateways"].values()):
        if part["side"] == plain:
            del part["side"]
    return data


def decode_policy(text: str | bytes) -> Policy:
    """The policy in JSON text made by :func:`encode_policy`."""
    data = json.loads(text)
    return Policy(
        trunks=tuple(_trunk(item) for item in data["trunks"]),
        gateways={name: _gateway(item) for name, item in data["gateways"].items()},
        dialling=_dialling(data["dialling"]),
        retry_after_max=data["retry_after_max"],
        emergency=_emergency(data["emergency"]) if data.get("emergency") else None,
        currency=data.get("currency", ""),
        exchange=data.get("exchange", {}),
        subscribers=_subscribers(data["subscribers"]) if data.get("subscribers") else None,
        fraud=tuple(map(_guard, data.get("fraud", ()))),
        hooks={name: Hook(**hook) for name, hook in data.get("hooks", {}).items()},
        relay_away=data.get("relay_away", "refuse"),
    )


def encode_route(route: Route) -> str:
    """A route as JSON text."""
    data = asdict(route)
    # What few routes have is left out of the others: each call hashes the record that it reads.
    for name in _OF_FEW:
        if not data[name]:
            del data[name]
    return _encode(data)


def decode_route(text: str | bytes) -> Route:
    """The route in JSON text made by :func:`encode_route`."""
    return _route(json.loads(text))


def join_routes(routes: Iterable[str]) -> str:
    """Routes, each made by :func:`encode_route`, as one JSON text."""
    return f"[{','.join(routes)}]"


def decode_routes(text: str | bytes) -> tuple[Route, ...]:
    """The routes in JSON text made by :func:`join_routes`."""
    data = json.loads(text)
    # Records of versions in which no two routes shared a prefix hold the one route itself.
    return tuple(map(_route, data if isinstance(data, list) else [data]))


def _route(data: dict[str, Any]) -> Route:
    refusal, narrowing, media = data["refusal"], data.get("narrowing"), data.get("media")
    voicemail, least_cost = data.get("voicemail"), data.get("least_cost")
    return Route(
        **{
            **data,
            "prefixes": tuple(data["prefixes"]),
            "gateways": tuple(data["gateways"]),
            "strategy": Strategy(data["strategy"]),
            "weights": tuple(data.get("weights", ())),
            "rewrite": Rewrite(**data["rewrite"]),
            "retry": _retry_rule(data["retry"]),
            "refusal": Refusal(**refusal) if refusal else None,
            "narrowing": _narrowing(narrowing) if narrowing else None,
            "media": MediaApp(**media) if media else None,
            "voicemail": Voicemail(**{**voicemail, "when": tuple(voicemail["when"])}) if voicemail else None,
            "least_cost": LeastCost(**least_cost) if least_cost else None,
            "limits": _limits(data),
            "quality": _quality(data["quality"]) if data.get("quality") else None,
        }
    )


def encode_document(policy: Policy, routes: tuple[Route, ...]) -> str:
    """A policy with its routes as one JSON text."""
    return _encode({"policy": _policy(policy), "routes": [asdict(route) for route in routes]})


def decode_document(text: str | bytes) -> tuple[Policy, tuple[Route, ...]]:
    """The policy and routes in JSON text made by :func:`encode_document`."""
    data = json.loads(text)
    routes = tuple(_route(item) for item in data["routes"])
    return decode_policy(_encode(data["policy"])), routes


def entry_field(kind: Kind, value: str) -> str:
    """The name of an entry: field of the Redis hash, and key in the snapshot."""
    return f"{kind}:{value}"


def encode_entry(entry: Entry) -> str:
    """An entry's content, without its kind and value, as JSON text."""
    return _encode([entry.action.value, entry.expires, entry.reason, entry.created])


def decode_entry(field: str, text: str | bytes) -> Entry:
    """The entry named ``field`` with the content ``text``."""
    kind, _, value = field.partition(":")
    action, expires, reason, created = json.loads(text)
    return Entry(kind=Kind(kind), value=value, action=Action(action), expires=expires, reason=reason, created=created)


def encode_drain(drain: Drain) -> str:
    """A drain's content, without its gateway, as JSON text."""
    return _encode([drain.reason, drain.until, drain.author, drain.since])


def decode_drain(gateway: str, text: str | bytes) -> Drain:
    """The drain of a gateway with the content ``text``."""
    return Drain(gateway, *json.loads(text))


def _retry_rule(data: dict[str, Any]) -> RetryRule:
    """A retry rule from its JSON object."""
    return RetryRule(
        also=tuple(data["also"]),
        never=tuple(data["never"]),
        only=tuple(data["only"]),
        after_ringing=data["after_ringing"],
    )


def _narrowing(data: dict[str, Any]) -> Narrowing:
    times = tuple(Window(**{**window, "days": tuple(window["days"])}) for window in data["times"])
    return Narrowing(
        callers=tuple(data["callers"]), trunks=tuple(data["trunks"]), tags=tuple(data["tags"]), times=times
    )


def _emergency(data: dict[str, Any]) -> Emergency:
    return Emergency(tuple(data["numbers"]), tuple(data["gateways"]), Rewrite(**data["rewrite"]))


def _subscribers(data: dict[str, Any]) -> Subscribers:
    lists = {name: tuple(data.get(name, ())) for name in ("tags", "algorithms", "edges")}
    side = Side(**data["side"]) if "side" in data else Side(nat="auto")
    parts = {"dialling": _dialling(data["dialling"]), "limits": _limits(data), "side": side}
    return Subscribers(**{**data, **lists, **parts})


def _trunk(data: dict[str, Any]) -> Trunk:
    lists = {"sources": tuple(data["sources"]), "tags": tuple(data.get("tags", ()))}
    identity = data.get("identity")
    parts = {
        "dialling": _dialling(data["dialling"]),
        "limits": _limits(data),
        "identity": _trunk_identity(identity) if identity else None,
        "side": _side(data),
        "names": tuple(data.get("names", ())),
        "registration": _registration(data["registration"]) if data.get("registration") else None,
    }
    return Trunk(**{**data, **lists, **parts})


def _registration(data: dict[str, Any]) -> Registration:
    return Registration(**{**data, "registrar": Place(*data["registrar"]), "auth": Auth(**data["auth"])})


def _gateway(data: dict[str, Any]) -> Gateway:
    breaker = DEFAULT_BREAKER if "breaker" not in data else Breaker(**data["breaker"]) if data["breaker"] else None
    parts = {"rewrite": Rewrite(**data["rewrite"]), "retry": _retry_rule(data["retry"]), "breaker": breaker}
    identity = data.get("identity")
    own = {
        "limits": _limits(data),
        "identity": _presentation(identity) if identity else None,
        "side": _side(data),
        "places": tuple(Place(*place) for place in data.get("places", ())),
        "auth": Auth(**data["auth"]) if data.get("auth") else None,
    }
    return Gateway(**{**data, **parts, **own})


def _trunk_identity(data: dict[str, Any]) -> TrunkIdentity:
    return TrunkIdentity(**{**data, "believe": tuple(data["believe"]), "numbers": tuple(data["numbers"])})


def _presentation(data: dict[str, Any]) -> Presentation:
    lists = {"headers": tuple(data["headers"]), "diversion": tuple(data["diversion"])}
    return Presentation(**{**data, **lists, "dialling": _dialling(data["dialling"])})


def _side(data: dict[str, Any]) -> Side:
    # One object where there is nothing to know, so that a call need not look into it.
    return Side(**data["side"]) if "side" in data else PLAIN


def _guard(data: dict[str, Any]) -> Guard:
    measures = {name: Threshold(*threshold) for name, threshold in data["measures"].items()}
    return Guard(**{**data, "prefixes": tuple(data["prefixes"]), "measures": measures})


def _quality(data: dict[str, Any]) -> Quality:
    return Quality(**{**data, **{name: Bounds(**data[name]) for name in ("asr", "acd", "pdd")}})


def _limits(data: dict[str, Any]) -> Limits | None:
    return Limits(**data["limits"]) if data.get("limits") else None


def _dialling(data: dict[str, Any]) -> Dialling:
    return Dialling(
        **{
            **data,
            "international_prefixes": tuple(data["international_prefixes"]),
            "national_lengths": tuple(data["national_lengths"]),
        }
    )
