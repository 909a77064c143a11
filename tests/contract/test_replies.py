"""M16 to M18: what scripts write as a reply, and scripts that are edited while calls run."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness.phone import Call, Phone
from harness.switches import Switch
from harness.talk import with_phone
from harness.worker import ask, at_work, fetch, handed_over

from console.ports import free_port
from model.settings import Settings

SCRIPTS = """
    from media.script import script
    from media.session import API

    @script("tone", numbers=("5000",))
    async def tone(session, args):
        await session.answer()
        await session.stream_file(f"tone_stream://%(300,0,{args or 700})")

    @script("asks")
    async def asks(session):
        await session.answer()
        while session.ready():
            await session.stream_file("tone_stream://%(300,0,600)")
            await session.get_digits(1, "", 20000)

    @script("goes")
    async def goes(session, args):
        await session.answer()
        await session.set_variable("worker_http", "HTTP")
        await session.transfer(args, "XML", "contract")

    @script("pitch", http=True)
    async def pitch(env, stream):
        stream.write("1700")

    @script("api")
    async def api(stream, args):
        stream.write(await API().execute("eval", args))
"""


@pytest.fixture
def http(tmp_path: Path) -> str:
    """Where the worker runs scripts over HTTP."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def file(tmp_path: Path, http: str) -> Path:
    """The file of all scripts."""
    path = tmp_path / "scripts" / "contract.py"
    path.parent.mkdir()
    path.write_text(textwrap.dedent(SCRIPTS).replace("HTTP", http))
    return path


@asynccontextmanager
async def worker(switch: Switch, file: Path, http: str) -> AsyncIterator[Settings]:
    """A worker of the switch with the scripts of ``file``."""
    root = file.parent.parent
    settings = Settings.from_env(
        {
            "STROWGER_RUN": str(root / "run"),
            "STROWGER_SCRIPTS": str(file.parent),
            "STROWGER_MEDIA_STATE": str(root / "state"),
            "STROWGER_VOICEMAIL": str(root / "voicemail"),
            "STROWGER_ESL_ADDRESS": "{}:{}".format(*switch.esl),
            "STROWGER_WORKER_ADDRESS": "{}:{}".format(*switch.workers[0]),
            "STROWGER_WORKER_HTTP": http,
        }
    )
    async with at_work(settings, switch.password):
        yield settings


def call_for(phone: Phone, app: str, args: str = "") -> Call:
    """A call as Kamailio hands it over."""
    return phone.call(headers=handed_over(app, args))


def test_a_script_is_run_by_the_number_that_was_called(switch: Switch, file: Path, http: str) -> None:
    async def scenario(phone: Phone) -> None:
        async with worker(switch, file, http):
            assert await call_for(phone, "").heard_until_end() == [700]

    with_phone(switch, scenario)


def test_a_dialplan_reads_what_a_script_wrote(switch: Switch, file: Path, http: str) -> None:
    async def scenario(phone: Phone) -> None:
        async with worker(switch, file, http):
            assert await call_for(phone, "goes", "903").heard_until_end() == [1700]

    with_phone(switch, scenario)


def test_a_script_without_a_call_is_run_by_command_and_over_http(switch: Switch, file: Path, http: str) -> None:
    async def scenario(phone: Phone) -> None:
        async with worker(switch, file, http) as settings:
            assert await ask(settings, "run", name="api", args="it works") == {"output": "it works"}
            assert await ask(settings, "run", name="api", args="it works", detach=True) == {"output": ""}
            assert await fetch(settings, "pitch") == (200, "1700")

    with_phone(switch, scenario)


def test_an_edited_script_is_for_the_next_call_and_a_broken_one_for_none(switch: Switch, file: Path, http: str) -> None:
    async def scenario(phone: Phone) -> None:
        async with worker(switch, file, http) as settings:
            old = call_for(phone, "asks")
            await old.hears(600)
            await old.hears_silence(0.2)
            file.write_text(file.read_text().replace("0,600)", "0,900)"))
            new = call_for(phone, "asks")
            await new.hears(900)

            file.write_text(file.read_text() + "\nthis is no Python\n")
            newest = call_for(phone, "asks")
            await newest.hears(900)
            refused = (await ask(settings, "status"))["refused"]
            assert f"{file.name}:" in str(refused)

            # The first call goes on with the code that it began with.
            since = old.ear.now
            await old.dial("1")
            await old.hears(600, since=since)
            for call in (old, new, newest):
                await call.hangup()

    with_phone(switch, scenario)
