"""What a call script meets beside the errors of :mod:`media.esl.errors`.

ScriptExit          the script is over: ``destroy()``, or a callback or hook returned "exit" or "die"
AnswerNeeded        within ``session.ahead()`` something was called that has to wait for the switch
MenuError           a menu, or a file of menus, that cannot be; the message names file, line and field
PhraseError         the same for phrases
"""

from __future__ import annotations


class ScriptExit(Exception):
    """Ends a call script; its message is logged, where it has one."""


class AnswerNeeded(RuntimeError):
    """What is sent ahead gets no answer."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} needs the switch's answer; within ahead() nothing is waited for")


class MenuError(ValueError):
    """A menu that cannot be built."""


class PhraseError(ValueError):
    """A phrase that is not there, or cannot be."""
