"""Fire an event and wait for the answer to it, but not for ever: ``strowger run poll``.

Whoever else is asked subscribes to ``CUSTOM ping::running?`` and fires ``ping::running!``.
"""

from media.script import script
from media.session import Event, EventConsumer, Stream

PATIENCE = 500
"Milliseconds."


@script("poll")
async def poll(stream: Stream) -> None:
    async with EventConsumer("CUSTOM", "ping::running!") as answers:
        event = Event("CUSTOM", "ping::running?")
        event.add_header("hi", "there")
        await event.fire()
        answer = await answers.pop(1, PATIENCE)
    stream.write("reply received\n" if answer else "no reply\n")
