"""`strowger policy apply --dry-run`: which of this node's past calls would have gone elsewhere."""

from __future__ import annotations

import time

from rich.progress import Progress

import policyfile
from console.output import err, out, print_json, when
from kemi.dryrun import Report
from model.settings import Settings
from operations import dryrun


def dry_run(loaded: policyfile.LoadedPolicy, seconds: float, *, numbers: bool, json: bool) -> None:
    """Decide the calls of the last ``seconds`` under ``loaded`` and under the policy in force, and compare."""
    settings, since = Settings.from_env(), time.time() - seconds
    with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("deciding", total=sum(dryrun.sizes(settings.spool, since).values()))
        report, version = dryrun.compared(loaded, settings, since, lambda size: progress.advance(task, size))
    if json:
        print_json(dryrun.row(report, version, since, numbers=numbers))
    else:
        _print(report, version, since, numbers)


def _print(report: Report, version: int, since: float, numbers: bool) -> None:
    calls = f"{report.changed} of {report.calls} calls since {when(since)}"
    out.print(f"{calls} would have gone elsewhere than under version {version}; nothing was applied")
    for group in report.sorted_groups():
        out.print(f"{group.calls:>7}  {group.old} -> {group.new}", style="bold")
        for example in group.examples:
            caller, callee = dryrun.sides(example, numbers)
            out.print(f"         {when(example.at)} {caller} calls {callee} ({example.call})")
    if report.skipped:
        out.print(f"{report.skipped} lines were skipped: no records, or not whole")
