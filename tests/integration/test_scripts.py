"""The call scripts that Strowger ships: all load, and those that need no audio are run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from harness.esl_peer import Command, Wire, run
from harness.worker import Bench, ask, fetch, over, working

from media.loader import Scripts
from model.settings import SCRIPTS

pytestmark = pytest.mark.timeout(120)
FILES = sorted(path.name for path in SCRIPTS.glob("*.py"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, SCRIPTS)


def test_all_load_and_each_says_what_it_is_for() -> None:
    scripts = Scripts(SCRIPTS)
    registry = asyncio.run(scripts.current())
    assert not registry.refused
    assert sorted(registry.files) == FILES
    for file, brought in registry.files.items():
        assert len(brought) == 1, file
        assert (SCRIPTS / file).read_text().startswith('"""'), file


def test_the_shortest_call(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            played = "playback %[playback_terminators=none]ivr/ivr-welcome_to_freeswitch.wav"
            done = ["answer", played, "NORMAL_CLEARING"]
            assert await over(await bench.hand_over(settings, "welcome")) == done
            assert await over(await bench.call(settings, strowger_script="5000")) == done

    run(main())


def test_a_reply_is_read_over_http_and_on_the_command_line(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            assert await fetch(settings, "hello") == (200, "hello world")
            assert await ask(settings, "run", name="hello") == {"output": "hello world"}

    run(main())


def fired(bench: Bench) -> list[Command]:
    return [command for wire in bench.peer.wires for command in wire.commands if command.name == "sendevent"]


@pytest.mark.parametrize(("state", "waiting"), [("on", "yes"), ("off", "no")])
def test_a_lamp(bench: Bench, state: str, waiting: str) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            said = await ask(settings, "run", name="mwi", args=f"1002@example.net {state}")
            assert said == {"output": f"the lamp of 1002@example.net is {state}\n"}
            [event] = fired(bench)
            assert event.line == "sendevent MESSAGE_WAITING"
            assert event.headers["MWI-Messages-Waiting"] == waiting
            assert event.headers["MWI-Message-Account"] == "sip:1002@example.net"
            assert await ask(settings, "run", name="mwi", args="1002") == {"output": "mwi ACCOUNT on|off\n"}

    run(main())


def test_an_event_with_a_body(bench: Bench) -> None:
    async def main() -> None:
        async with working(bench) as settings:
            await ask(settings, "run", name="dial-result", args="1234 AA 10 7777777")
            [event] = fired(bench)
            assert (event.line, event.headers["Event-Subclass"]) == ("sendevent CUSTOM", "dial::dial-result")
            body = "dial_record_id: 1234\ncall_disposition: AA\ncampaign_number: 10\ncalled_number: 7777777\n"
            assert event.body == body

    run(main())


@pytest.mark.parametrize(("answered", "said"), [(True, "reply received\n"), (False, "no reply\n")])
def test_polling(bench: Bench, answered: bool, said: str) -> None:
    def answer(wire: Wire, command: Command) -> None:
        wire.reply()
        if answered and command.headers["Event-Subclass"] == "ping::running?":
            wire.event("CUSTOM", {"Event-Subclass": "ping::running!"})

    bench.peer.answers["sendevent"] = answer

    async def main() -> None:
        async with working(bench) as settings:
            assert await ask(settings, "run", name="poll") == {"output": said}

    run(main())


def test_the_portal(bench: Bench) -> None:
    def answer(wire: Wire, command: Command) -> None:
        wire.response(f"<{command.line}>")

    bench.peer.answers["api"] = answer

    async def main() -> None:
        async with working(bench) as settings:
            status, page = await fetch(settings, "portal")
            assert (status, "<form method=post>" in page, "result" in page) == (200, True, False)
            _, page = await fetch(settings, "portal", f"command={quote('show channels count')}")
            assert "<pre>&lt;api show channels count&gt;</pre>" in page
            for command in ("system rm x", "statusx", "show registrations"):
                _, page = await fetch(settings, "portal", f"command={quote(command)}")
                assert "Only these: hostname" in page

    run(main())
