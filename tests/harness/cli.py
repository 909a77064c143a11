"""The `strowger` command in a process of its own: freshly started, or forked from one that has imported it already.

The two differ in half a second only, which is what a hundred commands cannot afford.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from console import serve

STROWGER = Path(sys.executable).with_name("strowger")
# Wide enough that no message is broken.
WIDE = {"TERMINAL_WIDTH": "300"}

_FORKING = """
import importlib, json, os, sys, traceback
from console import cli, failures
for place, _ in cli.COMMANDS.values():
    importlib.import_module("console." + place.partition(":")[0])

def become(asked):
    flags = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, (path, flag) in enumerate(zip(asked["files"], flags)):
        os.dup2(os.open(path, flag, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["strowger", *asked["arguments"]]
    try:
        cli.main()
    except SystemExit as stop:
        status = stop.code
    except BaseException:
        traceback.print_exc()
        status = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)

for line in sys.stdin:
    child = os.fork()
    if not child:
        become(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    arguments: tuple[str | bytes, ...]
    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """The message, on one line."""
        return " ".join(self.err.split())


class Runner(Protocol):
    """Runs a command to its end."""

    def __call__(self, arguments: tuple[str | bytes, ...], environment: Mapping[str, str], text: str) -> Done: ...


def fresh(arguments: tuple[str | bytes, ...], environment: Mapping[str, str], text: str) -> Done:
    """Run the installed command."""
    ran = subprocess.run(
        [STROWGER, *arguments], input=text.encode(), env={**os.environ, **WIDE, **environment}, capture_output=True,
        check=False,
    )  # fmt: skip
    return Done(arguments, ran.returncode, ran.stdout.decode(), ran.stderr.decode())


@contextmanager
def forking(directory: Path, cwd: Path = serve.ROOT) -> Iterator[Runner]:
    """Run commands in children of a process that has imported everything, in the directory ``cwd``."""
    files = [directory / name for name in ("in", "out", "err")]
    with subprocess.Popen(
        [sys.executable, "-c", _FORKING],
        cwd=cwd, env={**os.environ, **WIDE, "PYTHONPATH": str(serve.ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as parent:  # fmt: skip
        assert parent.stdin is not None
        assert parent.stdout is not None
        asking, answering = parent.stdin, parent.stdout

        def run(arguments: tuple[str | bytes, ...], environment: Mapping[str, str], text: str) -> Done:
            files[0].write_text(text)
            asked = {
                "arguments": list(map(os.fsdecode, arguments)),
                "environment": {**os.environ, **WIDE, **environment},
                "files": list(map(str, files)),
            }
            print(json.dumps(asked), file=asking, flush=True)
            status = int(answering.readline())
            return Done(arguments, status, files[1].read_text(), files[2].read_text())

        yield run
        asking.close()


@dataclass(frozen=True, slots=True)
class Cli:
    """The command with certain settings."""

    runner: Runner
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str | bytes, status: int = 0, text: str = "") -> Done:
        """Run it, ``text`` its standard input; it must end with ``status``, and without a traceback."""
        done = self.runner(arguments, self.environment, text)
        assert done.status == status, done
        assert "Traceback" not in done.err, done.err
        assert done.out or done.err, done
        return done

    def where(self, **environment: str) -> Cli:
        """The same where some variables are other."""
        return replace(self, environment={**self.environment, **environment})
