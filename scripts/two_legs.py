"""Call one party, then another, and connect the two: a call without a caller.

``args``: two dial strings, divided by a blank. ``strowger run two-legs sofia/gateway/fs1/9903 user/1001``
"""

from media.script import script
from media.session import Session, Stream, bridge, originate


@script("two-legs")
async def two_legs(stream: Stream, args: str) -> None:
    first, second = args.split()
    leg_a = await originate(first)
    if not await answered(leg_a, "A", stream):
        return
    leg_b = await originate(second, leg_a)
    # The first may have hung up while the second rang.
    if await answered(leg_b, "B", stream) and leg_a.ready():
        await bridge(leg_a, leg_b)
        stream.write("the two have talked\n")


async def answered(leg: Session, name: str, stream: Stream) -> bool:
    """Wait for an answer, and tell how that went."""
    if leg.ready():
        await leg.wait_for_answer()
    disposition = await leg.get_variable("endpoint_disposition") or leg.hangup_cause()
    stream.write(f"leg {name}: {disposition}\n")
    return leg.ready()
