"""Menus from a YAML file; errors name the file and the field.

```yaml
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
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from media.session.errors import MenuError
from media.session.menu import Action, IVRMenu

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


def load_menus(path: str | Path) -> IVRMenu:
    """The top menu of a file, all others below it; read anew each time, so an edited file counts for the next call.

    :raises MenuError: naming the file and the field.
    :raises OSError: the file cannot be read.
    """
    try:
        return _built(MenuFile.model_validate(yaml.safe_load(Path(path).read_text(encoding="utf-8"))))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MenuError(f"{path}: {error}") from None
    except ValidationError as error:
        raise MenuError("\n".join(f"{path}: {_field(one)}" for one in error.errors())) from None
    except MenuError as error:
        raise MenuError(f"{path}: {error}") from None


def _built(file: MenuFile) -> IVRMenu:
    top: IVRMenu | None = None
    for number, entry in enumerate(file.menus):
        try:
            menu = IVRMenu(top, **entry.model_dump(exclude={"actions"}))
        except MenuError as error:
            raise MenuError(f"menus[{number}].name: {error}") from None
        top = top or menu
        for place, action in enumerate(entry.actions):
            _bind(menu, action, f"menus[{number}].actions[{place}]")
    assert top is not None
    _check_subs(file, top)
    return top


def _bind(menu: IVRMenu, action: ActionEntry, where: str) -> None:
    try:
        menu.bind_action(action.do, action.argument or None, action.press)
    except MenuError as error:
        raise MenuError(f"{where}: {error}") from None


def _check_subs(file: MenuFile, top: IVRMenu) -> None:
    for number, entry in enumerate(file.menus):
        for place, action in enumerate(entry.actions):
            if action.do == "menu-sub" and action.argument not in top.menus:
                raise MenuError(f"menus[{number}].actions[{place}].with: there is no menu {action.argument!r}")


def _field(error: Any) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"]).lstrip(".")
    hint = " (write it in quotes)" if error["type"] == "string_type" else ""
    return f"{place or 'the file'}: {error['msg']}{hint}"
