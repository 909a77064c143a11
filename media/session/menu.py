"""IVR menus: what the caller is offered, and what each key does (M13); semantics of switch_ivr_menu.c."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, get_args

from media.session.errors import MenuError
from media.session.outbound import Session

Action = Literal[
    "menu-exit", "menu-sub", "menu-exec-app", "menu-say-phrase", "menu-play-sound", "menu-back", "menu-top"
]  # fmt: skip
WITH_ARGUMENT = ("menu-sub", "menu-exec-app", "menu-say-phrase", "menu-play-sound")
DEPTH_MAX = 12
"Menus within menus (switch_ivr_menu_execute)."
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

    Times are milliseconds. Sounds are what stream_file plays, or ``phrase:macro:data``, or ``say:text`` with
    ``tts_engine`` and ``tts_voice``. 0 stands for the default: 3 attempts, failures and timeouts, 10000 of ``timeout``,
    half of it for ``inter_timeout``. ``digit_len`` grows to the longest key bound. Keys are asked for again with
    ``confirm_macro``, a phrase macro that gets them, until ``confirm_key`` is pressed.

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


class Walk:
    """One caller on the way through menus; menus themselves are shared by all calls."""

    def __init__(self, session: Session, top: IVRMenu) -> None:
        self.session, self.top = session, top
        self.depth = 0
        self.to_top = False
        self.terminators = "#"

    async def run(self, menu: IVRMenu) -> bool:
        """Offer ``menu``; whether the one above goes on."""
        if self.depth == 0:
            self.terminators = await self.session.get_variable("ivr_menu_terminator") or "#"
        if self.depth >= DEPTH_MAX:
            raise MenuError(f"menu {menu.name!r}: more than {DEPTH_MAX} menus within menus")
        self.depth += 1
        try:
            await self.session.set_variable("ivr_menu_status", "success")
            going_on = await self._offer(menu)
            if self.depth == 1 and menu.exit_sound and self.session.ready():
                await self._sound(menu.exit_sound)
            return going_on
        finally:
            self.depth -= 1

    async def _offer(self, menu: IVRMenu) -> bool:
        failures = timeouts = 0
        sound = menu.greeting_sound
        while self.session.ready():
            if failures >= menu.max_failures or timeouts >= menu.max_timeouts:
                status = "failure" if failures >= menu.max_failures else "timeout"
                await self.session.set_variable("ivr_menu_status", status)
                return True
            await self._voice(menu)
            pressed, late = await self._ask(menu, sound)
            sound = menu.short_greeting_sound or menu.greeting_sound
            if late and not pressed:
                timeouts += 1
                continue
            result = await self._act(menu, pressed)
            if result == "long":
                sound = menu.greeting_sound
            elif result == "nothing":
                failures += 1
                if pressed and menu.invalid_sound:
                    await self._sound(menu.invalid_sound)
                continue
            elif result != "on":
                return result == "back"
            failures = 0
        return True

    async def _ask(self, menu: IVRMenu, sound: str) -> tuple[str, bool]:
        session = self.session
        if sound and not session._digits:
            await session._run_quietly(sound)
        if not session.ready():
            return "", False
        pressed, _, late = await session._collect(
            "", menu.digit_len, self._ends(menu), menu.timeout, menu.inter_timeout, menu.timeout
        )
        if menu.confirm_macro and pressed and not late and not await self._confirmed(menu, pressed):
            return "", False
        return pressed, late

    def _ends(self, menu: IVRMenu) -> str:
        # A key that is bound is a key, and does not end those before it.
        bound = {binding.keys for binding in menu.bindings}
        return "".join(key for key in self.terminators if key not in bound)

    async def _confirmed(self, menu: IVRMenu, pressed: str) -> bool:
        session = self.session
        for _ in range(menu.confirm_attempts):
            if not session._digits:
                session._terminated_by("any")
                await session._run("phrase", f"{menu.confirm_macro},{pressed}")
            key, _, _ = await session._collect("", 1, "", menu.timeout)
            if key or not session.ready():
                return key == menu.confirm_key
        return False

    async def _act(self, menu: IVRMenu, pressed: str) -> str:
        """Do all that is bound: "on", "long" (on, with the long greeting), "nothing", "back", "exit" or "top"."""
        result = "nothing"
        if not pressed:
            return result
        for binding in menu.bindings:
            argument = binding.argument_for(pressed)
            if argument is not None:
                result = await self._do(menu, binding.action, argument)
                if result not in ("on", "long"):
                    break
        return result

    async def _do(self, menu: IVRMenu, action: Action, argument: str) -> str:
        doing: dict[str, Callable[[IVRMenu, str], Awaitable[str]]] = {
            "menu-sub": self._sub, "menu-exec-app": self._app, "menu-play-sound": self._play,
            "menu-say-phrase": self._phrase, "menu-top": self._top,
        }  # fmt: skip
        if action == "menu-exit":
            return "exit"
        if action == "menu-back":
            return "back"
        return await doing[action](menu, argument)

    async def _sub(self, menu: IVRMenu, name: str) -> str:
        if name == menu.name:
            return "on"
        sub = self.top.menus.get(name)
        if sub is None:
            raise MenuError(f"menu {menu.name!r}: there is no menu {name!r}")
        going_on = await self.run(sub)
        if self.to_top and menu is not self.top:
            return "top"
        going_on = going_on or self.to_top
        self.to_top = False
        return "long" if going_on else "exit"

    async def _app(self, menu: IVRMenu, line: str) -> str:
        if menu.transfer_sound and line.split()[0] == "transfer":
            await self._sound(menu.transfer_sound)
        await self.session.execute_string(line)
        return "on"

    async def _play(self, menu: IVRMenu, sound: str) -> str:
        # A sound that is not there ends the menu, as in FreeSWITCH.
        return "on" if await self.session._play("playback", sound) else "exit"

    async def _phrase(self, menu: IVRMenu, argument: str) -> str:
        macro, _, data = argument.partition(",")
        return "on" if await self.session.say_phrase(macro, data) else "exit"

    async def _top(self, menu: IVRMenu, argument: str) -> str:
        if menu is not self.top:
            self.to_top = True
            return "top"
        return "on"

    async def _sound(self, sound: str) -> None:
        await self.session._run_quietly(sound)

    async def _voice(self, menu: IVRMenu) -> None:
        if menu.tts_engine and menu.tts_voice:
            self.session._set("tts_engine", menu.tts_engine)
            self.session._set("tts_voice", menu.tts_voice)


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
