"""Gateways: how each stands on every node, how well it carries calls, and taking it out of use."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Form, Query, Request, Response

from model.entries import EntryError, parse_ttl
from model.quality import NOTHING
from model.settings import Settings
from operations import gateways
from state.store import Store
from state.tokens import Role
from web.charts import Chart, chart
from web.page import Desk, after, needs, pages
from web.render import page, when

router = pages()

WINDOWS = {5: "5 minutes", 15: "15 minutes", 60: "1 hour"}
CHARTED = 60
"Minutes that the charts of a gateway show."
KINDS = {
    "up": "good", "open": "bad", "probe-down": "bad", "held": "warn", "half-open": "warn", "drained": "warn",
    "disabled": "", "unresolved": "bad", "unknown": "warn",
}  # fmt: skip
WORDS = {
    "probe-down": "no answer to probes", "open": "breaker open", "half-open": "breaker half-open",
    "held": "asked to wait",
}  # fmt: skip
FAILED = ("open", "half-open", "held")
"States that come of failures, which can be forgotten."
Minutes = Annotated[int, Query()]


@router.get("/gateways")
def shown(request: Request, desk: Desk, minutes: Minutes = 15) -> Response:
    """All gateways."""
    return page(request, "gateways.html", title="Gateways", windows=WINDOWS.items(), **_found(request, desk, minutes))


@router.get("/gateways/part")
def part(request: Request, desk: Desk, minutes: Minutes = 15) -> Response:
    """What of it changes."""
    return page(request, "gateways_part.html", **_found(request, desk, minutes))


@router.get("/gateways/one")
def one(request: Request, desk: Desk, name: str) -> Response:
    """One gateway."""
    found = {"form": {}, "problems": {}, "drawn": drawn(desk, name, time.time()), **_one(request, desk, name)}
    return page(request, "gateway.html", title=name, **found)


@router.get("/gateways/one/part")
def one_part(request: Request, desk: Desk, name: str) -> Response:
    """What of it changes."""
    return page(request, "gateway_part.html", **_one(request, desk, name))


@router.get("/gateways/one/charts")
def charts(request: Request, desk: Desk, name: str) -> Response:
    """How well it carries calls."""
    gateways.require(desk, name)
    return page(request, "gateway_charts.html", drawn=drawn(desk, name, time.time()))


@router.post("/gateways/drain", dependencies=[needs(Role.OPERATE)])
def drain(
    request: Request, desk: Desk, name: Annotated[str, Form()], reason: Annotated[str, Form(max_length=500)] = "",
    lasting: Annotated[str, Form(max_length=40)] = "",
) -> Response:  # fmt: skip
    """Let no new call go to it."""
    now, problems, until = time.time(), {}, None
    if not reason.strip():
        problems["reason"] = "say why, for those who read it later"
    try:
        until = now + parse_ttl(lasting) if lasting.strip() else None
    except EntryError as error:
        problems["lasting"] = str(error)
    if problems:
        form = {"reason": reason, "lasting": lasting}
        found = {"form": form, "problems": problems, "drawn": drawn(desk, name, now), **_one(request, desk, name)}
        return page(request, "gateway.html", status=HTTPStatus.UNPROCESSABLE_ENTITY, title=name, **found)
    done = gateways.drain(desk, name, reason=reason.strip(), until=until, now=now)
    return after(request, f"/gateways/one?name={name}", f"{name} is drained{_until(until)}{_where(done)}")


@router.post("/gateways/resume", dependencies=[needs(Role.OPERATE)])
def resume(request: Request, desk: Desk, name: Annotated[str, Form()]) -> Response:
    """Let calls go to it again."""
    done = gateways.resume(desk, name)
    return after(request, f"/gateways/one?name={name}", f"{name} takes calls again{_where(done)}")


@router.post("/gateways/reset", dependencies=[needs(Role.OPERATE)])
def reset(request: Request, desk: Desk, name: Annotated[str, Form()]) -> Response:
    """Forget what failures told of it."""
    done = gateways.reset(desk, name)
    said = "; ".join([f"failures of {name} are forgotten on {', '.join(done['nodes'])}", *done["troubles"].values()])
    return after(request, f"/gateways/one?name={name}", said)


def _until(until: float | None) -> str:
    return f" until {when(until)}" if until else ""


def _where(done: dict[str, Any]) -> str:
    missing = f"; {', '.join(done['missing'])} did not confirm it" if done["missing"] else ""
    return f": in force on {', '.join(done['nodes']) or 'no node yet'}{missing}"


def _found(request: Request, desk: Store, minutes: int) -> dict[str, Any]:
    minutes, now = minutes if minutes in WINDOWS else 15, time.time()
    rows = gateways.rows(desk, _settings(request), window=minutes * 60.0, now=now)
    return {"rows": rows, "minutes": minutes, "kinds": KINDS, "words": WORDS, "why": why, "at": now}


def _one(request: Request, desk: Store, name: str) -> dict[str, Any]:
    now = time.time()
    row = gateways.row(desk, _settings(request), name, window=900.0, now=now)
    failed = any(found["breaker"]["score"] or found["state"] in FAILED for found in row["standing"].values())
    return {"row": row, "kinds": KINDS, "words": WORDS, "why": why, "at": now, "failed": failed}


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def why(standing: dict[str, Any], now: float) -> str:
    """Why a gateway stands so on a node, in words; how near its breaker is to opening."""
    breaker = standing["breaker"]
    failures = ", ".join(f"{count} {kind}" for kind, count in breaker["failures"].items())
    failures += f" on {breaker['told_by']}, which this node goes by" if breaker["told_by"] else ""
    match standing["state"]:
        case "open":
            return f"until {when(breaker['open_until'])}: {failures}"
        case "half-open":
            return f"{breaker['trials_passed']} trial calls passed: {failures}"
        case "probe-down":
            return f"since {when(standing['probe_down_since'])}"
        case "held":
            return f"until {when(standing['held_until'])} (Retry-After)"
        case "up" if breaker["score"]:
            return f"breaker at {breaker['score']} of {breaker['trip']} points: {failures}"
    return ""


def drawn(store: Store, name: str, now: float) -> list[Chart]:
    """Its figures over the last hour."""
    found = gateways.by_minute(store, window=CHARTED * 60.0 - 60, now=now)
    begin = min(found, default=now)
    figures = [by_gateway.get(name, NOTHING) for by_gateway in found.values()]
    whole = gateways.figures(store, 900.0, now).get(name, NOTHING)
    over: dict[str, float] = {"begin": begin, "step": 60.0}
    return [
        chart("attempts", "Attempts per minute", "in 15 minutes", {"attempts": [one.attempts for one in figures]},
              **over, current=str(whole.attempts), least=4.0),
        chart("asr", "Answer-seizure ratio", "%", {"percent": [one.asr for one in figures]}, **over, least=100.0,
              current=_number(whole.asr, 1)),
        chart("pdd", "Post-dial delay", "s", {"seconds": [one.pdd for one in figures]}, **over,
              current=_number(whole.pdd, 2)),
        chart("acd", "Average call duration", "s", {"seconds": [one.acd for one in figures]}, **over, least=10.0,
              current=_number(whole.acd, 0)),
    ]  # fmt: skip


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
