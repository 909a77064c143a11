"""The call script of ``make run``: asks for digits, sends them back, speaks, and records.

``args``: what it says once it has the digits, with ``{digits}`` in their place. Edit it, and call 6000 again.
"""

from media.script import script
from media.session import Session, get_global_variable

PROMPT = "demo/enter-four-digits.wav"
BEEP = "tone_stream://%(640,0,1000)"


@script("first-call")
async def first_call(session: Session, args: str) -> None:
    await session.answer()
    digits = await session.play_and_get_digits(4, 4, 1, 5000, "#", PROMPT)
    if not digits:
        return
    await session.execute("send_dtmf", f"{digits}@100")
    await session.sleep(1000)
    session.set_tts_params("flite", "slt")
    await session.speak(args.replace("{digits}", ", ".join(digits)))
    await session.stream_file(BEEP)
    # Until there was silence for a second; nobody speaks for ever.
    await session.record_file(await recording(session), 30, 200, 1)


async def recording(session: Session) -> str:
    """A file named after the call's record, so that the two are found together."""
    name = session.handover.call if session.handover else session.uuid
    return f"{await get_global_variable('recordings_dir')}/{name}.wav"
