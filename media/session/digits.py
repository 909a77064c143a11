"""What the caller presses (M6)."""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache

from media.session.core import terminated_by
from media.session.playing import Playing
from media.session.state import refuse_ahead

SETTINGS_LIMIT = 128
"Digits that one command takes at most (dtmf_buf of switch_cpp.h)."


@lru_cache(maxsize=256)
def _pattern(regex: str) -> re.Pattern[str]:
    return re.compile(regex)


class Digits(Playing):
    """get_digits, read, play_and_get_digits; all times in milliseconds.

    Digits that came before, between two commands or while something played, come first. With the channel variable
    ``sensitive_dtmf`` the switch tells nobody of digits: then only ``execute("play_and_get_digits", ...)`` sees them.
    """

    __slots__ = ()

    def hide_digits(self, hidden: bool = True) -> None:
        """From now on no event says which keys are pressed, whatever the settings; before a PIN is asked for."""
        self._hidden = hidden

    async def get_digits(
        self, max_digits: int, terminators: str = "", timeout: int = 0, interdigit: int = 0, absolute: int = 0
    ) -> str:
        """Up to ``max_digits`` digits; what there is when time is up. The terminator is not among them.

        ``timeout``: for the first digit, and for each that follows unless ``interdigit`` says otherwise; ``absolute``:
        for all of them. 0: no such limit. Input callbacks do not run meanwhile.
        """
        if not await self._listening("get_digits"):
            return ""
        digits, _, _ = await self._collect("", max_digits, terminators, timeout, interdigit, absolute)
        await self._hang_up_hook()
        return digits

    async def collect_digits(self, digit_timeout: int, absolute: int | None = None) -> None:
        """Give digits to the input callback, until it stops that or time is up.

        ``collect_digits(ms)``: all together; ``collect_digits(digit_ms, ms)``: between two digits, and all together.
        """
        if absolute is None:
            digit_timeout, absolute = 0, digit_timeout
        if await self._listening("collect_digits"):
            await self._listen_for(absolute / 1000 if absolute > 0 else None, digit_timeout / 1000 or None)
            await self._hang_up_hook()

    async def read(
        self, min_digits: int, max_digits: int, prompt: str, timeout: int, terminators: str, digit_timeout: int = 0
    ) -> str:
        """Play ``prompt`` until the first digit, then collect; what was pressed, even if it is too little.

        As in FreeSWITCH (switch_ivr_read) the variable ``read_result`` says "success", "timeout" or "failure", and
        ``read_terminator_used`` which terminator ended it. A terminator written ``+#`` is added to the digits;
        terminators that begin with ``=`` are required.
        """
        if not await self._listening("read"):
            return ""
        digits, _ = await self._read(
            max(min_digits, 1), max(max_digits, 1), prompt, max(timeout, 1), terminators, digit_timeout
        )
        await self._hang_up_hook()
        return digits

    async def play_and_get_digits(
        self,
        min_digits: int,
        max_digits: int,
        max_attempts: int,
        timeout: int,
        terminators: str,
        prompt: str,
        invalid: str = "",
        regex: str = "",
        variable: str = "",
        digit_timeout: int = 0,
        transfer_on_failure: str = "",
    ) -> str:
        """Ask up to ``max_attempts`` times for digits in which ``regex`` is found; "" when none came.

        ``invalid`` is played after each attempt that failed, and digits pressed meanwhile are discarded. ``variable``:
        a channel variable that gets the digits, ``<variable>_invalid`` those that did not fit; what both had before is
        removed. ``transfer_on_failure``: "extension [dialplan [context]]".

        :raises re.error: for a regex that is none.
        """
        if not await self._listening("play_and_get_digits"):
            return ""
        fits = _pattern(regex) if regex else None
        if variable:
            self._set(variable, None)
            self._set(f"{variable}_invalid", None)
        for _ in range(max_attempts):
            digits, result = await self._read(min_digits, max_digits, prompt, timeout, terminators, digit_timeout)
            if not self.ready():
                break
            enough = result == "success" or (result == "timeout" and len(digits) >= min_digits)
            if not digits and min_digits == 0 and result == "success":
                return ""
            if enough and digits and (fits is None or fits.search(digits)):
                if variable:
                    self._set(variable, digits)
                return digits
            if enough and digits and variable:
                self._set(f"{variable}_invalid", digits)
            await self._complain(invalid)
        if transfer_on_failure and self.ready():
            await self.transfer(*transfer_on_failure.split()[:3])
        await self._hang_up_hook()
        return ""

    async def flush_digits(self) -> None:
        """Forget digits that were pressed and not read."""
        self._digits.clear()
        await self._asked("uuid_flush_dtmf", self.uuid)
        self._digits.clear()

    def flush_events(self) -> None:
        """Forget events that no input callback was given yet."""
        self._inputs.clear()

    # Below

    async def _listening(self, name: str) -> bool:
        refuse_ahead(self, name)
        if not self.ready():
            await self._hang_up_hook()
            return False
        self._prepare()
        return True

    async def _read(
        self, least: int, most: int, prompt: str, timeout: int, terminators: str, digit_timeout: int
    ) -> tuple[str, str]:
        """switch_ivr_read: the digits, and "success", "timeout", "failure"."""
        first = ""
        if prompt and prompt.lower() != "silence" and not self._digits:
            await self._run_quietly(prompt)
        if self._digits:
            # The digit that stops the prompt counts as pressed in time, but it may be a terminator too.
            first = "" if self._digits[0].digit in terminators else self._digits.popleft().digit
        digits, terminator, late = await self._collect(
            first, max(most, least), terminators, digit_timeout if first and digit_timeout else timeout, digit_timeout
        )
        if terminator:
            self._keep("read_terminator_used", terminator)
            if terminators.find("+" + terminator) >= 0:
                digits += terminator
        result = "timeout" if late else "success"
        if len(digits) < least or (terminators.startswith("=") and not terminator):
            result = "failure"
        self._keep("read_result", result)
        return digits, result

    async def _collect(
        self, digits: str, most: int, terminators: str, timeout: int, interdigit: int = 0, absolute: int = 0
    ) -> tuple[str, str, bool]:
        """switch_ivr_collect_digits_count: digits, the terminator that ended it, and whether time was up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + absolute / 1000 if absolute > 0 else None
        wait = timeout or interdigit
        most = min(most, SETTINGS_LIMIT)
        while len(digits) < most:
            digit = await self._next_digit(wait, end)
            if digit is None:
                return digits, "", True
            if digit in terminators:
                return digits, digit, False
            digits += digit
            wait = interdigit or timeout
        return digits, "", False

    async def _next_digit(self, ms: int, end: float | None) -> str | None:
        loop = asyncio.get_running_loop()
        late = loop.time() + ms / 1000 if ms > 0 else None
        until = min((at for at in (late, end) if at is not None), default=None)
        while not self._digits:
            if not self.ready() or (until is not None and until <= loop.time()):
                return None
            await self._input_or(None if until is None else until - loop.time())
        return self._digits.popleft().digit

    async def _run_quietly(self, prompt: str) -> None:
        """A prompt that the first digit stops, in the switch itself; callbacks do not run meanwhile."""
        await self._run("playback", terminated_by("any", prompt))

    async def _complain(self, invalid: str) -> None:
        if invalid:
            await self._run("playback", terminated_by("none", invalid))
            self._digits.clear()
