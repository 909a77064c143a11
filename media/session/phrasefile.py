"""Phrase macros from a YAML file: what is said for a name and a text; errors name file, line and field.

```yaml
phrases:
  new-messages:
    - match: "^0$"                      # the first whose pattern is found in the text counts; "" if there is none
      do:
        - play: vm-youhave              # a prompt's name, a file, a stream
        - play: vm-no
        - play: vm-messages
    - match: "^(\\\\d+)$"
      do:
        - {play: vm-youhave}
        - {say: number, of: "$1"}       # $1: what the first bracket matched
        - {speak: "new messages"}
        - {sleep: 200}                  # milliseconds
```
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from media import yamlfile
from media.session.errors import PhraseError
from media.session.outbound import Session
from media.speech import speaker
from media.speech.prompts import CATALOGUE
from media.speech.say import KINDS, SayError, say
from media.speech.speaker import Part, Text

Word = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
_GROUP = re.compile(r"\$(\d)")
_FILLED = re.compile(r"(?!\.)[\w+*#.-]*")

log = logging.getLogger(__name__)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ActionEntry(_Strict):
    """One thing that is done."""

    play: Word | None = None
    say: Word | None = None
    of: Word | None = None
    zone: Word = "UTC"
    speak: Word | None = None
    sleep: Annotated[int, Field(ge=1, le=60_000)] | None = None

    @model_validator(mode="after")
    def _one(self) -> ActionEntry:
        if sum(value is not None for value in (self.play, self.say, self.speak, self.sleep)) != 1:
            raise ValueError("one of play, say, speak and sleep")
        if (self.say is None) != (self.of is None):
            raise ValueError("say and of belong together: {say: number, of: $1}")
        if self.say is not None and self.say not in KINDS:
            raise ValueError(f"{self.say!r} is not said; {', '.join(KINDS)} are")
        return self


class InputEntry(_Strict):
    """What is done for texts in which a pattern is found."""

    match: str = ""
    do: Annotated[list[ActionEntry], Field(min_length=1)]

    @model_validator(mode="after")
    def _pattern(self) -> InputEntry:
        try:
            pattern = re.compile(self.match)
        except re.error as error:
            raise ValueError(f"match is no pattern: {error}") from None
        used = {int(group) for action in self.do for group in _GROUP.findall(f"{action.of}{action.speak}{action.play}")}
        if used and max(used) > pattern.groups:
            raise ValueError(f"${max(used)} stands for nothing: match has {pattern.groups} brackets")
        return self


class PhraseFile(_Strict):
    """The whole file."""

    phrases: Annotated[dict[Name, Annotated[list[InputEntry], Field(min_length=1)]], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Phrases:
    """The macros of a file."""

    macros: dict[str, list[InputEntry]]

    def __contains__(self, name: str) -> bool:
        return name in self.macros

    async def play(self, session: Session, name: str, data: str = "", *, digits: str = "any") -> bool:
        """Say the macro ``name`` for the text ``data``, as :meth:`Speaker.play` says things; False, too, where no
        pattern of it is found in ``data``.

        :raises PhraseError: there is no such macro. :raises SpeechError: it cannot be said.
        """
        parts = self.parts(name, data)
        if not parts:
            log.warning("no pattern of the phrase %r fits what it was given", name)
            return False
        return await speaker.current().play(session, *parts, digits=digits)

    def parts(self, name: str, data: str = "", *, now: datetime | None = None) -> tuple[Part, ...]:
        """What a speaker says for it; nothing where no pattern fits. Raises PhraseError, SayError."""
        if name not in self.macros:
            raise PhraseError(f"there is no phrase {name!r}")
        for entry in self.macros[name]:
            if found := re.search(entry.match, data):
                return tuple(_part(action, found, now or datetime.now(UTC)) for action in entry.do)
        return ()


def load_phrases(path: str | Path) -> Phrases:
    """The macros of a file; read where a script's module begins, an edited file counts for the next call.

    :raises PhraseError: naming file, line and field. :raises OSError: the file cannot be read.
    """
    try:
        return Phrases(yamlfile.checked(yamlfile.read(path), PhraseFile).phrases)
    except yamlfile.YamlError as error:
        raise PhraseError(str(error)) from None


def _part(action: ActionEntry, found: re.Match[str], now: datetime) -> Part:
    def filled(text: str) -> str:
        return _GROUP.sub(lambda group: found[int(group[1])] or "", text)

    def named(text: str) -> str:
        # What a caller's number or name holds is not to become another folder, or a stream that runs a program.
        if not all(_FILLED.fullmatch(found[int(group)] or "") for group in _GROUP.findall(text)):
            raise SayError("play: what stands for $1 in it is no part of a name: letters, digits, _ + * # - and .")
        return filled(text)

    if action.sleep is not None:
        return f"silence_stream://{action.sleep}"
    if action.speak is not None:
        return Text(filled(action.speak))
    if action.say is not None:
        return say(action.say, filled(action.of or ""), zone=filled(action.zone), now=now)
    return sound(named(action.play or ""))


def sound(name: str) -> Part:
    """A prompt's name or a stream as it is, anything else as a file."""
    return name if name in CATALOGUE or "://" in name else Path(name)
