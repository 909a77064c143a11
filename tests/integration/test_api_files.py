"""Subscribers and rates over HTTP, mostly as CSV files."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from harness.api import Api, api_over
from harness.node import GB, TRUNK
from harness.redis_server import redis_server

from model.policy import Gateway, Policy, Route, Subscribers
from model.subscriber import hashes
from operations.importing import lines_of
from state import audit, keys
from state.tokens import Role

REALM = "phones.example"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API with a policy of one gateway, under which phones may register."""
    directory = tmp_path_factory.mktemp("api")
    with redis_server(directory) as redis, api_over(redis, directory) as it:
        policy = Policy((TRUNK,), {"a": Gateway("a", "127.0.0.1", 5090)}, GB, subscribers=Subscribers(REALM))
        it.store.apply(text="", policy=policy, routes=(Route("all", ("",), ("a",)),), expected=1, author="test")
        yield it


def sent(api: Api, path: str, text: str, role: Role = Role.ADMIN, **query: object) -> tuple[int, dict[str, object]]:
    """Status and body of what a file is answered with."""
    response = api.ask("POST", path, role, content=text.encode(), headers=CSV, params=query)
    return response.status_code, response.json()


def test_subscribers_of_a_file_are_added_and_changed(api: Api) -> None:
    status, done = sent(
        api, "/subscribers/import",
        "name,password,numbers,do_not_disturb\n1001,secret-of-1001,02079461001 02079461009,\n"
        "1002,secret-of-1002,,yes\n",
    )  # fmt: skip
    assert (status, done) == (200, {"added": 2, "changed": 0, "nodes": [], "missing": []})
    before = api.store.subscriber("1001")
    assert before is not None
    assert before.ha1 == hashes("1001", REALM, "secret-of-1001")
    assert before.numbers == ("+442079461001", "+442079461009")
    status, done = sent(api, "/subscribers/import", "\ufeffName,forward_busy\r\n1001,1002\r\n")
    assert (status, done["added"], done["changed"]) == (200, 0, 1)
    after = api.store.subscriber("1001")
    assert after is not None
    assert (after.forwards.busy, after.ha1, after.numbers) == ("1002", before.ha1, before.numbers)
    entries = audit.read(api.store, limit=3)
    assert [(entry.what, entry.who, entry.subject) for entry in entries] == [
        ("subscriber", "token:tester-admin", "1001"), ("subscriber", "token:tester-admin", "1002"),
        ("subscriber", "token:tester-admin", "1001"),
    ]  # fmt: skip
    assert "secret-of" not in str(entries)


def test_one_wrong_line_and_nobody_is_imported_or_changed(api: Api) -> None:
    before = api.store.position(), api.store.subscribers()
    status, problem = sent(
        api, "/subscribers/import",
        "name,password,calls\n1101,secret-of-1101,1\n1102,short,\n1103,,\n1101,secret-of-1101,\n1104,secret-of-1104\n"
        "1105,secret-of-1105,many\n",
    )  # fmt: skip
    assert status == 422
    said = str(problem["detail"]).splitlines()
    assert [line.partition(": ")[0] for line in said[:-1]] == [f"body:{line}" for line in (3, 4, 5, 6, 7)]
    assert said[-1] == "5 lines are wrong; nothing was imported"
    assert "short" not in problem["detail"]
    for text, why in (
        ("", "the file is empty"), ("name,colour\n1,red\n", "the first line names"), ("name\n", "no subscribers"),
        ("name,name\n1,1\n", "the first line names"),
    ):  # fmt: skip
        status, problem = sent(api, "/subscribers/import", text)
        assert (status, why in str(problem["detail"])) == (422, True), problem
    assert (api.store.position(), api.store.subscribers()) == before


def test_subscribers_are_searched_page_by_page(api: Api) -> None:
    lines = "".join(f"7{number:03},secret-of-many,0207946{number:04}\n" for number in range(5))
    assert sent(api, "/subscribers/import", f"name,password,numbers\n{lines}")[0] == 200
    first = api.get("/subscribers", search="700", limit=3)
    rest = api.get("/subscribers", search="700", limit=3, after=first["after"])
    found = [one["name"] for one in (*first["subscribers"], *rest["subscribers"])]
    assert (found, first["total"], rest["after"]) == ([f"700{number}" for number in range(5)], 5, None)
    assert [one["name"] for one in api.get("/subscribers", search="020 7946 0003")["subscribers"]] == ["7003"]
    assert api.get("/subscribers", search="nobody")["total"] == 0


def test_what_an_import_of_rates_would_change_is_counted(api: Api) -> None:
    first = "prefix,price\n+1,0.1\n+2,0.2\n+3,0.3\n"
    assert sent(api, "/rates/sheets/a/compare", first)[0] == 422, "the first sheet says its currency"
    status, found = sent(api, "/rates/sheets/a/compare", first, Role.READ, currency="USD")
    assert (status, found["new"], found["skipped"]) == (200, 3, [])
    assert sent(api, "/rates/sheets/a/import", first, currency="USD")[0] == 200
    before = api.store.position(), dict(api.store.records(keys.rates("a")))
    second = "prefix,price,billing\n+1,0.11,\n+2,0.2,1/1\n+4,x,\n"
    assert sent(api, "/rates/sheets/a/compare", second)[0] == 422
    status, found = sent(api, "/rates/sheets/a/compare", second, replace=True, skip_bad=True)
    counted = {"new": 0, "dearer": 1, "cheaper": 0, "otherwise_changed": 1, "unchanged": 0, "removed": 1}
    assert (status, {name: found[name] for name in counted}) == (200, counted)
    assert found["skipped"] == [{"line": 4, "field": "price", "message": found["skipped"][0]["message"]}]  # type: ignore[index]
    assert (api.store.position(), dict(api.store.records(keys.rates("a")))) == before


def test_a_file_is_imported_once_under_its_key(api: Api) -> None:
    text = b"kind,value\ncaller,+447700900001\n"
    headers = {**CSV, "Idempotency-Key": "file-1"}
    first, again = (api.ask("POST", "/lists/block/import", content=text, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code, again.headers["Idempotency-Replayed"]) == (200, 200, "true")
    assert first.json() == again.json()
    other = api.ask("POST", "/lists/block/import", content=text + b"caller,1\n", headers=headers)
    assert other.status_code == 422


def test_lines_of_a_file_are_read_as_they_are() -> None:
    # A line separator of Unicode is none of CSV; what is no UTF-8 is told later, with its line.
    file = io.BytesIO("\ufeffa,b\r\nc\u2028d\n".encode() + b"\xff")
    assert list(lines_of(file)) == ["a,b\r\n", "c\u2028d\n", "\udcff"]


def test_a_long_body_that_is_no_file_is_read_as_json(api: Api) -> None:
    long = {"text": "# " + "x" * (2 << 20) + "\nroutes: 5\n"}
    for headers in ({}, {"Idempotency-Key": "long-1"}):
        response = api.ask("POST", "/policy/validate", json=long, headers=headers)
        assert (response.status_code, bool(response.json()["errors"])) == (422, True), response.text
