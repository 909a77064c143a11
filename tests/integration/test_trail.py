"""What a call leaves behind: lines of every process under one id, and recordings that its record names."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.api import Api
from harness.api import api as api_of
from harness.audio import frequencies, read_wav, tone, tones
from harness.cli import Cli, fresh
from harness.leaving import BEEP, LEAD, make_sounds
from harness.load import until
from harness.node import GB, TRUNK, Node, at
from harness.phone import phone
from harness.raw import Endpoint

from console.ports import free_port
from console.stack import Stack
from console.switch import Kind, Switch
from media.voicemail.store import Box, Store
from model.hook import CONTINUE, Hook
from model.policy import MEDIA_RETRY, Auth, Gateway, MediaApp, Policy, Route, Voicemail
from model.record import CallRecord
from model.settings import SCRIPTS
from operations import live_calls
from state import records
from state.store import Store as Records
from state.tokens import Role

pytestmark = pytest.mark.timeout(180)

NUMBER = "+442079460001"
KEEPS = """
from media.script import script
from media.session import API

@script("keeps")
async def keeps(session, args):
    await session.answer()
    await session.execute("playback", "tone_stream://%(300,0,1000)")
    await session.record_until(session.recording_path(), "#", max_seconds=20)
    await API().uuid("record", session.uuid, "start", args)
    await session.execute("record", session.recording_path("by-hand/second.wav") + " 1")
    while session.ready():
        await session.sleep(20000)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A whole node that logs as JSON."""
    directory = tmp_path_factory.mktemp("trail")
    node = Node.create(
        directory,
        name="trail",
        STROWGER_LOG_FORMAT="json",
        STROWGER_LOGS=str(directory),
        STROWGER_SCRIPTS=str(directory / "scripts"),
        STROWGER_MEDIA_STATE=str(directory / "media"),
        STROWGER_SPEECH_CACHE=str(directory / "speech"),
        STROWGER_SOUNDS=str(make_sounds(directory / "sounds")),
        STROWGER_ESL_PASSWORD_FILE=str(directory / "esl-password"),
        STROWGER_ESL_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_HTTP=f"127.0.0.1:{free_port()}",
    )
    shutil.copytree(SCRIPTS, directory / "scripts")
    (directory / "scripts" / "keeps.py").write_text(KEEPS)
    switch = Switch(kind=Kind.EMBEDDED, sip_port=free_port(), directory=directory / "switch")
    node.stack = Stack(node.stack.settings, directory, switch, hook=True)
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


def apply(site: Node) -> None:
    """Put a route in force whose hook answers nobody, whose first gateway asks who calls, and whose second is busy."""
    assert site.stack.switch is not None
    media = Gateway("fs-1", "127.0.0.1", site.stack.switch.sip_port, media=True, no_reply=15.0, progress=15.0)
    asks = at("asks", site.refusing(401), auth=Auth("account", "no-such-secret"))
    gateways = [replace(media, breaker=None), asks, at("busy", site.refusing(486))]
    hook = Hook("deaf", f"http://127.0.0.1:{free_port()}/", fallback=CONTINUE)
    route = Route("staff", ("",), ("asks", "busy"), voicemail=Voicemail(), hook="deaf")
    site.put_in_force(Policy((TRUNK,), {one.name: one for one in gateways}, GB, hooks={"deaf": hook}), [route])


def lines(site: Node, call: str) -> list[dict[str, Any]]:
    """What `calls trace` says that processes said, with the process."""
    traced = Cli(fresh, site.stack.settings.to_env())("calls", "trace", call, "--json").data["logs"]
    return [json.loads(line["text"]) | {"source": line["source"]} for line in traced]


def test_every_process_says_whose_call_a_line_is_about(site: Node) -> None:
    apply(site)
    store = Store(site.stack.settings.voicemail)
    store.put_box(Box(number="1001", numbers=(NUMBER,), min_seconds=1))
    call = asyncio.run(hung_up_while_speaking(site))
    until(lambda: "transcript " in site.stack.log("voicemail"), "the message is transcribed", 60)
    [id] = store.ids("1001", "new")
    until(lambda: find(site.store, f"1001/{id}"), "the record names the message", 30)
    said = lines(site, call)
    assert {line["process"] for line in said} == {"kamailio", "hook", "agent", "media", "voicemail"}
    for line in said:
        # The one id, in every line, whichever process wrote it.
        assert line["call"] == call, line
        assert isinstance(line["at"], float), line
        assert line["source"] == line["process"], line
    found = {line["process"]: line for line in said}
    assert found["kamailio"]["message"].startswith("gateway asks asks who calls: ")
    assert found["hook"]["message"].startswith("hook deaf: no answer: connection")
    assert found["agent"]["message"].startswith("did hangup for ")
    assert any(line["message"].startswith(f"message {id}: transcript ") for line in said)
    record = find(site.store, f"1001/{id}")
    assert record is not None
    assert record.call == call
    shown = Cli(fresh, site.stack.settings.to_env())("calls", "show", call).out
    assert f"  message   1    1001/{id}, {store.message('1001', id).message.seconds:.1f} s\n" in shown
    assert {found[name]["callid"] for name in ("kamailio", "hook", "agent", "media")} == {record.call_id}


def find(store: Records, message: str) -> CallRecord | None:
    """The record of the call that left a message."""
    return next((record for _, record in records.newest(store, message) if record.message == message), None)


async def hung_up_while_speaking(site: Node) -> str:
    """Call, speak behind the beep, and be hung up by an operator; the call's id."""
    async with phone(site.sip, "1001") as made:
        call = made.call("02079460001")
        beep = await call.hears(BEEP, timeout=60)
        await call.until(lambda: call.ear.now > beep.start + LEAD + 0.6, "the end of the beep")
        call.play(tone(600, 2.5))
        await call.played(30)
        return await asyncio.to_thread(hang_up, site)


