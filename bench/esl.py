"""``python -m bench.esl``: how many events a second are read from the event socket, beside other libraries.

Every library reads the same stream in a process of its own, in turn, block by block.
The others come from an environment of their own: ``python -m venv DIR; DIR/bin/pip install greenswitch genesis``.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import esl_events, report
from bench.figures import Figure, Goal, mean_interval, paired

RESULTS = Path(__file__).parent / "results"
READER = Path(__file__).parent / "peers" / "esl_reader.py"
ROOT = Path(__file__).parent.parent
OURS = ("strowger", "strowger-all")
EVENTS = {"strowger": 100_000, "strowger-all": 20_000, "greenswitch": 15_000, "genesis": 3_000}
"Of a block, of about a second or more each."
GOALS = {"greenswitch": Goal(2.5, at_least=True), "genesis": Goal(10, at_least=True)}
READ_TIMEOUT = 120.0
DIFFERENT = 250


class Sender:
    """The switch's side: lets anybody in, and sends to who asks for events."""

    def __init__(self) -> None:
        self._data = esl_events.stream(DIFFERENT)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def serve(self, count: int) -> None:
        """One reader, until it has gone."""
        reader, _ = self._socket.accept()
        with reader:
            reader.sendall(b"Content-Type: auth/request\n\n")
            command(reader)
            reader.sendall(b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n")
            command(reader)
            reader.sendall(b"Content-Type: command/reply\nReply-Text: +OK event listener enabled plain\n\n")
            try:
                for _ in range(0, count, DIFFERENT):
                    reader.sendall(self._data)
                while reader.recv(4096):
                    pass
            except OSError:
                return  # it had all it counted

    def close(self) -> None:
        """Take no more readers."""
        self._socket.close()


def command(reader: socket.socket) -> None:
    """The next command, of which there is one at a time."""
    data = b""
    while not data.endswith(b"\n\n"):
        data += reader.recv(4096)


def block(sender: Sender, library: str, python: str, count: int) -> float:
    """Events a second."""
    thread = threading.Thread(target=sender.serve, args=(count,), daemon=True)
    thread.start()
    done = subprocess.run(
        [python, str(READER), library, str(sender.port), str(count)],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT) if library in OURS else "", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=READ_TIMEOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{library}: {done.stderr[-1000:]}")
    thread.join()
    return count / float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def measure(pythons: dict[str, str], blocks: int, share: float, progress: Callable[[str], None]) -> list[Figure]:
    """The figures; ``pythons``: the interpreter of each library; ``share``: of the usual number of events."""
    sender = Sender()
    found: dict[str, list[float]] = {library: [] for library in pythons}
    try:
        for number in range(blocks):
            for library, python in pythons.items():
                count = max(DIFFERENT, int(EVENTS[library] * share) // DIFFERENT * DIFFERENT)
                found[library].append(block(sender, library, python, count))
                progress(f"{number + 1}/{blocks} {library}: {found[library][-1]:,.0f} events/s")
    finally:
        sender.close()
    return figures(found)


def figures(found: dict[str, list[float]]) -> list[Figure]:
    """Ours alone, and beside each other."""
    own, name = found["strowger"], "events read a second"
    low, high = mean_interval(own)
    peers = [library for library in found if library not in OURS]
    alone = Figure(name, sum(own) / len(own), "events/s", low=low, high=high)
    every = "the same, every header looked at"
    return [
        alone,
        *(paired(name, "events/s", own, peer, found[peer], GOALS[peer]) for peer in peers),
        *(paired(every, "events/s", found["strowger-all"], peer, found[peer], None) for peer in peers),
    ]


def has(python: str, library: str) -> bool:
    """Whether that interpreter has the library."""
    return subprocess.run([python, "-c", f"import {library}"], capture_output=True, check=False).returncode == 0


def interpreters(peers: Path | None, progress: Callable[[str], None]) -> dict[str, str]:
    """Where each library is; those that are nowhere are left out, and that is said."""
    found = dict.fromkeys(OURS, sys.executable)
    for library in GOALS:
        if peers and has(str(peers / "bin" / "python"), library):
            found[library] = str(peers / "bin" / "python")
        else:
            progress(f"left out: {library} is not installed; see --peers")
    return found


def main(
    peers: Annotated[Path | None, typer.Option(help="A virtual environment with greenswitch and genesis.")] = None,
    blocks: Annotated[int, typer.Option(min=2, help="Blocks of each library.")] = 10,
    share: Annotated[float, typer.Option(min=0.001, help="Of the usual number of events of a block.")] = 1.0,
    results: Annotated[Path, typer.Option(help="Directory for the results.")] = RESULTS,
) -> None:
    """Read the same events with Strowger and with others."""
    console, progress = Console(), Console(stderr=True)

    def say(text: str) -> None:
        progress.print(text, markup=False)

    found = measure(interpreters(peers, say), blocks, share, say)
    show(console, found, results, sys.argv[1:])


def show(console: Console, found: Sequence[Figure], results: Path, arguments: Sequence[str]) -> None:
    """The table, and the lines of JSON."""
    line = shlex.join(["python", "-m", "bench.esl", *arguments])
    done = [replace(one, machine=report.machine(), command=line) for one in found]
    report.write(results / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-esl.jsonl", done)
    report.show(console, done)


if __name__ == "__main__":
    typer.run(main)
