"""A menu with a sub-menu, from ``ivr.yaml``; both files may be edited while calls run.

The menu is read when this file is loaded: so a menu with a mistake is refused, and callers get the one before.
"""

from pathlib import Path

from media.script import script
from media.session import Session, load_menus

MENU = load_menus(Path(__file__).with_name("ivr.yaml"))


@script("ivr", numbers=("5001",))
async def ivr(session: Session) -> None:
    await session.answer()
    await MENU.execute(session)
