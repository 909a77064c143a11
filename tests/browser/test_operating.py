"""What is operated in a browser, with calls and phones behind: what a page says, happens."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness.console import NARROW, Console, first_paint, serious
from harness.digest_phone import DigestPhone
from harness.node import GB, TRUNK, Node, at
from harness.raw import status
from playwright.sync_api import Page, expect

from console.ports import free_port
from model.entries import Action, Entry, Kind
from model.fraud import Guard, Threshold
from model.policy import Breaker, Gateway, Policy, Route, Subscribers
from model.subscriber import Forwards, Subscriber
from state import audit, codec, fraud, keys, tokens
from state.tokens import Role

ENTRIES = int(os.environ.get("STROWGER_TEST_ENTRIES", "21000"))
"Of a list that is too long to be searched before the page is there."
CALLER, CALLEE = "1001", "02079460000"
BREAKER = Breaker(trip=3, restore=1, open=300.0, open_max=300.0)
PATHS = (
    "/gateways", "/gateways/one?name=a", "/lists/block", "/fraud", "/nodes", "/voicemail", "/subscribers?search=phone",
    "/subscribers/one?name=phone", "/tokens",
)  # fmt: skip
REALM = "phones.example"


@pytest.fixture
def node(site_node: Node) -> Iterator[Node]:
    """The node of the console, with well gateways, and with none afterwards."""
    with site_node.kamcmd() as kamcmd:
        kamcmd.call("htable.flush", "health")
    yield site_node
    site_node.stop_gateways()


def in_force(node: Node, *gateways: Gateway, guards: tuple[Guard, ...] = ()) -> None:
    names = tuple(gateway.name for gateway in gateways)
    policy = Policy(
        (TRUNK,), {gateway.name: gateway for gateway in gateways}, GB, fraud=guards, subscribers=Subscribers(REALM)
    )
    node.put_in_force(policy, [Route("r", ("",), names), Route("phones", ("7",), subscribers=True)])


def dead(name: str = "a") -> Gateway:
    """A gateway where nobody listens."""
    return Gateway(name, "127.0.0.1", free_port(), no_reply=0.3, progress=0.3, breaker=BREAKER)


def said(page: Page) -> str:
    """What the page says was done."""
    return page.inner_text("main [role=status].note")


def tab_to(page: Page, script: str) -> None:
    """Press Tab until the focused element fits."""
    for _ in range(80):
        if page.evaluate(f"(() => {{ const e = document.activeElement; return {script}; }})()"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {script}")


def test_a_block_added_by_keyboard_refuses_the_next_call_and_one_removed_lets_it_pass(
    console: Console, node: Node
) -> None:
    in_force(node, at("b", node.answering()))
    node.answered(CALLER, CALLEE)
    with console.opened("/lists/block") as watched:
        page = watched.page
        tab_to(page, "e.id === 'f-search'")
        if page.locator("#add:not([open])").count():
            tab_to(page, "e.closest('#add') && e.tagName === 'SUMMARY'")
            page.keyboard.press("Enter")
        tab_to(page, "e.id === 'f-value'")
        page.keyboard.type(CALLER)
        tab_to(page, "e.id === 'f-lasting'")
        page.keyboard.type("soon")
        watched.expected = ("422",)
        page.keyboard.press("Enter")
        expect(page.locator("#f-lasting[aria-invalid=true]")).to_be_visible()
        assert "soon" in page.inner_text("#h-lasting")
        assert page.input_value("#f-value") == CALLER
        page.fill("#f-lasting", "1h")
        page.fill("#f-reason", "a robot")
        page.keyboard.press("Enter")
        expect(page.locator("main .note.good")).to_contain_text("in force on node-under-test")
        node.refused(CALLER, CALLEE, 403, "Call Blocked")
        row = page.locator("tbody tr", has_text=CALLER)
        expect(row).to_contain_text("a robot")
        row.locator("summary").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("main .note.good")).to_contain_text("is off the list")
    node.answered(CALLER, CALLEE)
    assert [(entry.what, entry.who) for entry in audit.read(node.store, limit=2)] == [
        ("entry removed", "token:anna"), ("entry put", "token:anna"),
    ]  # fmt: skip


def test_a_list_is_searched_and_read_page_by_page(console: Console, node: Node) -> None:
    in_force(node, at("b", node.answering()))
    for number in range(60):
        node.store.put(Entry(Kind.CALLER, f"+4479{number:08d}", Action.BLOCK, reason="x" if number % 20 else "spam"))
    with console.opened("/lists/block") as watched:
        page = watched.page
        expect(page.locator("main [role=status]").first).to_contain_text("60 entries")
        assert page.locator("tbody tr").count() == 50
        page.click("text=Next page")
        page.wait_for_url("**from=*")
        assert page.locator("tbody tr").count() == 10
        page.fill("#f-search", "SPAM")
        page.press("#f-search", "Enter")
        expect(page.locator("main [role=status]").first).to_contain_text("3 entries found")
        page.fill("#f-search", "07900000007")
        page.press("#f-search", "Enter")
        expect(page.locator("main [role=status]").first).to_contain_text("1 entry found")
    node.clear_entries()


def test_a_long_list_is_searched_beside_the_page(console: Console, node: Node) -> None:
    in_force(node, at("b", node.answering()))
    fill(node, ENTRIES)
    try:
        with console.opened("/lists/block") as watched:
            page = watched.page
            painted = first_paint(page)
            began = time.monotonic()
            expect(page.locator("#found tbody tr")).to_have_count(50, timeout=60_000)
            listed = time.monotonic() - began
            expect(page.locator("#found [role=status]")).to_have_text(f"{ENTRIES:,} entries")
            page.fill("#f-search", "07900000007")
            began = time.monotonic()
            page.press("#f-search", "Enter")
            expect(page.locator("#met-title + .wide tbody tr")).to_contain_text("+447900000007")
            met = time.monotonic() - began
            expect(page.locator("#found")).to_contain_text("1 entry found", timeout=60_000)
            found = time.monotonic() - began
            print(f"{ENTRIES:,} entries: painted {painted:.2f} s, listed {listed:.2f} s after; searched for a number:")
            print(f"what it meets {met:.2f} s, all that holds it {found:.2f} s")
            page.click("#found .confirm summary")
            page.click("text=Yes, remove +447900000007")
            expect(page.locator("main .note.good")).to_contain_text("is off the list")
    finally:
        node.store._redis.delete(keys.ENTRIES)


def fill(node: Node, count: int) -> None:
    """A blocklist in Redis, of which no node was told."""
    pipe = node.store._redis.pipeline(transaction=False)
    for number in range(count):
        entry = Entry(Kind.CALLER, f"+4479{number:08d}", Action.BLOCK)
        pipe.hset(keys.ENTRIES, codec.entry_field(entry.kind, entry.value), codec.encode_entry(entry))
        if number % 20_000 == 0:
            pipe.execute()
    pipe.execute()


def test_the_breaker_is_seen_open_at_once_and_a_drain_takes_the_gateway_out(console: Console, node: Node) -> None:
    in_force(node, dead("a"), at("sbc", node.answering()))
    with console.opened("/gateways") as watched:
        page = watched.page
        expect(page.locator("#gw-a")).to_have_attribute("data-state", "up")
        page.evaluate("""() => { window.opened = new Promise((found) => new MutationObserver(() => {
          if (document.querySelector('#gw-a[data-state=open]')) found(Date.now() / 1000);
        }).observe(document.getElementById('gateways'), {subtree: true, attributes: true, childList: true})); }""")
        calls = [node.answered(CALLER, CALLEE).call_id for _ in range(2)]
        assert [node.attempts(call) for call in calls] == [["a"], ["a"]]
        seen = float(page.evaluate("window.opened"))
        failed = next(event["at"] for event in node.records(calls[1]) if event["event"] == "failed")
        opened = next(at for kind, at in events(node) if kind == "breaker.opened")
        print(f"the breaker is shown {seen - failed:.3f} s after the failure, {seen - opened:.3f} s after its event")
        expect(page.locator("#gw-a .standing[data-node=node-under-test]")).to_have_attribute("data-state", "open")
        expect(page.locator("#gw-a")).to_contain_text("2 time-out")
        page.click("#gw-sbc a")
        page.fill("#f-reason", "new SBC")
        page.fill("#f-lasting", "1h")
        page.press("#f-lasting", "Enter")
        expect(page.locator("main .note.good")).to_contain_text("sbc is drained until")
        expect(page.locator("dd[data-state=drained]")).to_be_visible()
        expect(page.locator("#gateway")).to_contain_text("by anna")
        node.refused(CALLER, CALLEE, 503)
        page.click("#resume")
        expect(page.locator("main .note.good")).to_contain_text("sbc takes calls again")
        node.answered(CALLER, CALLEE)
        expect(page.locator("#chart-attempts .current")).to_contain_text("3", timeout=20_000)
        page.goto("/gateways/one?name=a")
        page.click("#reset")
        expect(page.locator("main .note.good")).to_contain_text("failures of a are forgotten on node-under-test")
        expect(page.locator("dd[data-state=up]")).to_be_visible()
        assert node.attempts(node.answered(CALLER, CALLEE).call_id) == ["a"], "it is tried again"


def events(node: Node) -> list[tuple[str, float]]:
    """Kind and time of what happened, the last first."""
    rows = node.store._redis.xrevrange(keys.EVENTS, count=200)
    return [(row["kind"], float(row["at"])) for _, row in rows]


def test_somebody_who_was_refused_is_released_with_a_reason(console: Console, node: Node) -> None:
    guard = Guard("premium", "caller", {"calls": Threshold(1, 2)}, ("+44909",))
    in_force(node, at("b", node.answering()), guards=(guard,))
    with console.opened("/fraud") as watched:
        page = watched.page
        for _ in range(2):
            # What guards count may have grown meanwhile.
            node.answered(CALLER, "09091234567", explained=False)
        expect(page.locator("#trip-premium--1001")).to_contain_text("2 of at most 2 calls", timeout=20_000)
        node.refused(CALLER, "09091234567", 403)
        page.click("#trip-premium--1001 summary:has-text('Release')")
        page.fill("#trip-premium--1001 input[name=reason]", "it was the owner")
        # What is typed survives what comes in.
        page.evaluate("() => new Promise((done) => document.addEventListener('live', done, {once: true}))")
        assert page.input_value("#trip-premium--1001 input[name=reason]") == "it was the owner"
        page.click("text=Yes, let their calls pass")
        expect(page.locator("main .note.good")).to_contain_text("premium//1001 released: in force on node-under-test")
        expect(page.locator("main")).to_contain_text("by anna: it was the owner")
    assert not fraud.trips(node.store)
    node.answered(CALLER, "09091234567")


def test_a_subscriber_is_added_registers_and_is_changed_for_the_next_call(console: Console, node: Node) -> None:
    in_force(node, at("b", node.answering()))
    with console.opened("/subscribers") as watched:
        page = watched.page
        watched.expected = ("422",)
        page.click("#add summary")
        page.fill("#f-name", "7001")
        page.fill("#f-numbers", "zwölf")
        page.press("#f-numbers", "Enter")
        expect(page.locator("#h-numbers")).to_have_text("numbers: 'zwölf' is no number")
        page.fill("#f-numbers", "02079461001")
        page.press("#f-numbers", "Enter")
        word = page.inner_text("#password")
        page.click("text=I have it")
        expect(page.locator("#subscriber")).to_contain_text("No phone is registered")
        with DigestPhone(node.sip, "7001", word, algorithm="MD5") as phone:
            assert status(phone.register()) == 200
            row = page.locator("#subscriber tbody tr")
            expect(row).to_contain_text(f"sip:7001@127.0.0.1:{phone.endpoint.port}")
            page.fill("#f-forward_always", CALLEE)
            page.fill("#f-calls", "many")
            page.uncheck("#f-enabled")
            page.press("#f-calls", "Enter")
            expect(page.locator("#h-calls")).to_contain_text("'many' is no number")
            assert page.input_value("#f-forward_always") == CALLEE
            assert not page.is_checked("#f-enabled")
            page.check("#f-enabled")
            page.fill("#f-calls", "2")
            change(node, "7001", do_not_disturb=True)
            page.press("#f-calls", "Enter")
            expect(page.locator("main .note.bad")).to_contain_text("Somebody else changed this subscriber meanwhile")
            page.press("#f-calls", "Enter")
            expect(page.locator("main .note.good")).to_contain_text("7001 is changed: in force on node-under-test")
            node.answered(CALLER, "7001")
            found = node.store.subscriber("7001")
            assert found is not None
            assert (found.forwards.always, found.calls, found.do_not_disturb) == ("+442079460000", 2, False)
            page.click("text=Set it")
            assert page.inner_text("#password") != word
            assert status(phone.register(0)) == 401
        page.goto("/subscribers?search=02079461001")
        expect(page.locator("tbody tr")).to_contain_text("all calls: to +442079460000")
        page.click("#sub-7001 a")
        page.click("#remove summary")
        page.click("text=Yes, remove 7001")
        expect(page.locator("main .note.good")).to_contain_text("7001 is removed: in force on node-under-test")
    assert node.store.subscriber("7001") is None
    assert {(entry.what, entry.who) for entry in audit.read(node.store, limit=2)} == {("subscriber", "token:anna")}


def change(node: Node, name: str, **more: Any) -> None:
    """What somebody else does meanwhile."""
    before = node.store.subscriber(name)
    assert before is not None
    node.confirmed(node.store.put_subscriber(dataclasses.replace(before, **more), before))


def test_a_token_is_shown_once_and_out_at_once(console: Console, node: Node) -> None:
    with console.opened("/tokens") as watched:
        page = watched.page
        watched.expected = ("422",)
        page.fill("#f-name", "billing robot")
        page.fill("#f-lasting", "soon")
        page.press("#f-lasting", "Enter")
        expect(page.locator("#f-lasting[aria-invalid=true]")).to_be_visible()
        page.select_option("#f-role", "operate")
        page.fill("#f-lasting", "2h")
        page.press("#f-lasting", "Enter")
        text = page.inner_text("#token")
        token = tokens.check(node.store, text, time.time())
        assert token is not None
        assert (token.name, token.role, round(token.expires - token.created)) == ("billing robot", Role.OPERATE, 7200)
        page.click("text=I have it")
        assert text[-20:] not in page.content()
        page.click(f"#revoke-{token.id} summary")
        page.click("text=Yes, revoke that of billing robot")
        expect(page.locator("main .note.good")).to_contain_text("of billing robot is revoked")
        assert tokens.check(node.store, text, time.time()) is None
        expect(page.locator("tr", has_text="yours")).to_contain_text("anna")
    made, revoked = audit.read(node.store, limit=2)[::-1]
    assert [(one.what, one.who, one.subject) for one in (made, revoked)] == [("token", "token:anna", token.id)] * 2


def test_a_node_is_drained_and_resumed(console: Console, node: Node) -> None:
    in_force(node, at("b", node.answering()))
    with console.opened("/nodes") as watched:
        page = watched.page
        page.click("#drain-node-under-test summary")
        page.fill("#drain-node-under-test input[name=reason]", "new kernel")
        page.keyboard.press("Enter")
        expect(page.locator("main .note.good")).to_contain_text("takes no new calls")
        expect(page.locator("#node-node-under-test")).to_contain_text("drained by anna: new kernel")
        node.refused(CALLER, CALLEE, 503, explained=False)
        page.click("button:has-text('Resume')")
        expect(page.locator("main .note.good")).to_contain_text("takes calls again")
    node.answered(CALLER, CALLEE)


def test_a_reader_sees_and_changes_nothing(console: Console, node: Node) -> None:
    in_force(node, at("a", node.answering()))
    subscribed(node)
    with console.opened("/gateways/one?name=a", Role.READ) as watched:
        page = watched.page
        assert not page.locator("main form").count()
        assert not page.get_by_role("link", name="Tokens").count()
        page.goto("/subscribers/one?name=phone")
        expect(page.locator("#subscriber")).to_contain_text("No phone is registered")
        assert not page.locator("main form").count()
        watched.expected = ("403",)
        page.goto("/voicemail/box?number=1001")
        assert "needs a token with the role operate" in page.inner_text("main")


def subscribed(node: Node) -> None:
    """Somebody with everything that a page can say of them, but a phone."""
    one = Subscriber(
        name="phone", realm=REALM, ha1={}, numbers=("+442079461009",), do_not_disturb=True,
        forwards=Forwards(busy="1001"),
    )  # fmt: skip
    node.confirmed(node.store.put_subscriber(one, node.store.subscriber("phone")))


@pytest.mark.parametrize("look", [{}, {"dark": True}, {"size": NARROW}], ids=["light", "dark", "narrow"])
def test_pages_are_there_for_everybody(console: Console, node: Node, look: dict[str, object]) -> None:
    in_force(node, dataclasses.replace(at("a", node.answering()), probe=True))
    subscribed(node)
    node.put(Entry(Kind.PAIR, "1>2", Action.BLOCK, reason="x", expires=time.time() + 600))
    with console.opened("/nodes", **look) as watched:
        page = watched.page
        expect(page.locator("#node-node-under-test")).to_contain_text("answers")
        for path in PATHS:
            page.goto(path)
            assert not serious(page), path
            assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], path
            expect(page.locator(".menu [aria-current]")).to_be_in_viewport(ratio=1)
            page.wait_for_timeout(0)


