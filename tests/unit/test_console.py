"""What the console draws, and who is let in to what; without a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from agent.assembly import record
from kemi.explain import AttemptTrace
from model.causes import Cause
from model.settings import Settings
from web.app import PAGES, make_site
from web.charts import chart
from web.ladder import ladder
from web.page import PageRoute, local_path
from web.pages.policy import differing
from web.render import STATIC, lasting
from web.tree import _branches

WEB = Path(__file__).parents[2] / "web"


def _routes() -> Iterator[BaseRoute]:
    for module in PAGES:
        yield from module.router.routes


def test_every_page_is_for_those_who_are_signed_in() -> None:
    routes = [route for route in _routes() if isinstance(route, APIRoute)]
    assert len(routes) > 15
    assert all(isinstance(route, PageRoute) for route in routes)


def test_every_form_says_which_role_it_takes() -> None:
    for route in _routes():
        assert isinstance(route, APIRoute)
        if route.methods - {"GET", "HEAD"}:
            roles = [getattr(one.dependency, "role", None) for one in route.dependencies]
            assert any(roles), f"{route.path} may be sent by anybody"


def test_who_is_not_signed_in_is_sent_to_the_log_in_and_no_form_of_theirs_is_taken() -> None:
    # Nothing listens at this address: a cookie is looked up there, and nobody has one.
    site = make_site(Settings.from_env({"STROWGER_REDIS_URL": "redis://127.0.0.1:1/0"}))


    async def asked() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://site") as client:
            answer = await client.get("/calls/past?search=44")
            assert answer.headers["location"] == "/login?next=%2Fcalls%2Fpast%3Fsearch%3D44"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            answer = await client.get("/overview/part", headers={"X-Part": "1"})
            assert answer.status_code == 401
            for origin in ({}, {"Origin": "http://elsewhere"}, {"Origin": "null"}):
                answer = await client.post("/policy/apply", data={"text": ""}, headers=origin)
                assert answer.status_code == 403

    asyncio.run(asked())


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_form_that_is_none_is_no_fault_of_the_server(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    site = make_site(Settings.from_env({"STROWGER_REDIS_URL": "redis://127.0.0.1:1/0"}))

    async def asked() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://site") as client:
            headers = {"Origin": "http://site", "Content-Type": kind}
            assert (await client.post("/login", content=b"none", headers=headers)).status_code == 400

    asyncio.run(asked())
    assert not [one for one in caplog.records if one.name == "web.page"]


def test_no_template_has_a_script_or_a_style_in_it() -> None:
    for path in (WEB / "templates").iterdir():
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), path


@pytest.mark.parametrize("text", ["//evil.example", "https://evil.example", "/\\evil", "", "javascript:x", "/a\nb"])
def test_nobody_is_sent_to_another_site_after_the_log_in(text: str) -> None:
    assert local_path(text) == "/"


def test_a_path_of_this_site_is_kept() -> None:
    assert local_path("/calls?caller=1") == "/calls?caller=1"


def test_a_chart_breaks_off_where_nothing_is_known() -> None:
    drawn = chart("x", "X", "s", {"one": [1, 2, None, 4]}, begin=0.0, step=10.0, current="4")
    (line,) = drawn.lines
    assert line.paths == ("0.0,90.0 200.0,60.0", "600.0,0.0 600.0,0.0")
    assert line.values == "1,2,,4"
    assert drawn.scale == ("4", "2", "0")


def test_a_chart_of_nothing_has_a_scale() -> None:
    drawn = chart("x", "X", "", {}, begin=0.0, step=10.0, current="0")
    assert (drawn.lines, drawn.scale) == ((), ("1", "0.5", "0"))


FACTS = {"caller": "1001", "callee": "1002", "source": "127.0.0.1"}
DECIDED = {"event": "decided", "at": 100.0, "call": "a", "call_id": "x", "facts": FACTS, "steps": []}
BEGUN = [
    {**DECIDED, "gateways": ["one", "two"]},
    {
        "event": "failed", "at": 101.0, "call": "a", "gateway": "one", "status": 503, "cause": "capacity", "why": "",
        "q850": 34, "next": "two",
    },
    {"event": "answered", "at": 104.0, "call": "a", "status": 200, "rang": 102.5},
]  # fmt: skip
ENDED = {"event": "ended", "at": 110.0, "call": "a", "by": "callee"}


def _said(events: list[dict[str, object]], *, live: bool = False) -> list[str]:
    drawn = ladder(record("node", "a", events), live=live)
    names = {column.x: column.name for column in drawn.columns}
    return [f"{names[arrow.begin]}>{names[arrow.end]} {arrow.text}" for arrow in drawn.arrows]


def test_a_ladder_has_every_attempt_and_who_hung_up() -> None:
    assert _said([*BEGUN, ENDED]) == [
        "1001>node INVITE 1002", "node>one INVITE", "one>node 503 q850=34 capacity", "node>two INVITE",
        "two>node ringing after 1.5 s", "two>node 200", "node>1001 200 answered", "two>node BYE after 6.0 s",
        "node>1001 BYE",
    ]  # fmt: skip


def test_the_ladder_of_a_live_call_has_no_end() -> None:
    assert _said(list(BEGUN), live=True)[-1] == "node>1001 200 answered"
    assert _said(list(BEGUN[:1]), live=True) == ["1001>node INVITE 1002", "node>one INVITE"]


def test_the_ladder_of_a_refused_call_ends_at_the_node() -> None:
    refused = {**DECIDED, "refusal": "blocked-caller", "status": 403}
    assert _said([refused]) == ["1001>node INVITE 1002", "node>1001 403 blocked-caller"]


def test_the_ladder_of_a_cancelled_call_says_so_before_the_attempt_is() -> None:
    cancelled = {"event": "cancelled", "at": 105.0, "call": "a", "rang": 101.0}
    assert _said([BEGUN[0], cancelled])[-2:] == ["1001>node CANCEL", "node>one CANCEL"]


def test_a_tree_has_one_branch_that_is_taken() -> None:
    consequences = {"no-reply": "two", "capacity": "two", "final": "reply passed on"}
    failed = AttemptTrace(1, "one", "sip:x", "503", Cause.CAPACITY, "", "two", consequences)
    found = _branches(failed, None)
    assert [(branch.then, branch.taken) for branch in found] == [
        ("the call is answered", False), ("two", True), ("reply passed on", False),
    ]  # fmt: skip
    assert found[1].when == (("no-reply", "one=timeout"), ("capacity", "one=503,q850=34"))


def test_a_failure_that_no_class_leads_to_is_a_branch_of_its_own() -> None:
    failed = AttemptTrace(1, "one", "sip:x", "302", Cause.REDIRECT, "", "decided anew", {"final": "reply passed on"})
    assert [(branch.when, branch.taken) for branch in _branches(failed, None)][-1] == ((("302", ""),), True)


def test_lines_that_differ() -> None:
    found = [("place", "@@ -1,2 +1,2 @@"), ("", " a"), ("removed", "-b"), ("added", "+c")]
    assert differing("a\nb\n", "a\nc\n") == found


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (61, "1:01"), (3700, "1:01:40"), (90000, "1 d 1 h")]
)
def test_how_long_something_took(seconds: float, text: str) -> None:
    assert lasting(seconds) == text


def test_assets_are_small() -> None:
    assert sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file()) < 120_000
