"""The call scripts that are measured; those of mod_lua in ../lua do the same."""

from media.script import script
from media.session import Session

TONE = "tone_stream://%(200,0,440)"
PROMPT = "tone_stream://%(400,0,350)"
TALK = "tone_stream://%(1000,0,350)"


@script("ahead", ahead=True)
async def ahead(session: Session) -> None:
    """Nothing is waited for."""
    await session.answer()
    await session.stream_file(TONE)
    await session.hangup()


@script("ordinary")
async def ordinary(session: Session) -> None:
    """The same, one command after the other."""
    await session.answer()
    await session.stream_file(TONE)
    await session.hangup()


@script("ivr")
async def ivr(session: Session) -> None:
    """A prompt, a digit, a recording."""
    await session.answer()
    digits = await session.play_and_get_digits(1, 1, 1, 3000, "#", PROMPT, "silence_stream://10", r"\d")
    if digits == "1":
        await session.record_file(f"{session.script_args}/{session.uuid}.wav", 1)
        await session.hangup()
    else:
        await session.hangup("INVALID_NUMBER_FORMAT")


@script("talk")
async def talk(session: Session) -> None:
    """As many prompts of a second as the arguments say."""
    await session.answer()
    for _ in range(int(session.script_args)):
        await session.stream_file(TALK)
    await session.hangup()
