"""Menus from a YAML file; errors name file, line and field.

```yaml
phrases: phrases.yaml            # if there are any: see phrasefile.py
menus:
  - name: main                   # the first is the top menu, all others are below it
    greeting_sound: ivr/welcome.wav
    invalid_sound: ivr/invalid.wav
    timeout: 5000
    actions:
      - {press: "1", do: menu-sub, with: sales}
      - {press: "/^(1\\\\d\\\\d\\\\d)$/", do: menu-exec-app, with: "transfer $1 XML default"}
      - {press: "*", do: menu-exit}
  - name: sales
    ...
```
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from media import yamlfile
from media.session.errors import MenuError
from media.session.menu import Action, IVRMenu
from media.session.phrasefile import load_phrases
from media.yamlfile import Document

Word = Annotated[str, StringConstraints(min_length=1)]
Ms = Annotated[int, Field(ge=0, le=3_600_000)]
Count = Annotated[int, Field(ge=0, le=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class ActionEntry(_Strict):
    """One key, or pattern, and what it does."""

    press: Word
    do: Action
    argument: str = Field(default="", alias="with")


class MenuEntry(_Strict):
    """One menu; fields as the arguments of :class:`IVRMenu`."""

    name: Word
    greeting_sound: str = ""
    short_greeting_sound: str = ""
    invalid_sound: str = ""
    exit_sound: str = ""
    transfer_sound: str = ""
    confirm_macro: str = ""
    confirm_key: str = ""
    tts_engine: str = ""
    tts_voice: str = ""
    confirm_attempts: Count = 0
    inter_timeout: Ms = 0
    digit_len: Annotated[int, Field(ge=1, le=128)] = 1
    timeout: Ms = 0
    max_failures: Count = 0
    max_timeouts: Count = 0
    actions: list[ActionEntry] = []


class MenuFile(_Strict):
    """The whole file."""

    menus: Annotated[list[MenuEntry], Field(min_length=1)]
    phrases: str = ""
    "A file of phrases beside this one; those that are not in it are the switch's."


def load_menus(path: str | Path) -> IVRMenu:
    """The top menu of a file, all others below it; read anew each time, so an edited file counts for the next call.

    :raises MenuError: naming file, line and field. :raises PhraseError: the same of its phrases.
    :raises OSError: a file cannot be read.
    """
    try:
        document = yamlfile.read(path)
        file = yamlfile.checked(document, MenuFile)
    except yamlfile.YamlError as error:
        raise MenuError(str(error)) from None
    top = _built(file, document)
    if file.phrases:
        top.phrases = load_phrases(Path(path).parent / file.phrases)
    return top


def _built(file: MenuFile, document: Document) -> IVRMenu:
    top: IVRMenu | None = None
    for number, entry in enumerate(file.menus):
        try:
            menu = IVRMenu(top, **entry.model_dump(exclude={"actions"}))
        except MenuError as error:
            raise MenuError(document.at(("menus", number, "name"), str(error))) from None
        top = top or menu
        for place, action in enumerate(entry.actions):
            try:
                menu.bind_action(action.do, action.argument or None, action.press)
            except MenuError as error:
                raise MenuError(document.at(("menus", number, "actions", place), str(error))) from None
    assert top is not None
    _check_subs(file, document, top)
    return top


def _check_subs(file: MenuFile, document: Document, top: IVRMenu) -> None:
    for number, entry in enumerate(file.menus):
        for place, action in enumerate(entry.actions):
            if action.do == "menu-sub" and action.argument not in top.menus:
                where = ("menus", number, "actions", place, "with")
                raise MenuError(document.at(where, f"there is no menu {action.argument!r}"))
