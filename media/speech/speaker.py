"""What is said to a call: prompts by name, free text, files; as one, which a digit stops."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from media.speech.errors import SpeechError
from media.speech.prompts import BEEP, Sounds, text
from media.speech.speech import Speech
from model.settings import Settings

if TYPE_CHECKING:
    from media.session.outbound import Session

log = logging.getLogger(__name__)

LONGEST = 100
"Files that one playback takes: file_string:// of mod_dptools.c has room for 128."


@dataclass(frozen=True, slots=True)
class Text:
    """Words that are not in the catalogue: these are spoken by an engine, always."""

    words: str


Part = Union[str, Text, Path, "Sequence[Part]"]
"""What can be said: the name of a prompt, a stream such as ``silence_stream://500``, words, a file on the switch's
disk, and any number of these in a row, as :mod:`media.speech.say` makes them."""


class Speaker:
    """Says things, with recorded prompts where there are all of those in a row, else by an engine."""

    def __init__(self, speech: Speech, sounds: Path | None = None, language: str = "en") -> None:
        """``language`` is that of the catalogue; there is English only."""
        if language != "en":
            raise SpeechError(f"prompts are there in en, not in {language!r}")
        self.speech, self.sounds = speech, Sounds(sounds)
        self.switch_has_prompts: bool | None = None
        "Whether the worker's switch has recordings of its own; None: nobody asked it yet."

    @classmethod
    def of(cls, settings: Settings) -> Speaker:
        """As the settings say. Raises :class:`~media.speech.errors.SpeechError`."""
        return cls(Speech.of(settings), settings.sounds)

    async def play(self, session: Session, *what: Part, digits: str = "any") -> bool:
        """Say all of it as one; True when it was heard to its end.

        One of ``digits`` ("any", "none", or those that stand there) stops it, and is kept for the next
        ``get_digits``; so is what was pressed before, and then nothing is said. Other digits are kept, too.

        :raises SpeechError: it cannot be said; nothing was played then.
        """
        # Nothing is rendered for who does not wait for it.
        if session.digit_waits(digits) or not session.ready():
            return False
        for line in await self.lines(*what, rate=_rate(session)):
            if not await session.play_until(line, digits):
                return False
        return True

    say = play

    async def files(self, *what: Part, rate: int = 8000) -> list[str]:
        """What the switch plays for it, in order: files, and streams. Raises SpeechError."""
        files: list[str] = []
        for run in _runs(_flat(what)):
            files.append(await self._run(run, rate) if isinstance(run, list) else str(run))
        return files

    async def lines(self, *what: Part, rate: int = 8000) -> list[str]:
        """The same as arguments of the application `playback`: one, but for very many files, or one with a ! in it."""
        return list(_lines(await self.files(*what, rate=rate)))

    async def _run(self, run: list[str | Text], rate: int) -> str:
        names = [part for part in run if isinstance(part, str)]
        recorded = self.sounds.all(names) if len(names) == len(run) else None
        if recorded:
            try:
                return str(await self.speech.join(recorded, rate=rate))
            except SpeechError as error:
                log.warning("spoken by machine, as there is something wrong with the recordings: %s", error)
        words = " ".join(text(part) if isinstance(part, str) else part.words for part in run)
        return BEEP if run == ["beep"] else str(await self.speech.render(words, rate=rate))


def _flat(what: Sequence[Part]) -> Iterator[str | Text | Path]:
    for part in what:
        if isinstance(part, str | Text | Path):
            yield part
        else:
            yield from _flat(part)


def _runs(parts: Iterator[str | Text | Path]) -> Iterator[Path | str | list[str | Text]]:
    """Streams and files as they are; what stands in a row of prompts and words, together."""
    run: list[str | Text] = []
    for part in parts:
        if isinstance(part, Text) or (isinstance(part, str) and "://" not in part and text(part)):
            run.append(part)
            continue
        if run:
            yield run
            run = []
        # A sound that has no words cannot be spoken with those around it.
        yield [part] if isinstance(part, str) and "://" not in part else part
    if run:
        yield run


def _lines(files: list[str]) -> Iterator[str]:
    if any("!" in file for file in files):
        yield from files
        return
    for at in range(0, len(files), LONGEST):
        some = files[at : at + LONGEST]
        yield some[0] if len(some) == 1 else "file_string://" + "!".join(some)


def _rate(session: Session) -> int:
    wide = int(session.channel.get("Channel-Read-Codec-Rate") or 8000) >= 16000
    return 16000 if wide else 8000


_speaker: ContextVar[Speaker | None] = ContextVar("speaker", default=None)


def use(speaker: Speaker | None) -> None:
    """For what runs in this context from now on, and in tasks made by it."""
    _speaker.set(speaker)


def current() -> Speaker:
    """The worker's. Raises :class:`SpeechError` where no worker runs this."""
    if (speaker := _speaker.get()) is None:
        raise SpeechError("no worker runs this, so there is nobody to speak")
    return speaker


def known() -> Speaker | None:
    """The worker's, if one runs this."""
    return _speaker.get()
