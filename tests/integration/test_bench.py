"""The benchmarks run: every variant takes the same calls as it must, and every figure is written whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FIELDS = {
    "figure", "value", "unit", "peer", "peer_value", "ratio", "low", "high", "goal", "met", "machine", "command",
}  # fmt: skip
ROOT = Path(__file__).parent.parent.parent


def test_a_smoke_run_writes_every_figure(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--smoke", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (results,) = tmp_path.glob("*.jsonl")
    figures = [json.loads(line) for line in results.read_text().splitlines()]
    assert all(set(figure) == FIELDS for figure in figures)
    assert all(figure["value"] > 0 for figure in figures if figure["unit"] != "MB")
    assert all(figure["command"].startswith("python -m bench --smoke") and figure["machine"] for figure in figures)
    assert {(figure["figure"], figure["peer"]) for figure in figures if figure["goal"]} == {
        ("import of the block list", ""),
        ("a change, p99", ""),
        ("a decision, median", "no entries"),
        ("a decision, p99", "no entries"),
        ("growth of a worker", "its size with an empty policy"),
        ("CPU for each call", "native"),
        ("CPU for each call", "sync-redis"),
    }
    assert "control" in "".join(figure["figure"] for figure in figures)
    assert (tmp_path / "cpu.svg").read_text().count("<rect") == 7
