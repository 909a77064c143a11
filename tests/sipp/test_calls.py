"""Calls as an operator meets them: live, told while they go on, looked up, and ended, over HTTP and WebSocket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from harness.api import Api
from harness.api import api as api_of
from harness.cli import Cli, fresh
from harness.listening import Listener, listening
from harness.load import until
from harness.node import Node, at

from console.sipp import CallResult
from model.policy import RetryRule, Route
from operations import live_calls
from state import audit, keys
from state.commands import NotTakenError, ask
from state.tokens import Role

CALLER, CALLEE = "1001", "02079460000"
PENDING = "uas-sends-PROVISIONAL-until-cancelled-STATUS.xml"


@pytest.fixture
def api(node: Node) -> Iterator[Api]:
    with api_of(node.stack.settings) as it:
        yield it


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as it:
        yield it


def live(node: Node, **wanted: str) -> dict[str, Any]:
    """The only live call with these values, once it is there."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = live_calls.page(node.store, live_calls.Filter(**wanted))["calls"]
        return len(found) == 1

    until(there, f"a live call {wanted}", timeout=20.0)
    return found[0]


def placed(pool: ThreadPoolExecutor, node: Node, scenario: str, caller: str, **options: Any) -> Future[CallResult]:
    return pool.submit(node.call, scenario, caller, CALLEE, explained=False, **options)


def test_a_calls_events_arrive_in_order(node: Node, api: Api) -> None:
    failing, answering = node.refusing(503), node.answering()
    node.apply([Route("uk", ("",), ("g1", "g2"))], [at("g1", failing), at("g2", answering)])
    with listening(api, number="2001") as mine, listening(api, gateway="g2") as of_gateway:
        node.answered("3001", CALLEE)
        call_id = node.answered("2001", CALLEE).call_id
        found = mine.until("call.ended")
        of_gateway.until("call.ended", call_id=call_id)
    assert [event["kind"] for event in found] == ["call.started", "attempt.failed", "call.answered", "call.ended"]
    started, failed, answered, ended = (event["data"] for event in found)
    same = {"call_id": call_id, "trunk": "lab", "caller": "2001", "route": "uk", "node": "node-under-test"}
    assert all(same.items() <= event["data"].items() for event in found)
    assert len({event["id"] for event in found}) == len({event["data"]["call"] for event in found}) + 3
    assert started["gateways"] == ["g1", "g2"]
    assert (failed["gateway"], failed["status"], failed["next"]) == ("g1", 503, "g2")
    assert answered["gateway"] == ended["gateway"] == "g2"
    assert (ended["outcome"], ended["ended_by"]) == ("answered", "caller")
    assert [event["at"] for event in found] == sorted(event["at"] for event in found)
    shown = api.get(f"/calls/{call_id}")
    assert [event["kind"] for event in shown["events"]] == [event["kind"] for event in found]
    assert (shown["live"], shown["outcome"]) == (False, "answered")


def test_a_refused_call_and_a_policy_are_told(node: Node, api: Api) -> None:
    with listening(api) as mine:
        node.apply([Route("none", ("999",), ("g1",))], [at("g1", node.answering())])
        node.refused("2002", CALLEE, 404)
        [*_, refused] = mine.until("call.refused", caller="2002")
        assert (refused["data"]["status"], refused["data"]["refusal"]) == (404, "no-route")
    kinds = [event["kind"] for event in api.get("/events/kept", since=mine.hello["from"])["events"]]
    assert kinds == ["policy.applied", "call.refused"]


def test_who_comes_back_gets_what_it_missed_and_nothing_twice(node: Node, api: Api) -> None:
    node.apply([Route("uk", ("",), ("g1",))], [at("g1", node.answering())])
    with listening(api, number="2003") as mine:
        node.answered("2003", CALLEE)
        first = mine.until("call.ended")
    # While nobody listens, and with calls of others between them.
    for caller in ("2003", "3001", "2003"):
        node.answered(caller, CALLEE)
    until(lambda: _ended(api) >= 4, "all are told")
    with listening(api, number="2003", since=first[0]["id"]) as again:
        assert not again.hello["gap"]
        missed = [again.event() for _ in range(8)]
        node.answered("2003", CALLEE)
        later = again.until("call.ended")
    everything = api.get("/events/kept", number="2003", since=mine.hello["from"])["events"]
    ids = [event["id"] for event in (*missed, *later)]
    assert ids == [event["id"] for event in everything[1:]]
    assert [event["kind"] for event in everything] == ["call.started", "call.answered", "call.ended"] * 4
    with listening(api, since="1-0") as long_gone:
        assert long_gone.hello["gap"]


def _ended(api: Api) -> int:
    return len(api.get("/events/kept", kind="call.ended", limit=1000)["events"])


def test_a_call_that_stands_is_hung_up(node: Node, api: Api, pool: ThreadPoolExecutor) -> None:
    node.apply([Route("uk", ("",), ("g1",))], [at("g1", node.answering())])
    with listening(api, number="2004") as mine:
        talking = placed(pool, node, "uac-expect-hangup.xml", "2004")
        row = live(node, caller="2004", state="answered")
        assert (row["gateway"], row["tried"], row["route"], row["trunk"]) == ("g1", ["g1"], "uk", "lab")
        shown = api.get(f"/calls/{row['call']}")
        assert (shown["live"], shown["state"], shown["outcome"]) == (True, "answered", None)
        assert api.ask("DELETE", f"/calls/{row['call']}", Role.READ).status_code == 403
        done = api.ask("DELETE", f"/calls/{row['call_id']}", Role.OPERATE)
        assert (done.status_code, done.json()["how"]) == (200, "BYE"), done.text
        assert talking.result(30).passed
        [*_, ended] = mine.until("call.ended")
    assert ended["data"]["ended_by"] == "operator"
    assert node.record(row["call_id"]).ended_by == "operator"
    entry = audit.read(node.store, limit=1)[0]
    assert (entry.who, entry.what, entry.subject) == ("token:tester-operate", "call hung up", row["call"])
    assert api.ask("DELETE", f"/calls/{row['call']}").status_code == 404


