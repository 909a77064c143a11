"""What a route hook is asked and what its answer makes of a call; pure. docs/route-hook.md is the format.

A decision that needs an answer says so (:class:`Ask`). When the answer is there, the call is decided anew with it in
its facts, so that a record explains itself: what was heard stands there as text (:class:`Heard`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import structs

from kemi import refusals
from kemi.outcome import Ask, Numbers, Refused, Step
from kemi.view import View
from model.call import CallFacts
from model.hook import CONTINUE, ROUTE, Hook
from model.policy import MEDIA_RETRY, MediaApp, Refusal, Route, Strategy, Trunk

FORMAT = 1
"Version of question and answer."
ATTEMPTS = 10
"As many gateways as a route may have."
SECONDS_LATE = 0.5
"How long after a hook's time-out Kamailio by itself gives up: the hook process may be dead, or hang."

NOT_ASKED = "not asked"
"Why there is no answer, where the call is only explained, or sent on after a failure."

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\Z")]
Id = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]
Arguments = Annotated[str, msgspec.Meta(pattern=r"^([\x21-\x7e]([\x20-\x7e]{0,254}[\x21-\x7e])?)?\Z")]
Phrase = Annotated[str, msgspec.Meta(pattern=r"^[\x20-\x7e]{1,64}\Z")]
Number = Annotated[str, msgspec.Meta(pattern=r"^(\+[0-9]{1,15}|[0-9A-Za-z*#][0-9A-Za-z*#._-]{0,31})\Z")]


class _Answer(msgspec.Struct, frozen=True, tag_field="action", forbid_unknown_fields=True, omit_defaults=True):
    pass


class Continue(_Answer, frozen=True, tag="continue"):
    """The policy goes on as if there were no hook."""


class ToRoute(_Answer, frozen=True, tag="route"):
    """Another route takes the call."""

    route: Name


class ToGateways(_Answer, frozen=True, tag="gateways"):
    """These gateways are tried, in this order."""

    gateways: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=ATTEMPTS)]
    number: Number | None = None
    "Called instead; the route does not rewrite it, gateways do."


class Refuse(_Answer, frozen=True, tag="reject"):
    """The call is refused."""

    status: Annotated[int, msgspec.Meta(ge=400, le=699)] = 403
    reason: Id = "hook-refused"
    "Id of the refusal."
    phrase: Phrase = "Call Refused"
    cause: Annotated[int, msgspec.Meta(ge=1, le=127)] = 21
    "Q.850."


class ToApp(_Answer, frozen=True, tag="media"):
    """A call script takes the call."""

    app: Name
    args: Arguments = ""


Answer = Continue | ToRoute | ToGateways | Refuse | ToApp


class Heard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a question: an answer, or why there is none."""

    hook: str
    failed: str = ""
    "``time-out``, ``invalid``, ``status``, ``connection``, ``signature``, ``busy``, ``paused``, ``away`` ..."
    detail: str = ""
    answer: msgspec.Raw = msgspec.Raw()
    "JSON; empty where there is none."

    def dumps(self) -> str:
        """As it stands in the facts of a call."""
        return msgspec.json.encode(self).decode()


class Question(msgspec.Struct, frozen=True):
    """What a worker hands to the hook process: the question, and all that it takes to ask it."""

    transaction: str
    "Index and label of the suspended one, with a slash between them; empty: nobody waits for it in Kamailio."
    hook: Hook
    deadline: float
    "Unix time after which nobody waits for the answer."
    body: msgspec.Raw
    "JSON, as it is sent."

    def ids(self) -> tuple[str, str]:
        """The call that it is about: its record's id and its Call-ID."""
        found = _ids.decode(self.body)
        return found.call, found.call_id


class _Ids(msgspec.Struct, frozen=True):
    call: str = ""
    call_id: str = ""


class _Action(msgspec.Struct, frozen=True):
    action: str


_action = msgspec.json.Decoder(_Action)
_ids = msgspec.json.Decoder(_Ids)
# A decoder each: of a union of structs msgspec would keep every version that was ever loaded.
_answers: dict[str, msgspec.json.Decoder[Any]] = {
    "continue": msgspec.json.Decoder(Continue),
    "route": msgspec.json.Decoder(ToRoute),
    "gateways": msgspec.json.Decoder(ToGateways),
    "reject": msgspec.json.Decoder(Refuse),
    "media": msgspec.json.Decoder(ToApp),
}
_heard = msgspec.json.Decoder(Heard)
decode_question = msgspec.json.Decoder(Question).decode


def parse_answer(body: bytes) -> Answer:
    """A hook's answer. Raises ValueError, which says what is wrong with it and where."""
    try:
        action = _action.decode(body).action
        if action not in _answers:
            raise ValueError(f"at `$.action`: it is none of {', '.join(_answers)}")
        answer: Answer = _answers[action].decode(body)
        return answer
    except (msgspec.DecodeError, RecursionError) as error:
        # The bytes themselves would have no place in a log.
        raise ValueError(str(error)) from None


def heard(text: str) -> Heard:
    """What :meth:`Heard.dumps` made of it; of anything else one that has failed."""
    try:
        return _heard.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        return Heard("", "invalid", str(error))


