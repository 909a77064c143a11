"""Commands of a user whose number has no name, as containers may have one."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from harness.redis_server import redis_server

from console.node_commands import drain
from console.policy_commands import put_in_force
from console.rate_commands import import_
from policyfile import load
from state import store as shared
from state.store import Store

POLICY = """
strowger: 1
trunks: {lab: {sources: [127.0.0.0/8]}}
gateways: {a: {address: "127.0.0.1:9"}}
routes:
  - {name: all, prefixes: [default], gateways: [a]}
"""


def test_what_they_do_bears_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.setattr("os.getuid", lambda: 54321)
    monkeypatch.setattr(shared, "_user", shared._user.__wrapped__)
    with redis_server(tmp_path) as server:
        monkeypatch.setenv("STROWGER_REDIS_URL", server.url)
        store = Store(server.url)
        put_in_force(store, load(POLICY, name="policy"), 0, "")
        drain("a", "new card")
        sheet = tmp_path / "sheet.csv"
        sheet.write_text("prefix,price\n44,0.01\n")
        import_("a", sheet, currency="USD")
        authors = [store.policy().author, store.drains()["a"].author, store.sheets()["a"].author]
        store.close()
    assert authors == ["54321"] * 3
