"""Gateways: how they stand on each node, how well they carry calls, and who is to get none.

A row has what the policy says of a gateway, ``drained``, and a *standing*: ``state`` (``up``, ``disabled``,
``drained``, ``probe-down``, ``held``, ``open``, ``half-open``), ``held_until``, ``probe_down_since`` and ``breaker``.
Times are Unix times in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kemi import health as breaking
from kemi.explain import Snapshot
from kemi.health import UNKNOWN, Health
from model.open_breaker import OpenBreaker
from model.policy import Drain, Gateway, owner
from model.quality import NOTHING, SLOT, WINDOW_MAX, Figures, added, slots, summed
from model.settings import Settings
from operations.changes import in_force
from operations.errors import AwayError, ImpossibleError, InvalidError, MissingError
from policyfile.problems import did_you_mean
from state import audit, breakers, commands, names, node_health, quality
from state.commands import CommandError
from state.node_health import NodeHealth
from state.snapshot import NoSnapshotError, SnapshotReader
from state.store import Store

WINDOW = 900.0
"Seconds of the figures that are shown unless others are asked for."
MINUTE = 60 // SLOT
"Slots of a minute."
WORST = ("open", "probe-down", "held", "half-open", "disabled", "drained", "unresolved", "unknown")
"States that keep calls away, the worst first."

Row = dict[str, Any]


def rows(store: Store, settings: Settings, *, window: float, now: float) -> list[Row]:
    """All gateways over all nodes; behind one with names or several addresses, a row for each of these.

    ``standing`` has the standing on each node by its name; ``state`` is the worst of them. Raises StoreError.
    """
    policy, drains = store.policy().decode()[0], store.drains()
    known, found = names.expanded(policy, answers_of(settings)), figures(store, window, now)
    views, tripped = _views(store), breakers.by_node(store, now)
    made = []
    for gateway in policy.gateways.values():
        quality_row = found.get(gateway.name, NOTHING).as_dict()
        for row, one, drain in _expanded(gateway, known, drains):
            standing = {node: _on(node, one, drain, live, tripped, now) for node, live in views.items()}
            made.append({**row, "state": _worst(one, drain, standing, now), "standing": standing,
                         "drained": drain_row(drain, now), "quality": quality_row})  # fmt: skip
    return made + [{**row, "standing": {}} for row in left_over(drains, now)]


def row(store: Store, settings: Settings, name: str, *, window: float, now: float) -> Row:
    """One of them. Raises MissingError, StoreError."""
    for found in rows(store, settings, window=window, now=now):
        if found["name"] == name:
            return found
    raise MissingError(f"the policy has no gateway {name!r}")


def of_node(
    store: Store, settings: Settings, live: Snapshot, *, window: float, now: float
) -> tuple[list[Row], dict[str, Figures]]:
    """The same as one node sees them: the standing is in the row itself; ``nodes`` names nodes with open breakers.

    Also the figures by gateway. Raises StoreError.
    """
    policy, drains = store.policy().decode()[0], store.drains()
    known, found = names.expanded(policy, answers_of(settings)), figures(store, window, now)
    tripped, made = breakers.by_node(store, now), []
    for gateway in policy.gateways.values():
        quality_row = found.get(gateway.name, NOTHING).as_dict()
        own: list[Row] = []
        for row, one, drain in _expanded(gateway, known, drains):
            trip = _told(tripped, one.name, settings.node)
            trip = None if trip is not None and trip.node == settings.node else trip
            standing = standing_of(one, drain, live, trip, now)
            own.append({**row, **standing, "drained": drain_row(drain, now), "quality": quality_row,
                        "nodes": on_nodes(tripped.get(one.name, {}), now)})  # fmt: skip
        if "addresses" in own[0] and own[0]["state"] == "up":
            states = [member["state"] for member in own[1:]]
            own[0]["state"] = "unresolved" if not states else "up" if "up" in states else states[0]
        made += own
    return made + [{**row, "nodes": {}} for row in left_over(drains, now)], found


def left_over(drains: Mapping[str, Drain], now: float) -> Iterator[Row]:
    """A row for each drain whose gateway a policy has dropped."""
    for name, drain in drains.items():
        if drain.live(now):
            yield {
                "name": name, "kind": None, "address": None, "transport": None, "enabled": False, "state": "unknown",
                "quality": NOTHING.as_dict(), "drained": drain_row(drain, now),
            }  # fmt: skip


def answers_of(settings: Settings) -> names.Answers:
    """What this node knows of names; nothing where it has no snapshot."""
    try:
        with SnapshotReader(settings.snapshot).read() as get:
            return names.decode(get(names.NAMES))
    except NoSnapshotError:
        return {}


def _views(store: Store) -> dict[str, Snapshot]:
    """What each live node's Kamailio knows; nothing of one whose Kamailio does not answer."""
    live = sorted(report.name for report in store.nodes()[0])
    told = node_health.read(store, live)
    return {node: _view(told[node]) if node in told else Snapshot() for node in live}


