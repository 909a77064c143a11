"""What goes wrong with what a peer sent: see the package for the tree."""

from __future__ import annotations


class SipError(Exception):
    """Root of the errors of this package."""


class MessageError(SipError):
    """What was received is no SIP message, or no usable one."""


class SdpError(SipError):
    """A session description that cannot be read."""


class NegotiationError(SipError):
    """The two sides have no codec in common, or no audio."""
