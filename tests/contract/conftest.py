"""The switch of the contract: each test runs on the embedded one, and on FreeSWITCH where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.prompts import make_prompts
from harness.switches import Embedded, FreeSwitch, Switch, freeswitch_program

EXTRA = Path(__file__).parent / "extra"
_KINDS: dict[str, type[Switch]] = {kind.name: kind for kind in (Embedded, FreeSwitch)}


def pytest_configure(config: pytest.Config) -> None:
    """The marker of what the embedded switch does not do; docs/embedded-switch.md lists it."""
    config.addinivalue_line("markers", "freeswitch_only(reason): what the embedded switch does not do")


@pytest.fixture(autouse=True)
def _of_the_embedded_switch(request: pytest.FixtureRequest) -> None:
    mark = request.node.get_closest_marker("freeswitch_only")
    callspec = getattr(request.node, "callspec", None)
    if mark and callspec and callspec.params.get("switch") == Embedded.name:
        pytest.skip(f"not of the embedded switch: {mark.args[0]}")


@pytest.fixture(scope="session", params=_KINDS)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch that runs, its prompts made of tones."""
    if request.param == FreeSwitch.name and not freeswitch_program():
        pytest.skip("no FreeSWITCH")
    made = _KINDS[request.param](tmp_path_factory.mktemp(request.param), EXTRA)
    make_prompts(made.sounds)
    try:
        made.start()
        yield made
    finally:
        made.stop()
