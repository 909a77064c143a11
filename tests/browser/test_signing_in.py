"""Signing in and out in a browser."""

from __future__ import annotations

from harness.console import Console, serious

from state.tokens import Role


def test_a_token_opens_the_console_by_keyboard_alone(console: Console) -> None:
    """Tab, type, Enter; then the skip link, the menu, and out again."""
    token = console.token(Role.READ, "night shift")
    with console.blank() as watched:
        page = watched.page
        page.goto("/audit")
        assert page.url.endswith("/login?next=%2Faudit")
        assert not serious(page)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        while page.evaluate("document.activeElement.name") != "token":
            page.keyboard.press("Tab")
        page.keyboard.type(token)
        watched.expected = ("403",)
        page.keyboard.press("Enter")
        page.wait_for_url("**/audit")
        assert "this needs a token with the role admin" in page.inner_text("main")
