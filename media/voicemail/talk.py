"""A call that is asked: words are played until the caller presses a key, and the key is kept for the question."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from media.session import Digit, Session
from media.speech.errors import SpeechError

KEY_TIMEOUT = 5000
"Milliseconds that the caller has for a key."
REPEATS = 3
"Times that a menu is said to somebody who presses nothing."
NUMBER_MAX = 32
"Digits of a box's number, or of a PIN."

log = logging.getLogger(__name__)


class CallOver(Exception):
    """The caller hung up; whatever is open is closed on the way out."""


class GoodBye(Exception):
    """The caller is done, or presses nothing."""


class Speaks(Protocol):
    """What :class:`media.speech.speaker.Speaker` is here."""

    async def play(self, session: Session, *what: Any, digits: str = "any") -> object:
        """Play words one after another; one of ``digits`` stops them all, and is kept."""


class Talk:
    """Says and asks; each of its methods raises :class:`CallOver` once the call has ended."""

    def __init__(self, session: Session, speaker: Speaks) -> None:
        self.session = session
        self._speaker = speaker
        # From the beginning: a PIN may be typed before it is asked for.
        session.hide_digits()

    def check(self) -> None:
        """Raise :class:`CallOver` where the call has ended."""
        if not self.session.ready():
            raise CallOver

    async def say(self, *what: Any) -> None:
        """Say words, until a key is pressed."""
        await self._play(what, "any")

    async def tell(self, *what: Any) -> None:
        """Say what the caller has to know: no key stops it, pressed before or meanwhile."""
        await self._play(what, "none")

    async def _play(self, what: tuple[Any, ...], digits: str) -> None:
        self.check()
        if what:
            try:
                await self._speaker.play(self.session, *what, digits=digits)
            except SpeechError as error:
                # The keys work without the words.
                log.error("something could not be said: %s", type(error).__name__)
        self.check()

    async def key(self, *what: Any) -> str:
        """Ask for one key; "" when none came."""
        await self.say(*what)
        pressed = await self.session.get_digits(1, "", KEY_TIMEOUT)
        self.check()
        return pressed

    async def number(self, *what: Any, escape: str = "") -> str:
        """Ask for digits, which ``#`` ends, or a pause; ``escape`` is a key that is an answer of its own."""
        await self.say(*what)
        digits = ""
        while len(digits) < NUMBER_MAX and (not escape or digits != escape):
            pressed = await self.session.get_digits(1, "", KEY_TIMEOUT)
            if pressed in ("", "#"):
                break
            digits += pressed
        self.check()
        return digits

    async def pressed(self) -> str:
        """A key that was pressed already; "" where none was."""
        pressed = await self.session.get_digits(1, "", 1)
        self.check()
        return pressed

    async def choose(self, table: Mapping[str, str], *words: Any) -> str:
        """What the caller chooses from a menu, by its table.

        :raises GoodBye: for who presses nothing, or nothing that is in it, for the last time.
        """
        for _ in range(REPEATS):
            pressed = await self.key(*words)
            if pressed in table:
                return table[pressed]
            if pressed:
                await self.say("vm-sorry")
        raise GoodBye

    async def play(self, path: Path, within: Callable[[str], str | None] = lambda _: None) -> tuple[bool, str]:
        """Play a file: whether to its end, and the key that ended it.

        ``within`` says what a key does meanwhile, as the value of an input callback; None: it ends the file.
        """
        ended: list[str] = []

        def on_input(_session: Session, _kind: str, thing: object, _argument: object) -> str | None:
            if not isinstance(thing, Digit):
                return None
            if (value := within(thing.digit)) is None:
                ended.append(thing.digit)
                return "break"
            return value

        self.check()
        self.session.set_input_callback(on_input)
        try:
            whole = await self.session.stream_file(str(path))
        finally:
            self.session.unset_input_callback()
        return whole, "".join(ended)
