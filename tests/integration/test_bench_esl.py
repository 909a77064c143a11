"""The benchmark of the event socket runs, and says what it left out."""

import json
import subprocess
import sys
from pathlib import Path

from bench import esl_events
from bench.esl import figures
from media.esl.message import Event
from media.esl.protocol import Decoder

ROOT = Path(__file__).parent.parent.parent


def test_a_short_run(tmp_path: Path):
    command = [sys.executable, "-m", "bench.esl", "--blocks", "2", "--share", "0.01", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out: greenswitch" in done.stderr
    (results,) = tmp_path.glob("*-esl.jsonl")
    (line,) = results.read_text().splitlines()
    assert json.loads(line)["value"] > 0


def test_figures_beside_others():
    found = {
        "strowger": [100.0, 110.0], "strowger-all": [30.0, 33.0], "greenswitch": [10.0, 11.0], "genesis": [20.0, 22.0],
    }  # fmt: skip
    alone, *others = figures(found)
    assert alone.value == 105
    assert [(one.peer, round(one.ratio, 6), one.met) for one in others] == [
        ("greenswitch", 10, True), ("genesis", 5, False), ("greenswitch", 3, None), ("genesis", 1.5, None),
    ]  # fmt: skip


def test_the_stream_is_what_it_says():
    messages = Decoder().feed(esl_events.stream(3))
    events = [Event.plain(one.body) for one in messages]
    assert [len(one.headers) for one in events] == [120] * 3
    assert all(3900 < len(one.body) < 4400 for one in messages)
    assert events[2]["Application-UUID"].endswith("0002")
    assert events[0]["Channel-Name"] == "sofia/internal/1000@192.0.2.20:5060"
