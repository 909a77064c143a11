"""`strowger up`, as `make run` starts it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from harness.command import COMMAND, ROOT, environment, processes_of

pytestmark = pytest.mark.timeout(240)


def _with_ctrl_c() -> None:
    # A shell has what it starts with & ignore SIGINT, and that would come down through these tests.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def run(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`strowger up` in a terminal of its own, and that terminal; killed in the end if it is still there."""
    master, slave = pty.openpty()
    running = subprocess.Popen(
        [*COMMAND, "up", "--directory", str(directory)],
        env={**environment(), "TERM": "xterm", "COLUMNS": "120", "LINES": "60"},
        cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_with_ctrl_c,
    )  # fmt: skip
    os.close(slave)
    try:
        yield running, master
    finally:
        running.kill()
        running.wait()
        os.close(master)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_run_stays_up_until_stopped_and_leaves_no_process(tmp_path: Path, stop: signal.Signals) -> None:
    with run(tmp_path) as (running, terminal):
        shown = read_until(terminal, b"Ctrl-C stops everything")
        assert shown.count("as it should be:") == 7
        assert re.search(r"ok.{0,20}kamailio", shown)
        assert re.search(r"ok.{0,20}worker-\d+.* connected", shown)
        assert len(processes_of(tmp_path)) > 7
        second = subprocess.run(
            [*COMMAND, "up", "--directory", str(tmp_path)],
            env=environment(), cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert "running" in second.stderr
        running.send_signal(stop)
        read_to_end(terminal)
        assert running.wait() == 0
    assert processes_of(tmp_path) == []


def test_killed_outright_it_takes_its_processes_along(tmp_path: Path) -> None:
    with run(tmp_path) as (running, terminal):
        # Everything runs by then, and a call is under way.
        read_until(terminal, b"2. a blocked caller")
        running.kill()
        running.wait()
    # The kernel tells them (PR_SET_PDEATHSIG); they end in their own time, within this test's.
    while processes_of(tmp_path):
        os.sched_yield()


def read_until(terminal: int, wanted: bytes) -> str:
    """What a program prints until ``wanted`` is among it; the test's own timeout bounds the wait."""
    shown = b""
    while wanted not in shown:
        shown += os.read(terminal, 65536)
    return shown.decode(errors="replace")


def read_to_end(terminal: int) -> None:
    """Read until the program has closed its terminal, so that it never waits for a reader."""
    with suppress(OSError):
        while os.read(terminal, 65536):
            pass
