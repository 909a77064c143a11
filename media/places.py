"""Where in the operator's scripts something happened."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import FrameType


def of_error(error: BaseException, folder: Path) -> str:
    """File and line that ``error`` comes from: the innermost within ``folder``, or else the innermost of all."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 0}"
    return _innermost(
        [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)], folder
    )


def of_frame(frame: FrameType | None, folder: Path) -> str:
    """The same for a thread that is at ``frame``."""
    return _innermost([(at.f_code.co_filename, line) for at, line in traceback.walk_stack(frame)][::-1], folder)


def inside(place: str, folder: Path) -> bool:
    """Whether ``place`` is in the operator's scripts."""
    return place.startswith(f"{folder}/")


def describe(error: BaseException, folder: Path) -> str:
    """An error of code that is being loaded, in one line; it has seen no call, so its message may be shown."""
    if isinstance(error, SyntaxError):
        return f"{of_error(error, folder)}: {error.msg}"
    message = " ".join(str(error).split())
    return f"{of_error(error, folder)}: {type(error).__name__}" + (f": {message}" if message else "")


def _innermost(places: list[tuple[str, int]], folder: Path) -> str:
    own = [place for place in places if inside(place[0], folder)]
    for file, line in (own or places)[-1:]:
        return f"{file}:{line}"
    return "an unknown place"
