"""Results as a table, as lines of JSON and as a picture."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from rich.console import Console
from rich.table import Table

from bench.figures import Figure

MET = {True: "yes", False: "NO", None: "hidden by spread"}
BAR, ROW, LEFT, WIDTH = 420, 26, 230, 760
COLOURS = {"strowger": "#2b6cb0"}


def machine() -> str:
    """What this machine is."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return (
        f"{os.cpu_count()} x {names[0] if names else os.uname().machine}, {memory:.0f} GiB, Linux {os.uname().release}"
    )


def write(path: Path, figures: Sequence[Figure]) -> None:
    """The results, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(figure.line() + "\n" for figure in figures))


def show(console: Console, figures: Sequence[Figure]) -> None:
    """The results as a table."""
    table = Table("figure", "value", "peer", "ratio", "90 %", "goal", "met")
    for one in figures:
        peer = f"{one.peer} {_number(one.peer_value)}" if one.peer else ""
        spread = "" if math.isnan(one.low) else f"{_number(one.low)} to {_number(one.high)}"
        met = MET[one.met] if one.goal else ""
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        goal = str(one.goal) if one.goal else ""
        table.add_row(one.figure, f"{_number(one.value)} {one.unit}", peer, ratio, spread, goal, met)
    console.print(table)


def picture(title: str, unit: str, bars: Sequence[tuple[str, float, float, float]]) -> str:
    """Bars as SVG: name, value, low and high of each."""
    top = 48
    most = max(high for *_, high in bars) * 1.1
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + ROW * len(bars) + 16}"'
        ' font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (name, value, low, high) in enumerate(bars):
        y, colour = top + row * ROW, COLOURS.get(name, "#a0aec0")
        width, left, right = (BAR * number / most for number in (value, low, high))
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="{ROW - 8}" fill="{colour}"/>',
            f'<path d="M{LEFT + left:.1f} {y + 11}H{LEFT + right:.1f}" stroke="#1a202c" stroke-width="2"/>',
            f'<text x="{LEFT + max(width, right) + 8:.1f}" y="{y + 15}">{escape(f"{_number(value)} {unit}")}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
