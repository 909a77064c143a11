"""The embedded switch as a process: callers by SIP and RTP, workers and clients by the event socket."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from console.ports import free_port
from devswitch.audio import tones, wav
from devswitch.audio.sources import Player
from devswitch.leg import Frame, Leg, LegEnded
from devswitch.sip.endpoint import Endpoint

ROOT = Path(__file__).parents[2]
TIMEOUT = 30.0
PASSWORD = "a password"

DIALPLAN = """
<include><context name="strowger">
<extension name="worker"><condition field="destination_number" expression="^5000$">
  <action application="set" data="socket_resume=true"/>
  <action application="socket" data="127.0.0.1:{dead}|127.0.0.1:{worker} async full"/>
  <action application="respond" data="503"/>
  <action application="hangup" data="NORMAL_TEMPORARY_FAILURE"/>
</condition></extension>
<extension name="tone"><condition field="destination_number" expression="^tone$">
  <action application="answer"/>
  <action application="playback" data="tone_stream://%(60000,1,440)"/>
</condition></extension>
</context></include>
"""


@dataclass
class Running:
    """A switch, and where it listens."""

    process: subprocess.Popen[str]
    sip: int
    esl: int
    worker: int
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


def command(folder: Path, sip: int, esl: int) -> list[str]:
    address = "127.0.0.1:{}".format
    (folder / "password").write_text(PASSWORD + "\n")
    return [
        *(sys.executable, "-m", "devswitch", "--sip", address(sip), "--esl", address(esl)),
        *("--rtp", "21000-22999", "--esl-password-file", str(folder / "password")),
        *("--dialplan", str(folder / "dialplan"), "--sounds", str(folder), "--recordings", str(folder), "--verbose"),
    ]


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Running]:
    sip, esl, worker, dead = (free_port() for _ in range(4))
    (tmp_path / "dialplan").mkdir()
    (tmp_path / "dialplan" / "a.xml").write_text(DIALPLAN.format(worker=worker, dead=dead))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command(tmp_path, sip, esl), cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout
    try:
        assert process.stdout.readline() == "ready\n", (tmp_path / "log").read_text()
        yield Running(process, sip, esl, worker, tmp_path)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(TIMEOUT)
        process.stdout.close()
        assert status == 0, (tmp_path / "log").read_text()


@dataclass
class Ear:
    """A sink that can be waited on."""

    heard: list[Frame] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def frame(self, samples: Frame, /) -> None:
        self.heard.append(samples)
        self.changed.set()

    async def hears(self, frequency: float) -> None:
        async def listen() -> None:
            while not any(tones.goertzel(frame, frequency) > 0.2 for frame in self.heard[-5:]):
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(listen(), TIMEOUT)


class Esl:
    """The other end of the event socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.events: list[dict[str, str]] = []

    async def read(self) -> tuple[dict[str, str], str]:
        headers: dict[str, str] = {}
        while line := (await asyncio.wait_for(self.reader.readline(), TIMEOUT)).decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            headers[name] = unquote(value)
        if not headers:
            raise EOFError
        length = 0 if "Event-Name" in headers else int(headers.get("Content-Length", 0))
        return headers, (await self.reader.readexactly(length)).decode()

    async def ask(self, text: str) -> tuple[dict[str, str], str]:
        """Send a command, and its reply; events that come before are kept."""
        self.writer.write(f"{text}\n\n".encode())
        while True:
            headers, body = await self.read()
            if headers["Content-Type"] != "text/event-plain":
                return headers, body
            self._keep(body)

    def _keep(self, body: str) -> dict[str, str]:
        lines = (line.partition(": ") for line in body.split("\n\n")[0].split("\n"))
        self.events.append({name: unquote(value) for name, _, value in lines})
        return self.events[-1]

    async def until(self, name: str, **headers: str) -> dict[str, str]:
        """The first event of that name with these headers, from those kept or to come."""
        wanted = {"Event-Name": name} | {key.replace("_", "-"): value for key, value in headers.items()}
        for event in self.events:
            if wanted.items() <= event.items():
                return event
        while True:
            head, body = await self.read()
            if head["Content-Type"] == "text/event-plain" and wanted.items() <= (event := self._keep(body)).items():
                return event

    async def execute(self, name: str, argument: str = "") -> None:
        headers = f"call-command: execute\nexecute-app-name: {name}\nexecute-app-arg: {argument}\nevent-lock: true"
        reply, _ = await self.ask(f"sendmsg\n{headers}")
        assert reply["Reply-Text"] == "+OK"

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def phone(on_invite: Callable[[Leg], None] | None = None) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(
        "127.0.0.1", 0, on_invite=on_invite or (lambda _: None), rtp_ports=range(23000, 24000), user_agent="phone"
    )
    await endpoint.start()
    try:
        yield endpoint
    finally:
        await endpoint.stop()


