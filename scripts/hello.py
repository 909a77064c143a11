"""The shortest of all: what it writes is the reply, on the command line, in a dialplan and over HTTP."""

from media.script import script
from media.session import Stream


@script("hello", http=True)
async def hello(stream: Stream) -> None:
    stream.write("hello world")
