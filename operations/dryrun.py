"""Which of a node's past calls another policy would send elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from kemi import dryrun
from kemi.view import NoPolicyError, View
from model.settings import Settings
from operations.changes import Row
from operations.errors import AwayError
from policyfile import LoadedPolicy
from state.snapshot import NoSnapshotError, SnapshotReader


def compared(
    loaded: LoadedPolicy, settings: Settings, since: float, read: Callable[[int], object] = lambda _: None
) -> tuple[dryrun.Report, int]:
    """The calls since a Unix time decided by ``loaded`` and by the policy in force; and the version of that.

    ``read`` is told how many bytes of records were read. Raises AwayError where this node has no policy.
    """
    try:
        with SnapshotReader(settings.snapshot).read() as live:
            old, new = View(live), View(dryrun.combined(live, loaded.policy, loaded.routes))
            return dryrun.run(_lines(settings.spool, since, read), old, new, since=since), old.version
    except (NoSnapshotError, NoPolicyError) as error:
        raise AwayError("this node has no policy to compare with") from error


def sizes(spool: Path, since: float) -> dict[Path, int]:
    """The files of records written to since a Unix time, oldest first, and their sizes in bytes."""
    # One that is removed meanwhile is older than any record that counts. The names tell the hour.
    found = {}
    for path in sorted(spool.glob("calls-*.jsonl")):
        with suppress(FileNotFoundError):
            known = path.stat()
            if known.st_mtime >= since:
                found[path] = known.st_size
    return found


def _lines(spool: Path, since: float, read: Callable[[int], object]) -> Iterator[bytes]:
    for path in sizes(spool, since):
        with suppress(FileNotFoundError), path.open("rb") as file:
            for line in file:
                read(len(line))
                yield line


def row(report: dryrun.Report, version: int, since: float, *, numbers: bool) -> Row:
    """A comparison as JSON shows it; unless ``numbers``, those are masked."""
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


def _example(example: dryrun.Example, numbers: bool) -> Row:
    caller, callee = sides(example, numbers)
    return {**asdict(example), "caller": caller, "callee": callee}


def sides(example: dryrun.Example, numbers: bool) -> tuple[str, str]:
    """Caller and callee of an example."""
    if numbers:
        return example.caller, example.callee
    return dryrun.masked(example.caller), dryrun.masked(example.callee)