def _view(told: NodeHealth) -> Snapshot:
    known = {name: Health.loads(text) for name, text in told.health.items()}
    return Snapshot(known={name: health for name, health in known.items() if health is not None}, probed=told.probed)


def _on(
    node: str, gateway: Gateway, drain: Drain | None, live: Snapshot,
    tripped: Mapping[str, Mapping[str, OpenBreaker]], now: float,
) -> Row:  # fmt: skip
    """The standing on a node, which may have said that its breaker opened before we were told all that it knows."""
    found = standing_of(gateway, drain, live, _told(tripped, gateway.name, node), now)
    if found["breaker"]["told_by"] == node:
        found["breaker"]["told_by"] = None
    return found


def _told(tripped: Mapping[str, Mapping[str, OpenBreaker]], gateway: str, node: str) -> OpenBreaker | None:
    return tripped.get(gateway, {}).get(node)


def _expanded(
    gateway: Gateway, known: names.Expanded, drains: dict[str, Drain]
) -> Iterator[tuple[Row, Gateway, Drain | None]]:  # fmt: skip
    """Row, gateway and drain of a gateway, and behind it of each address where it has names or several."""
    whole = drains.pop(gateway.name, None)
    if not gateway.places:
        yield _row(gateway), gateway, whole
        return
    members = list(known.members(gateway.name))
    troubles = list(known.notes[gateway.name])
    yield {**_row(gateway), "addresses": [one.name for one in members], "troubles": troubles}, gateway, whole
    for one in members:
        yield {**_row(one), "known": "; ".join(known.notes[one.name])}, one, drains.pop(one.name, None) or whole


def _row(gateway: Gateway) -> Row:
    return {
        "name": gateway.name,
        "kind": "media" if gateway.media else "gateway",
        "address": gateway.written,
        "transport": gateway.transport,
        "enabled": gateway.enabled,
    }


def standing_of(
    gateway: Gateway, drain: Drain | None, live: Snapshot, trip: OpenBreaker | None, now: float
) -> Row:  # fmt: skip
    """How a gateway stands on a node: what its Kamailio knows, and the breaker that is told of it in Redis, if any."""
    health = with_told(live.health(gateway.name) or UNKNOWN, trip if gateway.breaker else None, now)
    probe = live.probe(gateway.uri) if gateway.probe else 0
    breaker = "off" if gateway.breaker is None else breaker_state(health, now)
    states = {
        "disabled": not gateway.enabled,
        "drained": drain is not None and drain.live(now),
        "probe-down": probe > 0,
        "held": health.held > now,
        breaker: breaker in ("open", "half-open"),
    }
    return {
        "state": next((state for state, holds in states.items() if holds), "up"),
        "held_until": health.held if health.held > now else None,
        "probed": bool(gateway.probe),
        "probe_down_since": probe if probe > 0 else None,
        "breaker": {
            "state": breaker,
            "score": health.score,
            "trip": gateway.breaker.trip if gateway.breaker else None,
            "open_until": health.until if health.is_open(now) else None,
            "trials_passed": health.passed,
            "failures": dict(health.failures),
            "told_by": health.teller or None,
        },
    }


def with_told(health: Health, trip: OpenBreaker | None, now: float) -> Health:
    """What a node knows of a gateway, with the breaker that Redis tells of."""
    return health if trip is None else breaking.told(health, trip, now)


def breaker_state(health: Health, now: float) -> str:
    """In a word."""
    return "open" if health.is_open(now) else "half-open" if health.tripped else "closed"


def _worst(gateway: Gateway, drain: Drain | None, standing: Mapping[str, Row], now: float) -> str:
    if not gateway.enabled or (drain is not None and drain.live(now)):
        return "disabled" if not gateway.enabled else "drained"
    states = {found["state"] for found in standing.values()}
    return next((state for state in WORST if state in states), "up")


def drain_row(drain: Drain | None, now: float) -> Row | None:
    """A drain as JSON shows it; None where there is none, or it is over."""
    if drain is None or not drain.live(now):
        return None
    return {"reason": drain.reason, "author": drain.author, "since": drain.since, "until": drain.until or None}


