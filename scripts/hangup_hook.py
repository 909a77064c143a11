"""A hangup hook, which sees all variables of the channel as they were at the end."""

from media.script import script
from media.session import Session, console_log


@script("hangup-hook")
async def hangup_hook(session: Session) -> None:
    session.set_hangup_hook(over, "hangup-hook")
    await session.set_variable("my_custom_var", "foobar")
    await session.answer()
    await session.sleep(10_000)


def over(session: Session, status: str, arg: str) -> None:
    """Once the call is over, whoever ended it; ``status`` is ``hangup`` or ``transfer``."""
    env = session.hangup_env()
    # env.serialize() has everything, numbers of callers too.
    custom, uuid = env.get_header("my_custom_var"), env.get_header("uuid")
    console_log("notice", f"{arg}: {status} of {uuid}, {session.hangup_cause()}, my_custom_var is {custom}")
