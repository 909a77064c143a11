"""Media workers and route hooks over HTTP: a real worker with a real switch, and a node that has no hooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.api import Api, api, api_settings
from harness.media_worker import MediaWorker, running, write
from harness.redis_server import redis_server
from harness.switches import Embedded, Switch

from state import audit
from state.tokens import Role

pytestmark = pytest.mark.timeout(120)

SCRIPTS = """
    from media.script import script

    @script("adds")
    async def adds(stream, args):
        stream.write(str(sum(map(int, args.split()))))
"""


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """The embedded switch."""
    yield from running(Embedded, tmp_path_factory.mktemp("switch"))


@pytest.fixture
def site(switch: Switch, tmp_path: Path) -> Iterator[tuple[Api, MediaWorker, Path]]:
    """The API on the machine of a worker, and the folder of its scripts."""
    scripts = write(tmp_path / "scripts", {"adds.py": SCRIPTS})
    with redis_server(tmp_path) as server:
        settings = api_settings(server.url, tmp_path / "worker")
        worker = MediaWorker(tmp_path / "worker", switch, scripts, STROWGER_REDIS_URL=server.url)
        with worker, api(settings) as made:
            yield made, worker, scripts


def act(api: Api, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
    response = api.ask("POST", path, Role.OPERATE, json=body)
    assert response.status_code == status, response.text
    found: dict[str, Any] = response.json()
    return found


def test_workers_are_drained_and_resumed(site: tuple[Api, MediaWorker, Path]) -> None:
    api, worker, _ = site
    port = worker.settings.worker_address.port
    [row] = api.get("/workers")["workers"]
    assert (row["ok"], row["draining"], row["scripts"]) == (True, False, ["adds"])
    assert act(api, f"/workers/{port}/drain") == {"workers": [{"worker": port, "calls": 0}]}
    assert api.get("/workers")["workers"][0]["draining"]
    assert audit.read(api.store, limit=1)[0].subject == f"api-under-test/{port}"
    assert act(api, "/workers/0/resume") == {"workers": [{"worker": port}]}
    assert "not drained" in act(api, "/workers/0/resume", 409)["detail"]
    assert not api.get("/workers")["workers"][0]["draining"]
    act(api, "/workers/1/drain", 404)


def test_a_switch_is_drained_and_resumed(site: tuple[Api, MediaWorker, Path]) -> None:
    api, worker, _ = site
    act(api, "/workers/0/drain", switch=True)
    assert worker.status()["draining"]
    act(api, "/workers/0/resume", switch=True)
    assert not worker.status()["draining"]


def test_scripts_are_loaded_anew_and_refused(site: tuple[Api, MediaWorker, Path]) -> None:
    api, _, scripts = site
    write(scripts, {"broken.py": "def ("})
    [done] = act(api, "/workers/0/reload")["workers"]
    assert (done["scripts"], list(done["refused"])) == (["adds"], ["broken.py"])


def test_a_script_runs_without_a_call(site: tuple[Api, MediaWorker, Path]) -> None:
    api, worker, _ = site
    done = act(api, "/workers/0/run", script="adds", args="2 40")
    assert done == {"worker": worker.settings.worker_address.port, "output": "42"}
    assert "nothing" in act(api, "/workers/0/run", 409, script="nothing")["detail"]
    [entry] = audit.read(api.store, limit=1)
    assert (entry.what, entry.subject) == ("script run", "adds")


def test_a_node_without_a_policy_has_no_hooks(site: tuple[Api, MediaWorker, Path]) -> None:
    api, _, _ = site
    for response in (api.ask("GET", "/hooks"), api.ask("POST", "/hooks/x/try", Role.OPERATE, json={"to": "1"})):
        assert response.status_code == 503
        assert "no policy" in response.json()["detail"]
