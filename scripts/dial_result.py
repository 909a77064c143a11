"""A custom event with a body, for whoever counts what became of calls.

``strowger run dial-result 1234 AA 10 7777777``: record, disposition, campaign, number.
"""

from media.script import script
from media.session import Event, Stream

FIELDS = ("dial_record_id", "call_disposition", "campaign_number", "called_number")


@script("dial-result")
async def dial_result(stream: Stream, args: str) -> None:
    event = Event("custom", "dial::dial-result")
    event.add_body("".join(f"{name}: {value}\n" for name, value in zip(FIELDS, args.split(), strict=False)))
    await event.fire()
    stream.write(f"{event.get_type()} is fired\n")
