"""The log of a process, as text or as JSON, with the id of the call that a line is about; and reading it again.

A line tells what happened, and never who called whom, what was pressed or what was said.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from model.settings import Settings

CALL: ContextVar[str] = ContextVar("call", default="")
"Id of the call (of its record) that whatever runs in this context is about; empty: of none."
CALL_ID: ContextVar[str] = ContextVar("callid", default="")
"The same of its Call-ID."
CHANNEL: ContextVar[str] = ContextVar("channel", default="")
"The same of its channel in the switch."
TEXT = "%(asctime)s %(name)s %(levelname)s %(message)s"
JOURNAL_LIMIT = 20.0
"Seconds that the journal has."


def configure(settings: Settings, process: str, level: int = logging.INFO) -> None:
    """Log to standard error from now on, in the format of the settings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json(settings.node, process) if settings.log_format == "json" else _Text(TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _Text(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        """With the call behind it."""
        call = CALL.get()
        return super().formatMessage(record) + (f" call={call}" if call else "")


class _Json(logging.Formatter):
    def __init__(self, node: str, process: str) -> None:
        super().__init__()
        self._same = {"node": node, "process": process}

    def format(self, record: logging.LogRecord) -> str:
        """One line: ``at`` in Unix seconds, ``level``, ``node``, ``process``, ``logger``, ``message``, and maybe
        ``call``, ``callid``, ``channel`` and ``error``."""
        found: dict[str, Any] = {
            "at": round(record.created, 6), "level": record.levelname.lower(), **self._same,
            "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        found |= {known.name: value for known in (CALL, CALL_ID, CHANNEL) if (value := known.get())}
        if record.exc_info:
            found["error"] = self.formatException(record.exc_info)
        return json.dumps(found)


@contextmanager
def about_call(call: str, call_id: str = "") -> Iterator[None]:
    """What is logged within is about a call, by its record's id and Call-ID; empty: it is not known."""
    before = CALL.set(call), CALL_ID.set(call_id)
    try:
        yield
    finally:
        CALL.reset(before[0])
        CALL_ID.reset(before[1])


# Reading


@dataclass(frozen=True, slots=True)
class Line:
    """What a process said of a call."""

    at: float | None
    "Unix time in seconds; None: the line does not tell."
    source: str
    "The file, or the unit, that it comes from."
    text: str

    def as_dict(self) -> dict[str, object]:
        """As JSON shows it."""
        return {"at": self.at, "source": self.source, "text": self.text}


def about(settings: Settings, ids: Iterable[str], since: float, until: float) -> list[Line]:
    """What this host's logs say of a call that bears one of the ``ids``: its record's, its Call-ID, its channel.

    From ``STROWGER_LOGS`` where it names a directory, else from the journal between two Unix times, where there is one.
    """
    wanted = tuple(filter(None, ids))
    if not wanted:
        return []
    found = _of_files(settings.logs) if settings.logs is not None else _of_journal(since, until)
    lines = [line for line in found if any(id in line.text for id in wanted)]
    return sorted(lines, key=lambda line: line.at or 0.0)


def _of_files(folder: Path) -> Iterator[Line]:
    for path in sorted(folder.glob("*.log")):
        try:
            with path.open(errors="replace") as file:
                for text in file:
                    yield parsed(path.stem, text.rstrip("\n"))
        except OSError:
            continue


def _of_journal(since: float, until: float) -> Iterator[Line]:
    program = shutil.which("journalctl")
    if program is None:
        return
    command = [
        program, "--output=json", "--output-fields=MESSAGE,_SYSTEMD_UNIT", "--unit=strowger-*", "--no-pager",
        f"--since=@{int(since)}", f"--until=@{int(until) + 1}",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, timeout=JOURNAL_LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return
    for raw in done.stdout.splitlines():
        try:
            entry = json.loads(raw)
            at, text = int(entry["__REALTIME_TIMESTAMP"]) / 1e6, entry["MESSAGE"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(text, str):
            unit = str(entry.get("_SYSTEMD_UNIT", "")).removesuffix(".service")
            yield Line(parsed(unit, text).at or at, unit, text)


def parsed(source: str, text: str) -> Line:
    """A line with its time, where it has one."""
    if text.startswith("{"):
        return Line(_time(text), source, text)
    try:
        # 2026-01-31 18:00:00,123, in local time, as logging writes it.
        return Line(datetime.strptime(text[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp(), source, text)
    except ValueError:
        return Line(None, source, text)


def _time(text: str) -> float | None:
    """Unix time of a line that is an object."""
    try:
        found = json.loads(text)
        at = found.get("at")
        if at is None and "time" in found:
            # As Kamailio from 6.0 on writes it: in nanoseconds, of which Python knows a thousandth.
            at = datetime.fromisoformat(f"{found['time'][:26]}+00:00").timestamp()
    except (ValueError, AttributeError, TypeError):
        return None
    return float(at) if isinstance(at, int | float) else None
