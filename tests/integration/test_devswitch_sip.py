"""The embedded switch on the network: SIPp and plain sockets against an endpoint, and two endpoints with each other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from console.ports import free_port
from console.sipp import CallResult, SippGateway, place_calls, render
from devswitch.audio import g711, tones, wav
from devswitch.audio.recorder import Recorder
from devswitch.audio.sources import Player
from devswitch.leg import FRAME, FRAME_SECONDS, Frame, Leg, LegEnded
from devswitch.sip import sdp
from devswitch.sip.endpoint import Endpoint
from devswitch.sip.incoming import IncomingCall
from devswitch.sip.message import Request, Response, parse
from devswitch.sip.outgoing import OutgoingCall

SCENARIOS = Path(__file__).parents[1] / "sipp"
OWN_SCENARIOS = Path(__file__).parent / "sipp"
TIMEOUT = 30.0
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {}\r\n"


class Ear:
    """A sink that keeps what it hears and can be waited on."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def frame(self, samples: Frame, /) -> None:
        self.frames.append(samples)

    def hears(self, frequency: float) -> bool:
        """Whether the last 100 ms are that tone."""
        return len(self.frames) >= 5 and tones.goertzel(np.concatenate(self.frames[-5:]), frequency) > 0.9


class Switch:
    """An endpoint, and the calls that came to it."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[IncomingCall] = asyncio.Queue()
        # Ports of one block: see console/ports.py.
        first = free_port() // 100 * 100
        self.endpoint = Endpoint(
            "127.0.0.1", 0, on_invite=self.calls.put_nowait, rtp_ports=range(first, first + 100), user_agent="test"
        )

    @property
    def address(self) -> tuple[str, int]:
        return self.endpoint.address

    @property
    def uri(self) -> str:
        return f"sip:5000@127.0.0.1:{self.address[1]}"

    async def call(self) -> IncomingCall:
        return await asyncio.wait_for(self.calls.get(), TIMEOUT)

    async def call_from(self, phone: Switch, **options: str) -> tuple[OutgoingCall, IncomingCall]:
        """A call of ``phone``, and the same call here, answered."""
        there = phone.endpoint.originate(self.uri, caller="100", **options)
        here = await self.call()
        await here.answer()
        await there.answered()
        return there, here


@asynccontextmanager
async def running() -> AsyncIterator[Switch]:
    switch = Switch()
    await switch.endpoint.start()
    try:
        yield switch
    finally:
        await switch.endpoint.stop()


def with_switches(test: Callable[[Switch, Switch], Awaitable[None]]) -> None:
    async def run() -> None:
        async with running() as one, running() as other, asyncio.timeout(60):
            await test(one, other)

    asyncio.run(run())


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not condition():
            await asyncio.sleep(0.01)


def place(switch: Switch, scenario: Path, folder: Path, **options: int) -> asyncio.Task[CallResult]:
    return asyncio.create_task(
        asyncio.to_thread(
            place_calls, scenario, server=switch.address, port=free_port(), directory=folder, keys={}, **options
        )
    )


def ends(leg: Leg) -> list[tuple[str, int]]:
    """Filled with each time that the end of ``leg`` is told."""
    told: list[tuple[str, int]] = []
    leg.on_hangup = lambda cause, status: told.append((cause, status))
    return told


class TestCallsFromSipp:
    def test_answered_and_hung_up_by_the_caller(self, tmp_path: Path) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            caller = place(switch, SCENARIOS / "uac-expect-answer.xml", tmp_path, talk=300)
            call = await switch.call()
            told = ends(call)
            assert (call.caller, call.callee, call.remote_address) == ("1001", "1002", "127.0.0.1")
            assert call.headers["x-reply-header"] == "X-Nothing: none"
            await call.ring()
            await call.pre_answer()
            await call.answer()
            assert (await caller).passed, (await caller).output
            assert told == [("NORMAL_CLEARING", 0)]
            with pytest.raises(LegEnded):
                await call.answer()

        with_switches(test)

    def test_hung_up_by_us(self, tmp_path: Path) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            caller = place(switch, SCENARIOS / "uac-expect-hangup.xml", tmp_path)
            call = await switch.call()
            told = ends(call)
            await call.answer()
            await call.hangup()
            await call.hangup("USER_BUSY")
            assert (await caller).passed, (await caller).output
            assert told == [("NORMAL_CLEARING", 0)]

        with_switches(test)

    @pytest.mark.parametrize(
        ("cause", "status"), [("USER_BUSY", 486), ("CALL_REJECTED", 603), ("NO_ROUTE_DESTINATION", 404)]
    )
    def test_refused(self, tmp_path: Path, cause: str, status: int) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            scenario = render(
                SCENARIOS / "uac-expect-STATUS.xml", tmp_path, STATUS=str(status), REASON=f'text="{cause}"'
            )
            caller = place(switch, scenario, tmp_path)
            call = await switch.call()
            told = ends(call)
            await call.hangup(cause)
            assert (await caller).passed, (await caller).output
            assert told == [(cause, status)]

        with_switches(test)

    def test_cancelled(self, tmp_path: Path) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            scenario = render(SCENARIOS / "uac-cancels-while-ringing.xml", tmp_path, PAUSE="50")
            caller = place(switch, scenario, tmp_path)
            call = await switch.call()
            told = ends(call)
            await call.ring()
            assert await call.ended() == "ORIGINATOR_CANCEL"
            assert (await caller).passed, (await caller).output
            assert told == [("ORIGINATOR_CANCEL", 487)]

        with_switches(test)

    @pytest.mark.skipif(os.geteuid() != 0, reason="SIPp plays RTP by raw sockets, which only root may")
    def test_a_late_offer_and_a_digit(self, tmp_path: Path) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            own = OWN_SCENARIOS / "uac-answers-late-offer-then-presses-digit.xml"
            scenario = render(own, tmp_path, PAYLOAD="101")
            digits: list[str] = []
            caller = place(switch, scenario, tmp_path)
            call = await switch.call()
            call.on_digit = lambda digit, _: digits.append(digit)
            await call.answer()
            await eventually(lambda: bool(digits))
            await call.hangup()
            assert (await caller).passed, (await caller).output
            assert digits == ["5"]

        with_switches(test)

    def test_many_at_once(self, tmp_path: Path) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            caller = place(switch, SCENARIOS / "uac-expect-answer.xml", tmp_path, talk=500, calls=40, rate=100)
            for _number in range(40):
                await (await switch.call()).answer()
            assert (await caller).passed, (await caller).output
            assert not switch.endpoint.calls

        with_switches(test)


class TestCallsToSipp:
    def call(
        self, tmp_path: Path, scenario: str, test: Callable[[OutgoingCall], Awaitable[None]], **words: str
    ) -> list[tuple[str, int]]:
        """Call a SIPp with that scenario; what was told of the end."""
        gateway = SippGateway(render(SCENARIOS / scenario, tmp_path / "rendered", **words), free_port(), tmp_path)
        gateway.start()
        told: list[tuple[str, int]] = []

        async def both(switch: Switch, _: Switch) -> None:
            call = switch.endpoint.originate(f"sip:200@127.0.0.1:{gateway.port}", caller="100", caller_name="Al")
            call.on_hangup = lambda cause, status: told.append((cause, status))
            await test(call)
            await call.ended()

        try:
            with_switches(both)
        finally:
            gateway.stop()
        return told

    def test_answered_then_hung_up_by_the_callee(self, tmp_path: Path) -> None:
        answers: list[int] = []

        async def test(call: OutgoingCall) -> None:
            call.on_answer = answers.append
            await call.answered()

        assert self.call(tmp_path, "uas-answers-then-hangs-up.xml", test) == [("NORMAL_CLEARING", 0)]
        assert answers == [200]

    def test_refused_after_ringing(self, tmp_path: Path) -> None:
        progress: list[int] = []

        async def test(call: OutgoingCall) -> None:
            call.on_progress = progress.append
            with pytest.raises(LegEnded, match="USER_BUSY"):
                await call.answered()

        scenario = "uas-rings-then-replies-STATUS.xml"
        assert self.call(tmp_path, scenario, test, PROVISIONAL="180", STATUS="486") == [("USER_BUSY", 486)]
        assert progress == [180]

    def test_cancelled_by_us(self, tmp_path: Path) -> None:
        async def test(call: OutgoingCall) -> None:
            rang = asyncio.Event()
            call.on_progress = lambda _: rang.set()
            await asyncio.wait_for(rang.wait(), TIMEOUT)
            await call.hangup()

        scenario = "uas-sends-PROVISIONAL-until-cancelled-STATUS.xml"
        assert self.call(tmp_path, scenario, test, PROVISIONAL="180", STATUS="487") == [("NORMAL_CLEARING", 487)]

    def test_nobody_listens(self) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            nowhere = free_port()
            call = switch.endpoint.originate(f"sip:200@127.0.0.1:{nowhere}", caller="100")
            told = ends(call)
            # ICMP says so at once: FreeSWITCH does not wait for timer B either.
            async with asyncio.timeout(20):
                await call.ended()
            assert told == [("NORMAL_TEMPORARY_FAILURE", 503)]
            assert await switch.endpoint.send_request("OPTIONS", f"sip:127.0.0.1:{nowhere}") == 503

        with_switches(test)

    def test_a_host_without_an_address(self) -> None:
        async def test(switch: Switch, _: Switch) -> None:
            call = switch.endpoint.originate("sip:200@no-such-host.invalid", caller="100")
            told = ends(call)
            await call.ended()
            assert told == [("NORMAL_TEMPORARY_FAILURE", 503)]

        with_switches(test)


class TestAudio:
    def test_both_hear_each_other(self) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            there, here = await switch.call_from(phone, caller_name='Al "the" caller')
            assert here.caller_name == 'Al "the" caller'
            there.sinks.append(there_ear := Ear())
            here.sinks.append(here_ear := Ear())
            there.source = Player(tones.render("%(1000,0,440)"), loops=-1)
            here.source = Player(tones.render("%(1000,0,1000)"), loops=-1)
            await eventually(lambda: here_ear.hears(440) and there_ear.hears(1000))
            there.source = None
            await eventually(lambda: not here_ear.frames[-1].any())

        with_switches(test)

    def test_digits_arrive_once_and_in_order(self) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            there, here = await switch.call_from(phone)
            digits: list[tuple[str, int]] = []
            here.on_digit = lambda digit, duration: digits.append((digit, duration))
            await there.send_digits("12*#", ms=60)
            await eventually(lambda: len(digits) >= 4)
            assert digits == [(digit, 480) for digit in "12*#"]

        with_switches(test)

    def test_early_media_is_heard(self) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            there = phone.endpoint.originate(switch.uri, caller="100")
            there.sinks.append(ear := Ear())
            here = await switch.call()
            here.source = Player(tones.render("%(1000,0,440)"), loops=-1)
            await here.pre_answer()
            await eventually(lambda: ear.hears(440))
            assert not there.is_answered
            await here.hangup("NO_ANSWER")
            assert await there.ended() == "NO_ANSWER"

        with_switches(test)

    def test_what_is_heard_is_recorded(self, tmp_path: Path) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            there, here = await switch.call_from(phone)
            done = asyncio.Event()
            recorder = Recorder(tmp_path / "r.wav", limit=1, on_end=lambda _: done.set())
            await recorder.open()
            there.source = Player(tones.render("%(5000,0,440)"))
            here.sinks.append(recorder)
            await asyncio.wait_for(done.wait(), TIMEOUT)
            await recorder.close()

        with_switches(test)
        samples = wav.read(tmp_path / "r.wav")
        assert len(samples) == 8000
        assert tones.goertzel(samples[4000:], 440) > 0.9

    def test_the_clock_makes_up_for_a_pause(self) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            _, here = await switch.call_from(phone)
            loop = asyncio.get_running_loop()
            here.sinks.append(ear := Ear())
            await eventually(lambda: bool(ear.frames))
            began, before = loop.time(), len(ear.frames)
            for _ in range(10):
                # Nothing else can run meanwhile, as when a process is held up by others.
                time.sleep(0.07)
                await asyncio.sleep(0.01)
            passed, heard = (loop.time() - began) / FRAME_SECONDS, len(ear.frames) - before
            # Without that it were a quarter; a pause of more than MAX_LATE frames is not made up for.
            assert passed * 0.6 < heard < passed + 7

        with_switches(test)

    def test_a_failing_source_or_sink_ends_nothing_else(self) -> None:
        class Broken:
            def frame(self, *_: object) -> Frame:
                raise RuntimeError

        async def test(switch: Switch, phone: Switch) -> None:
            there, here = await switch.call_from(phone)
            here.source, there.source = Broken(), Player(tones.render("%(1000,0,440)"), loops=-1)
            here.sinks += [Broken(), ear := Ear()]  # type: ignore[list-item]
            await eventually(lambda: ear.hears(440))
            assert here.source is None
            assert here.sinks == [ear]

        with_switches(test)


class Raw:
    """A UDP socket that sends what no SIP stack would."""

    def __init__(self, switch: Switch) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._switch = switch
        self.port: int = self._socket.getsockname()[1]

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self._switch.address)

    def request(
        self,
        method: str,
        number: int,
        *,
        to: str = "<sip:5000@x>",
        branch: str = "",
        body: str = "",
        host: str = "127.0.0.1",
        more: str = "",
    ) -> None:
        kind = more + ("Content-Type: application/sdp\r\n" if body else "")
        self.send(
            f"{method} sip:5000@127.0.0.1 SIP/2.0\r\nMax-Forwards: 70\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{branch or method}{number}\r\n"
            f"From: <sip:100@x>;tag=a\r\nTo: {to}\r\nCall-ID: raw{self.port}\r\nCSeq: {number} {method}\r\n"
            f"Contact: <sip:100@{host}:{self.port}>\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    async def receive(self) -> Request | Response:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._socket, 65535), TIMEOUT)
        return parse(data)

    async def reply(self, status: int) -> Response:
        """The next message, which must be that reply."""
        found = await self.receive()
        assert isinstance(found, Response), found
        assert found.status == status
        return found

    def close(self) -> None:
        self._socket.close()


def with_raw(test: Callable[[Switch, Raw], Awaitable[None]]) -> None:
    async def both(switch: Switch, _: Switch) -> None:
        raw = Raw(switch)
        try:
            await test(switch, raw)
        finally:
            raw.close()

    with_switches(both)


async def answered(switch: Switch, raw: Raw) -> tuple[IncomingCall, str]:
    """A call from ``raw``, acknowledged, and the To of its dialog."""
    raw.request("INVITE", 1, body=SDP.format("0"))
    call = await switch.call()
    answering = asyncio.create_task(call.answer())
    await raw.reply(100)
    to = (await raw.reply(200)).headers["To"]
    raw.request("ACK", 1, to=to)
    await answering
    return call, to


class TestRawSip:
    def test_an_answer_is_sent_until_it_is_acknowledged(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            raw.request("INVITE", 1, body=SDP.format("0"))
            call = await switch.call()
            answering = asyncio.create_task(call.answer())
            await raw.reply(100)
            first = await raw.reply(200)
            raw.request("INVITE", 1, body=SDP.format("0"))
            again = await raw.reply(200)
            assert bytes(first) == bytes(again)
            assert not answering.done()
            raw.request("ACK", 1, to=first.headers["To"])
            await answering
            assert switch.calls.empty()

        with_raw(test)

    def test_no_bye_before_the_acknowledgement(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            raw.request("INVITE", 1, body=SDP.format("0"))
            call = await switch.call()
            answering = asyncio.create_task(call.answer())
            await raw.reply(100)
            to = (await raw.reply(200)).headers["To"]
            await call.hangup("ALLOTTED_TIMEOUT")
            with pytest.raises(LegEnded):
                await answering
            assert (await raw.reply(200)).cseq == (1, "INVITE")
            raw.request("ACK", 1, to=to)
            bye = await raw.receive()
            assert isinstance(bye, Request)
            assert (bye.method, bye.headers["Reason"]) == ("BYE", 'SIP;cause=802;text="ALLOTTED_TIMEOUT"')

        with_raw(test)

    def test_a_contact_may_be_a_name(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            raw.request("INVITE", 1, body=SDP.format("0"), host="localhost")
            call = await switch.call()
            answering = asyncio.create_task(call.answer())
            await raw.reply(100)
            raw.request("ACK", 1, to=(await raw.reply(200)).headers["To"])
            await answering
            await call.hangup()
            bye = await raw.receive()
            assert isinstance(bye, Request)
            assert (bye.method, bye.uri) == ("BYE", f"sip:100@localhost:{raw.port}")

        with_raw(test)

    @pytest.mark.parametrize(
        ("more", "status"), [("Record-Route: nowhere\r\n", 400), ("Require: 100rel, other\r\n", 420)]
    )
    def test_calls_that_cannot_be_taken(self, more: str, status: int) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            raw.request("INVITE", 1, body=SDP.format("0"), more=more)
            reply = await raw.receive()
            while isinstance(reply, Response) and reply.status == 100:
                reply = await raw.receive()
            assert isinstance(reply, Response)
            assert reply.status == status
            assert reply.headers.get("Unsupported", "100rel, other") == "100rel, other"
            assert switch.calls.empty()

        with_raw(test)

    def test_what_belongs_to_no_call_is_refused(self) -> None:
        async def test(_: Switch, raw: Raw) -> None:
            raw.request("BYE", 1, to="<sip:5000@x>;tag=unknown")
            await raw.reply(481)
            raw.request("CANCEL", 2)
            await raw.reply(481)
            raw.request("INFO", 3)
            await raw.reply(481)
            raw.request("PUBLISH", 4)
            await raw.reply(405)
            raw.request("ACK", 5, to="<sip:5000@x>;tag=unknown")
            raw.request("OPTIONS", 6)
            assert (await raw.reply(200)).cseq == (6, "OPTIONS")

        with_raw(test)

    def test_offers_that_cannot_be_taken(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            for number, (body, status) in enumerate([(SDP.format("9 18"), 488), ("nonsense", 400)], 1):
                raw.request("INVITE", number, body=body)
                await raw.reply(100)
                reply = await raw.reply(status)
                raw.request("ACK", number, to=reply.headers["To"], branch="INVITE")
            assert switch.calls.empty()
            assert not switch.endpoint.calls

        with_raw(test)

    def test_a_paused_switch_takes_no_calls(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            switch.endpoint.paused = True
            raw.request("OPTIONS", 1)
            await raw.reply(503)
            raw.request("INVITE", 2, body=SDP.format("0"))
            await raw.reply(503)

        with_raw(test)

    def test_requests_within_the_call(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, to = await answered(switch, raw)
            digits: list[tuple[str, int]] = []
            call.on_digit = lambda digit, duration: digits.append((digit, duration))
            raw.request("INVITE", 2, to=to, body=SDP.format("8") + "a=sendonly\r\n")
            assert b"a=recvonly" in (await raw.reply(200)).body
            raw.request("INVITE", 3, to=to, body=SDP.format("8"))
            await raw.reply(491)
            raw.request("ACK", 2, to=to)
            raw.request("INVITE", 4, to=to)
            assert b"RTP/AVP 0 8 101" in (await raw.reply(200)).body
            raw.request("ACK", 4, to=to, body=SDP.format("8"))
            raw.request("UPDATE", 5, to=to, body=SDP.format("0"))
            assert b"a=sendrecv" in (await raw.reply(200)).body
            raw.request("INVITE", 6, to=to, body=SDP.format("9"))
            await raw.reply(488)
            raw.request("NOTIFY", 7, to=to)
            await raw.reply(200)
            raw.request("REFER", 8, to=to)
            await raw.reply(400)
            raw.request("OPTIONS", 5, to=to)
            await raw.reply(500)
            raw.request("OPTIONS", 9, to="<sip:5000@x>;tag=other")
            await raw.reply(481)
            raw.request("BYE", 10, to=to)
            await raw.reply(200)
            assert call.cause == "NORMAL_CLEARING"
            raw.request("BYE", 11, to=to)
            await raw.reply(481)

        with_raw(test)

    def test_garbage_harms_nobody(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, to = await answered(switch, raw)
            chance = random.Random(1)
            whole = bytes(await options(raw))
            for _ in range(500):
                raw.send(chance.randbytes(chance.randrange(1, 200)))
                at = chance.randrange(len(whole))
                raw.send(whole[:at] + chance.randbytes(3) + whole[at + 3 :])
            raw.request("BYE", 99, to=to)
            assert await asyncio.wait_for(call.ended(), TIMEOUT) == "NORMAL_CLEARING"

        async def options(raw: Raw) -> Response:
            raw.request("OPTIONS", 50)
            return await raw.reply(200)

        with_raw(test)


async def invited(raw: Raw, switch: Switch) -> tuple[OutgoingCall, Request]:
    """A call to ``raw``, and its INVITE."""
    call = switch.endpoint.originate(f"sip:200@127.0.0.1:{raw.port}", caller="100")
    invite = await raw.receive()
    assert isinstance(invite, Request)
    return call, invite


def replied(raw: Raw, request: Request, status: int, *, tag: str = "b", body: str = "") -> None:
    reply = request.reply(status, tag=tag)
    reply.headers.add("Contact", f"<sip:200@127.0.0.1:{raw.port}>")
    reply.body = body.encode()
    raw.send(bytes(reply))


def rtp(payload_type: int, number: int, ssrc: bytes, payload: bytes) -> bytes:
    """The packet of that number, 20 ms after the one before."""
    return struct.pack("!BBHI4s", 0x80, payload_type, number, number * FRAME, ssrc) + payload


async def next_request(raw: Raw, method: str) -> Request:
    found = await raw.receive()
    assert isinstance(found, Request), found
    assert found.method == method
    return found


class TestCallsToRawSip:
    def test_each_answer_is_acknowledged(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, invite = await invited(raw, switch)
            answers: list[int] = []
            call.on_answer = answers.append
            for _ in range(2):
                replied(raw, invite, 200, body=SDP.format("0"))
                assert (await next_request(raw, "ACK")).cseq == (1, "ACK")
            # Another branch of a fork answered too: it is let go.
            replied(raw, invite, 200, tag="c", body=SDP.format("0"))
            assert (await next_request(raw, "ACK")).to.tag == "c"
            bye = await next_request(raw, "BYE")
            assert (bye.to.tag, bye.cseq) == ("c", (2, "BYE"))
            replied(raw, bye, 200)
            assert answers == [200]
            assert not call.cause

        with_raw(test)

    def test_no_cancel_before_a_reply(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, invite = await invited(raw, switch)
            await call.hangup()
            again = await next_request(raw, "INVITE")
            assert bytes(again) == bytes(invite)
            replied(raw, invite, 180)
            cancel = await next_request(raw, "CANCEL")
            assert (cancel.via.branch, cancel.cseq) == (invite.via.branch, (1, "CANCEL"))
            replied(raw, cancel, 200)
            # The callee was faster.
            replied(raw, invite, 200, body=SDP.format("0"))
            await next_request(raw, "ACK")
            await next_request(raw, "BYE")

        with_raw(test)

    def test_an_answer_without_a_codec_of_ours(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, invite = await invited(raw, switch)
            told = ends(call)
            replied(raw, invite, 200, body=SDP.format("18"))
            await next_request(raw, "ACK")
            await next_request(raw, "BYE")
            assert told == [("INCOMPATIBLE_DESTINATION", 488)]

        with_raw(test)

    def test_audio_goes_to_where_audio_comes_from(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, invite = await invited(raw, switch)
            replied(raw, invite, 200, body=SDP.format("0"))
            await call.answered()
            call.source = Player(tones.render("%(1000,0,440)"), loops=-1)
            port = sdp.parse(invite.body).audio().port
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nat:
                nat.bind(("127.0.0.1", 0))
                nat.setblocking(False)
                nat.sendto(b"no RTP", ("127.0.0.1", port))
                nat.sendto(bytes([0x80, 0]) + bytes(10) + b"\xff" * 160, ("127.0.0.1", port))
                data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(nat, 2048), TIMEOUT)
            assert (len(data), data[0], data[1] & 0x7F) == (172, 0x80, 0)

        with_raw(test)

    def test_who_sends_to_a_port_of_a_call_that_is_forgotten_is_not_heard(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, invite = await invited(raw, switch)
            ear, digits = Ear(), list[str]()
            call.sinks.append(ear)
            call.on_digit = lambda digit, _: digits.append(digit)
            offers = SDP.format("0 101") + "a=rtpmap:101 telephone-event/8000\r\n"
            with (
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forgotten,
            ):
                peer.bind(("127.0.0.1", 0))
                replied(raw, invite, 200, body=offers.replace("4000", str(peer.getsockname()[1])))
                await call.answered()
                to = ("127.0.0.1", sdp.parse(invite.body).audio().port)
                sound = g711.encode(tones.render("%(1000,0,440)"), g711.ULAW)
                for at in range(500):
                    peer.sendto(rtp(0, at, b"peer", sound[at % 50 * FRAME :][:FRAME]), to)
                    forgotten.sendto(rtp(0, at, b"gone", b"\x80" * FRAME), to)
                    # The # that ends what its caller says.
                    forgotten.sendto(rtp(101, at, b"gone", b"\x0b\x8a\x03\x20"), to)
                    await asyncio.sleep(FRAME_SECONDS)
                    if ear.hears(440):
                        break
            assert ear.hears(440)
            assert digits == []

        with_raw(test)

    def test_a_peer_without_events_hears_the_digits(self) -> None:
        async def test(switch: Switch, raw: Raw) -> None:
            call, invite = await invited(raw, switch)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
                ear.bind(("127.0.0.1", 0))
                ear.setblocking(False)
                replied(raw, invite, 200, body=SDP.format("0").replace("4000", str(ear.getsockname()[1])))
                await call.answered()
                await asyncio.wait_for(call.send_digits("5", ms=200), TIMEOUT)
                packets = []
                with contextlib.suppress(BlockingIOError):
                    while True:
                        packets.append(ear.recv(2048)[12:])
            sounds = [packet for packet in packets if packet != b"\xff" * 160]
            assert len(sounds) == 10
            digit = g711.decode(b"".join(sounds), g711.ULAW)
            assert tones.goertzel(digit, 770) > 0.4
            assert tones.goertzel(digit, 1336) > 0.4

        with_raw(test)


class TestOtherRequests:
    def test_messages_arrive(self) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            got: list[Request] = []
            switch.endpoint.on_request = got.append
            headers = {"Event": "message-summary", "Content-Type": "text/plain"}
            assert await phone.endpoint.send_request("NOTIFY", switch.uri, headers, "Messages-Waiting: yes") == 200
            assert (got[0].headers["Event"], got[0].body) == ("message-summary", b"Messages-Waiting: yes")
            assert await phone.endpoint.send_request("OPTIONS", switch.uri) == 200

        with_switches(test)

    def test_redirected(self) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            there = phone.endpoint.originate(switch.uri, caller="100")
            told = ends(there)
            here = await switch.call()
            await here.redirect("sip:300@127.0.0.1")
            await there.ended()
            assert told == [("REDIRECTION_TO_NEW_DESTINATION", 302)]
            assert there.headers["contact"] == "<sip:300@127.0.0.1>"

        with_switches(test)

    def test_referred(self) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            there, here = await switch.call_from(phone)
            await here.refer("sip:300@127.0.0.1")
            referred: list[str] = []
            there.on_refer = referred.append
            await here.refer("sip:301@127.0.0.1")
            assert referred == ["sip:301@127.0.0.1"]
            await there.hangup("NO_USER_RESPONSE")
            assert await here.ended() == "NO_USER_RESPONSE"
            with pytest.raises(LegEnded):
                await here.refer("sip:302@127.0.0.1")

        with_switches(test)

    @pytest.mark.parametrize("headers", [{"X-A": "a\r\nX-B: b"}, {"X-A\n": "a"}, {"X-A": "\0"}])
    def test_headers_with_line_ends_are_refused(self, headers: dict[str, str]) -> None:
        async def test(switch: Switch, phone: Switch) -> None:
            with pytest.raises(ValueError, match="line end"):
                phone.endpoint.originate(switch.uri, caller="100", headers=headers)
            assert not phone.endpoint.calls

        with_switches(test)
