"""Limits: what they are, and what is in use of them."""

from __future__ import annotations

from collections.abc import Iterator

from kemi import limits
from kemi.node_state import kamcmd
from kemi.plan import Limit
from kemi.rpc import RpcError
from model.limits import PREFIX
from model.policy import Policy, Route
from model.settings import Settings
from operations.changes import Row
from state.limit_use import Use, noted, usage
from state.store import Store


def report(store: Store, settings: Settings) -> Row:
    """What is in use over all nodes, what was refused lately, and whether Redis counts for this node (None: unknown).

    Of the limits of subscribers and of single prefixes, those that have calls, or had some lately.
    """
    policy, routes = store.policy().decode()
    found = (*of_policy(policy, routes), *of_single(store, policy, routes))
    use = usage(store, [limit.name for limit in found])
    return {"redis_counts": _counts(settings), "limits": [_row(limit, use[limit.name]) for limit in found]}


def of_policy(policy: Policy, routes: tuple[Route, ...]) -> Iterator[Limit]:
    """Every limit of a policy, but those that each of many has."""
    owners = (("trunk", policy.trunks), ("route", routes), ("gateway", tuple(policy.gateways.values())))
    for scope, parts in owners:
        for part in parts:
            if part.limits is not None and not part.limits.each:
                yield limits.of(scope, part.name, part.limits)


def of_single(store: Store, policy: Policy, routes: tuple[Route, ...]) -> Iterator[Limit]:
    """The limits of subscribers, and of prefixes that are counted by themselves, as far as Redis knows of them."""
    each = {route.name: route.limits for route in routes if route.limits is not None and route.limits.each}
    for name in noted(store, ("subscriber", PREFIX)):
        scope, _, rest = name.partition(":")
        if scope == PREFIX:
            if (own := each.get(rest.partition("/")[0])) is not None:
                yield limits.of(scope, rest, own)
        elif policy.subscribers is not None and (subscriber := store.subscriber(rest)) is not None:
            yield from limits.of_subscriber(subscriber, policy.subscribers.limits)


def _counts(settings: Settings) -> bool | None:
    """Whether Redis counts for this node; None: its Kamailio does not tell."""
    try:
        with kamcmd(settings) as rpc:
            return "redis" in rpc.htable_dump("limits")
    except RpcError:
        return None


def _row(limit: Limit, use: Use) -> Row:
    return {
        "limit": limit.name,
        "calls": use.calls,
        "calls_limit": limit.calls or None,
        "nodes": dict(sorted(use.nodes.items())),
        "last_second": use.begun if limit.per_second else None,
        "per_second_limit": limit.per_second or None,
        "when_away": limit.when_away,
        "refused": use.refused,
    }