@asynccontextmanager
async def client(switch: Running) -> AsyncIterator[Esl]:
    esl = Esl(*await asyncio.open_connection("127.0.0.1", switch.esl))
    assert (await esl.read())[0]["Content-Type"] == "auth/request"
    assert (await esl.ask(f"auth {PASSWORD}"))[0]["Reply-Text"] == "+OK accepted"
    try:
        yield esl
    finally:
        await esl.close()


@asynccontextmanager
async def worker(switch: Running, script: Callable[[Esl], Awaitable[None]]) -> AsyncIterator[asyncio.Future[None]]:
    """Listens for the first call, and runs the script on it."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        esl = Esl(reader, writer)
        try:
            await script(esl)
            done.set_result(None)
        except BaseException as error:
            done.set_exception(error)
        finally:
            await esl.close()

    server = await asyncio.start_server(serve, "127.0.0.1", switch.worker)
    try:
        yield done
    finally:
        server.close()


def test_a_worker_answers_plays_records_and_hangs_up(switch: Running) -> None:
    async def script(esl: Esl) -> None:
        channel, _ = await esl.ask("connect")
        assert channel["Channel-Destination-Number"] == "5000"
        assert channel["variable_sip_h_X-Strowger-App"] == "welcome"
        assert channel["Caller-Caller-ID-Number"] == "4711"
        assert (await esl.ask("myevents"))[0]["Reply-Text"] == "+OK Events Enabled"
        assert (await esl.ask("linger 5"))[0]["Reply-Text"] == "+OK will linger 5 seconds"
        await esl.execute("answer")
        await esl.execute("play_and_get_digits", r"2 4 1 20000 # tone_stream://%(60000,1,440) silence got \d+ 3000")
        got = await esl.until("CHANNEL_EXECUTE_COMPLETE", Application="play_and_get_digits")
        assert got["variable_got"] == "7394"
        await esl.execute("record", "message.wav 2")
        await esl.until("CHANNEL_EXECUTE_COMPLETE", Application="record")
        await esl.execute("hangup", "CALL_REJECTED")
        ended = await esl.until("CHANNEL_HANGUP_COMPLETE")
        assert ended["variable_sip_hangup_disposition"] == "send_bye"
        head, _ = await esl.read()
        assert (head["Content-Disposition"], head["Linger-Time"]) == ("linger", "5")
        await esl.ask("exit")

    async def scenario() -> None:
        async with phone() as endpoint, worker(switch, script) as done:
            headers = {"X-Strowger-App": "welcome"}
            call = endpoint.originate(f"sip:5000@127.0.0.1:{switch.sip}", caller="4711", headers=headers)
            ear = Ear()
            call.sinks.append(ear)
            await asyncio.wait_for(call.answered(), TIMEOUT)
            await ear.hears(440)
            call.source = Player(tones.render("%(100,0,600)"), loops=-1)
            await call.send_digits("7394")
            cause = await asyncio.wait_for(call.ended(), TIMEOUT)
            await asyncio.wait_for(done, TIMEOUT)
            assert cause == "CALL_REJECTED"

    asyncio.run(scenario())
    samples = wav.read(switch.folder / "message.wav")
    assert len(samples) == pytest.approx(16000, abs=1600)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    assert np.mean([tones.goertzel(frame, 600) > 0.2 for frame in frames]) > 0.9
    assert "7394" not in switch.log
    assert PASSWORD not in switch.log


def test_a_worker_that_dies_leaves_the_call_to_the_dialplan(switch: Running) -> None:
    async def script(esl: Esl) -> None:
        await esl.ask("connect")

    async def scenario() -> None:
        async with phone() as endpoint, worker(switch, script) as done:
            call = endpoint.originate(f"sip:5000@127.0.0.1:{switch.sip}", caller="1")
            with pytest.raises(LegEnded) as ended:
                await asyncio.wait_for(call.answered(), TIMEOUT)
            assert ended.value.cause == "NORMAL_TEMPORARY_FAILURE"
            await done

    asyncio.run(scenario())


def test_a_call_without_a_worker_is_refused(switch: Running) -> None:
    async def scenario() -> None:
        async with phone() as endpoint, client(switch) as esl:
            await esl.ask("event plain CHANNEL_HANGUP_COMPLETE")
            call = endpoint.originate(f"sip:5000@127.0.0.1:{switch.sip}", caller="1")
            with pytest.raises(LegEnded):
                await asyncio.wait_for(call.answered(), TIMEOUT)
            event = await esl.until("CHANNEL_HANGUP_COMPLETE")
            assert event["variable_sip_hangup_disposition"] == "send_refuse"

    asyncio.run(scenario())


def test_a_client_calls_somebody_and_hears_of_digits_and_the_end(switch: Running) -> None:
    called: list[Leg] = []

    async def answer(leg: Leg) -> None:
        called.append(leg)
        await leg.ring()
        await leg.answer()
        await leg.send_digits("5")

    async def scenario() -> None:
        tasks: list[asyncio.Task[None]] = []

        async with phone(lambda leg: tasks.append(asyncio.create_task(answer(leg)))) as endpoint, client(switch) as esl:
            await esl.ask("event plain DTMF CHANNEL_HANGUP_COMPLETE")
            uri = f"sofia/internal/1@127.0.0.1:{endpoint.address[1]}"
            _, body = await esl.ask(f"api originate {{sip_h_X-Id=7}}{uri} &park")
            uuid = body.removeprefix("+OK ").strip()
            assert called[0].headers["X-Id"] == "7"
            assert (await esl.until("DTMF", Unique_ID=uuid))["DTMF-Digit"] == "5"
            ear = Ear()
            called[0].sinks.append(ear)
            _, body = await esl.ask(f"api uuid_broadcast {uuid} tone_stream://%(60000,1,800)")
            assert body == "+OK Message sent\n"
            await ear.hears(800)
            await called[0].hangup("NORMAL_CLEARING")
            ended = await esl.until("CHANNEL_HANGUP_COMPLETE", Unique_ID=uuid)
            assert (ended["Hangup-Cause"], ended["variable_sip_hangup_disposition"]) == ("NORMAL_CLEARING", "recv_bye")

    asyncio.run(scenario())


def test_two_callers_are_bridged(switch: Running) -> None:
    async def scenario() -> None:
        async with phone() as endpoint, client(switch) as esl:
            await esl.ask("event plain CHANNEL_ANSWER CHANNEL_BRIDGE CHANNEL_UNBRIDGE")
            ears, calls = (Ear(), Ear()), []
            for ear, pitch in zip(ears, (500, 900), strict=True):
                call = endpoint.originate(f"sip:tone@127.0.0.1:{switch.sip}", caller=str(pitch))
                call.sinks.append(ear)
                await asyncio.wait_for(call.answered(), TIMEOUT)
                await ear.hears(440)
                call.source = Player(tones.render(f"%(100,0,{pitch})"), loops=-1)
                calls.append(call)
            uuids = [
                (await esl.until("CHANNEL_ANSWER", Caller_Caller_ID_Number=number))["Unique-ID"]
                for number in ("500", "900")
            ]
            assert (await esl.ask(f"api uuid_bridge {' '.join(uuids)}"))[1] == f"+OK {uuids[1]}\n"
            await ears[0].hears(900)
            await ears[1].hears(500)
            await calls[0].hangup()
            await esl.until("CHANNEL_UNBRIDGE")
            await asyncio.wait_for(calls[1].ended(), TIMEOUT)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("<include><context name='a'><extension><condition wday='1'/></extension></context></include>", "a.xml:1: "),
        ("", "no element found"),
    ],
)
def test_settings_that_cannot_be_used_end_it(tmp_path: Path, broken: str, told: str) -> None:
    (tmp_path / "dialplan").mkdir()
    (tmp_path / "dialplan" / "a.xml").write_text(broken)
    ended = subprocess.run(
        command(tmp_path, free_port(), free_port()), cwd=ROOT, text=True, capture_output=True, timeout=TIMEOUT
    )
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
