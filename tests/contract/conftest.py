"""The switch of the contract: each test runs on the embedded one, and on FreeSWITCH where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.prompts import make_prompts
from harness.switches import Embedded, FreeSwitch, Switch, freeswitch_program

EXTRA = Path(__file__).parent / "extra"
_KINDS: dict[str, type[Switch]] = {kind.name: kind for kind in (Embedded, FreeSwitch)}


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
