"""Connect the call, and write down both sides while they talk; ``args``: a dial string, as user/1001.

Whoever wants the text has an ``EventConsumer("CUSTOM", "strowger::transcript")``; see docs/transcription.md.
"""

from media.script import script
from media.session import Session
from media.transcription.live import live


@script("captions")
async def captions(session: Session, args: str) -> None:
    await session.answer()
    async with live(session):
        await session.execute("bridge", args)
