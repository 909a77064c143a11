from __future__ import annotations

import xmlrpc.client
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness.api import Api, api_over
from harness.redis_server import redis_server

from api.xmlrpc_door import operations
from state import audit
from state.tokens import Role


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    directory = tmp_path_factory.mktemp("api")
    with redis_server(directory) as redis, api_over(redis, directory) as it:
        yield it


def server(api: Api, role: Role = Role.ADMIN) -> Any:
    """A client as every language has one: the token is the password of the URL."""
    host = str(api.client.base_url).removeprefix("http://").rstrip("/")
    return xmlrpc.client.ServerProxy(f"http://any:{api.tokens[role]}@{host}/xmlrpc", allow_none=True)


def test_a_method_does_what_its_route_does(api: Api) -> None:
    with server(api, Role.OPERATE) as rpc:
        put = rpc.lists.put({"action": "block", "kind": "caller", "value": "+441111", "ttl": 90, "reason": "<&>"})
        assert (put["value"], put["reason"], put["missing"]) == ("+441111", "<&>", [])
        page = rpc.lists.entries({"action": "block", "limit": 10})
        assert [(entry["value"], entry["reason"]) for entry in page["entries"]] == [("+441111", "<&>")]
        rpc.lists.remove({"action": "block", "kind": "caller", "value": "+441111"})
    assert [(entry.who, entry.what) for entry in audit.read(api.store, limit=2)] == [
        ("token:tester-operate", "entry removed"), ("token:tester-operate", "entry put")
    ]  # fmt: skip


def test_a_key_makes_a_change_once(api: Api) -> None:
    with server(api) as rpc:
        entry = {"action": "block", "kind": "caller", "value": "+442222", "idempotency_key": "x1"}
        assert rpc.lists.put(entry) == rpc.lists.put(entry)
    assert [entry.subject for entry in audit.read(api.store, limit=2)].count("caller:+442222") == 1


def test_a_file_goes_in_and_comes_out(api: Api) -> None:
    with server(api) as rpc:
        done = rpc.lists.__getattr__("import")({"action": "allow", "file": "kind,value\ncaller,+443333\n"})
        assert (done["imported"], done["skipped"]) == (1, [])
        assert rpc.lists.export({"action": "allow"}).splitlines()[1].startswith("caller,+443333")


def test_an_error_is_a_fault_with_the_status_of_the_route(api: Api) -> None:
    with server(api, Role.READ) as rpc:
        for call, code, said in (
            (lambda: rpc.lists.put({"action": "block", "kind": "caller", "value": "1"}), 403, "role operate"),
            (lambda: rpc.lists.entries({"action": "grey"}), 422, "action"),
            (lambda: rpc.lists.entries({"action": "block", "colour": "grey"}), -32602, "colour"),
            (lambda: rpc.lists.entries(), -32602, "action is missing"),
            (lambda: rpc.lists.entries({}, {}), -32602, "one struct"),
            (lambda: rpc.nothing(), -32601, "nothing"),
            (lambda: rpc.policy.show({"version": 99}), 404, "not in the history"),
        ):
            with pytest.raises(xmlrpc.client.Fault) as fault:
                call()
            assert (fault.value.faultCode, said in fault.value.faultString) == (code, True), fault.value


def test_a_server_tells_of_itself(api: Api) -> None:
    with server(api, Role.READ) as rpc:
        methods = rpc.system.listMethods()
        assert set(operations(api.app.openapi())) < set(methods)
        for name in methods:
            assert rpc.system.methodHelp(name)
            assert rpc.system.methodSignature(name)
        assert "callee" in rpc.system.methodHelp("lists.check")
        assert rpc.system.methodSignature("lists.export") == [["string", "struct"]]


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer sw_x"}, {"Authorization": "Basic !"}])
def test_without_a_good_token_there_is_nothing(api: Api, header: dict[str, str]) -> None:
    for method in ("lists.entries", "system.listMethods"):
        body = xmlrpc.client.dumps(({"action": "block"},) if "lists" in method else (), method)
        response = api.client.post("/xmlrpc", content=body, headers=header)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")
        with pytest.raises(xmlrpc.client.Fault, match="401"):
            xmlrpc.client.loads(response.text)


def test_a_bomb_does_not_go_off(api: Api) -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><methodCall><methodName>&a;</methodName></methodCall>'
    headers = {"Authorization": f"Bearer {api.tokens[Role.READ]}"}
    response = api.client.post("/xmlrpc", content=bomb, headers=headers)
    with pytest.raises(xmlrpc.client.Fault, match="document type"):
        xmlrpc.client.loads(response.text)
    long = httpx.post(str(api.client.base_url.join("/xmlrpc")), content=b" " * (17 << 20), headers=headers)
    assert long.status_code == 413
