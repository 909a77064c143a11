"""``python -m bench.media``: measures, prints a table, writes the results."""

from __future__ import annotations

import shlex
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
from bench.media.freeswitch import NoSwitchError, program
from bench.media.run import ALL, SMOKE, MediaBench, Sizes

RESULTS = Path(__file__).parent.parent / "results"


def main(
    only: Annotated[str, typer.Option(help=f"Parts to measure, with commas between: {', '.join(ALL)}.")] = ",".join(
        ALL
    ),
    blocks: Annotated[int | None, typer.Option(min=2, help="Paired blocks of CPU for each call.")] = None,
    peers: Annotated[Path | None, typer.Option(help="A virtual environment with greenswitch and genesis.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="A minute that only shows that it runs.")] = False,
    results: Annotated[Path, typer.Option(help="Directory for the results.")] = RESULTS,
) -> None:
    """Measure what the media tier promises, beside mod_lua on the same FreeSWITCH."""
    parts = only.split(",")
    if unknown := set(parts) - set(ALL):
        raise typer.BadParameter(f"--only: {', '.join(sorted(unknown))} is none of {', '.join(ALL)}")
    console, progress = Console(), Console(stderr=True)
    try:
        program()
    except NoSwitchError as error:
        console.print(f"skipped: {error}")
        return
    given: dict[str, Any] = {"blocks": blocks} if blocks else {}
    # Whoever ends this wants the processes gone too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="strowger-bench-") as directory:
        bench = MediaBench(
            Path(directory),
            replace(SMOKE if smoke else Sizes(), **given),
            lambda text: progress.print(f"[{time.monotonic() - began:4.0f} s] {text}", markup=False),
            peers,
        )
        command = shlex.join(["python", "-m", "bench.media", *sys.argv[1:]])
        figures = [replace(one, machine=report.machine(), command=command) for one in bench.run(parts)]
    report.write(results / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-media.jsonl", figures)
    report.show(console, figures)


if __name__ == "__main__":
    typer.run(main)
