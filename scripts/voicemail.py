"""Take a message for a mailbox: ``media: {app: voicemail}``, or with ``args: "box=1001"`` for one box alone."""

from media.script import script
from media.served import ServedSession
from media.speech import speaker
from media.voicemail import mailboxes
from media.voicemail.deposit import take_call
from media.voicemail.retrieval import retrieve


@script("voicemail")
async def voicemail(session: ServedSession) -> None:
    boxes, words = mailboxes.current(), speaker.current()
    await take_call(session, boxes, words, lambda box: retrieve(session, boxes, words, box))
