"""Every name of the Lua API is in the page for those who come from it, and in the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import media.session
from media.session import API, Dbh, Env, ESLConnection, Event, EventConsumer, IVRMenu, Session, Stream

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-mod-lua.md").read_text(encoding="utf-8")

NAMES = """
session: answer answered bridged check_hangup_hook collectDigits consoleLog destroy execute executeString flushDigits
session: flushEvents get_uuid getDigits getState getVariable hangup hangupCause hangupState hangupStatus insertFile
session: mediaReady originate playAndGetDigits preAnswer read ready recordFile sayPhrase sendEvent setAutoHangup
session: setHangupHook setInputCallback setVariable set_tts_params sleep speak say streamFile transfer
session: unsetInputCallback waitForAnswer
event: addBody addHeader delHeader fire getBody getHeader getType serialize setPriority
freeswitch. API bridge consoleCleanLog consoleLog Dbh email Event EventConsumer getGlobalVariable IVRMenu msleep Session
api: execute executeString getTime
dbh: affected_rows connected query release test_reactive
menu: bindAction execute
con: bind pop connected api
env: addHeader getHeader serialize
stream: write
ESL. ESLconnection
"""
OWNERS = {
    "session": [Session], "event": [Event], "freeswitch": [media.session], "api": [API], "dbh": [Dbh],
    "menu": [IVRMenu], "con": [EventConsumer, ESLConnection], "env": [Env], "stream": [Stream], "ESL": [media.session],
}  # fmt: skip
OTHERWISE = {"ESLconnection": "ESLConnection"}
ALL = [
    (line.split()[0], name) for line in NAMES.split("\n") if line for name in line.split()[1:]
]  # fmt: skip


def snake(name: str) -> str:
    """``getDigits`` → ``get_digits``; classes keep their names."""
    if name[0].isupper():
        return OTHERWISE.get(name, name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize(("prefix", "name"), ALL)
def test_the_page_and_the_code_have_it(prefix: str, name: str) -> None:
    rows = [row for row in PAGE.split("\n") if row.startswith(f"| `{prefix}{name}(")]
    assert len(rows) == 1, f"{prefix}{name} has {len(rows)} lines in the page"
    python = rows[0].split("|")[2]
    owners = OWNERS[prefix[:-1]]
    found = [getattr(owner, snake(name), None) for owner in owners]
    assert any(callable(one) for one in found), f"{prefix}{name} is not in the code"
    # freeswitch.Session is made by originate(): a constructor cannot wait for the answer.
    assert (snake(name) if name != "Session" else "originate") in python


def test_the_page_names_nothing_else() -> None:
    named = re.findall(r"^\| `([A-Za-z]+[:.])(\w+)\(", PAGE, re.MULTILINE)
    assert sorted(set(named) - set(ALL)) == []
