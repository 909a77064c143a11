"""How commands speak to a running media worker: a Unix socket, one line of JSON there and one back.

A request is ``{"command": "run", …}``; an answer ``{"ok": true, …}`` or ``{"ok": false, "error": "…"}``.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

LIMIT = 1 << 20
"Bytes of a line."
MODE = 0o660
"The worker's user and group may command it."

Command = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class ControlError(Exception):
    """A worker is not there, or did not do what it was asked; the message says why."""


class NoAnswerError(ControlError):
    """A worker took a command, and did not answer in time, or ended: it may have done it, or do it yet."""


class RefusedError(ControlError):
    """A worker is there, and does not do it."""


async def serve(path: Path, commands: Mapping[str, Command]) -> asyncio.Server:
    """Listen at ``path``, in the place of a worker that is gone. Raises ControlError where one is there."""
    await asyncio.to_thread(_clear, path)
    server = await asyncio.start_unix_server(partial(_answer, commands), path, limit=LIMIT)
    path.chmod(MODE)
    return server


def _clear(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            # What a worker leaves behind that was killed.
            path.unlink(missing_ok=True)
            return
    raise ControlError(f"a media worker is running at {path} already")


async def _answer(commands: Mapping[str, Command], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError, ValueError):
            while line := await reader.readline():
                writer.write(json.dumps(await _obey(line, commands)).encode() + b"\n")
                await writer.drain()
    finally:
        writer.close()


async def _obey(line: bytes, commands: Mapping[str, Command]) -> dict[str, Any]:
    try:
        request = json.loads(line)
        command = commands[request["command"]]
    except (ValueError, KeyError, TypeError):
        return {"ok": False, "error": f"not one of the commands {', '.join(commands)}"}
    try:
        return {"ok": True, **await command(request)}
    except ControlError as error:
        return {"ok": False, "error": str(error)}


def ask(path: Path, command: str, *, timeout: float | None = 10.0, **arguments: Any) -> dict[str, Any]:
    """What the worker at ``path`` answers to a command within ``timeout`` seconds (None: ever).

    Raises ControlError, RefusedError.
    """
    request = json.dumps({"command": command, **arguments}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(timeout)
            peer.connect(str(path))
            peer.sendall(request)
            with peer.makefile("rb") as answers:
                line = answers.readline()
    except TimeoutError:
        raise NoAnswerError(f"the media worker at {path} does not answer within {timeout} s") from None
    except OSError as error:
        raise ControlError(f"the media worker at {path} does not answer: {error.strerror or error}") from None
    if not line:
        raise NoAnswerError(f"the media worker at {path} ended before it answered")
    answer: dict[str, Any] = json.loads(line)
    if not answer.pop("ok"):
        raise RefusedError(answer["error"])
    return answer
