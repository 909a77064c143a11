"""Call out over two gateways in turn, again as long as the hangup cause speaks of the gateway and not of the callee.

``args``: the dial strings, divided by blanks, such as
``sofia/gateway/first/02079460000 sofia/gateway/second/02079460000``.
"""

from media.script import script
from media.session import Session, bridge, console_log, retry_over_gateways

MAX_TRIES = 3
AGAIN_AFTER = (
    "NO_ROUTE_DESTINATION",
    "RECOVERY_ON_TIMER_EXPIRE",
    "INCOMPATIBLE_DESTINATION",
    "CALL_REJECTED",
    "NORMAL_TEMPORARY_FAILURE",
)


@script("retry")
async def retry(session: Session, args: str) -> None:
    leg = await retry_over_gateways(args.split(), MAX_TRIES, AGAIN_AFTER, other=session)
    if isinstance(leg, str):
        console_log("notice", f"no gateway took the call, the last one said {leg}")
        await session.hangup(leg)
        return
    await session.answer()
    await bridge(session, leg)