def hang_up(site: Node) -> str:
    """End the only live call."""
    [row] = live_calls.page(site.store, live_calls.Filter())["calls"]
    done: dict[str, str] = Cli(fresh, site.stack.settings.to_env())("calls", "hangup", row["call"], "--json").data
    return done["call"]


def test_no_call_id_breaks_a_line_of_kamailio(site: Node) -> None:
    """Its own JSON would take it as it is: quotes in it would end the field, and what follows be another."""
    call_id = b'a","call":"forged"\\@host'
    with Endpoint() as caller:
        invite = caller.invite(uri=b"sip:02079460000@127.0.0.1", call_id=call_id)
        # Kamailio says so in its log.
        caller.send(invite.replace(b"Max-Forwards: 70", b"Max-Forwards: many"), site.sip)
    kamailio = site.directory / "kamailio.log"
    until(lambda: "forged" in kamailio.read_text(), "Kamailio says something of it")
    [line] = [json.loads(text) for text in kamailio.read_text().splitlines() if "forged" in text]
    assert line["callid"] == "a?,?call?:?forged??@host"
    assert "call" not in line
    assert line["at"] == pytest.approx(time.time(), abs=300)


def to_script(site: Node, args: str) -> None:
    """Put a route in force that leads to the script that records."""
    assert site.stack.switch is not None
    media = Gateway("fs-1", "127.0.0.1", site.stack.switch.sip_port, media=True, no_reply=15.0, progress=15.0)
    site.apply([Route("keeps", ("",), ("fs-1",), media=MediaApp("keeps", args), retry=MEDIA_RETRY)], [media])


async def spoken_to(site: Node, api: Api) -> dict[str, Any]:
    """Call the script, speak, press #, look at what is told of the call meanwhile, and hang up."""
    async with phone(site.sip, "1001") as made:
        call = made.call("02079460002")
        await call.hears(BEEP, timeout=60)
        await call.hears_silence(0.2)
        call.play(tone(600, 1.5))
        await call.played(30)
        await call.dial("#")
        [row] = live_calls.page(site.store, live_calls.Filter())["calls"]
        folder = site.stack.settings.recordings
        await asyncio.to_thread(until, (folder / "by-hand" / "second.wav").exists, "the second recording begins", 20)
        live: dict[str, Any] = await asyncio.to_thread(api.get, f"/calls/{row['call']}")
        await call.hangup()
    return live


def test_recordings_are_named_in_the_record_and_played_while_they_are_there(site: Node, tmp_path: Path) -> None:
    folder, elsewhere = site.stack.settings.recordings, tmp_path / "elsewhere.wav"
    to_script(site, str(elsewhere))
    cli = Cli(fresh, site.stack.settings.to_env())
    with api_of(site.stack.settings) as api:
        live = asyncio.run(spoken_to(site, api))
        call = live["call"]
        names = [f"{day(live['began'])}/{call}.wav", str(elsewhere), "by-hand/second.wav"]
        assert [one["name"] for one in live["recorded"]] == names
        assert live["recorded"][0]["here"]
        record = site.record(live["call_id"])
        assert list(record.recordings) == names
        first, other, second = api.get(f"/calls/{call}/recordings")["recordings"]
        assert (first["here"], other["here"], second["here"]) == (True, False, True)
        assert "not in the folder of recordings" in other["why"]
        assert 1.0 < first["seconds"] < 20.0
        at = f"/calls/{call}/recordings"
        whole = api.ask("GET", f"{at}/1/audio", Role.OPERATE)
        assert (whole.status_code, whole.headers["content-type"]) == (200, "audio/wav")
        (tmp_path / "heard.wav").write_bytes(whole.content)
        assert frequencies(tones(read_wav(tmp_path / "heard.wav"))) == [600]
        part = api.ask("GET", f"{at}/1/audio", Role.OPERATE, headers={"Range": "bytes=44-143"})
        assert (part.status_code, part.content) == (206, whole.content[44:144])
        assert api.ask("GET", f"{at}/1/audio", Role.READ).status_code == 403
        assert api.ask("GET", f"{at}/2/audio").status_code == 404
        assert api.ask("GET", f"{at}/4/audio").status_code == 404
        assert f"  recording 1    {names[0]}, {first['seconds']:.1f} s\n" in cli("calls", "show", call).out
        (folder / names[0]).unlink()
        gone = api.ask("GET", f"{at}/1/audio")
        assert gone.status_code == 404
        assert "it was removed, or this machine does not have the folder" in gone.json()["detail"]
        assert not api.get(at)["recordings"][0]["here"]
        assert f"{names[0]}  not there: it was removed" in cli("calls", "show", call).out


def day(unix_time: float) -> str:
    """As folders of recordings are called."""
    return time.strftime("%Y-%m-%d", time.gmtime(unix_time))
