"""The parts of a policy file against one another: names that lead nowhere, and things said twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import yaml

from model.policy import SUBSCRIBERS
from policyfile import resolve
from policyfile.document import MAX_ATTEMPTS, RouteSection, TrunkSection
from policyfile.problems import Finding, Path, did_you_mean, quoted
from policyfile.shape import Shaped
from policyfile.tree import Tree


def check_parts(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    """What is wrong between the parts of a document that are in order each for itself."""
    yield from _diallings(shaped, tree)
    yield from _sources(shaped, tree)
    yield from _registrations(shaped, tree)
    yield from _subscribers(shaped, tree)
    yield from _media_nodes(shaped, tree)
    yield from _gateways(shaped, tree)
    yield from _route_names(shaped, tree)
    yield from _emergency(shaped, tree)
    yield from _weights(shaped)
    yield from _least_cost(shaped, tree)
    yield from _guards(shaped, tree)
    yield from _quality(shaped)
    yield from _narrowings(shaped, tree)
    yield from _hooks(shaped, tree)
    yield from _prefixes(shaped, tree)


def _hooks(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    known, routes = _names(tree, "hooks"), tuple(route.name for _, route in _routes(shaped))
    if shaped.document.hook:
        yield from _unknown("hook", shaped.document.hook, known, ("hook",))
    for number, route in _routes(shaped):
        if route.hook:
            yield from _unknown("hook", route.hook, known, ("routes", number, "hook"))
    # A route with a mistake in it is not among them, and said to be unknown only once that is corrected.
    whole = ("routes", len(routes)) not in tree.nodes
    for name, hook in shaped.document.hooks.items():
        if hook.fallback_route and whole:
            yield from _unknown("route", hook.fallback_route, routes, ("hooks", name, "fallback_route"))


def _routes(shaped: Shaped) -> Iterable[tuple[int, RouteSection]]:
    return zip(shaped.route_numbers, shaped.document.routes, strict=True)


def _names(tree: Tree, section: str) -> tuple[str, ...]:
    # From the tree: a gateway with a mistake in it is not an unknown one.
    part = tree.value.get(section) if isinstance(tree.value, dict) else None
    return tuple(part) if isinstance(part, dict) else ()


def _unknown(what: str, name: str, known: tuple[str, ...], path: Path) -> Iterator[Finding]:
    if name not in known:
        yield Finding(path, f"unknown {what} {quoted(name)}{did_you_mean(name, known)}")


def _diallings(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    document, plans = shaped.document, _names(tree, "dialling_plans")
    if document.default_dialling:
        yield from _unknown("dialling plan", document.default_dialling, plans, ("default_dialling",))
    for name, trunk in document.trunks.items():
        if trunk.dialling:
            yield from _unknown("dialling plan", trunk.dialling, plans, ("trunks", name, "dialling"))
        yield from _believed(name, trunk)
    for name, gateway in document.gateways.items():
        if gateway.identity and gateway.identity.dialling:
            path = ("gateways", name, "identity", "dialling")
            yield from _unknown("dialling plan", gateway.identity.dialling, plans, path)


def _believed(name: str, trunk: TrunkSection) -> Iterator[Finding]:
    section = trunk.identity
    if section is not None and "believe" in section.model_fields_set and not trunk.trust_identity:
        yield Finding(("trunks", name, "identity", "believe"), "nothing is believed without 'trust_identity: true'")


def _media_nodes(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    gateways, nodes = _names(tree, "gateways"), _names(tree, "media")
    for name in nodes:
        if name in gateways:
            line = tree.line(("gateways", name))
            yield Finding(("media", name), f"the name '{name}' is taken by a gateway (line {line})")
    sound = shaped.document.media.values()
    if nodes and len(sound) == len(nodes) and not any(node.weight for node in sound):
        yield Finding(("media",), "some media node needs a weight above 0")
    for number, route in _routes(shaped):
        for key in ("media", "voicemail"):
            if getattr(route, key) is not None and not nodes:
                yield Finding(("routes", number, key), "there is no media node: name one in 'media' at the top")


def _gateways(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    for number, route in _routes(shaped):
        for index, name in enumerate(route.gateways or ()):
            yield from _unknown_gateway(name, tree, ("routes", number, "gateways", index))


def _unknown_gateway(name: str, tree: Tree, path: Path) -> Iterator[Finding]:
    known, nodes = _names(tree, "gateways"), _names(tree, "media")
    if name in nodes and name not in known:
        yield Finding(path, f"{quoted(name)} is a media node, which takes calls of routes with 'media' only")
    else:
        yield from _unknown("gateway", name, known, path)


def _emergency(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    emergency, gateways = shaped.document.emergency, shaped.document.gateways
    if emergency is None:
        return
    for index, name in enumerate(emergency.gateways):
        yield from _unknown_gateway(name, tree, ("emergency", "gateways", index))
    if all(name in gateways and not gateways[name].enabled for name in emergency.gateways):
        yield Finding(("emergency", "gateways"), "every one of them is disabled: no emergency call could be made")


def _weights(shaped: Shaped) -> Iterator[Finding]:
    for number, route in _routes(shaped):
        path, gateways = ("routes", number, "weights"), route.gateways or ()
        if route.media is not None:
            continue
        if route.strategy != "weighted":
            if "weights" in route.model_fields_set:
                yield Finding(path, "means nothing without 'strategy: weighted'")
            continue
        if "weights" not in route.model_fields_set:
            yield Finding(("routes", number, "strategy"), "'weighted' needs 'weights', a number for each gateway")
            continue
        for name in route.weights:
            if name not in gateways:
                unlisted = f"{quoted(name)} is not among the gateways of this route{did_you_mean(name, gateways)}"
                yield Finding((*path, name), unlisted)
        for name in dict.fromkeys(gateways):
            if name not in route.weights:
                yield Finding(path, f"gateway {quoted(name)} has no weight")
        if not any(route.weights.values()):
            yield Finding(path, "some gateway needs a weight above 0")


def _least_cost(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    document, compared = shaped.document, []
    for number, route in _routes(shaped):
        if route.strategy == "least_cost":
            compared.append(number)
            continue
        if len(route.gateways or ()) > MAX_ATTEMPTS:
            why = f"should have at most {MAX_ATTEMPTS} items without 'strategy: least_cost'"
            yield Finding(("routes", number, "gateways"), why)
        for key in ("at_most", "max_price", "unrated"):
            if key in route.model_fields_set:
                yield Finding(("routes", number, key), "means nothing without 'strategy: least_cost'")
    # From the tree: one that is wrong is not missing.
    given = isinstance(tree.value, dict) and "currency" in tree.value
    for number in () if given else compared:
        yield Finding(("routes", number, "strategy"), "'least_cost' needs 'currency' at the top of the file")
    if document.exchange and not given:
        yield Finding(("exchange",), "means nothing without 'currency'")
    if document.currency in document.exchange:
        yield Finding(("exchange", document.currency), "is the file's own currency")


def _guards(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    given = isinstance(tree.value, dict) and "currency" in tree.value
    for name, guard in shaped.document.fraud.items():
        if guard.cost is not None and not given:
            yield Finding(("fraud", name, "cost"), "needs 'currency' at the top of the file")
        if guard.per == "subscriber" and not _has_subscribers(tree):
            yield Finding(("fraud", name, "per"), "there are no subscribers: write 'subscribers' at the top")


def _quality(shaped: Shaped) -> Iterator[Finding]:
    for number, route in _routes(shaped):
        quality = route.quality
        if quality is None or route.strategy == "quality":
            continue
        if not (quality.asr or quality.acd or quality.pdd):
            yield Finding(("routes", number, "quality"), "holds nobody back: give 'asr', 'acd' or 'pdd'")


def _narrowings(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    known, tags = _names(tree, "trunks"), _tags(tree)
    known += (SUBSCRIBERS,) if _has_subscribers(tree) else ()
    for number, route in _routes(shaped):
        for index, name in enumerate(route.trunks):
            yield from _unknown("trunk", name, known, ("routes", number, "trunks", index))
        for index, tag in enumerate(route.tags):
            if tag not in tags:
                path = ("routes", number, "tags", index)
                yield Finding(path, f"no trunk has the tag {quoted(tag)}{did_you_mean(tag, tags)}")


def _tags(tree: Tree) -> tuple[str, ...]:
    # From the tree, as the names are: what a trunk with a mistake in it has is not unknown either.
    return tuple(
        str(node.value)
        for path, node in tree.nodes.items()
        if isinstance(node, yaml.ScalarNode)
        and (
            (len(path) == 4 and (path[0], path[2]) == ("trunks", "tags"))
            or (len(path) == 3 and path[:2] == (SUBSCRIBERS, "tags"))
        )
    )


def _has_subscribers(tree: Tree) -> bool:
    return isinstance(tree.value, dict) and isinstance(tree.value.get(SUBSCRIBERS), dict)


def _subscribers(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    section = shaped.document.subscribers
    if section is not None and section.dialling:
        plans = _names(tree, "dialling_plans")
        yield from _unknown("dialling plan", section.dialling, plans, (SUBSCRIBERS, "dialling"))
    if _has_subscribers(tree):
        if SUBSCRIBERS in _names(tree, "trunks"):
            yield Finding(("trunks", SUBSCRIBERS), "the name is taken by the subscribers")
        return
    for number, route in _routes(shaped):
        if route.subscribers:
            yield Finding(("routes", number, "subscribers"), "there are none: write 'subscribers' at the top")


def _sources(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    seen: dict[str, tuple[str, Path]] = {}
    for name, trunk in shaped.document.trunks.items():
        for index, network in enumerate(trunk.sources or ()):
            path = ("trunks", name, "sources", index)
            if network in seen:
                owner, first = seen[network]
                yield Finding(path, f"{network} belongs to trunk '{owner}' already (line {tree.line(first)})")
            seen.setdefault(network, (name, path))


def _registrations(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    seen: dict[tuple[str, str], tuple[str, Path]] = {}
    for name, trunk in shaped.document.trunks.items():
        if (told := trunk.registration) is not None:
            path, key = ("trunks", name, "registration"), (told.registrar.host, told.contact or told.user)
            if key in seen:
                owner, first = seen[key]
                said = f"trunk '{owner}' has the same contact at this registrar (line {tree.line(first)})"
                yield Finding(path, f"{said}: give one of them another 'contact'")
            seen.setdefault(key, (name, path))


def _route_names(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    seen: dict[str, Path] = {}
    for number, route in _routes(shaped):
        path = ("routes", number, "name")
        if route.name in seen:
            yield Finding(path, f"the name '{route.name}' is taken (line {tree.line(seen[route.name])})")
        seen.setdefault(route.name, path)


def _prefixes(shaped: Shaped, tree: Tree) -> Iterator[Finding]:
    document = shaped.document
    if document.default_dialling and document.default_dialling not in document.dialling_plans:
        # Without the plan there is no telling what the prefixes mean; what is wrong with it is said already.
        return
    plan = resolve.default_dialling(document)
    for path, text in _beginnings(shaped):
        try:
            resolve.prefix(text, plan)
        except ValueError as error:
            yield Finding(path, str(error))
    # Of each beginning, the route after which no other can be reached.
    seen: dict[str, tuple[str, Path]] = {}
    for number, route in _routes(shaped):
        own: dict[str, tuple[str, Path]] = {}
        for path, text in _written_prefixes(number, route):
            try:
                beginning = resolve.prefix(text, plan)
            except ValueError as error:
                yield Finding(path, str(error))
                continue
            if path[2] == "callers":
                continue
            if beginning in seen or beginning in own:
                owner, first = seen.get(beginning) or own[beginning]
                yield Finding(path, f"{_shown(beginning)} belongs to route '{owner}' already (line {tree.line(first)})")
            own.setdefault(beginning, (route.name, path))
        if not resolve.is_narrowed(route):
            seen = {**own, **seen}


def _beginnings(shaped: Shaped) -> Iterator[tuple[Path, str]]:
    """Beginnings of numbers elsewhere than in routes."""
    for name, guard in shaped.document.fraud.items():
        for index, text in enumerate(guard.prefixes):
            yield ("fraud", name, "prefixes", index), text
    for name, trunk in shaped.document.trunks.items():
        for index, text in enumerate(trunk.identity.numbers if trunk.identity else ()):
            yield ("trunks", name, "identity", "numbers", index), text


def _written_prefixes(number: int, route: RouteSection) -> Iterator[tuple[Path, str]]:
    for key, texts in (("prefixes", route.prefixes), ("callers", route.callers)):
        for index, text in enumerate(texts):
            yield ("routes", number, key, index), text


def _shown(beginning: str) -> str:
    return quoted(beginning) if beginning else "the default prefix, which matches every number,"
