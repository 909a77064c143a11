"""Switch the lamp of a phone on or off: ``strowger run mwi 1002@example.net on``."""

from media.script import script
from media.session import Event, Stream


@script("mwi")
async def mwi(stream: Stream, args: str) -> None:
    account, _, state = args.partition(" ")
    if state not in ("on", "off"):
        stream.write("mwi ACCOUNT on|off\n")
        return
    event = Event("message_waiting")
    event.add_header("MWI-Messages-Waiting", "yes" if state == "on" else "no")
    event.add_header("MWI-Message-Account", f"sip:{account}")
    await event.fire()
    stream.write(f"the lamp of {account} is {state}\n")
