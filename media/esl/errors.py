"""What can go wrong on the event socket.

EslError
├── ProtocolError      the peer broke the protocol; the connection is closed
│   └── LimitError     a longer header block or body than we take
├── StalledError       the peer no longer reads; the connection is closed
├── ConnectionClosed   there is no connection (any more); ``__cause__`` says why, where there is more to say
├── AuthError          the password, or our address, was refused; trying again would not help
├── CommandError       the switch answered ``-ERR``
└── ArgumentError      what we were asked to send cannot be sent; nothing was

Time-outs of our own are the builtin :class:`TimeoutError`.
"""

from __future__ import annotations


class EslError(Exception):
    """Root of all errors of this package."""


class ProtocolError(EslError):
    """The peer sent what is not the protocol of the event socket."""


class LimitError(ProtocolError):
    """The peer sent, or announced, more than we take."""


class StalledError(EslError):
    """The peer does not read what we send."""


class ConnectionClosed(EslError):
    """The connection ended, by the peer, by an error (``__cause__``), or by us."""


class AuthError(EslError):
    """The switch does not let us in."""


class CommandError(EslError):
    """The switch refused a command."""

    def __init__(self, command: str, reply: str) -> None:
        super().__init__(f"{command}: {reply}")
        self.command = command
        "Its first word; arguments may be a caller's."
        self.reply = reply
        "What stood behind ``-ERR``."


class ArgumentError(EslError, ValueError):
    """A line end or NUL in what we would send, or a command that has no place on this connection."""
