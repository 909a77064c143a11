"""The console in a browser, with calls behind it: who gets in, what is shown, and that it keeps up by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
from fastapi.routing import APIRoute
from harness.console import NARROW, Console, first_paint, serious
from harness.node import SCENARIOS, Node
from playwright.sync_api import Page, expect

import policyfile
from console.ports import free_port
from console.sipp import place_calls
from state.tokens import Role
from web.app import PAGES

POLICY = """\
strowger: 1
dialling_plans:
  gb: {{country_code: "44", international_prefixes: ["00"], national_prefix: "0"}}
default_dialling: gb
trunks:
  lab: {{sources: [127.0.0.0/8]}}
gateways:
  carrier-full: {{address: "127.0.0.1:{full}", no_reply: 15s, breaker: false}}
  carrier-b: {{address: "127.0.0.1:{good}", no_reply: 15s}}
routes:
  - name: uk
    prefixes: ["+44"]
    gateways: [carrier-full, carrier-b]
    # Whatever happens.
    post_dial_delay: 20s
"""
CALLEE = "02079460000"


@dataclass(frozen=True)
class World:
    """What lies behind the console."""

    node: Node
    past: str
    "Call-ID of a call that is over."


@pytest.fixture(scope="module")
def world(site_node: Node) -> World:
    """Two carriers, a policy with its text, and a call that went to both of them."""
    good, full = site_node.answering(), site_node.refusing(503)
    loaded = policyfile.load(POLICY.format(good=good.port, full=full.port), name="test")
    store = site_node.store
    change = store.apply(text=loaded.text, policy=loaded.policy, routes=loaded.routes, expected=0, author="test")
    site_node.confirmed(change)
    result = site_node.answered("1001", CALLEE)
    site_node.record(result.call_id)
    return World(site_node, result.call_id)


@pytest.fixture
def talking(world: World) -> Iterator[None]:
    """A call that lasts until it is hung up, or some seconds."""
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(
            place_calls, SCENARIOS / "uac-expect-answer.xml", server=world.node.sip, port=free_port(),
            directory=world.node.directory / "talking", keys={"caller": "2002", "callee": CALLEE}, talk=4000,
        )  # fmt: skip
        yield
        assert done.result().passed, done.result().output


def _focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.name"))


def test_a_token_opens_the_console_by_keyboard_alone(console: Console, world: World) -> None:
    """The form, the skip link, the menu, a chart, and out again; focus is always to be seen."""
    with console.blank() as watched:
        page, watched.expected = watched.page, ("401",)
        page.goto("/calls/past")
        assert page.url.endswith("/login?next=%2Fcalls%2Fpast")
        assert not serious(page)
        page.keyboard.press("Tab")
        assert _focused(page) == "Skip to the content"
        for text in ("sw_no_such_token", console.token(Role.READ, "night shift")):
            while page.evaluate("document.activeElement.name") != "token":
                page.keyboard.press("Tab")
            page.keyboard.type(text)
            page.keyboard.press("Enter")
            if text == "sw_no_such_token":
                expect(page.get_by_text("the token is unknown")).to_be_visible()
        page.wait_for_url("**/calls/past")
        seen = []
        for _ in range(40):
            page.keyboard.press("Tab")
            seen.append(_focused(page))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", seen[-1]
            if seen[-1] == "Explain":
                break
        assert {"Skip to the content", "Overview", "Calls", "Explain"} <= set(seen)
        page.keyboard.press("Enter")
        page.wait_for_url("**/explain")
        page.get_by_role("button", name=re.compile("^Sign out")).focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/login")
        page.goto("/calls")
        assert "/login" in page.url


def test_every_page_is_accessible_in_light_and_dark_and_on_a_telephone(console: Console, world: World) -> None:
    """No serious issue, nothing wider than the screen, nothing that moves, and the first paint soon."""
    paths = [
        "/", "/calls", "/calls/past", f"/calls/one?call={world.past}",
        "/explain?callee=02079460000&fail=carrier-full=503", "/policy", "/policy/history", "/policy/version?version=1",
        "/audit",
    ]  # fmt: skip
    painted = []
    for look in ({}, {"dark": True}, {"size": NARROW}):
        with console.opened(paths[0], **look) as watched:
            page = watched.page
            for path in paths:
                page.goto(path)
                page.wait_for_load_state("load")
                painted.append((first_paint(page), path))
                assert not serious(page), (path, look)
                wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                assert wide <= 0, (path, look, wide)
                watched.check()
    print(f"first paint: {max(painted)[0]:.3f} s at most ({max(painted)[1]}), {min(painted)[0]:.3f} s at least")


def test_a_live_call_appears_is_drawn_and_goes(console: Console, world: World, request: pytest.FixtureRequest) -> None:
    with console.opened("/calls") as watched:
        page = watched.page
        expect(page.get_by_text("No call is under way.")).to_be_visible()
        expect(page.locator("#live-state")).to_have_text("live")
        request.getfixturevalue("talking")
        row = page.locator("tr.call", has_text="2002")
        expect(row.locator(".badge")).to_have_text("answered")
        expect(row.locator(".failed")).to_have_text("carrier-full")
        way = page.locator("tr.call-way")
        way.locator("summary").click()
        expect(way.locator("svg .bad .said")).to_have_text("503 server-fault")
        # Behind the next update it is still open.
        page.locator("#live-calls").evaluate("(part) => new Promise((done) => part.addEventListener('live', done))")
        expect(way.locator("svg .good .said").first).to_be_visible()
        row.get_by_role("link", name="2002").click()
        expect(page.locator("#one-call .badge").first).to_have_text("answered")
        # The call's own page follows it to its end.
        expect(page.get_by_text("by the caller")).to_be_visible()
        # What it grew by is no shift: the test waited for it.
        page.evaluate("window.shifted = 0")
        page.goto("/calls")
        expect(page.get_by_text("No call is under way.")).to_be_visible()


def test_the_overview_counts_calls_by_itself(console: Console, world: World) -> None:
    with console.opened("/") as watched:
        page = watched.page
        begun = page.locator("#nodes-now dd").first
        expect(page.locator("#live-state")).to_have_text("live")
        before = int(begun.inner_text())
        for _ in range(2):
            world.node.answered("1001", CALLEE)
        expect(begun).to_have_text(str(before + 2))
        expect(page.locator("#chart-asr .current")).to_have_text("100.0 %")
        chart = page.locator("#chart-rate")
        chart.locator("svg").focus()
        page.keyboard.press("End")
        assert re.match(r"\d\d:\d\d:\d\d\s+[\d.]+$", chart.locator(".pointed").inner_text())
        page.get_by_role("link", name="1 hour").click()
        expect(page.locator("#nodes-now dd").first).to_have_text(str(before + 2))


def test_without_scripts_every_page_still_shows_what_there_is(console: Console, world: World) -> None:
    with console.opened("/", scripts=False) as watched:
        page = watched.page
        expect(page.locator("#chart-rate polyline")).to_have_count(1)
        page.goto("/calls/past")
        page.get_by_label("Search").fill(world.past)
        page.get_by_role("button", name="Search").click()
        page.locator("td a").first.click()
        expect(page.locator(".ladder .bad .said")).to_have_text("503 server-fault")
        page.goto("/policy")
        page.get_by_role("button", name="Review changes").click()
        expect(page.get_by_text("Nothing: both decide every call alike.")).to_be_visible()


def test_a_lost_server_is_seen_and_found_again(console: Console, world: World) -> None:
    with console.opened("/calls") as watched:
        page = watched.page
        watched.expected = ("ERR_", "Failed to load resource")
        expect(page.locator("#live-state")).to_have_text("live")
        world.node.stack.processes["web"].stop()
        expect(page.locator("#live-state")).to_have_text("reconnecting…")
        world.node.stack.start_web()
        expect(page.locator("#live-state")).to_have_text("live")


def test_who_may_only_look_is_offered_no_change_and_refused_each(console: Console, world: World) -> None:
    with console.opened("/policy", Role.READ) as watched:
        page = watched.page
        assert page.locator("#policy-text").get_attribute("readonly") is not None
        assert page.get_by_role("button", name="Review changes").count() == 0
        assert page.get_by_role("link", name="Audit").count() == 0
        page.goto("/policy/history")
        assert page.get_by_text("Roll back…").count() == 0
        (cookie,) = page.context.cookies()
        csrf = page.locator("meta[name=csrf]").get_attribute("content")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    cookies = {cookie["name"]: cookie["value"]}
    with httpx.Client(base_url=console.address, cookies=cookies, headers={"Origin": console.address}) as client:
        forms = [
            route for module in PAGES for route in module.router.routes
            if isinstance(route, APIRoute) and "POST" in route.methods and route.path != "/policy/check"
        ]  # fmt: skip
        assert len(forms) > 3
        for route in forms:
            answer = client.post(re.sub(r"{[^}]*}", "x", route.path), headers={"X-CSRF-Token": csrf or ""})
            assert answer.status_code == 403, route.path
            assert "this needs a token with the role" in answer.text
        for path in ("/audit", "/tokens"):
            assert client.get(path).status_code == 403
        # Nor does anybody's form do without what their own pages bring.
        assert "another session" in client.post("/logout", headers={"X-CSRF-Token": "x"}).text
        assert client.post("/logout", headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get("/calls").status_code == 200


def test_guessing_at_tokens_ends_soon(console: Console) -> None:
    with httpx.Client(base_url=console.address, headers={"Origin": console.address}) as client:
        answers = [client.post("/login", data={"token": f"sw_{index}"}).status_code for index in range(12)]
        assert answers[0] == 401
        assert answers[-1] == 429
        # Not even with a good one.
        answer = client.post("/login", data={"token": console.token()})
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) <= 300
