"""What a script writes as its reply, and what it is told about who asked (M16)."""

from __future__ import annotations

from collections.abc import Mapping

from media.session.events import Event


class Stream:
    """Collects what a script writes; the dialplan or the web page that ran it reads that."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        """Append to the reply."""
        self._parts.append(text)

    def get_data(self) -> str:
        """The reply so far."""
        return "".join(self._parts)


class Env(Event):
    """What is known about who runs the script: the fields of a web form, the variables of a call that ended.

    An event, as in Lua: ``get_header``, ``add_header``, ``serialize``.
    """

    __slots__ = ()

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        super().__init__("REQUEST_PARAMS")
        # Values from outside may have any line ends; an Env is never sent.
        self.headers.update(values or {})