def on_nodes(found: Mapping[str, OpenBreaker], now: float) -> dict[str, Row]:
    """Each node on which a gateway is out of use, and by whose breaker."""
    return {
        node: {
            "state": "open" if trip.live(now) else "half-open",
            "until": trip.until,
            "told_by": None if trip.node == node else trip.node,
            "failures": dict(trip.failures),
            "address": trip.gateway.partition("/")[2] or None,
        }
        for node, trip in sorted(found.items())
    }


# Figures


def figures(store: Store, window: float, now: float) -> dict[str, Figures]:
    """What was counted of each gateway in the last ``window`` seconds. Raises InvalidError, StoreError."""
    if not SLOT <= window <= WINDOW_MAX:
        raise InvalidError(f"window: {window:g} s is not within {SLOT} and {WINDOW_MAX} s")
    return summed(quality.counted(store, slots(window, now)), window, now)


def figure_rows(store: Store, *, window: float, now: float) -> list[Row]:
    """The figures of each gateway of the policy. Raises InvalidError, StoreError."""
    found = figures(store, window, now)
    return [{"name": name, **found.get(name, NOTHING).as_dict()} for name in store.policy().decode()[0].gateways]


def minutes(store: Store, name: str, *, window: float, now: float) -> list[Row]:
    """A gateway's figures minute by minute, the oldest first. Raises MissingError, StoreError."""
    require(store, name)
    found = by_minute(store, window=window, now=now)
    return [{"at": at, **by_gateway.get(name, NOTHING).as_dict()} for at, by_gateway in found.items()]


def by_minute(store: Store, *, window: float, now: float) -> dict[int, dict[str, Figures]]:
    """Unix time of each minute, the oldest first, to what was counted of each gateway. Raises StoreError."""
    made: dict[int, dict[str, Figures]] = {}
    for slot, by_gateway in quality.counted(store, slots(window, now)).items():
        minute = made.setdefault(slot // MINUTE * MINUTE * SLOT, {})
        for gateway, counted in by_gateway.items():
            minute[gateway] = added(minute.get(gateway, NOTHING), counted)
    return dict(sorted(made.items()))


# Changes


def drain(store: Store, name: str, *, reason: str, until: float | None, now: float) -> Row:
    """Let no new call go to a gateway, on any node, until a Unix time (None: until it is resumed); wait for the nodes.

    Raises InvalidError, MissingError, StoreError.
    """
    require(store, name)
    if until is not None and until <= now:
        raise InvalidError("until: that time is over already")
    made = Drain(name, reason=reason, until=until or 0.0, author=store.who.partition(":")[2], since=now)
    return {"name": name, **(drain_row(made, now) or {}), **in_force(store, store.drain(made))}


def resume(store: Store, name: str) -> Row:
    """Let calls go to a drained gateway again; wait for the nodes. Raises MissingError, ImpossibleError, StoreError."""
    change = store.resume(name)
    if change is None:
        # A drain may outlive its gateway, so only here a name that leads nowhere is a mistake.
        require(store, name)
        raise ImpossibleError(f"{name} is not drained")
    return {"name": name, **in_force(store, change)}


def reset(store: Store, name: str, node: str = "") -> Row:
    """Have a node, or every live one, forget what failures told of a gateway: breakers close, Retry-After is over.

    ``troubles`` are the nodes that did not, and why. Raises MissingError, AwayError where none did, StoreError.
    """
    require(store, name)
    live = sorted(report.name for report in store.nodes()[0])
    if node and node not in live:
        raise MissingError(f"there is no live node {node!r}{did_you_mean(node, live)}")
    wanted = {commands.node(one): one for one in ([node] if node else live)}
    answers = commands.ask_each(store, wanted, "reset", who=store.who, gateway=name)
    troubles = {wanted[one]: str(answer) for one, answer in answers.items() if isinstance(answer, CommandError)}
    done = [one for one in wanted.values() if one not in troubles]
    if not done:
        raise AwayError("; ".join(troubles.values()) or "no node is live")
    audit.write(store, "gateway reset", name, after={"nodes": done})
    return {"name": name, "nodes": done, "troubles": troubles}


def require(store: Store, name: str) -> None:
    """Raises MissingError for a gateway that the policy has not."""
    known = store.policy().decode()[0].gateways
    if owner(name) not in known:
        raise MissingError(f"the policy has no gateway {name!r}{did_you_mean(name, known)}")

