"""From the document to the values of :mod:`model.policy`: names looked up, numbers normalised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from model.fraud import MEASURES, MINUTE, Guard, Threshold, amount
from model.hook import Hook
from model.identity import Presentation, TrunkIdentity
from model.limits import PREFIX, Limits
from model.narrowing import EVERY_DAY, Narrowing, Window
from model.numbers import E164_MAX_DIGITS, Dialling, normalise, normalise_beginning
from model.policy import (
    MEDIA_RETRY,
    PENALTIES,
    Auth,
    Breaker,
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
from model.side import Side
from policyfile import document as written
from policyfile.problems import quoted
from state.names import is_name

_PREFIX = re.compile(rf"\+[0-9]{{0,{E164_MAX_DIGITS}}}|[0-9A-Za-z*#][0-9A-Za-z*#._-]*")


def policy_of(document: written.Document) -> Policy:
    """Everything but the routes of a document that is in order."""
    plans = {name: dialling(plan) for name, plan in document.dialling_plans.items()}
    default = default_dialling(document)
    return Policy(
        trunks=tuple(
            _trunk(name, trunk, plans[trunk.dialling] if trunk.dialling else default, default)
            for name, trunk in document.trunks.items()
        ),
        gateways={
            **{name: _gateway(name, gateway, plans, default) for name, gateway in document.gateways.items()},
            **{name: _media_node(name, node) for name, node in document.media.items()},
        },
        dialling=default,
        retry_after_max=document.retry_after_max,
        emergency=_emergency(document.emergency) if document.emergency else None,
        currency=document.currency,
        exchange=dict(document.exchange),
        subscribers=_subscribers(document.subscribers, plans, default) if document.subscribers else None,
        fraud=tuple(_guard(name, guard, default) for name, guard in document.fraud.items()),
        hooks={name: _hook(name, section) for name, section in document.hooks.items()},
        relay_away=document.relay_away,
    )


def routes_of(document: written.Document) -> tuple[Route, ...]:
    """The routes of a document that is in order, in its order."""
    default = default_dialling(document)
    weights = {name: node.weight for name, node in document.media.items()}
    return tuple(_hooked(_route(route, default, weights), route, document.hook) for route in document.routes)


def _hooked(route: Route, section: written.RouteSection, usual: str | None) -> Route:
    """A route with its hook, or else that of all routes; one that refuses calls has nothing to ask."""
    name = section.hook if "hook" in section.model_fields_set else usual
    return replace(route, hook=name) if name and route.refusal is None else route


def _hook(name: str, section: written.HookSection) -> Hook:
    return Hook(
        name=name,
        url=section.url,
        timeout=section.timeout,
        fallback=section.fallback,
        fallback_route=section.fallback_route or "",
        secret=section.secret or "",
        signed_answers=section.signed_answers,
        at_most=section.at_most,
        failures=section.failures,
        pause=section.pause,
    )


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


def _trunk(name: str, trunk: written.TrunkSection, plan: Dialling, default: Dialling) -> Trunk:
    return Trunk(
        name=name,
        sources=tuple(source for source in trunk.sources or () if "/" in source),
        dialling=plan,
        anonymous=trunk.anonymous == "accept",
        trust_identity=trunk.trust_identity,
        tags=trunk.tags,
        limits=_limits(trunk.limits),
        names=tuple(source for source in trunk.sources or () if "/" not in source),
        registration=_registration(trunk.registration) if trunk.registration else None,
        identity=_trunk_identity(trunk.identity, default) if trunk.identity else None,
        side=_side(trunk, trunk.nat),
    )


def _trunk_identity(section: written.TrunkIdentitySection, default: Dialling) -> TrunkIdentity:
    return TrunkIdentity(
        believe=section.believe,
        numbers=tuple(prefix(number, default) for number in section.numbers),
        default=normalise(section.default, default) if section.default else "",
    )


def _presentation(
    section: written.PresentationSection, plans: Mapping[str, Dialling], default: Dialling
) -> Presentation:  # fmt: skip
    return Presentation(
        privacy=section.privacy,
        headers=section.headers,
        number=section.number,
        domain=section.domain,
        diversion=section.diversion,
        connected=section.connected,
        dialling=plans[section.dialling] if section.dialling else default,
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
        side=_side(section, section.nat),
        edges=section.edges,
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


def _gateway(
    name: str, gateway: written.GatewaySection, plans: Mapping[str, Dialling], default: Dialling
) -> Gateway:  # fmt: skip
    return Gateway(
        name=name,
        **_where(gateway.address),
        transport=gateway.transport,
        enabled=gateway.enabled,
        rewrite=_rewrite(gateway.rewrite),
        retry=_retry(gateway.retry),
        no_reply=gateway.no_reply,
        progress=gateway.progress,
        breaker=_breaker(gateway.breaker),
        probe=gateway.probe,
        limits=_limits(gateway.limits),
        identity=_presentation(gateway.identity, plans, default) if gateway.identity else None,
        side=_side(gateway),
        auth=_auth(gateway.auth.user, gateway.auth) if gateway.auth else None,
    )


def _where(places: tuple[Place, ...]) -> dict[str, Any]:
    if len(places) == 1 and not is_name(places[0].host):
        return {"address": places[0].host, "port": places[0].port}
    return {"address": "", "port": 0, "places": places}


def _auth(user: str, told: written.AuthSection | written.RegistrationSection) -> Auth:
    return Auth(user, told.secret or told.ha1_secret or "", told.secret is None, told.realm)


def _registration(told: written.RegistrationSection) -> Registration:
    return Registration(
        registrar=told.registrar,
        user=told.user,
        auth=_auth(told.auth_user or told.user, told),
        transport=told.transport,
        domain=told.domain,
        expires=int(told.expires),
        contact=told.contact or "",
    )


def _media_node(name: str, node: written.MediaNodeSection) -> Gateway:
    return Gateway(
        name=name,
        **_where(node.address),
        transport=node.transport,
        enabled=node.enabled,
        no_reply=node.no_reply,
        progress=node.progress,
        breaker=_breaker(node.breaker),
        probe=node.probe,
        media=True,
        weight=node.weight,
        side=Side(relay=node.media_relay),
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
        relay=route.media_relay == "always",
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


def _side(
    section: written.TrunkSection | written.SubscribersSection | written.GatewaySection, nat: bool | str = False
) -> Side:  # fmt: skip
    return Side(nat if isinstance(nat, str) else "yes" if nat else "no", section.media_relay, section.srtp or "")


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
