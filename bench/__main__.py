"""``python -m bench``: measures, prints a table, writes the results."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bench import report
from bench.run import ALL, SMOKE, Bench, Sizes

RESULTS = Path(__file__).parent / "results"


def main(
    only: Annotated[str, typer.Option(help=f"Parts to measure, with commas between: {', '.join(ALL)}.")] = ",".join(
        ALL
    ),
    blocks: Annotated[int | None, typer.Option(min=2, help="Paired blocks of CPU for each call.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Seconds of each block.")] = None,
    searches: Annotated[int | None, typer.Option(min=0, help="Searches for the most calls a second.")] = None,
    entries: Annotated[int | None, typer.Option(min=200, help="Blocked numbers.")] = None,
    prefixes: Annotated[int | None, typer.Option(min=10, help="Route prefixes.")] = None,
    rates: Annotated[int | None, typer.Option(min=1000, help="Rows of a rate sheet.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few seconds that only show that it runs.")] = False,
    results: Annotated[Path, typer.Option(help="Directory for the results.")] = RESULTS,
) -> None:
    """Measure what Strowger promises, beside its peers."""
    parts = only.split(",")
    if unknown := set(parts) - set(ALL):
        raise typer.BadParameter(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(ALL)}")
    given: dict[str, Any] = {
        "blocks": blocks,
        "seconds": seconds,
        "searches": searches,
        "entries": entries,
        "prefixes": prefixes,
        "rates": rates,
    }
    sizes: Sizes = replace(
        SMOKE if smoke else Sizes(), **{name: value for name, value in given.items() if value is not None}
    )
    console, progress = Console(), Console(stderr=True)
    # Whoever ends this wants namespaces and processes gone too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="strowger-bench-") as directory:
        bench = Bench(
            Path(directory),
            sizes,
            lambda text: progress.print(f"[{time.monotonic() - began:4.0f} s] {text}", markup=False),
        )
        command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
        figures = [replace(one, machine=report.machine(), command=command) for one in bench.run(parts)]
        report.write(results / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl", figures)
        if (picture := Path(directory) / "cpu.svg").exists():
            shutil.copyfile(picture, results / "cpu.svg")
    report.show(console, figures)


if __name__ == "__main__":
    typer.run(main)
