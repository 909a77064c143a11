"""The tables and pictures of ``docs/performance.md``, made of the newest lines in ``bench/results``.

``python -m bench.page`` brings page and pictures up to date.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.report import picture

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
PICTURES = ROOT / "docs" / "bench"
RESULTS = ROOT / "bench" / "results"
BEGIN, END = "<!-- figures: generated -->", "<!-- end of figures -->"
MET = {True: "kept", False: "**not kept**", None: "the spread hides it"}

TITLES = {
    "bench": "Routing",
    "bench.media": "The media tier",
    "bench.esl": "Reading the event socket",
    "bench.hook": "Route hooks",
    "bench.transcription": "Transcription",
    "bench.switch": "The embedded switch",
    "bench.soak": "A million calls",
}
"By the module that measured it; sections come in this order."
BARS = {
    "cpu": ("CPU of Kamailio for each call", "CPU for each call"),
    "media": ("CPU of FreeSWITCH and worker: answer, tone, hangup", "CPU for answer, 200 ms of tone, hangup: ahead"),
    "menu": ("CPU of FreeSWITCH and worker: prompt, digit, recording", "CPU for a prompt, a digit, a recording: ivr"),
    "capacity": ("Most calls a second, a quarter of a core", "most calls a second"),
}
"Name of the picture: its title, and the figure that it shows beside its peers."

Row = dict[str, Any]


def newest() -> list[Row]:
    """The newest line of each figure beside each peer, in the order of the files."""
    rows: dict[tuple[str, str], Row] = {}
    for path in sorted(RESULTS.glob("2*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows.pop((row["figure"], row["peer"]), None)
            rows[row["figure"], row["peer"]] = {**row, "day": path.name[:8]}
    return list(rows.values())


def updated(page: str, rows: Iterable[Row]) -> str:
    """The page with its tables made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n".join(_sections(list(rows)))
    return f"{before}{BEGIN}\n\n{tables}{END}{after}"


def pictures(rows: Iterable[Row]) -> dict[str, str]:
    """Name of each picture, and the picture."""
    rows, made = list(rows), {}
    for name, (title, figure) in BARS.items():
        found = [row for row in rows if row["figure"] == figure and row["peer_value"]]
        if found:
            value, unit = found[0]["value"], found[0]["unit"]
            bars = [("strowger", value, value, value)]
            bars += [(row["peer"], row["peer_value"], row["peer_value"], row["peer_value"]) for row in found]
            made[name] = picture(title, unit, bars)
    return made


def _sections(rows: list[Row]) -> Iterator[str]:
    for module, title in TITLES.items():
        own = [row for row in rows if _module(row) == module]
        if own:
            yield f"### {title}\n\n{_table(own)}"


def _module(row: Row) -> str:
    return str(row["command"]).split()[2]


def _table(rows: Iterable[Row]) -> str:
    head = ("figure", "value", "beside", "ratio", "goal", "", "day")
    lines = (head, ("---",) * len(head), *map(_cells, rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    if ratio and row["low"] is not None and row["low"] <= row["ratio"] <= row["high"]:
        ratio += f" ({row['low']:.2f} to {row['high']:.2f})"
    day = row["day"]
    return (
        row["figure"], f"{_number(row['value'])} {row['unit']}", row["peer"], ratio, row["goal"] or "",
        MET[row["met"]] if row["goal"] else "", f"{day[:4]}-{day[4:6]}-{day[6:]}",
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """Write page and pictures."""
    rows = newest()
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    for name, text in pictures(rows).items():
        (PICTURES / f"{name}.svg").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
