"""The process of an engine: ``python -m media.transcription.child PARENT MEGABYTES SECONDS``.

Frames come on its standard input, and go where its standard output was: an engine that prints, prints into nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from media.transcription.frames import HEADER, Kind, frame, header

if TYPE_CHECKING:
    from media.transcription.engine import Engine

_PR_SET_PDEATHSIG = 1


def main(parent: int, megabytes: int, seconds: int) -> None:
    """Serve until the parent closes its end, or dies."""
    _die_with(parent)
    _stay_behind()
    answers = _quiet()
    # Nothing of the machine's other processors: their threads would take memory that counts, and time from calls.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what was said would stand in it
    _limit_cpu(seconds)
    server = _Server(sys.stdin.buffer, answers, seconds)
    while server.guard(server.serve):
        pass


class _Server:
    def __init__(self, requests: BinaryIO, answers: BinaryIO, seconds: int) -> None:
        self._requests, self._answers, self._seconds = requests, answers, seconds
        self._engine: Engine

    def guard(self, step: Callable[[], bool]) -> bool:
        """Whether there is more to do; what goes wrong is told, in words that hold nothing of what was said."""
        from media.transcription.checking import GarbageError
        from media.transcription.engine import Missing, Refused

        try:
            return step()
        except Missing as error:
            self._fail("missing", str(error))
        except Refused as error:
            self._fail("refused", str(error))
        except GarbageError as error:
            self._fail("garbage", str(error))
        except TimeoutError:
            self._fail("timeout", "the service is silent")
        except MemoryError:
            self._fail("memory", "")
        except Exception as error:  # of somebody else's program; its text may quote what it heard
            self._fail("crash", f"the engine raised {type(error).__name__}{_where(error)}")
        # After any failure the parent takes a new process: nobody knows what state this one is in.
        sys.exit(1)

    def serve(self) -> bool:
        kind, payload = self._read()
        if kind is None:
            return False
        _limit_cpu(self._seconds)
        if kind is Kind.LOAD:
            self._load(payload.decode())
        elif kind is Kind.FILE:
            self._file(**json.loads(payload))
        elif kind is Kind.FOLLOW:
            self._follow(**json.loads(payload))
        return True

    def _load(self, setting: str) -> None:
        from media.transcription.engines import load

        self._engine = load(setting)

    def _file(self, path: str, language: str) -> None:
        from media.transcription.audio import blocks
        from media.transcription.engine import Missing

        try:
            rate, audio = blocks(Path(path))
        except OSError as error:
            raise Missing(f"the file cannot be read: {error.strerror}") from None
        self._engine.start(rate, language, False)
        for block in audio:
            self._engine.feed(block)
        self._tell(Kind.DONE, self._engine.finish())

    def _follow(self, path: str, language: str) -> None:
        from media.transcription.engine import Transcript
        from media.transcription.following import tail
        from media.transcription.utterances import Utterances

        rate, audio = tail(Path(path), self._stopped)
        utterances = Utterances(self._engine, rate, language)
        for found in (one for block in audio for one in utterances.feed(block)):
            _limit_cpu(self._seconds)
            self._found(found)
        for found in utterances.finish():
            self._found(found)
        self._tell(Kind.DONE, Transcript("", language=language))

    def _found(self, found: Any) -> None:
        if isinstance(found, str):
            self._write(Kind.PARTIAL, found.encode(errors="replace"))
        else:
            self._tell(Kind.SAID, found)

    def _stopped(self, seconds: float) -> bool:
        """Whether the file grows no more; waits so long to learn it."""
        return bool(select.select([self._requests], [], [], seconds)[0]) and self._read()[0] in (Kind.STOP, None)

    def _tell(self, kind: Kind, transcript: Any) -> None:
        from media.transcription.checking import plain

        try:
            payload = json.dumps(plain(transcript)).encode()
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            self._fail("garbage", f"the engine gave no transcript: {type(transcript).__name__}, {type(error).__name__}")
            sys.exit(1)
        self._write(kind, payload)

    def _fail(self, reason: str, detail: str) -> None:
        self._write(Kind.FAILED, json.dumps({"reason": reason, "detail": detail}).encode())

    def _write(self, kind: Kind, payload: bytes) -> None:
        self._answers.write(frame(kind, payload))
        self._answers.flush()

    def _read(self) -> tuple[Kind | None, bytes]:
        data = self._requests.read(HEADER.size)
        if len(data) < HEADER.size:
            return None, b""
        length, kind = header(data)
        return kind, self._requests.read(length)


def _die_with(parent: int) -> None:
    # The kernel does it when the parent was killed (prctl(2)); it may have been before we asked.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def _stay_behind() -> None:
    # A tenth of a processor that calls want too: on a busy machine text comes late, and still comes.
    os.nice(10)
    # Our session is a group of the scheduler of its own, within which nice counts, and between which this does
    # (sched(7), autogroup).
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("10")


def _quiet() -> BinaryIO:
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    return answers


def _limit_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, resource.RLIM_INFINITY))


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else ""


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
