"""From the document to the values of :mod:`model.policy`: names looked up, numbers normalised."""

from __future__ import annotations

import re
from collections.abc import Mapping

from model.fraud import MEASURES, MINUTE, Guard, Threshold, amount
from model.limits import PREFIX, Limits
from model.narrowing import EVERY_DAY, Narrowing, Window
from model.numbers import E164_MAX_DIGITS, Dialling, normalise_beginning
from model.policy import (
    MEDIA_RETRY,
    PENALTIES,
    Breaker,
    Emergency,
    Gateway,
    LeastCost,
    MediaApp,
    Policy,
    Refusal,
    RetryRule,
    Rewrite,
    Route,
    Strategy,
    Subscribers,
    Trunk,
    Voicemail,
)
from model.quality import Bounds, Quality
from policyfile import document as written
from policyfile.problems import quoted

_PREFIX = re.compile(rf"\+[0-9]{{0,{E164_MAX_DIGITS}}}|[0-9A-Za-z*#][0-9A-Za-z*#._-]*")


def policy_of(document: written.Document) -> Policy:
    """Everything but the routes of a document that is in order."""
    plans = {name: dialling(plan) for name, plan in document.dialling_plans.items()}
    default = default_dialling(document)
    return Policy(
        trunks=tuple(
            _trunk(name, trunk, plans[trunk.dialling] if trunk.dialling else default)
            for name, trunk in document.trunks.items()
        ),
        gateways={
            **{name: _gateway(name, gateway) for name, gateway in document.gateways.items()},
            **{name: _media_node(name, node) for name, node in document.media.items()},
        },
        dialling=default,
        retry_after_max=document.retry_after_max,
        emergency=_emergency(document.emergency) if document.emergency else None,
        currency=document.currency,
        exchange=dict(document.exchange),
        subscribers=_subscribers(document.subscribers, plans, default) if document.subscribers else None,
        fraud=tuple(_guard(name, guard, default) for name, guard in document.fraud.items()),
    )


def routes_of(document: written.Document) -> tuple[Route, ...]:
    """The routes of a document that is in order, in its order."""
    default = default_dialling(document)
    weights = {name: node.weight for name, node in document.media.items()}
    return tuple(_route(route, default, weights) for route in document.routes)


def default_dialling(document: written.Document) -> Dialling:
    """How operators write numbers: the default plan, or where none is named that of no country."""
    name = document.default_dialling
    return dialling(document.dialling_plans[name]) if name else Dialling()


def dialling(plan: written.DiallingPlan) -> Dialling:
    """A dialling plan as the trunks use it."""
    return Dialling(**plan.model_dump())


def prefix(text: str, plan: Dialling) -> str:
    """The beginning of a number, normalised; empty: any number. Raises ValueError."""
    if not text:
        return ""
    beginning = normalise_beginning(text, plan)
    if not _PREFIX.fullmatch(beginning):
        raise ValueError(f"{quoted(text)} cannot begin a number (after a plus, {E164_MAX_DIGITS} digits at most)")
    return beginning


def _trunk(name: str, trunk: written.TrunkSection, plan: Dialling) -> Trunk:
    return Trunk(
        name=name,
        sources=trunk.sources,
        dialling=plan,
        anonymous=trunk.anonymous == "accept",
        trust_identity=trunk.trust_identity,
        tags=trunk.tags,
        limits=_limits(trunk.limits),
    )


def _subscribers(
    section: written.SubscribersSection, plans: Mapping[str, Dialling], default: Dialling
) -> Subscribers:  # fmt: skip
    return Subscribers(
        realm=section.realm,
        dialling=plans[section.dialling] if section.dialling else default,
        tags=section.tags,
        algorithms=section.algorithms,
        max_contacts=section.max_contacts,
        expires_min=int(section.expires_min),
        expires_max=int(section.expires_max),
        guesses=section.guesses,
        limits=_limits(section.limits),
    )


def _guard(name: str, guard: written.GuardSection, plan: Dialling) -> Guard:
    sections = {measure: section for measure in MEASURES if (section := getattr(guard, measure)) is not None}
    return Guard(
        name=name,
        per=guard.per,
        measures={measure: _threshold(measure, section) for measure, section in sections.items()},
        prefixes=tuple(dict.fromkeys(prefix(text, plan) for text in guard.prefixes)),
        each=guard.each is not None,
        within=int(guard.within),
        block_for=int(guard.block_for),
    )


def _threshold(measure: str, section: written.ThresholdSection | written.CostSection) -> Threshold:
    counts = (section.warn or 0, section.block or 0)
    if measure == "cost":
        return Threshold(*map(amount, counts))
    return Threshold(*(count * (MINUTE if measure == "minutes" else 1) for count in counts))


