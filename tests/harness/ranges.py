"""Ranges of ports for RTP."""

from __future__ import annotations

from console.ports import free_port


def free_range(count: int) -> range:
    """So many ports in a row that are free now, the first an even one."""
    run: list[int] = []
    while len(run) < count:
        port = free_port()
        if run and port != run[-1] + 1:
            run = []
        if run or port % 2 == 0:
            run.append(port)
    return range(run[0], run[-1] + 1)
