"""A media worker with a switch that is played: calls, what proves them, failures, drains and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from harness.esl_peer import CHANNEL, PASSWORD, run
from harness.worker import SECRET, WAIT, Bench, ask, at_work, did, fetch, hang_up, over, until, working

from console.serve import ROOT
from media import calls
from media.control import ControlError
from model.handover import Handover
from model.settings import Settings
from state.commands import Command

pytestmark = pytest.mark.timeout(120)

NAMES = [name for name, _ in Handover(call="", app="").headers(SECRET)]
SCRIPTS = """
    import asyncio
    from media.script import script
    from media.session import API, Stream

    @script("welcome", numbers=("5000",))
    async def welcome(session, args):
        await session.answer()
        await session.execute("playback", args or "hello")

    @script("keeps")
    async def keeps(session):
        session.set_auto_hangup(False)

    @script("raises")
    async def raises(session):
        await session.answer()
        return {}["07700900123"]

    @script("leaves")
    async def leaves(session):
        raise SystemExit(3)

    @script("hooked")
    async def hooked(session):
        session.set_hangup_hook(hook, "arg")
        await session.answer()
        await session.sleep(60000)

    async def hook(session, status, arg):
        Marks.seen.append((status, arg))

    class Marks:
        seen = []

    @script("marks")
    async def marks(stream):
        stream.write(repr(Marks.seen))

    @script("forever")
    async def forever(session):
        while True:
            await asyncio.sleep(0.01)

    @script("hello", http=True)
    async def hello(env, stream, args):
        stream.write(f"hello {args} {env.get_header('my_var')}")

    @script("api")
    async def api(stream, args):
        stream.write(await API().execute("echo", args))

    @script("until")
    async def until(stream, args):
        from pathlib import Path
        while not Path(args).exists():
            await asyncio.sleep(0.01)
        stream.write("it is there")

    @script("back")
    async def back(session, args):
        await session.send_back(args)

    @script("slow")
    async def slow():
        await asyncio.sleep(60)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that has all scripts."""
    file = tmp_path / "scripts" / "all.py"
    file.parent.mkdir()
    file.write_text(textwrap.dedent(SCRIPTS))
    return file


@pytest.fixture
def bench(tmp_path: Path, file: Path) -> Bench:
    return Bench(tmp_path, file.parent)


def test_a_call_that_is_handed_over_gets_its_script_and_is_hung_up(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.hand_over(settings, "welcome", "a;%")
            assert await over(wire) == ["answer", "playback a;%", "NORMAL_CLEARING"]
            status = await ask(settings, "status")
            assert (status["taken"], status["running"]) == (1, [])

    run(main())


def test_a_call_without_proof_is_refused(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await over(await bench.call(settings)) == ["INCOMING_CALL_BARRED"]
            assert await over(await bench.hand_over(settings, "welcome", valid=-5)) == ["INCOMING_CALL_BARRED"]
            wrong = await bench.call(
                settings, **{"sip_h_X-Strowger-Token": "0" * 32, "sip_h_X-Strowger-App": "welcome"}
            )
            assert await over(wrong) == ["INCOMING_CALL_BARRED"]
            looping = await bench.hand_over(settings, "welcome", hops=6)
            assert await over(looping) == ["EXCHANGE_ROUTING_ERROR"]

    run(main())
    reasons = re.findall(r"refused: (.*)", caplog.text)
    assert reasons == [
        "no token: the call does not come from the SIP tier",
        "the token has expired: the call came late, or the clocks differ",
        "the token does not fit the headers: forged, or made with another key",
        "handed to media more than 5 times",
    ]
    assert "5000" not in caplog.text


@pytest.mark.parametrize(("key", "why"), [("nobody", "script 'nobody'"), ("07700900123", "script of that number")])
def test_a_script_that_is_not_there(bench: Bench, caplog: pytest.LogCaptureFixture, key: str, why: str) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await over(await bench.call(settings, strowger_script=key)) == ["UNALLOCATED_NUMBER"]

    run(main())
    assert f"refused: there is no {why}" in caplog.text
    assert "07700900123" not in caplog.text


def test_a_dialplan_names_script_or_number(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            for key in ("welcome", "5000"):
                wire = await bench.call(settings, strowger_script=key, strowger_args="x y")
                assert await over(wire) == ["answer", "playback x y", "NORMAL_CLEARING"]

    run(main())


def test_without_auto_hangup_the_dialplan_goes_on(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await over(await bench.hand_over(settings, "keeps")) == ["resume"]

    run(main())


@pytest.mark.parametrize(
    ("name", "error", "line"), [("raises", "KeyError", "return {}"), ("leaves", "SystemExit", "raise SystemExit")]
)
def test_a_script_that_raises_ends_its_call_alone(
    bench: Bench, file: Path, caplog: pytest.LogCaptureFixture, name: str, error: str, line: str
) -> None:
    caplog.set_level(logging.INFO)
    number = next(at for at, text in enumerate(file.read_text().splitlines(), 1) if line in text)

    async def main() -> None:
        async with working(bench) as settings:
            assert (await over(await bench.hand_over(settings, name)))[-1] == "NORMAL_UNSPECIFIED"
            assert (await over(await bench.hand_over(settings, "welcome")))[-1] == "NORMAL_CLEARING"

    run(main())
    assert f"script {name} failed: {error} at {file}:{number}" in caplog.text
    assert "07700900123" not in caplog.text


def test_the_message_of_an_error_is_for_debugging(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "media.runner")

    async def main() -> None:
        async with working(bench) as settings:
            await over(await bench.hand_over(settings, "raises"))

    run(main())
    assert "KeyError: '07700900123'" in caplog.text


def test_an_edit_serves_the_next_call(bench: Bench, file: Path) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            await over(await bench.hand_over(settings, "welcome"))
            file.write_text(file.read_text().replace('"hello"', '"new"'))
            assert "playback new" in await over(await bench.hand_over(settings, "welcome"))
            file.write_text("def (")
            assert "playback new" in await over(await bench.hand_over(settings, "welcome"))
            status = await ask(settings, "status")
            assert status["refused"] == {"all.py": f"{file}:1: invalid syntax"}
            assert {found["error"] for found in status["scripts"]} == {f"{file}:1: invalid syntax"}
            assert (await ask(settings, "reload"))["refused"] == status["refused"]

    run(main())


async def _told(bench: Bench, names: str) -> None:
    """Until the switch was told which scripts are sent ahead."""
    line = f"api global_setvar strowger_ahead={names}"
    await until(lambda: any(sent.line == line for wire in bench.peer.wires for sent in wire.commands))


def test_the_switch_is_told_which_scripts_are_sent_ahead(bench: Bench, file: Path) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            await _told(bench, "")
            file.write_text(file.read_text().replace('"welcome",', '"wel.come", ahead=True,'))
            await ask(settings, "reload")
            await _told(bench, r"wel\.come")
            wire = await bench.hand_over(settings, "wel.come", "a.wav", mode="static")
            await until(lambda: did(wire) == ["answer", "playback a.wav", "NORMAL_CLEARING"])
            assert not any("event-lock" in sent.headers for sent in wire.commands)
            assert not any(sent.name in ("event", "linger") for sent in wire.commands)

    run(main())


def test_a_call_is_not_taken_from_a_script_that_is_sent_ahead(bench: Bench, file: Path) -> None:
    async def main() -> None:
        file.write_text(file.read_text().replace('"welcome",', '"welcome", ahead=True,'))
        bench.peer.answers["sendmsg"] = lambda wire, _: wire.reply()  # the call goes on
        settings = await bench.listen()
        async with at_work(settings, PASSWORD) as worker:
            wire = await bench.hand_over(settings, "welcome", mode="static")
            await wire.sent("sendmsg")
            asked = Command("1", "run", {"call": "c1", "script": "forever"}, "")
            assert await worker.remote.obey(asked) == {
                "error": "its script welcome is sent ahead, and cannot be told to stop"
            }
        await bench.peer.stop()

    run(main())


def test_a_call_comes_again_whose_script_is_not_sent_ahead(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.hand_over(settings, "welcome", mode="static")
            await wire.sent("exit")
            again = "transfer ${destination_number} ${dialplan} ${context}"
            assert did(wire) == ["set strowger_waits=true", again]

    run(main())


@pytest.mark.parametrize("given", [{"strowger_script": "welcome"}, {"strowger_waits": "true"}])
def test_a_dialplan_that_gives_a_script_the_wrong_socket_gets_its_call_back(
    bench: Bench, caplog: pytest.LogCaptureFixture, given: dict[str, str]
) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await over(await bench.hand_over(settings, "welcome", mode="static", **given)) == []

    run(main())
    assert "the script welcome is not sent ahead: the dialplan has to say async full" in caplog.text


def test_a_script_is_cancelled_some_time_after_its_call(
    bench: Bench, file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "GRACE", 0.05)

    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.hand_over(settings, "forever")
            await until(lambda: wire.hello and wire.commands)
            await asyncio.sleep(0.1)
            assert (await ask(settings, "status"))["calls"] == 1
            hang_up(wire)
            while (await ask(settings, "status"))["calls"]:
                pass

    run(main())
    assert re.search(rf"script forever is cancelled, 0.05 s after its call ended: at {file}:\d+", caplog.text)


def test_a_hook_runs_once_and_is_not_owed_any_more(bench: Bench) -> None:
    owed = bench.root / "state"

    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.hand_over(settings, "hooked")
            await until(lambda: list(owed.rglob("*.json")))
            await until(lambda: "answer" in did(wire))
            hang_up(wire)
            await until(lambda: not list(owed.rglob("*.json")))
            assert await ask(settings, "run", name="marks") == {"output": "[('hangup', 'arg')]"}

    run(main())


def test_a_hook_of_a_worker_that_died_is_reported(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.hand_over(settings, "hooked")
            await until(lambda: "answer" in did(wire))
        # The second stop() ended the call without its hook.
        port = bench.environment["STROWGER_WORKER_ADDRESS"]
        async with working(bench, STROWGER_WORKER_ADDRESS=port) as settings:
            [owed] = (await ask(settings, "status"))["interrupted"]
            assert (owed["call"], owed["script"]) == (CHANNEL["Unique-ID"], "hooked")
            assert await ask(settings, "run", name="marks") == {"output": "[]"}

    run(main())
    assert f"call {CHANNEL['Unique-ID']} was interrupted: the hangup hook of hooked" in caplog.text


def test_scripts_run_without_a_call(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await ask(settings, "run", name="hello", args="you") == {"output": "hello you None"}
            assert await ask(settings, "run", name="api", args="a b") == {"output": "a b"}
            assert await ask(settings, "run", name="slow", detach=True) == {"output": ""}
            assert [one["script"] for one in (await ask(settings, "status"))["running"]] == ["slow"]
            for name, why in [("welcome", "needs a call"), ("nobody", "there is no script 'nobody'")]:
                with pytest.raises(ControlError, match=why):
                    await ask(settings, "run", name=name)

    run(main())


@pytest.mark.parametrize("detached", ["true", "false"])
def test_a_script_without_session_leaves_the_call_to_the_dialplan(bench: Bench, detached: str) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.call(settings, strowger_script="hello", strowger_detached=detached)
            assert await over(wire) == ["resume"]

    run(main())


def test_a_detached_script_gets_no_call(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.call(settings, strowger_script="welcome", strowger_detached="true")
            assert await over(wire) == ["UNALLOCATED_NUMBER"]

    run(main())
    assert "takes session, and so needs a call" in caplog.text


def test_scripts_run_over_http_where_they_allow_it(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await fetch(settings, "hello?args=a+b&my_var=c") == (200, "hello a b c")
            assert await fetch(settings, "hello?detach=true") == (202, "")
            assert (await fetch(settings, "marks"))[0] == (await fetch(settings, "nobody"))[0] == 404

    run(main())


def test_a_call_is_sent_back_with_a_new_proof(bench: Bench) -> None:
    bench.peer.answers["api"] = lambda wire, _: wire.response("+OK\n")
    came = {"sip_network_ip": "192.0.2.1", "sip_network_port": "5060", "sofia_profile_name": "private"}

    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.hand_over(settings, "back", "1002", **came)
            bridge = "bridge sofia/private/sip:1002@192.0.2.1:5060"
            assert await over(wire) == [bridge, "NORMAL_CLEARING"]
            set_ = [command.line for command in wire.commands if "uuid_setvar" in command.line]
            assert [line.split()[3] for line in set_ if "sip_h_" in line] == [f"sip_h_{name}" for name in NAMES]

    run(main())


@pytest.mark.parametrize("number", ["", "1002@evil.example", "1,2", "${x}", "a b"])
def test_what_is_no_number_is_sent_nowhere(bench: Bench, number: str) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await over(await bench.hand_over(settings, "back", number)) == ["NORMAL_UNSPECIFIED"]

    run(main())


def test_a_call_that_was_not_handed_over_is_not_sent_back(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.call(settings, strowger_script="back", strowger_args="1002")
            assert await over(wire) == ["NORMAL_UNSPECIFIED"]

    run(main())


def test_a_drained_worker_takes_no_call_until_it_is_resumed(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            wire = await bench.hand_over(settings, "hooked")
            await until(lambda: "answer" in did(wire))
            assert await ask(settings, "drain") == {"calls": 1}
            with pytest.raises(ConnectionRefusedError):
                await bench.hand_over(settings, "welcome")
            assert (await ask(settings, "status"))["draining"]
            await ask(settings, "resume")
            assert (await over(await bench.hand_over(settings, "welcome")))[-1] == "NORMAL_CLEARING"
            assert not wire.writer.is_closing()
            with pytest.raises(ControlError, match="is not drained"):
                await ask(settings, "resume")

    run(main())


def test_without_its_switch_a_worker_takes_calls_and_says_so(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench, password="wrong") as settings:
            assert (await over(await bench.hand_over(settings, "welcome")))[-1] == "NORMAL_CLEARING"
            status = (await ask(settings, "status"))["switch"]
            while "password" not in status["error"]:
                status = (await ask(settings, "status"))["switch"]
            assert not status["connected"]

    run(main())


def test_a_caller_who_goes_while_a_script_runs_beside_is_no_error(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            sign = bench.root / "sign"
            wire = await bench.hand_over(settings, "until", str(sign))
            while not (await ask(settings, "status"))["running"]:
                pass
            hang_up(wire)
            await until(lambda: wire.writer.is_closing())
            sign.touch()
            while (await ask(settings, "status"))["calls"]:
                pass

    run(main())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


# As a process


@asynccontextmanager
async def process(bench: Bench, **more: str) -> AsyncIterator[tuple[Settings, subprocess.Popen[bytes]]]:
    await bench.listen()
    (bench.root / "secret").write_bytes(SECRET)
    (bench.root / "password").write_text(PASSWORD)
    environment = {**os.environ, **bench.environment, **more}
    command = [sys.executable, "-m", "console.main", "serve", "media"]
    with (bench.root / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
    try:
        settings = Settings.from_env({**bench.environment, **more})
        await until(lambda: b"takes calls at" in (bench.root / "log").read_bytes() or worker.poll() is not None)
        yield settings, worker
    finally:
        worker.kill()
        worker.wait()
        await bench.peer.stop()


async def ended(worker: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(worker.wait, WAIT)


def test_sigterm_lets_calls_end_first(bench: Bench) -> None:
    async def main() -> None:
        async with process(bench) as (settings, worker):
            wire = await bench.hand_over(settings, "hooked")
            await until(lambda: "answer" in did(wire))
            worker.send_signal(signal.SIGTERM)
            await until(lambda: b"takes no more calls; 1 under way" in (bench.root / "log").read_bytes())
            with pytest.raises(ConnectionRefusedError):
                await bench.hand_over(settings, "welcome")
            assert worker.poll() is None
            hang_up(wire)
            assert await ended(worker) == 0
            assert not settings.worker_socket.exists()

    run(main())


def test_sigterm_lets_scripts_without_a_call_end_first(bench: Bench) -> None:
    async def main() -> None:
        async with process(bench) as (settings, worker):
            reader, writer = await asyncio.open_unix_connection(settings.worker_socket)  # an idle one holds nothing up
            sign = bench.root / "sign"
            said = asyncio.ensure_future(ask(settings, "run", name="until", args=str(sign)))
            while not (await ask(settings, "status"))["running"]:
                pass
            worker.send_signal(signal.SIGTERM)
            await until(lambda: b"takes no more calls" in (bench.root / "log").read_bytes())
            sign.touch()
            assert (await said)["output"] == "it is there"
            assert await ended(worker) == 0
            assert await reader.read() == b""
            writer.close()

    run(main())


@pytest.mark.parametrize(("signals", "drain"), [(2, "600"), (1, "0")])
def test_a_second_sigterm_or_the_limit_ends_calls(bench: Bench, signals: int, drain: str) -> None:
    async def main() -> None:
        async with process(bench, STROWGER_WORKER_DRAIN=drain) as (settings, worker):
            wire = await bench.hand_over(settings, "hooked")
            await until(lambda: "answer" in did(wire))
            for _ in range(signals):
                worker.send_signal(signal.SIGTERM)
                await until(lambda: b"takes no more calls" in (bench.root / "log").read_bytes())
            assert await ended(worker) == 0
            # Not hung up: the dialplan goes on, as for a worker that died.
            assert await over(wire) == ["answer"]

    run(main())


def test_a_worker_that_is_killed_leaves_no_call_unreported(bench: Bench) -> None:
    async def main() -> None:
        async with process(bench) as (settings, worker):
            wire = await bench.hand_over(settings, "hooked")
            await until(lambda: "answer" in did(wire))
            worker.kill()
            assert await over(wire) == ["answer"]
        same = {name: bench.environment[name] for name in ("STROWGER_WORKER_ADDRESS", "STROWGER_WORKER_HTTP")}
        async with process(bench, **same) as (settings, _):
            [owed] = (await ask(settings, "status"))["interrupted"]
            assert owed["script"] == "hooked"

    run(main(), timeout=60)


def test_commands(bench: Bench, file: Path) -> None:
    def strowger(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "console.main", *arguments]
        environment = {**os.environ, **bench.environment}
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=WAIT, check=False
        )

    async def main() -> None:
        async with process(bench) as (settings, _):
            port = settings.worker_address.port

            async def say(*arguments: str) -> tuple[int, str]:
                done = await asyncio.to_thread(strowger, *arguments)
                return done.returncode, done.stdout + done.stderr

            await until(lambda: b"connected to the switch" in (bench.root / "log").read_bytes())
            code, text = await say("media", "status")
            assert code == 0, text
            assert f"worker 127.0.0.1:{port}  takes calls, 0 calls" in text
            assert re.search(r"^welcome +5000 +all.py:6 ", text, re.MULTILINE)
            assert await say("run", "hello", "a", "b") == (0, "hello a b None\n")
            assert await say("media", "run", "hello", "a") == (0, "hello a None\n")
            assert await say("run", "hello", "--detach") == (0, "")
            assert await say("run", "welcome") == (1, "the script 'welcome' takes session, and so needs a call\n")
            assert await say("media", "drain") == (0, f"worker {port} is drained; 0 calls under way\n")
            assert "drained, 0 calls" in (await say("media", "status"))[1]
            assert await say("media", "resume", "--worker", str(port)) == (0, f"worker {port} takes calls again\n")
            assert "no media worker 1 runs here" in (await say("media", "drain", "--worker", "1"))[1]
            file.with_name("bad.py").write_text("1 / 0\n")
            code, text = await say("media", "reload")
            assert code == 1
            assert "refused bad.py: " in text
            assert "bad.py:1: ZeroDivisionError" in text
            assert (await say("media", "status", "--json"))[0] == 1

    run(main(), timeout=100)
