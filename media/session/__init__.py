"""The Lua API of FreeSWITCH, in Python: what call scripts import; see docs/coming-from-mod-lua.md."""

from typing import TYPE_CHECKING, Any

from media.esl.inbound import Inbound as ESLConnection
from media.session.api import API
from media.session.consumer import EventConsumer
from media.session.core import Digit
from media.session.errors import AnswerNeeded, MenuError, PhraseError, ScriptExit
from media.session.events import Event
from media.session.logs import console_clean_log, console_log, get_global_variable, msleep
from media.session.mail import MailError, email
from media.session.menu import IVRMenu
from media.session.menufile import load_menus
from media.session.outbound import Session, bridge, originate, retry_over_gateways
from media.session.phrasefile import Phrases, load_phrases
from media.session.runtime import switch, use
from media.session.state import literal
from media.session.stream import Env, Stream

if TYPE_CHECKING:
    from media.session.dbh import Dbh, DbhError

__all__ = [
    "API", "AnswerNeeded", "Dbh", "DbhError", "Digit", "ESLConnection", "Env", "Event", "EventConsumer", "IVRMenu",
    "MailError", "MenuError", "PhraseError", "Phrases", "ScriptExit", "Session", "Stream",
    "bridge", "console_clean_log", "console_log", "email", "get_global_variable", "literal", "load_menus",
    "load_phrases", "msleep", "originate", "retry_over_gateways", "switch", "use",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes as long to load as half of a worker, and few scripts have a database.
    if name in ("Dbh", "DbhError"):
        from media.session import dbh

        return getattr(dbh, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
