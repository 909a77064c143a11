from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness.api import PREFIX, Api, api_over, document
from harness.redis_server import RedisServer, redis_server

from state import audit, tokens
from state.tokens import Role

METHODS = ("get", "post", "put", "patch", "delete")
OPERATIONS = [
    (operation["operationId"], method.upper(), path.removeprefix(PREFIX))
    for path, item in document()["paths"].items()
    for method, operation in item.items()
    if method in METHODS
]
ROLES = {
    operation["operationId"]: Role(operation["x-role"])
    for item in document()["paths"].values()
    for operation in item.values()
}
EVERY = pytest.mark.parametrize(("name", "method", "path"), OPERATIONS, ids=[name for name, *_ in OPERATIONS])


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api_over(redis, tmp_path_factory.mktemp("api")) as it:
        yield it


def is_problem(response: Any, status: int) -> bool:
    """Whether a response is an error as every error is."""
    problem = response.json()
    return (
        response.status_code == status
        and response.headers["Content-Type"] == "application/problem+json"
        and problem["status"] == status
        and bool(problem["title"] and problem["detail"])
    )


def put(api: Api, value: str, key: str | None = None, **more: Any) -> Any:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return api.ask("POST", "/lists/block", json={"kind": "caller", "value": value, **more}, headers=headers)


@EVERY
def test_no_route_is_open_to_whoever_bears_no_good_token(api: Api, name: str, method: str, path: str) -> None:
    expired = tokens.make(api.store, "expired", Role.ADMIN, expires=time.time() - 1)[1]
    revoked, text = tokens.make(api.store, "revoked", Role.ADMIN)
    tokens.revoke(api.store, revoked.id)
    other = api.tokens[Role.ADMIN]
    wrong = other[:-1] + ("A" if other[-1] != "A" else "B")
    for bad in ("", "sw_", "x" * 5000, wrong, expired, text):
        response = api.ask(method, path, bad)
        assert is_problem(response, 401), (name, bad, response.text)
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert api.client.request(method, PREFIX + path, headers={"Authorization": "Basic eDp5"}).status_code == 401


@EVERY
def test_a_role_opens_its_routes_and_no_other(api: Api, name: str, method: str, path: str) -> None:
    for role in Role:
        if not role.may(ROLES[name]):
            assert is_problem(api.ask(method, path, role), 403), (name, role)
    # Without a body and with what no parameter is, nothing is done, but nobody is turned away for who they are.
    if method != "GET":
        response = api.ask(method, path, ROLES[name], content=b"{")
        assert response.status_code not in (401, 403), (name, response.text)


def test_the_roles_of_the_document_are_those_of_looking_and_changing() -> None:
    for name, method, _ in OPERATIONS:
        assert method == "GET" or ROLES[name] is not Role.READ or name in READING, f"{name} is open to who may read"


READING = {"explain.call", "policy.validate", "policy.diff", "policy.try", "rates.compare"}
"""Operations that are given much, and change nothing."""


def test_an_error_is_a_problem_wherever_it_comes_from(api: Api) -> None:
    assert is_problem(api.ask("GET", "/nothing/here"), 404)
    assert is_problem(api.ask("PATCH", "/lists/block"), 405)
    assert is_problem(api.ask("GET", "/lists/grey"), 422)
    assert is_problem(api.ask("POST", "/lists/block", content=b"{"), 422)
    assert is_problem(api.ask("POST", "/lists/block", content=b"\xff"), 422)
    assert is_problem(api.ask("DELETE", "/lists/block/caller/+4412345"), 404)


def test_a_body_that_is_too_long_is_not_read(api: Api) -> None:
    for body in (b" " * (2 << 20), (b" " * 4096 for _ in range(512))):
        # The connection ends with it.
        assert is_problem(api.ask("POST", "/lists/block", content=body, headers={"Connection": "close"}), 413)


def test_an_error_says_where(api: Api) -> None:
    problem = api.ask("POST", "/lists/block", json={"kind": "caller", "value": "1", "ttl": -1}).json()
    assert [found["where"] for found in problem["errors"]] == ["body.ttl"]


