"""The pipes in which SIP workers hand something over: written without waiting, a line at a time."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

SIZE = 1 << 20
"Bytes that wait in one; more, and a worker is told that nobody takes them."

log = logging.getLogger("strowger.agent")


def make_pipe(path: Path) -> int:
    """A new pipe at ``path``, open for reading without waiting. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A new one, so that nothing is read that was meant for a process before.
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o660)
    # Open for writing as well: it has no end then when a worker closes it.
    pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, SIZE)
    except PermissionError:
        log.info("%s keeps the size that the system allows", path)
    return pipe