def _emergency(emergency: written.EmergencySection) -> Emergency:
    return Emergency(emergency.numbers, emergency.gateways, _rewrite(emergency.rewrite))


def _gateway(name: str, gateway: written.GatewaySection) -> Gateway:
    return Gateway(
        name=name,
        address=gateway.address.host,
        port=gateway.address.port,
        transport=gateway.transport,
        enabled=gateway.enabled,
        rewrite=_rewrite(gateway.rewrite),
        retry=_retry(gateway.retry),
        no_reply=gateway.no_reply,
        progress=gateway.progress,
        breaker=_breaker(gateway.breaker),
        probe=gateway.probe,
        limits=_limits(gateway.limits),
    )


def _media_node(name: str, node: written.MediaNodeSection) -> Gateway:
    return Gateway(
        name=name,
        address=node.address.host,
        port=node.address.port,
        transport=node.transport,
        enabled=node.enabled,
        no_reply=node.no_reply,
        progress=node.progress,
        breaker=_breaker(node.breaker),
        probe=node.probe,
        media=True,
        weight=node.weight,
    )


def _breaker(breaker: written.BreakerSection | None) -> Breaker | None:
    if breaker is None:
        return None
    return Breaker(**{**breaker.model_dump(), "penalties": {**PENALTIES, **breaker.penalties}})


def _route(route: written.RouteSection, plan: Dialling, media_weights: Mapping[str, int]) -> Route:
    media = route.media
    gateways = (route.gateways or ()) if media is None else tuple(media_weights)
    weights = route.weights if media is None else media_weights
    given = route.model_fields_set
    strategy = Strategy.WEIGHTED if media is not None and "strategy" not in given else Strategy(route.strategy)
    by_quality = strategy is Strategy.QUALITY
    return Route(
        name=route.name,
        prefixes=tuple(prefix(text, plan) for text in route.prefixes),
        gateways=gateways,
        strategy=strategy,
        weights=tuple(weights[name] for name in gateways) if strategy is Strategy.WEIGHTED else (),
        max_attempts=route.max_attempts or 0,
        rewrite=_rewrite(route.rewrite),
        retry=MEDIA_RETRY if media is not None and "retry" not in given else _retry(route.retry),
        post_dial_delay=route.post_dial_delay,
        ring=route.ring,
        refusal=Refusal(**route.reject.model_dump()) if route.reject else None,
        narrowing=_narrowing(route, plan) if is_narrowed(route) else None,
        media=MediaApp(media.app, media.args) if media is not None else None,
        voicemail=Voicemail(**route.voicemail.model_dump()) if route.voicemail else None,
        least_cost=_least_cost(route) if strategy is Strategy.LEAST_COST else None,
        subscribers=route.subscribers,
        limits=_limits(route.limits),
        quality=_quality(route.quality or written.QualitySection()) if route.quality or by_quality else None,
    )


def _quality(quality: written.QualitySection) -> Quality:
    asr, acd, pdd = (
        Bounds(bounds.warn or 0.0, bounds.critical or 0.0) if bounds is not None else Bounds()
        for bounds in (quality.asr, quality.acd, quality.pdd)
    )
    return Quality(quality.window, quality.min_samples, asr, acd, pdd, quality.critical)


def _least_cost(route: written.RouteSection) -> LeastCost:
    return LeastCost(route.at_most or written.MAX_ATTEMPTS, route.max_price or 0, route.unrated)


def _limits(limits: written.LimitsSection | None) -> Limits | None:
    if limits is None:
        return None
    each = PREFIX if isinstance(limits, written.RouteLimitsSection) and limits.each == PREFIX else ""
    return Limits(limits.calls or 0, limits.per_second or 0, limits.when_away, each)


def is_narrowed(route: written.RouteSection) -> bool:
    """Whether a route is there for some calls only."""
    return any(getattr(route, key) for key in written.NARROWING)


def _narrowing(route: written.RouteSection, plan: Dialling) -> Narrowing:
    return Narrowing(
        callers=tuple(prefix(text, plan) for text in route.callers),
        trunks=route.trunks,
        tags=route.tags,
        times=tuple(map(_window, route.times)),
    )


def _window(window: written.WindowSection) -> Window:
    return Window(
        zone=window.zone,
        days=tuple(sorted({day for days in window.days for day in days})) or EVERY_DAY,
        start=window.begins,
        end=window.ends,
        first=window.first,
        last=window.last,
    )


def _rewrite(rewrite: written.Rewrite) -> Rewrite:
    return Rewrite(**rewrite.model_dump())


def _retry(retry: written.Retry) -> RetryRule:
    return RetryRule(also=retry.also, never=retry.never, only=retry.only or (), after_ringing=retry.after_ringing)
