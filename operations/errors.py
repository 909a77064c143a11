"""What cannot be done.

Exceptions::

    OperationError
    +-- InvalidError      what was asked for makes no sense
    +-- MissingError      there is nothing of that name
    +-- ImpossibleError   not as things stand
    +-- AwayError         what it takes does not answer
        +-- DoubtError    it took it, and nobody knows whether it was done
"""

from __future__ import annotations


class OperationError(Exception):
    """An operation was not done; the message says why."""


class InvalidError(OperationError):
    """What was asked for makes no sense."""


class MissingError(OperationError):
    """There is nothing of that name."""


class ImpossibleError(OperationError):
    """It cannot be done as things stand."""


class AwayError(OperationError):
    """A process or a server that it takes does not answer."""


class DoubtError(AwayError):
    """Who was to do it took it, and did not answer in time: it may be done, now or later."""