def test_a_fault_of_ours_is_a_problem_that_gives_nothing_away(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("operations.lists.page", fails)
    response = api.ask("GET", "/lists/block", headers={"Connection": "close"})
    assert is_problem(response, 500)
    assert "secret" not in response.text


def test_who_changed_what_is_in_the_audit(api: Api) -> None:
    put(api, "+441111", reason="nuisance")
    api.ask("DELETE", "/lists/block/caller/+441111", Role.OPERATE)
    removed, made = audit.read(api.store, limit=2)[:2]
    assert (made.who, made.what, made.subject) == ("token:tester-admin", "entry put", "caller:+441111")
    assert (made.before, made.after["reason"]) == (None, "nuisance")
    assert (removed.who, removed.what, removed.after) == ("token:tester-operate", "entry removed", None)
    assert removed.before == made.after


def test_a_change_repeated_under_its_key_is_made_once(api: Api) -> None:
    first, again = put(api, "+442222", "key-1"), put(api, "+442222", "key-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert [entry.subject for entry in audit.read(api.store, limit=2)].count("caller:+442222") == 1


def test_a_key_is_good_for_one_request(api: Api) -> None:
    put(api, "+443333", "key-2")
    assert is_problem(put(api, "+443334", "key-2"), 422)
    assert is_problem(put(api, "+443333", "k" * 201), 422)
    # Each bearer has keys of their own.
    other = api.ask("POST", "/lists/block", Role.OPERATE, json={"kind": "caller", "value": "+443335"},
                    headers={"Idempotency-Key": "key-2"})  # fmt: skip
    assert other.status_code == 201


def test_what_was_refused_may_be_asked_for_again_under_its_key(api: Api) -> None:
    assert put(api, "+443336", "key-3", ttl=-1).status_code == 422
    assert put(api, "+443336", "key-3").status_code == 201


def test_a_secret_that_was_told_once_is_not_kept(api: Api, redis: RedisServer) -> None:
    wanted: dict[str, Any] = {"json": {"name": "robot", "role": "read"}, "headers": {"Idempotency-Key": "key-5"}}
    made = api.ask("POST", "/tokens", **{**wanted})
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    assert is_problem(api.ask("POST", "/tokens", **{**wanted}), 409)
    assert [token["name"] for token in api.get("/tokens")["tokens"]].count("robot") == 1
    assert api.ask("GET", "/tokens/own", made.json()["token"]).json()["name"] == "robot"
    secret = made.json()["token"][-20:]
    with redis.client() as client:
        kept = {key: client.get(key) for key in client.scan_iter("*api-idempotency*")}
    assert kept
    assert secret not in json.dumps(kept)


def test_one_of_many_at_once_makes_a_change(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    from operations import lists

    held, real, calls = threading.Event(), lists.put, []

    def slow(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        assert held.wait(20)
        return real(*arguments, **options)

    monkeypatch.setattr(lists, "put", slow)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(put, api, "+444444", "key-4") for _ in range(4)]
        deadline = time.monotonic() + 20
        while sum(one.done() for one in asked) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        held.set()
        statuses = sorted(one.result().status_code for one in asked)
    assert (statuses, len(calls)) == ([201, 409, 409, 409], 1)
    assert put(api, "+444444", "key-4").headers["Idempotency-Replayed"] == "true"


def test_pages_follow_each_other_without_gap_or_repetition(api: Api) -> None:
    for number in range(7):
        put(api, f"+44555{number}")
    seen: list[str] = []
    after = ""
    while True:
        page = api.get("/lists/block", search="+44555", limit=3, after=after)
        seen += [entry["value"] for entry in page["entries"]]
        if not (after := page["after"]):
            break
    assert seen == [f"+44555{number}" for number in range(7)]
    assert page["total"] == 7


def test_pages_of_the_audit_follow_each_other(api: Api) -> None:
    first = api.get("/audit", limit=2)
    second = api.get("/audit", limit=2, after=first["after"])
    ids = [entry["id"] for entry in first["entries"] + second["entries"]]
    assert ids == [entry.id for entry in audit.read(api.store, limit=4)]
    assert is_problem(api.ask("GET", "/audit?after=x"), 422)


def test_no_token_stands_in_the_audit_or_in_redis(api: Api, redis: RedisServer) -> None:
    token, text = tokens.make(api.store, "hidden", Role.READ)
    secret = text.rpartition(token.id)[2][1:]
    with redis.client() as client:
        kept = client.hgetall("{strowger}:api-tokens")
    assert token.id in kept
    assert secret not in json.dumps([kept, [str(entry) for entry in audit.read(api.store, limit=10)]])


def test_without_redis_every_answer_is_503(redis: RedisServer, api: Api) -> None:
    with redis.hanging():
        assert is_problem(api.ask("GET", "/lists/block"), 503)
