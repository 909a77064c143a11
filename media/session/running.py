"""A script and its call, from beginning to end."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from media.session.errors import ScriptExit
from media.session.outbound import Session

log = logging.getLogger(__name__)


async def run(script: Callable[[Session], Awaitable[object]], session: Session) -> bool:
    """Run ``script(session)``, then close the session; whether the script came to its end.

    What it raises is logged, and ends its call alone.
    """
    try:
        await script(session)
        return True
    except ScriptExit as reason:
        log.info("call %s: the script is over: %s", session.uuid, reason)
        return True
    except Exception:
        log.exception("call %s: the script failed", session.uuid)
        return False
    finally:
        await _close(session)


async def _close(session: Session) -> None:
    try:
        await session.close()
    except ScriptExit:
        pass
    except Exception:
        log.exception("call %s: its end failed", session.uuid)
