"""Why a call goes where it goes, without placing it."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace

from msgspec import Raw, structs

from kemi import hook
from kemi.dryrun import Get, with_rates
from kemi.explain import Explanation, Snapshot, explain, parse_failure
from kemi.node_state import live_state
from kemi.plan import Limit
from kemi.policy import decide
from kemi.rpc import RpcError
from kemi.view import NoPolicyError, View
from model.call import CallFacts
from model.causes import Failure
from model.fraud import Guard
from model.legs import legs
from model.settings import Settings
from operations import fraud
from operations.changes import Row
from operations.errors import AwayError, InvalidError
from policyfile import LoadedPolicy
from state import fraud as counters
from state import layout, names
from state.limit_use import Use, usage
from state.snapshot import NoSnapshotError, SnapshotReader
from state.store import Store, StoreError


@dataclass(frozen=True, slots=True)
class Question:
    """A call that nobody places."""

    callee: str
    "User part of the Request-URI: the number dialled."
    caller: str = ""
    source: str = ""
    "IP address; empty: the first trunk's, or that of nobody where a subscriber calls."
    subscriber: str = ""
    media: str = ""
    "With a media relay: what the caller's SDP has, as ``10.0.0.7 RTP/AVP``."
    asserted: str = ""
    user_agent: str = ""
    private: bool = False
    at: float = 0.0
    "Unix time; 0: now."
    fail: tuple[str, ...] = ()
    "How gateways fail, as ``carrier-a=503``."
    draw: float = 0.0
    "What a weighted route draws."
    hook_answer: bytes | None = None
    "What the route hook answers, JSON; None: nothing."


@dataclass(slots=True)
class Explained:
    """An explanation, and what else is known of what it names."""

    explanation: Explanation
    use: Mapping[str, Use] = field(default_factory=dict)
    "Of limits."
    guarded: list[Row] = field(default_factory=list)
    "What guards against fraud have counted."
    notes: list[str] = field(default_factory=list)
    "What could not be found out."

    def row(self) -> Row:
        """As JSON shows it."""
        limits = [
            {**structs.asdict(limit), "in_use": _in_use(limit, self.use)} for limit in self.explanation.limits
        ]  # fmt: skip
        return {**self.explanation.as_dict(), "limits": limits, "guards": self.guarded}


def explained(settings: Settings, question: Question, loaded: LoadedPolicy | None = None) -> Explained:
    """How a call would be decided by this node's policy, or by ``loaded``.

    Raises InvalidError, AwayError, kemi.explain.FailureSpecError.
    """
    failures = dict(parse_failure(spec) for spec in question.fail)
    now, notes = question.at or time.time(), list[str]()
    with viewed(settings, loaded, notes) as view:
        _check_gateways(failures, view)
        facts = _facts(question, view, now)
        live = replace(Snapshot() if loaded is not None else _live(settings, notes), drawn=question.draw)
        found = Explained(explain(facts, view, live, now, failures), notes=notes)
        guards = view.policy.fraud
    _add_counts(found, settings, guards)
    return found


def _check_gateways(failures: Mapping[str, Failure], view: View) -> None:
    known = (*view.gateways, *(name for name in failures if name.startswith("subscriber:")))
    if unknown := sorted(set(failures) - set(known)):
        raise InvalidError(f"fail: the policy has no gateway {', '.join(unknown)}")


def _facts(question: Question, view: View, now: float) -> CallFacts:
    facts = CallFacts(
        caller=question.caller or question.subscriber,
        callee=question.callee,
        source=source_of(question.source, question.subscriber, view),
        subscriber=question.subscriber,
        media=_media(question.media) if question.media else "",
        asserted=question.asserted,
        user_agent=question.user_agent,
        private=question.private,
    )
    if question.hook_answer is None:
        return facts
    ask = decide(facts, view, Snapshot(), now, ask=True).ask
    if ask is None:
        raise InvalidError("hook answer: such a call asks no hook")
    try:
        hook.parse_answer(question.hook_answer)
    except ValueError as error:
        raise InvalidError(f"hook answer: {error}") from None
    return replace(facts, hook=hook.Heard(ask.hook.name, answer=Raw(question.hook_answer)).dumps())


def source_of(source: str, subscriber: str, view: View) -> str:
    """The address that a call comes from, or else one that it may come from. Raises InvalidError."""
    # Of a subscriber: an address of nobody, so of no trunk.
    return _source(source) if source else "192.0.0.8" if subscriber else _first_source(view)


def _first_source(view: View) -> str:
    for trunk in view.policy.trunks:
        if trunk.sources:
            return trunk.sources[0].partition("/")[0]
    raise InvalidError("no trunk of the policy has an address: name the source")


def _source(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        raise InvalidError(f"source {text!r} is no IP address") from None


def _media(text: str) -> str:
    address, _, profile = text.strip().partition(" ")
    with suppress(ValueError):
        if profile.startswith(("RTP/", "UDP/")):
            return f"{ipaddress.ip_address(address)} {profile}"
    raise InvalidError(f"media {text!r} is not as in '10.0.0.7 RTP/AVP'")


@contextmanager
def viewed(settings: Settings, loaded: LoadedPolicy | None, notes: list[str]) -> Iterator[View]:
    """The policy in force on this node, or ``loaded``. Raises AwayError where there is none."""
    if loaded is not None:
        with _of_text(settings, loaded, notes) as view:
            yield view
        return
    try:
        with SnapshotReader(settings.snapshot).read() as get:
            yield View(get)
    except (NoSnapshotError, NoPolicyError) as error:
        raise AwayError("this node has no policy; another can be explained: --policy FILE") from error


@contextmanager
def _of_text(settings: Settings, loaded: LoadedPolicy, notes: list[str]) -> Iterator[View]:
    records = layout.build(loaded.policy, loaded.routes, (), version=0)
    if any(gateway.places for gateway in loaded.policy.gateways.values()):
        with suppress(NoSnapshotError), SnapshotReader(settings.snapshot).read() as get:
            # What this node knows of names.
            records[names.NAMES] = get(names.NAMES) or names.encode({})
    if not any(route.least_cost for route in loaded.routes):
        yield View(records.get)
        return
    with _rates(settings, notes) as live:
        yield View(with_rates(records, live))


@contextmanager
def _rates(settings: Settings, notes: list[str]) -> Iterator[Get]:
    """The node's snapshot, whose rates also decide by another policy; without a node there are none."""
    try:
        with SnapshotReader(settings.snapshot).read() as get:
            yield get
    except NoSnapshotError:
        notes.append("this node has no snapshot, and so no rates")
        yield lambda _: None


