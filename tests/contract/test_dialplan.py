"""What becomes of a call without a worker: the dialplan that Strowger ships."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from harness.phone import PATIENCE, Call, Phone
from harness.switches import Switch
from harness.talk import at_once, serving, with_phone

from console import serve
from media.session import Session

# A worker whose call plays a tone for a minute, to be killed meanwhile.
WORKER = """
import asyncio, sys
from media.esl.server import OutboundServer
from media.session import Session
async def script(session):
    await session.answer()
    await session.stream_file("tone_stream://%(60000,0,500)")
async def serve(call):
    session = Session(call.connection, call.channel)
    await script(session)
    await session.close()
async def main():
    server = OutboundServer(sys.argv[1], int(sys.argv[2]), serve)
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_without_any_worker_the_caller_gets_503_at_once(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        ended = await phone.call().ended(timeout=5.0)
        assert (ended.cause, ended.status) == ("NORMAL_TEMPORARY_FAILURE", 503)

    with_phone(switch, scenario)


def test_the_second_worker_takes_what_the_first_refuses(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()

    async def scenario(phone: Phone) -> None:
        async with serving(switch, script, worker=1) as served:
            call = phone.call()
            await at_once(call.answered(), served.done())

    with_phone(switch, scenario)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_call_whose_worker_dies_is_released_with_a_cause(switch: Switch, number: signal.Signals) -> None:
    host, port = switch.workers[0]
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, host, str(port)], cwd=serve.ROOT, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"

        async def scenario(phone: Phone) -> None:
            call: Call = phone.call()
            await call.hears(500)
            worker.send_signal(number)
            assert (await call.ended(PATIENCE)).cause == "NORMAL_TEMPORARY_FAILURE"

        try:
            with_phone(switch, scenario)
        finally:
            worker.kill()


@pytest.mark.freeswitch_only("it listens on the address it is given, and asks nobody who they are")
def test_a_call_from_elsewhere_is_refused(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        assert (await phone.call().ended()).status == 403

    with_phone(switch, scenario, address="127.0.0.2")


def test_no_header_of_the_caller_goes_to_a_leg_that_is_called(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        async def script(session: Session) -> None:
            await session.execute("bridge", f"[sip_h_X-Own=1]{phone.dial_string}")

        async with serving(switch, script) as served:
            call = phone.call(headers={"X-Strowger-Token": "0123456789abcdef", "X-Own": "2"})
            callee = await phone.called()
            assert callee.leg.headers.get("X-Own") == "1"
            assert not [name for name in callee.leg.headers if name.startswith("X-Strowger-")]
            await callee.hangup("USER_BUSY")
            await at_once(call.ended(), served.done())

    with_phone(switch, scenario)
