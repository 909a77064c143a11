"""The console in a real browser: Debian's Chromium, headless, one for each module of tests.

Whatever a page does that it should not fails the test that opened it: an error in the browser's console, a violation of
the content security policy, a request that failed, a layout that moved by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import axe_playwright_python.base
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect, sync_playwright

from state import sessions, tokens
from state.store import Store
from state.tokens import Role

CHROMIUM = "/usr/bin/chromium"
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage",
)  # fmt: skip
TIMEOUT = 15_000
"Milliseconds that anything may take on a busy machine."
WIDE, NARROW = (1280, 900), (375, 740)
SHIFT_MAX = 0.02
"Of the layout, over the life of a page, where nobody touched it (0.1 is what counts as good elsewhere)."
AXE = Path(axe_playwright_python.base.__file__).parent / "axe.min.js"

_WATCH = """
window.shifted = 0; window.shifts = []; window.violations = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) {
    window.shifted += entry.value;
    window.shifts.push([entry.value, ...entry.sources.map((one) => {
      const node = one.node && one.node.nodeType === 3 ? one.node.parentElement : one.node;
      return node ? node.outerHTML.slice(0, 120) : "gone";
    })]);
  }
}).observe({type: "layout-shift", buffered: true});
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(event.violatedDirective + " " + event.blockedURI + " " + event.sample));
"""


@dataclass
class Watched:
    """A page in the browser, and what it did wrong so far."""

    page: Page
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    "Parts of faults that the test provokes."

    def listen(self) -> None:
        """From now on."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console {message.type}: {message.text} {message.location.get('url', '')}")

    def _failed(self, request: Request) -> None:
        # A page that is left gives up what it was fetching.
        if request.failure not in ("net::ERR_ABORTED", None):
            self.faults.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.faults.append(f"answer {response.status}: {response.request.method} {response.url}")

    def check(self) -> None:
        """Fails where the page did something wrong."""
        violations = self.page.evaluate("window.violations || []")
        shifted = self.page.evaluate("window.shifted || 0")
        faults = [fault for fault in self.faults if not any(part in fault for part in self.expected)]
        assert not faults, faults
        assert not violations, violations
        assert shifted <= SHIFT_MAX, (self.page.url, shifted, self.page.evaluate("window.shifts"))


@dataclass(slots=True)
class Console:
    """The console of a node, and a browser."""

    browser: Browser
    store: Store
    address: str
    "``http://127.0.0.1:PORT``."

    def token(self, role: Role = Role.ADMIN, name: str = "anna") -> str:
        """A new token's text."""
        return tokens.make(self.store, name, role)[1]

    @contextmanager
    def blank(self, *, dark: bool = False, size: tuple[int, int] = WIDE, scripts: bool = True) -> Iterator[Watched]:
        """A page of a browser that knows nobody yet."""
        with ExitStack() as last:
            context = self.browser.new_context(
                base_url=self.address, viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if dark else "light", java_script_enabled=scripts,
            )  # fmt: skip
            last.callback(context.close)
            context.set_default_timeout(TIMEOUT)
            context.add_init_script(_WATCH)
            watched = Watched(context.new_page())
            watched.listen()
            yield watched
            if scripts:
                watched.check()

    @contextmanager
    def opened(self, path: str = "/", role: Role = Role.ADMIN, **look: Any) -> Iterator[Watched]:
        """A page, to somebody who is signed in."""
        with self.blank(**look) as watched:
            self.sign_in(watched.page, role)
            watched.page.goto(path)
            yield watched

    def sign_in(self, page: Page, role: Role = Role.ADMIN) -> None:
        """Without the form."""
        found = tokens.check(self.store, self.token(role), 0.0)
        assert found is not None
        cookie = {"name": "strowger_session", "value": sessions.begin(self.store, found), "url": self.address}
        page.context.add_cookies([{**cookie, "httpOnly": True, "sameSite": "Strict"}])  # type: ignore[typeddict-item]


def serious(page: Page) -> list[str]:
    """What axe-core finds on a page that is serious or critical, a line each."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


def first_paint(page: Page) -> float:
    """Seconds until this page first showed something of its content."""
    script = """() => new Promise((found) => new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (entry.name === 'first-contentful-paint') found(entry.startTime / 1000);
    }).observe({type: 'paint', buffered: true}))"""
    return float(page.evaluate(script))


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser."""
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()
