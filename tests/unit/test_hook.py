"""Route hooks without a network: what is asked, what an answer makes of a call, and the pause after too many faults."""

from __future__ import annotations

import errno
import json
import os
import select
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness.shared_memory import Tables
from hypothesis import given
from hypothesis import strategies as st

from kemi import hook, hook_breaker, policy
from kemi.asking import Asked, Asking, why_unasked
from kemi.explain import Snapshot
from kemi.hook import Heard, parse_answer
from kemi.view import View
from model.call import CallFacts
from model.entries import Entry, Kind
from model.hook import CONTINUE, REJECT, ROUTE, Hook
from model.policy import Emergency, Gateway, MediaApp, Policy, Refusal, Rewrite, Route, Subscribers, Trunk, Voicemail
from policyfile import PolicyFileError, load
from state import codec, layout

NOW = 1_000_000.0
HOOK = Hook("billing", "http://192.0.2.7/", fallback=REJECT)
CALL = CallFacts(caller="1001", callee="200", source="192.0.2.9", user_agent="x" * 3000)
NODE = {"m": Gateway("m", "192.0.2.2", media=True)}


def view_of(known: Hook = HOOK, media: bool = True, **route: Any) -> View:
    """Calls to 2 ask; 3 leads to gateway b without asking, 4 is refused."""
    gateways = {name: Gateway(name, "192.0.2.1", rewrite=Rewrite(prefix="0")) for name in ("a", "b")}
    rules = Policy(
        (Trunk("lab", ("192.0.2.0/28",), tags=("vip",)),), {**gateways, **(NODE if media else {})},
        emergency=Emergency(("211",), ("a",)), hooks={known.name: known}, subscribers=Subscribers("example.org"),
    )  # fmt: skip
    routes = [
        Route("asking", ("2",), **{"gateways": ("a",), "hook": known.name, "rewrite": Rewrite(strip=1), **route}),
        Route("plain", ("3",), ("b",)),
        Route("never", ("4",), refusal=Refusal("never", 403, "Never", 21)),
    ]
    return View(layout.build(rules, routes, [Entry(Kind.CALLER, "666")]).get)


def answered(answer: object, view: View | None = None, **facts: Any) -> policy.Decision:
    """What becomes of a call whose hook says this."""
    heard = Heard("billing", answer=msgspec.Raw(json.dumps(answer).encode())).dumps()
    return policy.decide(replace(CALL, hook=heard, **facts), view or view_of(), Snapshot(), NOW, ask=True)


def uris(decision: policy.Decision) -> list[str]:
    """Where a call goes."""
    assert not isinstance(decision.outcome, policy.Reject), decision
    return [attempt.uri.partition(":5060")[0] for attempt in decision.outcome.plan.attempts]


def refusal(decision: policy.Decision) -> str:
    """Why a call is refused."""
    assert isinstance(decision.outcome, policy.Reject)
    return decision.outcome.refusal.id


def said(decision: policy.Decision) -> str:
    """The last that the trace has of the hook."""
    return [text for what, _, text in decision.steps if what == "hook"][-1]


