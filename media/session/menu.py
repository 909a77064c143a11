"""IVR menus: what is offered, and what each key does (M13); how a caller goes through them is in menuwalk.py."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from media.session.errors import MenuError
from media.session.menuwalk import Walk
from media.session.outbound import Session
from media.session.phrasefile import Phrases

Action = Literal[
    "menu-exit", "menu-sub", "menu-exec-app", "menu-say-phrase", "menu-play-sound", "menu-back", "menu-top"
]  # fmt: skip
WITH_ARGUMENT = ("menu-sub", "menu-exec-app", "menu-say-phrase", "menu-play-sound")
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
_GROUP = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Binding:
    """What a key, or keys that a pattern matches, does."""

    action: Action
    argument: str
    keys: str
    pattern: re.Pattern[str] | None

    def argument_for(self, pressed: str) -> str | None:
        """None where ``pressed`` is not bound by this; groups of the pattern stand for $1, $2, ..."""
        if self.pattern is None:
            return self.argument if pressed == self.keys else None
        if not (found := self.pattern.search(pressed)):
            return None
        return _GROUP.sub(lambda group: _group(found, int(group[1])), self.argument)


class IVRMenu:
    """A menu; ``main`` is the top one, of which this is a sub-menu.

    Times are milliseconds. Sounds are what stream_file plays, or a prompt's name, or ``phrase:macro:data``, or
    ``say:text``, by ``tts_engine`` and ``tts_voice`` or else by the worker's engine. 0 stands for the default: 3
    attempts, failures and timeouts, 10000 of ``timeout``, half of it for ``inter_timeout``. ``digit_len`` grows to the
    longest key bound. Keys are asked for again with ``confirm_macro``, a phrase macro that gets them, until
    ``confirm_key`` is pressed.

    :raises MenuError: for two menus of one name, or a confirm_macro without confirm_key.
    """

    def __init__(
        self,
        main: IVRMenu | None,
        name: str | None,
        greeting_sound: str | None = None,
        short_greeting_sound: str | None = None,
        invalid_sound: str | None = None,
        exit_sound: str | None = None,
        transfer_sound: str | None = None,
        confirm_key: str | None = None,
        tts_engine: str | None = None,
        tts_voice: str | None = None,
        confirm_attempts: int = 0,
        inter_timeout: int = 0,
        digit_len: int = 1,
        timeout: int = 0,
        max_failures: int = 0,
        max_timeouts: int = 0,
        *,
        confirm_macro: str | None = None,
    ) -> None:
        self.name = name or "no name"
        self.greeting_sound, self.short_greeting_sound = greeting_sound or "", short_greeting_sound or ""
        self.invalid_sound, self.exit_sound = invalid_sound or "", exit_sound or ""
        self.transfer_sound = transfer_sound or ""
        self.confirm_macro, self.confirm_key = confirm_macro or "", confirm_key or ""
        self.tts_engine, self.tts_voice = tts_engine or "", tts_voice or ""
        self.confirm_attempts = confirm_attempts or 3
        self.timeout = timeout if timeout > 0 else 10000
        self.inter_timeout = inter_timeout or self.timeout // 2
        self.digit_len = digit_len
        self.max_failures = max_failures if max_failures > 0 else 3
        self.max_timeouts = max_timeouts if max_timeouts > 0 else 3
        self.bindings: list[Binding] = []
        self.top: IVRMenu = main.top if main else self
        self.phrases: Phrases | None = None
        "Macros that go before the switch's; those of the top menu count."
        self.menus: dict[str, IVRMenu] = {} if main is None else self.top.menus
        if self.confirm_macro and not self.confirm_key:
            raise MenuError(f"menu {self.name!r}: confirm_macro without confirm_key would confirm nothing")
        if self.name in self.menus:
            raise MenuError(f"there are two menus {self.name!r}")
        self.menus[self.name] = self

    def bind_action(self, action: str, argument: str | None, keys: str) -> None:
        """Bind ``keys``, or a pattern as ``/^1(\\d)$/``, to one of the seven actions.

        "menu-exec-app" takes an application and its data; "menu-sub" a menu's name; "menu-play-sound" a sound;
        "menu-say-phrase" ``macro[,data]``; menu-exit, menu-back and menu-top nothing.

        :raises MenuError: for another action, a missing argument, or a pattern that is none.
        """
        where = f"menu {self.name!r}, keys {keys!r}"
        if action not in get_args(Action):
            raise MenuError(f"{where}: {action!r} is no action; there are {', '.join(get_args(Action))}")
        if action in WITH_ARGUMENT and not argument:
            raise MenuError(f"{where}: {action} needs an argument")
        if not keys:
            raise MenuError(f"{where}: no keys")
        pattern = _pattern(where, keys) if keys.startswith("/") else None
        if pattern is None:
            self.digit_len = max(self.digit_len, len(keys))
        self.bindings.append(Binding(action, argument or "", keys, pattern))  # type: ignore[arg-type]

    async def execute(self, session: Session, name: str | None = None) -> bool:
        """Offer the menu named ``name`` (default: this one) until it is left; False for an exit or an error.

        Leaves ``ivr_menu_status`` on the call: success, failure or timeout.

        :raises MenuError: where there is no such menu.
        """
        menu = self.menus.get(name or self.name)
        if menu is None:
            raise MenuError(f"there is no menu {name!r}")
        return await Walk(session, self.top).run(menu)


def _pattern(where: str, keys: str) -> re.Pattern[str]:
    body, slash, flags = keys[1:].rpartition("/")
    if not slash or any(flag not in _FLAGS for flag in flags):
        raise MenuError(f"{where}: a pattern stands between slashes: /^1\\d$/")
    try:
        return re.compile(body, sum(_FLAGS[flag] for flag in set(flags)))
    except re.error as error:
        raise MenuError(f"{where}: not a pattern: {error}") from None


def _group(found: re.Match[str], number: int) -> str:
    return (found[number] or "") if number <= (found.re.groups or 0) else ""