def _live(settings: Settings, notes: list[str]) -> Snapshot:
    try:
        return live_state(settings)
    except RpcError as error:
        notes.append(f"Kamailio does not tell which gateways it holds ({error}); none is taken for held")
        return Snapshot()


def _add_counts(found: Explained, settings: Settings, guards: tuple[Guard, ...]) -> None:
    """What is in use of limits, and what guards have counted, as far as Redis tells."""
    explanation = found.explanation
    counted = [] if explanation.emergency else counted_by(guards, explanation.steps, explanation.facts)
    if not explanation.limits and not counted:
        return
    store = Store(settings.redis_url)
    try:
        found.use = usage(store, [limit.name for limit in explanation.limits])
        found.guarded = list(_guarded(store, guards, counted))
    except StoreError as error:
        found.notes.append(f"{error}; what is in use of limits, and what guards have counted, is not known")
    finally:
        store.close()


def counted_by(guards: Iterable[Guard], steps: tuple[tuple[str, str, str], ...], facts: CallFacts) -> list[str]:
    """The names under which guards against fraud count a call."""
    found = (guard.counts(leg.parties, leg.number) for leg in legs(steps, asdict(facts)) for guard in guards)
    return [name for name in dict.fromkeys(found) if name]


def _guarded(store: Store, guards: tuple[Guard, ...], counted: list[str]) -> Iterator[Row]:
    for use in counters.usage(store, guards, counted) if counted else ():
        yield {"name": use.guard.field(use.prefix, use.who), **fraud.use_row(use, None)}


def _in_use(limit: Limit, use: Mapping[str, Use]) -> dict[str, int] | None:
    found = use.get(limit.name)
    return {"calls": found.calls, "last_second": found.begun} if found is not None else None
