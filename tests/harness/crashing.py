"""A process that is killed with -9 right before the n-th time that it asks the file system for something.

The calls are counted by Python's audit hook and by a wrapped fsync; only those that name something below the folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from console import serve

_CALLS = frozenset(
    ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.utime", "os.chmod",
     "os.truncate", "shutil.rmtree", "os.listdir", "os.scandir", "fcntl.flock", "fsync", "write")
)  # fmt: skip

_CHILDREN = """
import json, os, sys
sys.path.insert(0, "tests")
from harness import crashing
import media.voicemail.store
for module in json.loads(sys.stdin.readline()):
    __import__(module)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        crashing.become(asked)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

Run = Callable[[str, Path, int], bool]
"Source of Python in which ``folder`` is a path, that folder, n. Whether it came to its end."


def become(asked: dict[str, object]) -> None:
    """Run the source in this process, which is killed before its n-th call."""
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    left = int(str(asked["calls"]))

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event not in _CALLS:
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    fsync = os.fsync

    def counted(handle: int) -> None:
        count("fsync", ())
        fsync(handle)

    os.fsync = counted  # type: ignore[assignment]
    code = compile(str(asked["source"]), "crashing", "exec")
    names = {"folder": Path(str(asked["folder"]))}
    sys.addaudithook(count)
    try:
        exec(code, names)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


@contextmanager
def crashing(*modules: str) -> Iterator[Run]:
    """Children of a process that has imported what is needed."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILDREN], cwd=serve.ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(serve.ROOT)},
    ) as parent:  # fmt: skip
        assert parent.stdin is not None
        assert parent.stdout is not None
        asking, answering = parent.stdin, parent.stdout
        print(json.dumps(modules), file=asking, flush=True)

        def run(source: str, folder: Path, calls: int) -> bool:
            print(json.dumps({"source": source, "folder": str(folder), "calls": calls}), file=asking, flush=True)
            status = int(answering.readline())
            assert status in (0, -signal.SIGKILL), f"it failed: status {status}"
            return status == 0

        yield run
        asking.close()
