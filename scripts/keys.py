"""Play until a key is pressed: an input callback, called while something plays, says whether to go on."""

from typing import Any

from media.script import script
from media.session import Session


@script("keys", numbers=("5002",))
async def keys(session: Session) -> None:
    await session.answer()
    session.set_input_callback(pressed, "to the end")
    played = await session.stream_file("ivr/ivr-welcome_to_freeswitch.wav")
    session.unset_input_callback()
    await session.set_variable("keys_result", "heard" if played else "interrupted")


def pressed(session: Session, kind: str, what: Any, arg: str) -> str | None:
    """``#`` interrupts, 0 plays from the beginning, any other key and any event lets it play on."""
    if kind != "dtmf":
        return None
    # What callers press may be a card's number: it stands in no log.
    session.console_log("info", f"a key was pressed while something played {arg}")
    return {"#": "break", "0": "restart"}.get(what["digit"])
