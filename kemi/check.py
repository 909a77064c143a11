"""Checks candidate routing code as Kamailio would load it, in a process of its own: ``python -m kemi.check CONFIG``.

Prints what is wrong, one problem a line, and exits with 1; or prints nothing and exits with 0.
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

from kemi import main

_COMMENT = re.compile(r"#.*")
_CALLBACK = re.compile(r'python_exec\("(\w+)"')
_API_NAME = re.compile(r"\b(?:KSR|self\._ksr)\.(\w+(?:\.\w+)?)\(")


class _Kamailio(types.ModuleType):
    """Stands in for the KSR module, so that the code can be imported where no Kamailio is."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Kamailio(name)


def problems(config: str) -> list[str]:
    """What keeps the code on disk from serving the callbacks that ``config`` (a kamailio.cfg) names."""
    sys.modules["KSR"] = _Kamailio("KSR")
    try:
        handler = main.load()
    except BaseException as error:
        return [main.describe(error)]
    finally:
        del sys.modules["KSR"]
    return [
        f"kamailio.cfg calls {name}, which kemi.routing.Handler does not have"
        for name in callbacks(config)
        if not callable(getattr(handler, name, None))
    ]


def callbacks(config: str) -> list[str]:
    """The Python functions that a kamailio.cfg calls."""
    return sorted(set(_CALLBACK.findall(_COMMENT.sub("", config))))


def api_names(source: str) -> list[str]:
    """The functions of Kamailio that routing code calls, as ``module.function`` or ``function``."""
    return sorted(set(_API_NAME.findall(source)))


def run(arguments: list[str]) -> int:
    """Exit status."""
    found = problems(Path(arguments[0]).read_text())
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
