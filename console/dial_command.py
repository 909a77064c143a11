"""`strowger dial`: a call from this machine, and what became of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.explain_command import describe
from console.output import CommandFailed, out
from model.settings import Settings
from operations.records import past_call

if TYPE_CHECKING:
    from console.phone import PhoneCall

RINGING = 60.0
"Seconds after which nobody is waited for any more."
PAUSE = 1.0
"Seconds between the answer and the first digit, and what is heard at the least."


@dataclass(slots=True)
class Dialled:
    """What the phone saw of its call."""

    call_id: str = ""
    answered: float = -1.0
    "After how many seconds; negative: not."
    heard: float = 0.0
    "Seconds of sound."
    ended: str = ""
    "Cause of the end, where the other side made it."
    began: float = field(default_factory=time.monotonic)


def dial(
    number: Annotated[str, typer.Argument(help="The number, as a caller dials it.")],
    caller: Annotated[str, typer.Option("--from", help="Who calls.")] = "1001",
    press: Annotated[str, typer.Option(help="Digits that are pressed a second after the answer.")] = "",
    seconds: Annotated[float, typer.Option(min=0.1, max=3600.0, help="After how long the caller hangs up.")] = 5.0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="WAV file for what was heard.")] = None,
) -> None:
    """Call a number at this node from 127.0.0.1, and tell how the call was decided and what was heard."""
    # See console/switch.py.
    from devswitch.audio import wav

    settings, dialled = Settings.from_env(), Dialled()
    address = next((one for one in settings.sip_addresses if ":" not in one), "")
    if not address:
        raise CommandFailed("this node has no IPv4 address, and the phone has no other")
    made = asyncio.run(_call(number.replace(" ", ""), (address, settings.sip_port), caller, press, seconds, dialled))
    for event in past_call(settings.spool, dialled.call_id):
        if event["event"] in ("decided", "failed"):
            for line in describe(event):
                out.print(line, markup=False)
    if output:
        wav.write(output, made.heard(0))
    if dialled.answered < 0:
        raise CommandFailed(f"not answered: {dialled.ended}")
    end = f"the other side hung up, {dialled.ended}" if dialled.ended else "then the caller hung up"
    out.print(f"answered after {dialled.answered:.1f} s; {dialled.heard:.1f} s of sound were heard; {end}")


async def _call(
    number: str, server: tuple[str, int], caller: str, press: str, seconds: float, dialled: Dialled
) -> PhoneCall:
    from console import phone
    from devswitch.leg import LegEnded

    async with phone.call(number, server, caller=caller) as made:
        dialled.call_id = made.call_id
        try:
            async with asyncio.timeout(RINGING):
                await made.answered()
            dialled.answered = time.monotonic() - dialled.began
            async with asyncio.timeout(seconds):
                if press:
                    await asyncio.sleep(PAUSE)
                    await made.press(press)
                dialled.ended = await made.ended()
        except LegEnded as end:
            dialled.ended = end.cause
        except TimeoutError:
            dialled.ended = "" if dialled.answered >= 0 else f"it still rang after {RINGING:.0f} s"
            await made.hang_up()
        dialled.heard = made.sound(0)
        return made