class TestDecision:
    def test_asks_before_a_gateway_is_chosen(self) -> None:
        decision = policy.decide(CALL, view_of(), Snapshot(), NOW, ask=True)
        assert decision.ask is not None
        assert (decision.ask.hook, decision.ask.route, decision.ask.trunk) == (HOOK, "asking", "lab")
        assert decision.ask.tags == ("vip",)
        question = json.loads(hook.question(decision.ask, CALL, "id", "call-id", NOW))
        assert question["deadline"] == NOW + 1
        assert (question["caller"], question["callee"], question["callee_dialled"]) == ("1001", "200", "200")
        assert len(question["user_agent"]) == 255

    def test_asks_nobody_where_the_route_has_no_hook(self) -> None:
        assert policy.decide(replace(CALL, callee="300"), view_of(), Snapshot(), NOW, ask=True).ask is None

    @pytest.mark.parametrize("facts", [{"callee": "211"}, {"caller": "666"}, {"source": "192.0.2.99"}])
    def test_asks_nobody_for_emergencies_blocked_callers_and_who_is_not_known(self, facts: dict[str, str]) -> None:
        assert policy.decide(replace(CALL, **facts), view_of(), Snapshot(), NOW, ask=True).ask is None

    def test_without_a_worker_the_fallback_is_taken_for_granted(self) -> None:
        decision = policy.decide(CALL, view_of(), Snapshot(), NOW)
        assert decision.ask is None
        assert refusal(decision) == "hook-failed"
        assert said(decision) == "not asked; fallback: reject"

    def test_continue(self) -> None:
        assert uris(answered({"action": "continue"})) == ["sip:000@192.0.2.1"]

    def test_gateways(self) -> None:
        plain = answered({"action": "gateways", "gateways": ["b", "a", "b"]})
        assert uris(plain) == ["sip:000@192.0.2.1"] * 2
        assert [attempt.gateway for attempt in plain.outcome.plan.attempts] == ["b", "a"]  # type: ignore[union-attr]
        other = answered({"action": "gateways", "gateways": ["b"], "number": "+4420"})
        assert uris(other) == ["sip:0+4420@192.0.2.1"]

    def test_gateways_keep_the_routes_voicemail(self) -> None:
        decision = answered({"action": "gateways", "gateways": ["b"]}, view_of(voicemail=Voicemail()))
        assert isinstance(decision.outcome, policy.Relay)
        assert decision.outcome.plan.voicemail is not None

    @pytest.mark.parametrize(
        "route", [{"gateways": (), "subscribers": True}, {"gateways": ("m",), "media": MediaApp("x")}]
    )
    def test_gateways_instead_of_phones_or_a_script(self, route: dict[str, Any]) -> None:
        decision = answered({"action": "gateways", "gateways": ["b"]}, view_of(**route))
        assert uris(decision) == ["sip:000@192.0.2.1"]
        assert isinstance(decision.outcome, policy.Relay)

    def test_route(self) -> None:
        decision = answered({"action": "route", "route": "plain"})
        assert uris(decision) == ["sip:0200@192.0.2.1"]
        assert refusal(answered({"action": "route", "route": "never"})) == "never"

    def test_reject(self) -> None:
        decision = answered({"action": "reject", "status": 402, "reason": "no-credit"})
        assert isinstance(decision.outcome, policy.Reject)
        assert decision.outcome.refusal == Refusal("no-credit", 402, "Call Refused", 21)
        assert refusal(answered({"action": "reject"})) == "hook-refused"

    def test_media(self) -> None:
        decision = answered({"action": "media", "app": "welcome", "args": "a b"})
        assert isinstance(decision.outcome, policy.ToMedia)
        assert (decision.outcome.app, decision.outcome.args) == ("welcome", "a b")
        assert [attempt.gateway for attempt in decision.outcome.plan.attempts] == ["m"]

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            ({"action": "route", "route": "nowhere"}, "at `$.route`: the policy has no route 'nowhere'"),
            ({"action": "gateways", "gateways": ["a", "c"]}, "at `$.gateways[1]`: the policy has no gateway 'c'"),
            ({"action": "gateways", "gateways": ["m"]}, "at `$.gateways[0]`: the policy has no gateway 'm'"),
            ({"action": "gateways", "gateways": []}, "length >= 1 - at `$.gateways`"),
            ({"action": "gateways"}, "missing required field `gateways`"),
            ({"action": "gateways", "gateways": ["a"], "number": "1@2"}, "at `$.number`"),
            ({"action": "reject", "status": 200}, "at `$.status`"),
            ({"action": "reject", "reason": 'x"y'}, "at `$.reason`"),
            ({"action": "reject", "phrase": "a\r\nb"}, "at `$.phrase`"),
            ({"action": "media", "app": "x", "args": " "}, "at `$.args`"),
            ({"action": "continue", "tag": 1}, "unknown field `tag`"),
            ({"action": "fly"}, "at `$.action`"),
            ({}, "missing required field `action`"),
            ([], "got `array`"),
        ],
    )
    def test_an_answer_that_cannot_be_is_none(self, answer: object, why: str) -> None:
        decision = answered(answer)
        assert refusal(decision) == "hook-failed"
        assert why in said(decision)

    def test_media_needs_a_node(self) -> None:
        assert "no media node" in said(answered({"action": "media", "app": "x"}, view_of(media=False)))

    def test_the_answer_of_another_hook_is_none(self) -> None:
        text = Heard("other", answer=msgspec.Raw(b'{"action":"continue"}')).dumps()
        decision = policy.decide(replace(CALL, hook=text), view_of(), Snapshot(), NOW)
        assert "the answer is of hook 'other'" in said(decision)

    def test_fallbacks(self) -> None:
        facts = replace(CALL, hook=Heard("billing", "time-out", "no answer within 1 s").dumps())
        decision = policy.decide(facts, view_of(replace(HOOK, fallback=CONTINUE)), Snapshot(), NOW)
        assert uris(decision) == ["sip:000@192.0.2.1"]
        assert said(decision) == "time-out: no answer within 1 s; fallback: continue"
        for route, then in (("plain", None), ("never", "never"), ("gone", "hook-failed")):
            view = view_of(replace(HOOK, fallback=ROUTE, fallback_route=route))
            decision = policy.decide(facts, view, Snapshot(), NOW)
            assert uris(decision) == ["sip:0200@192.0.2.1"] if then is None else refusal(decision) == then

    def test_a_hook_that_went_with_a_change_of_policy_is_not_missed(self) -> None:
        view = view_of(hook="")
        assert uris(answered({"action": "reject"}, view)) == ["sip:000@192.0.2.1"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = ("action", "route", "gateways", "number", "status", "reason", "phrase", "cause", "app", "args")
VALUES = JSON | st.sampled_from(["continue", "route", "gateways", "reject", "media", "a", "plain", ["a", "b"], 403, ""])


class TestGarbage:
    @given(st.binary())
    def test_bytes(self, body: bytes) -> None:
        # Whatever it is that was said, it is no answer, and a mistake is told as one.
        with suppress(ValueError):
            assert isinstance(parse_answer(body), hook.Answer)

    @given(st.dictionaries(st.sampled_from(KEYS), VALUES))
    def test_any_answer_decides_or_says_why_not(self, answer: dict[str, Any]) -> None:
        decision = answered(answer)
        assert not isinstance(decision.outcome, policy.Reject) or decision.outcome.refusal.status >= 400
        Heard("billing", answer=msgspec.Raw(json.dumps(answer).encode()))

    @given(st.text())
    def test_any_text_among_the_facts(self, text: str) -> None:
        policy.decide(replace(CALL, hook=text or " "), view_of(), Snapshot(), NOW, ask=True)


class TestBreaker:
    def test_pauses_and_comes_back(self) -> None:
        known, patient = hook_breaker.NOTHING, replace(HOOK, failures=2, pause=10.0)
        known = hook_breaker.failed(known, patient, NOW)
        assert hook_breaker.claimed(known, patient, 0.5, NOW) == (known, hook_breaker.OPEN)
        known = hook_breaker.failed(known, patient, NOW)
        assert hook_breaker.claimed(known, patient, 0.5, NOW + 9)[1] == hook_breaker.PAUSED
        known, how = hook_breaker.claimed(known, patient, 0.5, NOW + 11)
        assert how == hook_breaker.TRIAL
        assert hook_breaker.claimed(known, patient, 0.5, NOW + 11)[1] == hook_breaker.PAUSED
        # A trial of which nothing is heard is not for ever.
        assert hook_breaker.claimed(known, patient, 0.5, NOW + 15)[1] == hook_breaker.TRIAL
        known = hook_breaker.failed(known, patient, NOW + 12)
        assert hook_breaker.claimed(known, patient, 0.5, NOW + 21)[1] == hook_breaker.PAUSED

    def test_late_failures_do_not_lengthen_the_pause(self) -> None:
        paused = hook_breaker.Breaker(5, NOW + 10)
        assert hook_breaker.failed(paused, HOOK, NOW + 5) == paused

    def test_survives_as_text(self) -> None:
        known = hook_breaker.Breaker(3, NOW + 0.1, NOW + 0.2)
        assert hook_breaker.Breaker.loads(known.dumps()) == known
        assert hook_breaker.Breaker.loads("x") == hook_breaker.NOTHING


class TestAsking:
    def test_a_pause_is_shared(self, tmp_path: Path) -> None:
        tables = Tables()
        one, other = (Asking(tables, tmp_path / "pipe") for _ in range(2))
        for _ in range(HOOK.failures):
            assert other.may_ask(HOOK, NOW)
            one.settled(HOOK, Heard("billing", "time-out"), NOW)
        assert not other.may_ask(HOOK, NOW)
        assert other.may_ask(HOOK, NOW + 11)
        assert not one.may_ask(HOOK, NOW + 11)
        other.settled(HOOK, Heard("billing"), NOW + 11)
        assert one.may_ask(HOOK, NOW + 11)

    def test_what_was_not_the_hooks_fault_pauses_nothing(self, tmp_path: Path) -> None:
        asking = Asking(Tables(), tmp_path / "pipe")
        for _ in range(100):
            asking.settled(HOOK, Heard("billing", "busy"), NOW)
        assert asking.may_ask(HOOK, NOW)

    def test_nobody_reads(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        assert self.refused(tmp_path / "pipe") == "away"
        assert self.refused(tmp_path / "none") == "away"

    def test_the_pipe_is_full(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        pipe = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
        try:
            with suppress(BlockingIOError):
                while os.write(pipe, b"x" * select.PIPE_BUF):
                    pass
            assert self.refused(tmp_path / "pipe") == "full"
        finally:
            os.close(pipe)

    def test_a_question_that_is_too_long(self, tmp_path: Path) -> None:
        assert self.refused(tmp_path / "none", callee="2" * 5000) == "long"

    def refused(self, pipe: Path, **facts: str) -> str:
        """Why a question cannot be sent."""
        ask = policy.decide(CALL, view_of(), Snapshot(), NOW, ask=True).ask
        assert ask is not None
        asked = Asked("call", "call-id", "tag", HOOK, replace(CALL, **facts))
        assert Asked.loads(asked.dumps()) == asked
        try:
            Asking(Tables(), pipe).question(ask, asked, NOW)
        except OSError as error:
            return why_unasked(error)
        raise AssertionError("it was sent")

    def test_is_read_as_it_was_sent(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        pipe = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
        try:
            ask = policy.decide(CALL, view_of(), Snapshot(), NOW, ask=True).ask
            assert ask is not None
            with Asking(Tables(), tmp_path / "pipe").question(ask, Asked("c", "i", "t", HOOK, CALL), NOW) as sending:
                sending.send(70_000, 4_000_000_000)
            question = hook.decode_question(os.read(pipe, 9000))
        finally:
            os.close(pipe)
        # The cfg reads numbers of 32 bits with a sign.
        assert question.transaction == "70000/-294967296"
        assert (question.hook, question.deadline) == (HOOK, NOW + 1)
        assert json.loads(bytes(question.body))["call_id"] == "i"

    def test_errno_without_a_name(self) -> None:
        assert why_unasked(OSError(errno.EPIPE, "broken")) == "away"


FILE = """\
strowger: 1
trunks: {lab: {sources: [192.0.2.0/24]}}
gateways: {a: {address: 192.0.2.1}}
hooks:
  billing: {url: "https://billing.example.org/call", timeout: 400ms, fallback: route, fallback_route: r, secret: key}
  other: {url: "http://[2001:db8::1]:8080/"}
hook: billing
routes:
  - {name: r, prefixes: [default], gateways: [a], hook: off}
  - {name: s, prefixes: ["2"], gateways: [a]}
  - {name: t, prefixes: ["3"], gateways: [a], hook: other}
  - {name: u, prefixes: ["4"], reject: {id: never, status: 403, phrase: Never}}
"""


class TestPolicyFile:
    def test_hooks_and_whose_they_are(self) -> None:
        loaded = load(FILE, name="f")
        assert [route.hook for route in loaded.routes] == ["", "billing", "other", ""]
        billing = loaded.policy.hooks["billing"]
        assert (billing.timeout, billing.fallback, billing.fallback_route, billing.secret) == (0.4, ROUTE, "r", "key")
        assert loaded.policy.hooks["other"].fallback == REJECT
        assert codec.decode_policy(codec.encode_policy(loaded.policy)) == loaded.policy
        assert [codec.decode_route(codec.encode_route(route)) for route in loaded.routes] == list(loaded.routes)

    @pytest.mark.parametrize(
        ("old", "new", "why"),
        [
            ("hook: other", "hook: othr", "unknown hook 'othr'"),
            ("hook: billing\n", "hook: nobody\n", "unknown hook 'nobody'"),
            ("fallback_route: r,", "fallback_route: q,", "unknown route 'q'"),
            ("fallback: route, ", "", "need one another"),
            ("https://billing", "ftp://billing", "is not a URL"),
            ("https://billing", "https://me:secret@billing", "should have no user"),
            ("secret: key", "secret: ../key", "is not a name of a secret"),
            ("secret: key", "signed_answers: true", "'signed_answers' needs 'secret'"),
        ],
    )
    def test_mistakes(self, old: str, new: str, why: str) -> None:
        assert old in FILE
        with pytest.raises(PolicyFileError) as error:
            load(FILE.replace(old, new, 1), name="f")
        assert why in str(error.value)
