"""Media workers on this machine, by their control sockets (media/control.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media.control import ControlError, NoAnswerError, RefusedError, ask
from model.settings import Settings
from operations.changes import Row
from operations.errors import AwayError, DoubtError, ImpossibleError, MissingError
from state import audit
from state.store import Store

TIMEOUT, LOAD_TIMEOUT = 10.0, 30.0
"Seconds in which a worker answers, and in which it loads its scripts."
RUN_TIMEOUT = 60.0
"Seconds that the output of a script is waited for."


def rows(settings: Settings) -> list[Row]:
    """How each of them stands."""
    return [{"name": path.stem, **_standing(path)} for path in _sockets(settings, 0)]


def drain(settings: Settings, store: Store, port: int, *, switch: bool = False) -> list[Row]:
    """Let a worker take no new calls, or its switch; ``port`` 0: all workers of this machine.

    Raises MissingError, ImpossibleError, AwayError, StoreError.
    """
    return _changed(settings, store, port, "drain", switch=switch)


def resume(settings: Settings, store: Store, port: int, *, switch: bool = False) -> list[Row]:
    """Let them take calls again. Raises as :func:`drain`."""
    return _changed(settings, store, port, "resume", switch=switch)


def reload(settings: Settings, store: Store, port: int) -> list[Row]:
    """Have them load all call scripts anew; what is refused is told. Raises as :func:`drain`."""
    return _changed(settings, store, port, "reload")


def run(settings: Settings, store: Store, port: int, script: str, args: str, *, detach: bool) -> Row:
    """Run a call script without a call on a worker that is not drained: ``worker``, and ``output``.

    Raises as :func:`drain`; a script that takes longer than :data:`RUN_TIMEOUT` goes on.
    """
    with _as_operation():
        path = ready(settings, port)
        found = ask(path, "run", timeout=RUN_TIMEOUT, name=script, args=args, detach=detach)
    audit.write(store, "script run", script, after={"worker": f"{settings.node}/{_port(path)}"})
    return {"worker": _port(path), "output": found["output"]}


def ready(settings: Settings, port: int) -> Path:
    """The socket of one that answers, rather one that is not drained. Raises MissingError, ControlError."""
    troubles, drained = [], []
    for path in sockets(settings, port):
        try:
            if not ask(path, "status")["draining"]:
                return path
            drained.append(path)
        except ControlError as error:
            troubles.append(str(error))
    if not drained:
        raise ControlError("\n".join(troubles))
    return drained[0]


def command(settings: Settings, port: int, name: str, **arguments: object) -> Iterator[Row]:
    """What each worker answers to a command, with its port as ``worker``. Raises MissingError, ControlError."""
    timeout = LOAD_TIMEOUT if name == "reload" else TIMEOUT
    return (
        {"worker": _port(path), **ask(path, name, timeout=timeout, **arguments)}
        for path in sockets(settings, port)
    )


def sockets(settings: Settings, port: int) -> list[Path]:
    """Of one worker, or with 0 of all of this machine. Raises MissingError where there is none."""
    found = _sockets(settings, port)
    if not found:
        raise MissingError(f"no media worker{f' {port}' if port else ''} runs here: no socket in {settings.run}")
    return found


def _port(path: Path) -> int:
    return int(path.stem.removeprefix("worker-"))


def _sockets(settings: Settings, port: int) -> list[Path]:
    return sorted(settings.run.glob(f"worker-{port or '*'}.sock"))


def _changed(settings: Settings, store: Store, port: int, name: str, **arguments: object) -> list[Row]:
    answers = []
    with _as_operation():
        for answer in command(settings, port, name, **arguments):
            # Before the next one, which may be away.
            audit.write(store, f"media {name}", f"{settings.node}/{answer['worker']}", after=arguments or None)
            answers.append(answer)
    return answers


@contextmanager
def _as_operation() -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise ImpossibleError(str(error)) from None
    except NoAnswerError as error:
        raise DoubtError(str(error)) from None
    except ControlError as error:
        raise AwayError(str(error)) from None


def _standing(path: Path) -> Row:
    try:
        answer = ask(path, "status")
    except ControlError as error:
        return {"ok": False, "trouble": str(error)}
    switch, refused = answer["switch"], sorted(answer["refused"])
    well = bool(switch["connected"]) and not refused and not answer["trouble"]
    return {
        "ok": well, "trouble": answer["trouble"] or ("" if switch["connected"] else switch["error"]),
        "address": answer["address"], "since": answer["since"], "calls": answer["calls"],
        "draining": answer["draining"], "switch": switch["address"], "connected": bool(switch["connected"]),
        "scripts": [found["name"] for found in answer["scripts"]], "refused": refused,
    }  # fmt: skip
