"""Answer, play a prompt, hang up. The call ends with its script, so the last line could be left out."""

from media.script import script
from media.session import Session


@script("welcome", numbers=("5000",))
async def welcome(session: Session) -> None:
    await session.answer()
    await session.stream_file("ivr/ivr-welcome_to_freeswitch.wav")
    await session.hangup()