def question(ask: Ask, facts: CallFacts, call: str, call_id: str, now: float) -> bytes:
    """What a hook is asked, as JSON."""
    return msgspec.json.encode(
        {
            "format": FORMAT,
            "hook": ask.hook.name,
            "call": call,
            "call_id": call_id[:255],
            "time": round(now, 3),
            "deadline": round(now + ask.hook.timeout, 3),
            "route": ask.route,
            "trunk": ask.trunk,
            "tags": ask.tags,
            "subscriber": facts.subscriber,
            "source": facts.source,
            "user_agent": facts.user_agent[:255],
            "caller": ask.numbers.caller,
            "asserted": ask.numbers.asserted,
            "callee": ask.numbers.callee,
            "caller_dialled": facts.caller,
            "callee_dialled": facts.callee,
            "private": facts.private,
            "handed_over": facts.hops,
        }
    )


def consult(
    route: Route, numbers: Numbers, trunk: Trunk, facts: CallFacts, view: View, steps: list[Step], *, ask: bool
) -> Ask | tuple[Route, Numbers]:
    """The route and numbers by which a call goes on that has come to a ``route`` with a hook, or what is to be asked.

    Raises Refused.
    """
    known = view.policy.hooks.get(route.hook)
    if known is None:
        # Of a policy that was written without the check of names.
        return route, numbers
    if not facts.hook and ask:
        steps.append(("hook", known.name, "is asked"))
        return Ask(known, route.name, trunk.name, trunk.tags, numbers)
    found = heard(facts.hook) if facts.hook else Heard(known.name, NOT_ASKED)
    if found.hook != known.name and not found.failed:
        found = Heard(known.name, "invalid", f"the answer is of hook {found.hook!r}")
    why = found.failed and ": ".join(filter(None, (found.failed, found.detail)))
    if not why:
        try:
            answer = parse_answer(bytes(found.answer))
            steps.append(("hook", known.name, f"answered: {_text(answer)}"))
            _check_names(answer, view)
            return _followed(answer, route, numbers, view)
        except ValueError as error:
            why = f"invalid: {error}"
    return _fallback(known, why, route, numbers, view, steps)


def _text(answer: Answer) -> str:
    return ", ".join(f"{name} {value}" for name, value in msgspec.to_builtins(answer).items())


def _check_names(answer: Answer, view: View) -> None:
    """Raises ValueError where an answer cannot be followed under this policy."""
    gateways = view.policy.gateways
    match answer:
        case ToRoute(name) if view.named(name) is None:
            raise ValueError(f"at `$.route`: the policy has no route {name!r}")
        case ToGateways(names):
            for place, name in enumerate(names):
                if name not in gateways or gateways[name].media:
                    raise ValueError(f"at `$.gateways[{place}]`: the policy has no gateway {name!r}")
        case ToApp() if not any(node.media for node in gateways.values()):
            raise ValueError("at `$.action`: the policy has no media node")


def _followed(answer: Answer, route: Route, numbers: Numbers, view: View) -> tuple[Route, Numbers]:
    match answer:
        case ToRoute(name):
            return _other(name, view), numbers
        case ToGateways(names, number):
            return _by_gateways(route, names, rewritten=number is None), _calling(numbers, number)
        case Refuse():
            raise Refused(Refusal(answer.reason, answer.status, answer.phrase, answer.cause))
        case ToApp(app, args):
            return _to_app(route, MediaApp(app, args), view), numbers
        case _:
            return route, numbers


def _other(name: str, view: View) -> Route:
    route = view.named(name)
    if route is None:
        raise Refused(refusals.HOOK_FAILED)
    if route.refusal is not None:
        raise Refused(route.refusal)
    return route


def _calling(numbers: Numbers, number: str | None) -> Numbers:
    return numbers if number is None else structs.replace(numbers, callee=number)


def _by_gateways(route: Route, names: tuple[str, ...], *, rewritten: bool) -> Route:
    """The route as it is, but for where it leads."""
    changed = replace(
        route, gateways=tuple(dict.fromkeys(names)), strategy=Strategy.PRIORITY, weights=(), least_cost=None,
        quality=None, media=None, subscribers=False,
    )  # fmt: skip
    return changed if rewritten else replace(changed, rewrite=Route("", ()).rewrite)


def _to_app(route: Route, app: MediaApp, view: View) -> Route:
    nodes = {node.name: node.weight for node in view.policy.gateways.values() if node.media}
    return replace(
        route, gateways=tuple(nodes), strategy=Strategy.WEIGHTED, weights=tuple(nodes.values()), least_cost=None,
        quality=None, media=app, subscribers=False, voicemail=None, retry=MEDIA_RETRY,
    )  # fmt: skip


def _fallback(
    hook: Hook, why: str, route: Route, numbers: Numbers, view: View, steps: list[Step]
) -> tuple[Route, Numbers]:
    to = f"route {hook.fallback_route}" if hook.fallback == ROUTE else hook.fallback
    steps.append(("hook", hook.name, f"{why}; fallback: {to}"))
    if hook.fallback == CONTINUE:
        return route, numbers
    if hook.fallback == ROUTE:
        return _other(hook.fallback_route, view), numbers
    raise Refused(refusals.HOOK_FAILED)
