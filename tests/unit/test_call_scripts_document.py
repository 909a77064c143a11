"""What docs/call-scripts.md shows is there and works."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from console.serve import ROOT
from media import calls, loader, script, watchdog, worker
from media.loader import Scripts
from media.wanted import ARGS, DETACHED, SCRIPT
from model.settings import SCRIPTS

TEXT = (ROOT / "docs" / "call-scripts.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_its_script_is_one(tmp_path: Path) -> None:
    text, *_ = blocks("python")
    (tmp_path / "welcome.py").write_text(text)
    registry = asyncio.run(Scripts(tmp_path).current())
    assert set(registry.by_key) == {"welcome", "5000"}
    code = [line for line in text.splitlines() if line.strip() and not line.startswith("from")]
    assert len(code) == 5


def test_it_lists_every_parameter() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", TEXT.partition("## How a call")[0], re.MULTILINE)
    assert sorted(listed) == sorted(script.PARAMETERS)


def test_the_channel_variables_are_those_of_the_worker() -> None:
    used = set(re.findall(r"\bstrowger_\w+", TEXT))
    assert used == {SCRIPT, ARGS, DETACHED}


def test_what_it_runs_is_there() -> None:
    names = set(re.findall(r"^\$ strowger run (?:--detach )?([\w-]+)", "".join(blocks("console")), re.MULTILINE))
    registry = asyncio.run(Scripts(SCRIPTS).current())
    assert names
    assert names <= set(registry.by_key)
    for path in re.findall(r"`(scripts/\w+\.py)`", TEXT):
        assert (ROOT / path).exists()


def test_its_figures_and_causes_are_those_of_the_code() -> None:
    for cause in (calls.REFUSED, calls.LOOP, calls.UNKNOWN, calls.FAILED):
        assert cause in TEXT
    assert f"{calls.GRACE:.0f} seconds after its call" in TEXT
    assert f"has {worker.HTTP_LIMIT:.0f} seconds" in TEXT
    assert (loader.LOAD_LIMIT, watchdog.BLOCKED) == (5.0, 0.5), "five seconds and half a second, in words"
