"""A caller on the way through menus, as switch_ivr_menu_execute() of switch_ivr_menu.c leads him."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from media.session.core import terminated_by
from media.session.errors import MenuError
from media.session.outbound import Session
from media.session.state import literal
from media.speech import speaker
from media.speech.errors import SpeechError
from media.speech.prompts import CATALOGUE
from media.speech.speaker import Part, Text

if TYPE_CHECKING:
    from media.session.menu import Action, IVRMenu

log = logging.getLogger(__name__)

DEPTH_MAX = 12
"Menus within menus."


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
                await self._sound(menu, menu.exit_sound)
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
                    await self._sound(menu, menu.invalid_sound)
                continue
            elif result != "on":
                return result == "back"
            failures = 0
        return True

    async def _ask(self, menu: IVRMenu, sound: str) -> tuple[str, bool]:
        session = self.session
        if sound and not session._digits:
            await self._sound(menu, sound)
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
                await self._confirm(menu, pressed)
            key, _, _ = await session._collect("", 1, "", menu.timeout)
            if key or not session.ready():
                return key == menu.confirm_key
        return False

    async def _confirm(self, menu: IVRMenu, pressed: str) -> None:
        phrase = f"phrase:{menu.confirm_macro}:{pressed}"
        if (line := await self._line(menu, phrase)) != phrase:
            await self.session._run_quietly(line)
        else:
            await self.session._run("phrase", terminated_by("any", f"{menu.confirm_macro},{pressed}"))

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
            await self._sound(menu, menu.transfer_sound)
        await self.session.execute_string(line)
        return "on"

    async def _play(self, menu: IVRMenu, sound: str) -> str:
        # A sound that is not there ends the menu, as in FreeSWITCH.
        return "on" if await self.session._play("playback", await self._line(menu, sound)) else "exit"

    async def _phrase(self, menu: IVRMenu, argument: str) -> str:
        macro, _, data = argument.partition(",")
        phrase = f"phrase:{macro}:{data}"
        if (line := await self._line(menu, phrase)) != phrase:
            return "on" if await self.session._play("playback", line) else "exit"
        return "on" if await self.session.say_phrase(macro, data) else "exit"

    async def _top(self, menu: IVRMenu, argument: str) -> str:
        if menu is not self.top:
            self.to_top = True
            return "top"
        return "on"

    async def _sound(self, menu: IVRMenu, sound: str) -> None:
        await self.session._run_quietly(await self._line(menu, sound))

    async def _line(self, menu: IVRMenu, sound: str) -> str:
        """What the switch is to play for a sound: a file of ours, or the sound as it is."""
        worker = speaker.known()
        if worker is None:
            return sound
        try:
            if not (parts := self._parts(sound)):
                return sound
            if isinstance(parts, Text) and menu.tts_engine:
                if not worker.speech.has(menu.tts_engine):
                    return sound
                render = worker.speech.render
                return str(await render(parts.words, engine=menu.tts_engine, voice=menu.tts_voice))
            lines = await worker.lines(parts)
        except SpeechError as error:
            log.warning("menu %r: the worker cannot say a sound, the switch shall: %s", menu.name, error)
            return sound
        return literal(lines[0]) if len(lines) == 1 else sound

    def _parts(self, sound: str) -> Part:
        """What a speaker says for a sound; () where that is the switch's."""
        kind, _, rest = sound.partition(":")
        phrases = self.top.phrases
        if kind == "say":
            return Text(rest)
        if kind == "phrase" and phrases and (name := rest.partition(":")[0]) in phrases:
            return phrases.parts(name, rest.partition(":")[2])
        return sound if sound in CATALOGUE else ()

    async def _voice(self, menu: IVRMenu) -> None:
        if menu.tts_engine and menu.tts_voice:
            self.session._set("tts_engine", menu.tts_engine)
            self.session._set("tts_voice", menu.tts_voice)
