"""Policies, routes and entries as JSON, the same in Redis and in the snapshot."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from model.entries import Action, Entry, Kind
from model.numbers import Dialling
from model.policy import Gateway, Policy, Refusal, RetryRule, Rewrite, Route, Strategy, Trunk

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def encode_policy(policy: Policy) -> str:
    """A policy as JSON text."""
    return _encode(asdict(policy))


def decode_policy(text: str | bytes) -> Policy:
    """The policy in JSON text made by :func:`encode_policy`."""
    data = json.loads(text)
    return Policy(
        trunks=tuple(_trunk(item) for item in data["trunks"]),
        gateways={name: _gateway(item) for name, item in data["gateways"].items()},
        dialling=_dialling(data["dialling"]),
        retry_after_max=data["retry_after_max"],
    )


def encode_route(route: Route) -> str:
    """A route as JSON text."""
    return _encode(asdict(route))


def decode_route(text: str | bytes) -> Route:
    """The route in JSON text made by :func:`encode_route`."""
    data = json.loads(text)
    refusal = data["refusal"]
    return Route(
        **{
            **data,
            "prefixes": tuple(data["prefixes"]),
            "gateways": tuple(data["gateways"]),
            "strategy": Strategy(data["strategy"]),
            "rewrite": Rewrite(**data["rewrite"]),
            "retry": _retry_rule(data["retry"]),
            "refusal": Refusal(**refusal) if refusal else None,
        }
    )


def encode_document(policy: Policy, routes: tuple[Route, ...]) -> str:
    """A policy with its routes as one JSON text."""
    return _encode({"policy": asdict(policy), "routes": [asdict(route) for route in routes]})


def decode_document(text: str | bytes) -> tuple[Policy, tuple[Route, ...]]:
    """The policy and routes in JSON text made by :func:`encode_document`."""
    data = json.loads(text)
    routes = tuple(decode_route(_encode(item)) for item in data["routes"])
    return decode_policy(_encode(data["policy"])), routes


def entry_field(kind: Kind, value: str) -> str:
    """The name of an entry: field of the Redis hash, and key in the snapshot."""
    return f"{kind.value}:{value}"


def encode_entry(entry: Entry) -> str:
    """An entry's content, without its kind and value, as JSON text."""
    return _encode([entry.action.value, entry.expires, entry.reason, entry.created])


def decode_entry(field: str, text: str | bytes) -> Entry:
    """The entry named ``field`` with the content ``text``."""
    kind, _, value = field.partition(":")
    action, expires, reason, created = json.loads(text)
    return Entry(kind=Kind(kind), value=value, action=Action(action), expires=expires, reason=reason, created=created)


def _retry_rule(data: dict[str, Any]) -> RetryRule:
    """A retry rule from its JSON object."""
    return RetryRule(
        also=tuple(data["also"]),
        never=tuple(data["never"]),
        only=tuple(data["only"]),
        after_ringing=data["after_ringing"],
    )


def _trunk(data: dict[str, Any]) -> Trunk:
    return Trunk(**{**data, "sources": tuple(data["sources"]), "dialling": _dialling(data["dialling"])})


def _gateway(data: dict[str, Any]) -> Gateway:
    return Gateway(**{**data, "rewrite": Rewrite(**data["rewrite"]), "retry": _retry_rule(data["retry"])})


def _dialling(data: dict[str, Any]) -> Dialling:
    return Dialling(
        **{
            **data,
            "international_prefixes": tuple(data["international_prefixes"]),
            "national_lengths": tuple(data["national_lengths"]),
        }
    )
