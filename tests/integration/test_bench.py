"""The benchmarks run: every variant takes the same calls as it must, and every figure is written whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FIELDS = {
    "figure", "value", "unit", "peer", "peer_value", "ratio", "low", "high", "goal", "met", "machine", "command",
}  # fmt: skip
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(300)
def test_a_smoke_run_writes_every_figure(tmp_path: Path) -> None:
    # Not limits, which take as long as all of these: a Redis has to settle before it counts.
    only = "import,change,decision,memory,cpu,capacity,rates"
    command = [sys.executable, "-m", "bench", "--smoke", "--only", only, "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
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
        ("import of a rate sheet", ""),
        ("the same in the place of the one in force", ""),
        ("a decision by least cost, p99", ""),
    }
    assert "control" in "".join(figure["figure"] for figure in figures)
    assert (tmp_path / "cpu.svg").read_text().count("<rect") == 7


def test_a_smoke_run_of_the_media_tier_writes_every_figure(tmp_path: Path) -> None:
    if not (os.environ.get("FREESWITCH_BIN") or shutil.which("freeswitch")):
        pytest.skip("skipped: no FreeSWITCH")
    command = [sys.executable, "-m", "bench.media", "--smoke", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (results,) = tmp_path.glob("*-media.jsonl")
    figures = [json.loads(line) for line in results.read_text().splitlines()]
    assert all(set(figure) == FIELDS for figure in figures)
    assert all(figure["command"].startswith("python -m bench.media --smoke") for figure in figures)
    goals = [figure["figure"] for figure in figures if figure["goal"] and not figure["peer"].startswith("g")]
    assert goals == [
        "CPU for answer, 200 ms of tone, hangup: ahead",
        "CPU for a prompt, a digit, a recording: ivr",
        "event to command, 10 calls played: p99",
        "event to command, 3 real calls with audio: p99",
        "pacing error of the embedded switch, 3 calls: p99",
    ]


def test_without_freeswitch_the_media_tier_is_skipped(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.media", "--results", str(tmp_path)],
        cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "skipped: no FreeSWITCH\n")
    assert list(tmp_path.iterdir()) == []
