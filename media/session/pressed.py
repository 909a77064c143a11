"""Keys that callers press, told as events: which key it was only where a setting says so, and nothing hides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from media.session.core import Core

Publish = Callable[[str, Mapping[str, Any]], object]

KIND = "dtmf"
_publish: Publish | None = None
_shown = False


def use(publish: Publish | None, *, shown: bool = False) -> None:
    """Where the worker of this process tells of keys, without waiting; ``shown``: with the key."""
    global _publish, _shown
    _publish, _shown = publish, shown


def tell(session: Core, digit: str, *, hidden: bool) -> None:
    """Tell of a key, without waiting."""
    if _publish is not None:
        _publish(KIND, data(session, digit if _shown and not hidden else ""))


def data(session: Core, digit: str) -> dict[str, Any]:
    """What the event says; ``digit`` is empty where it is not to be told."""
    handover = session.handover
    found: dict[str, Any] = {"uuid": session.uuid, "call_id": session.channel.variable("sip_call_id") or ""}
    if handover is not None:
        found |= {"call": handover.call, "caller": handover.caller, "callee": handover.callee}
    return found | ({"digit": digit} if digit else {})
