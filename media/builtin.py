"""Scripts that every worker has, whatever its folder holds: for calls that are moved from outside."""

from __future__ import annotations

from pathlib import Path

from media.modules import Modules
from media.registry import Loaded
from media.script import Script
from media.served import ServedSession

TRANSFER = "strowger-transfer"


async def transfer(session: ServedSession, args: str) -> None:
    """Send the call on to the number ``args`` by way of the SIP tier, and end with it."""
    cause = await session.send_back(args)
    if cause not in ("", "SUCCESS") and session.ready():
        await session.hangup(cause)


_script = Script(name=TRANSFER, function=transfer, numbers=(), wants=("session", "args"), http=False)
_BUILTIN = {
    TRANSFER: Loaded(script=_script, file="builtin", version="builtin", since=0.0, modules=Modules(Path("/"), {})),
}


def find(key: str) -> Loaded | None:
    """The script of a name."""
    return _BUILTIN.get(key)
