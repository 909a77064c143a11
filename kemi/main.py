"""The script that Kamailio's app_python3 loads. It does nothing but load the routing code, safely.

``app_python.reload`` executes this file again in each worker, at that worker's next message. Stock Kamailio does not
survive a script that fails there, so this one cannot fail: the routing code is imported into fresh modules, checked,
and only then takes over; otherwise the code in force stays, and the log says why.

Kamailio runs a copy of this file from its run directory. So no edit can break a reload, and the source's directory is
not put on ``sys.path``, where ``policy`` and ``kemi.policy`` would become two modules.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys
import traceback
from collections.abc import Iterable
from typing import Any

# The modules that hold a file, a connection or a memory map, and what only these need; they stay as they are until
# Kamailio restarts.
RESIDENT = frozenset({"kemi.main", "kemi.spool", "state.sentinels", "state.snapshot", "state.wire"})
PACKAGES = ("kemi", "model", "state")
CALLBACKS = (
    "child_init",
    "on_call",
    "on_drained_call",
    "on_marked_call",
    "on_failure",
    "on_trial_passed",
    "on_record",
    "on_cancelled",
    "on_bye",
    "on_unknown_dialog",
    "on_relayed",
    "on_challenged",
    "on_flood",
    "on_subscribe",
    "on_notified",
    "on_register_answered",
    "on_register",
    "on_calls_over",
    "on_limits_timer",
    "on_hook_answer",
    "on_hook_timeout",
    "on_branch",
    "on_shown",
    "on_shown_reply",
)

_handler = globals().get("_handler")


def mod_init() -> Any:
    """The object whose methods Kamailio calls. Raises at the first start only, where that stops Kamailio."""
    global _handler
    done = None
    # Kamailio would take a reload that is asked for meanwhile for done, and this worker stay with the code before.
    while done != (done := _asked()):
        try:
            _handler = load()
            # Modules are cycles: left to its own pace, the collector keeps some 20 MB of former ones in each worker.
            gc.collect()
        except BaseException as error:
            if _handler is None:
                raise
            print(f"reload refused, the code in force stays: {describe(error)}", file=sys.stderr, flush=True)
    return _handler


def _asked() -> int:
    """How many reloads were asked for so far: app_python3's own counter, in the memory that all processes share."""
    try:
        counter = ctypes.POINTER(ctypes.c_int).in_dll(ctypes.CDLL(None), "_sr_python_reload_version")
        return int(counter[0]) if counter else 0
    except ValueError:
        # Not within Kamailio.
        return 0


def load() -> Any:
    """A handler made from the routing code as it is on disk; on any error every module is as it was before."""
    old = {name: module for name, module in sys.modules.items() if _reloadable(name)}
    _forget(old)
    try:
        importlib.invalidate_caches()
        routing = importlib.import_module("kemi.routing")
        importlib.import_module("kemi.selfcheck").run()
        handler = routing.Handler()
        missing = [name for name in CALLBACKS if not callable(getattr(handler, name, None))]
        if missing:
            raise AttributeError(f"kemi.routing.Handler lacks {', '.join(missing)}")
        return handler
    except BaseException:
        _forget([name for name in sys.modules if _reloadable(name)])
        for name, module in old.items():
            sys.modules[name] = module
            package, _, child = name.rpartition(".")
            setattr(sys.modules[package], child, module)
        raise


def describe(error: BaseException) -> str:
    """An error in one line, with the file and line that it comes from."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return f"{where}{type(error).__name__}: {error}"


def _reloadable(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES and "." in name and name not in RESIDENT


def _forget(names: Iterable[str]) -> None:
    for name in list(names):
        del sys.modules[name]
        package, _, child = name.rpartition(".")
        # A leftover attribute would serve `from kemi import policy` with the old module.
        if hasattr(sys.modules[package], child):
            delattr(sys.modules[package], child)
