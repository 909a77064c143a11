"""A share of a core for some processes, held by the kernel (cgroup, version 1 or 2)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
# Microseconds. Short, so that processes that used up their share wait milliseconds and not a tenth of a second.
PERIOD = 10_000


@contextmanager
def held(pids: Iterable[int], share: float) -> Iterator[bool]:
    """Hold the processes together to ``share`` of one core while the block runs; False where nobody may do that."""
    pids = list(pids)
    version_2 = (ROOT / "cgroup.controllers").exists()
    parent = ROOT if version_2 else ROOT / "cpu"
    group = parent / f"bench-{os.getpid()}-{pids[0]}"
    try:
        if version_2:
            (parent / "cgroup.subtree_control").write_text("+cpu")
        group.mkdir()
        before = {pid: _group_of(pid, version_2) for pid in pids}
        _limit(group, share, version_2)
        _move(group, pids)
    except OSError:
        if group.exists():
            group.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        for pid, path in before.items():
            if Path(f"/proc/{pid}").exists():
                _move(parent / path, [pid])
        group.rmdir()


def _limit(group: Path, share: float, version_2: bool) -> None:
    quota = round(share * PERIOD)
    if version_2:
        (group / "cpu.max").write_text(f"{quota} {PERIOD}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))


def _move(group: Path, pids: Iterable[int]) -> None:
    for pid in pids:
        (group / "cgroup.procs").write_text(str(pid))


def _group_of(pid: int, version_2: bool) -> str:
    # cgroups(7): number, controllers and path, divided by colons.
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if (version_2 and not controllers) or "cpu" in controllers.split(","):
            return path.lstrip("/")
    raise FileNotFoundError(f"process {pid} is in no cgroup for cpu")
