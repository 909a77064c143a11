"""The policy, changed in a browser while calls come."""

from __future__ import annotations

import re

import pytest
from harness.console import Console, serious
from harness.node import Node
from playwright.sync_api import Page, expect

import policyfile

POLICY = """\
strowger: 1
dialling_plans:
  gb: {{country_code: "44", international_prefixes: ["00"], national_prefix: "0"}}
default_dialling: gb
trunks:
  lab: {{sources: [127.0.0.0/8]}}
gateways:
  carrier-a: {{address: "127.0.0.1:{port}", no_reply: 15s}}
routes:
  - name: uk
    prefixes: ["+44"]
    gateways: [carrier-a]
"""
BARRED = """  - name: premium
    prefixes: ["+44909"]
    reject: {id: premium-barred, status: 403, phrase: Premium Barred, cause: 21}
"""
PREMIUM = "09091234567"


@pytest.fixture(scope="module")
def text(site_node: Node) -> str:
    """A policy in force."""
    text = POLICY.format(port=site_node.answering().port)
    _apply(site_node, text)
    return text


def _apply(node: Node, text: str) -> None:
    loaded, store = policyfile.load(text, name="test"), node.store
    node.confirmed(
        store.apply(
            text=text, policy=loaded.policy, routes=loaded.routes, expected=store.policy_version(), author="somebody"
        )
    )  # fmt: skip


def _type(page: Page, text: str) -> None:
    page.get_by_label("Policy (YAML)").fill(text)


def test_a_policy_is_checked_reviewed_applied_and_rolled_back(console: Console, site_node: Node, text: str) -> None:
    """What the page says is in force is what the next call meets."""
    site_node.answered("1001", PREMIUM)
    with console.opened("/policy") as watched:
        page, watched.expected = watched.page, ("422",)
        assert page.get_by_label("Policy (YAML)").input_value() == text
        _type(page, text.replace("[carrier-a]", "[carrier-x]"))
        problem = page.locator("[data-line='12']")
        expect(problem).to_contain_text("unknown gateway 'carrier-x' (did you mean 'carrier-a'?)")
        expect(page.locator("#gutter .bad")).to_have_text("12")
        assert not serious(page)
        # What is wrong cannot be applied, and is not lost.
        page.get_by_role("button", name="Review changes").click()
        expect(page.locator("#gutter .bad")).to_have_text("12")
        page.get_by_role("button", name="line 12").click()
        assert page.evaluate("getSelection().toString()").strip() == "gateways: [carrier-x]"
        _type(page, text + BARRED)
        expect(page.locator("#check")).to_contain_text("Valid: 1 trunks, 1 gateways, 2 routes")
        page.get_by_role("button", name="Review changes").click()
        expect(page.locator(".changes")).to_contain_text("+ route premium")
        assert not serious(page)
        page.get_by_label("Why").fill("nobody pays for these")
        page.get_by_role("button", name="Apply on every node").click()
        expect(page.get_by_role("status").filter(has_text="in force")).to_contain_text("is in force on node-under-test")
        site_node.refused("1001", PREMIUM, 403, "premium-barred")

        page.goto("/explain")
        page.get_by_label("To", exact=True).fill(PREMIUM)
        page.get_by_role("button", name="Explain").click()
        expect(page.locator("#outcome")).to_contain_text("refused 403 premium-barred")
        page.get_by_label("To", exact=True).fill("02079460000")
        page.get_by_role("button", name="Explain").click()
        expect(page.locator("#outcome")).to_contain_text("answered 200 carrier-a")
        page.get_by_role("link", name="capacity").click()
        expect(page.locator("#outcome")).to_contain_text("refused 500 gateways-failed")
        expect(page.locator(".tree .taken > .box.bad")).to_have_text("500 gateways-failed")

        page.goto("/policy/history")
        expect(page.locator("tbody tr").first).to_contain_text("nobody pays for these")
        page.get_by_text("Roll back…").first.click()
        page.get_by_role("button", name=re.compile("^Put version")).first.click()
        expect(page.locator("tbody tr").first).to_contain_text("rollback to version")
        site_node.answered("1001", PREMIUM)

        page.goto("/audit")
        first = page.locator("tbody tr").first
        expect(first).to_contain_text("token:anna")
        expect(first).to_contain_text("policy applied")


def test_nobody_overwrites_what_somebody_else_applied_meanwhile(console: Console, site_node: Node, text: str) -> None:
    with console.opened("/policy") as watched:
        page, watched.expected = watched.page, ("409",)
        _type(page, text + "# mine\n")
        page.get_by_role("button", name="Review changes").click()
        theirs = text + BARRED
        _apply(site_node, theirs)
        page.get_by_role("button", name="Apply on every node").click()
        expect(page.get_by_role("alert")).to_contain_text("somebody applied a policy meanwhile")
        # And what they did would be undone by it.
        expect(page.locator(".changes")).to_contain_text("route premium removed")
        assert site_node.store.policy().text == theirs
        page.get_by_role("button", name="Back to the text").click()
        assert page.get_by_label("Policy (YAML)").input_value() == text + "# mine\n"
