"""The node on which this process runs: its Kamailio's RPC, and its routing code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kemi.rpc import Kamcmd
from model.settings import Settings
from operations.changes import Row
from operations.errors import ImpossibleError
from state import audit
from state.store import Store

RELOAD_TIMEOUT = 60.0
_ROOT = Path(__file__).resolve().parent.parent


def kamcmd(settings: Settings, store: Store, method: str, arguments: tuple[str | int | float, ...]) -> Any:
    """Call any RPC of Kamailio; it is in the audit. Raises RpcError, ValueError."""
    audit.write(store, "kamcmd", method, after={"node": settings.node, "arguments": list(arguments)})
    with Kamcmd(f"unix:{settings.rpc_socket}", timeout=10.0) as rpc:
        return rpc.call(method, *arguments)


def reload(settings: Settings, store: Store) -> Row:
    """Have Kamailio's workers load the routing code on disk, if it is sound. Raises ImpossibleError."""
    # As a command, so that the code is looked at by a process that starts as bare as a worker.
    command = [sys.executable, "-P", "-m", "console.main", "reload", "--json"]
    environment = {**os.environ, **settings.to_env(), "PYTHONPATH": str(_ROOT)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=RELOAD_TIMEOUT,
                              check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ImpossibleError(f"no answer within {RELOAD_TIMEOUT:.0f} s") from None
    if done.returncode:
        raise ImpossibleError(done.stderr.strip() or f"the command ended with status {done.returncode}")
    versions: Row = json.loads(done.stdout)
    audit.write(store, "code reloaded", settings.node, versions["old"], versions["new"])
    return {"node": settings.node, **versions}
