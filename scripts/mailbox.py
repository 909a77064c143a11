"""Dial-in to mailboxes. The policy says ``box=1001`` for a number that leads to one box only; else it is the caller's
own, or the one that they name."""

from media.script import script
from media.session import Session
from media.speech import speaker
from media.voicemail import mailboxes
from media.voicemail.retrieval import own_box, retrieve


@script("mailbox")
async def mailbox(session: Session) -> None:
    boxes = mailboxes.current()
    await retrieve(session, boxes, speaker.current(), await own_box(session, boxes))