@pytest.mark.parametrize("status", [487, 503])
def test_a_call_that_rings_is_hung_up_and_tried_nowhere_else(
    node: Node, api: Api, pool: ThreadPoolExecutor, status: int
) -> None:
    ringing, other = node.gateway(PENDING, PROVISIONAL="180", STATUS=str(status)), node.answering()
    routes = [Route("uk", ("",), ("g1", "g2"), retry=RetryRule(after_ringing=True))]
    node.apply(routes, [at("g1", ringing), at("g2", other)])
    caller = f"25{status}"
    words = {"STATUS": "487", "REASON": "SIP/2.0"}
    waiting = placed(pool, node, "uac-expect-STATUS.xml", caller, words=words)
    row = live(node, caller=caller, state="calling")
    until(lambda: bool(ringing.calls(row["call_id"])), "the gateway has it")
    done = api.ask("DELETE", f"/calls/{row['call']}")
    assert (done.status_code, done.json()["how"]) == (200, "CANCEL"), done.text
    assert waiting.result(30).passed
    assert not other.calls()
    assert node.record(row["call_id"]).outcome == "cancelled"


def test_live_calls_are_listed_page_by_page(node: Node, api: Api, pool: ThreadPoolExecutor) -> None:
    node.apply([Route("uk", ("",), ("g1",))], [at("g1", node.answering())])
    talking = [placed(pool, node, "uac-expect-hangup.xml", f"270{number}") for number in range(3)]
    until(lambda: api.get("/calls", caller="270*", state="answered")["total"] == 3, "three talk", timeout=20)
    first = api.get("/calls", caller="270*", limit=2)
    rest = api.get("/calls", caller="270*", limit=2, after=first["after"])
    rows = [*first["calls"], *rest["calls"]]
    assert ([len(first["calls"]), len(rest["calls"])], rest["after"]) == ([2, 1], None)
    assert {row["caller"] for row in rows} == {"2700", "2701", "2702"}
    assert [row["began"] for row in rows] == sorted((row["began"] for row in rows), reverse=True)
    assert api.get("/calls", caller="2701")["total"] == 1
    assert api.get("/calls", gateway="another")["total"] == 0
    for row in rows:
        assert api.ask("DELETE", f"/calls/{row['call']}").status_code == 200
    assert all(call.result(30).passed for call in talking)
    until(lambda: api.get("/calls", caller="270*")["total"] == 0, "they are over")


def test_by_hand(node: Node, pool: ThreadPoolExecutor, tmp_path: Any) -> None:
    cli = Cli(fresh, node.stack.settings.to_env())
    node.apply([Route("uk", ("",), ("g1",))], [at("g1", node.answering())])
    talking = placed(pool, node, "uac-expect-hangup.xml", "2800")
    row = live(node, caller="2800", state="answered")
    call = row["call"]
    assert call in cli("calls", "list", "--caller", "2800").out
    shown = cli("calls", "show", call).out
    assert "attempt 1 at g1" in shown
    assert "event call.answered" in shown
    log = tmp_path / "worker.jsonl"
    line = json.dumps({"at": row["began"], "message": "hello", "call": call})
    log.write_text(f'{line}\nnothing\n{{"call": "other"}}\n')
    assert "worker.jsonl: " + line in cli("calls", "trace", row["call_id"], "--logs", str(log)).out
    assert "BYE is sent" in cli("calls", "hangup", call).out
    assert talking.result(30).passed
    assert cli("calls", "hangup", call, status=1).said == f"there is no live call '{call}'"
    node.record(row["call_id"])
    past = json.loads(cli("calls", "show", call, "--json").out)
    assert (past["live"], past["ended_by"]) == (False, "operator")


def test_an_agent_that_is_not_there_is_no_agent_that_may_do_it_yet(node: Node) -> None:
    with pytest.raises(NotTakenError, match="Nothing was done"):
        ask(node.store, "node:elsewhere", "hangup", wait=0.3, call="x", call_id="y")
    assert not node.store._redis.exists(keys.commands("node:elsewhere"))


def test_a_filter_is_changed_on_the_way(node: Node, api: Api) -> None:
    node.apply([Route("uk", ("",), ("g1",))], [at("g1", node.answering())])
    with listening(api, number="nobody") as mine:
        mine.tell(type="subscribe", filters=[{"number": "2901", "kind": "call.ended"}, {"number": ["2902"]}])
        assert mine.message() == {"type": "subscribed", "filters": 2}
        for caller in ("2901", "2902"):
            node.answered(caller, CALLEE)
        assert _kinds(mine, 4) == ["call.ended", "call.started", "call.answered", "call.ended"]
        mine.tell(type="subscribe", filters=[{"colour": "red"}])
        assert mine.message()["type"] == "error"


def _kinds(listener: Listener, count: int) -> list[str]:
    return [listener.event()["kind"] for _ in range(count)]
