"""`strowger policy apply --dry-run`: which of this node's past calls would have gone elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rich.progress import Progress

import policyfile
from console.output import CommandFailed, err, out, print_json, when
from kemi import dryrun
from kemi.view import NoPolicyError, View
from model.settings import Settings
from state.snapshot import NoSnapshotError, SnapshotReader


def dry_run(loaded: policyfile.LoadedPolicy, seconds: float, *, numbers: bool, json: bool) -> None:
    """Decide the calls of the last ``seconds`` under ``loaded`` and under the policy in force, and compare."""
    settings, since = Settings.from_env(), time.time() - seconds
    try:
        with SnapshotReader(settings.snapshot).read() as live:
            old, new = View(live), View(dryrun.combined(live, loaded.policy, loaded.routes))
            report = dryrun.run(_lines(settings.spool, since), old, new, since=since)
    except (NoSnapshotError, NoPolicyError) as error:
        raise CommandFailed("this node has no policy to compare with") from error
    if json:
        print_json(_as_dict(report, old.version, since, numbers))
    else:
        _print(report, old.version, since, numbers)


def _lines(spool: Path, since: float) -> Iterator[bytes]:
    """The records of the files written to since Unix time ``since``, with a progress bar on a terminal."""
    sizes = _sizes(spool, since)
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("deciding", total=sum(sizes.values()))
        for path in sizes:
            with suppress(FileNotFoundError), path.open("rb") as file:
                for line in file:
                    progress.advance(task, len(line))
                    yield line


def _sizes(spool: Path, since: float) -> dict[Path, int]:
    """The files written to since Unix time ``since``, oldest first, and their sizes in bytes."""
    # One that is removed meanwhile is older than any record that counts. The names tell the hour.
    sizes = {}
    for path in sorted(spool.glob("calls-*.jsonl")):
        with suppress(FileNotFoundError):
            found = path.stat()
            if found.st_mtime >= since:
                sizes[path] = found.st_size
    return sizes


def _print(report: dryrun.Report, version: int, since: float, numbers: bool) -> None:
    calls = f"{report.changed} of {report.calls} calls since {when(since)}"
    out.print(f"{calls} would have gone elsewhere than under version {version}; nothing was applied")
    for group in report.sorted_groups():
        out.print(f"{group.calls:>7}  {group.old} -> {group.new}", style="bold")
        for example in group.examples:
            caller, callee = _sides(example, numbers)
            out.print(f"         {when(example.at)} {caller} calls {callee} ({example.call})")
    if report.skipped:
        out.print(f"{report.skipped} lines were skipped: no records, or not whole")


def _as_dict(report: dryrun.Report, version: int, since: float, numbers: bool) -> dict[str, object]:
    return {
        "version": version,
        "since": since,
        "calls": report.calls,
        "changed": report.changed,
        "skipped": report.skipped,
        "groups": [
            {
                "old": group.old,
                "new": group.new,
                "calls": group.calls,
                "examples": [_example(example, numbers) for example in group.examples],
            }
            for group in report.sorted_groups()
        ],
    }


def _example(example: dryrun.Example, numbers: bool) -> dict[str, object]:
    caller, callee = _sides(example, numbers)
    return {**asdict(example), "caller": caller, "callee": callee}


def _sides(example: dryrun.Example, numbers: bool) -> tuple[str, str]:
    if numbers:
        return example.caller, example.callee
    return dryrun.masked(example.caller), dryrun.masked(example.callee)
