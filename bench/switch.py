"""``python -m bench.switch``: how evenly the embedded switch sends, with many calls at once.

The calls come from a process of their own, which hears by kernel timestamps (SO_TIMESTAMPNS): its own delays do not
count. Each call is answered, plays a tone and is heard, both ways.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import struct
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Annotated, Any

import numpy as np
import typer

from console.ports import free_port
from devswitch.audio import tones
from devswitch.audio.sources import Player
from devswitch.leg import FRAME_SECONDS, Frame
from devswitch.sip.endpoint import Endpoint
from devswitch.sip.incoming import IncomingCall

# Linux, asm-generic/socket.h; Python does not name it.
SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
SWITCH_RTP, PEER_RTP = range(20_000, 24_000), range(24_000, 28_000)
GOAL_MS = 5.0
TONE = "v=-10;%(1000,0,440)"
# Calls begin within this time of each other.
RAMP_SECONDS = 2.0


class Loudness:
    """A sink that listens, as a recorder would."""

    frames = 0
    loud = 0

    def frame(self, samples: Frame, /) -> None:
        self.frames += 1
        self.loud += bool(np.abs(samples).max() > 500)


class StampedSocket(socket.socket):
    """A socket that notes when the kernel received each packet."""

    times: list[int]

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        data, ancillary, _, source = self.recvmsg(size, 64, flags)
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2][: _TIMESPEC.size])
        self.times.append(seconds * 1_000_000_000 + nanoseconds)
        return data, source


class Peer(Endpoint):
    """An endpoint whose RTP sockets note the times."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.sockets: list[StampedSocket] = []

    def open_rtp(self) -> socket.socket:
        sock = StampedSocket(fileno=super().open_rtp().detach())
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.times = []
        self.sockets.append(sock)
        return sock


def main(
    calls: Annotated[int, typer.Option(min=1, help="Calls at once.")] = 50,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds that are measured.")] = 10.0,
    runs: Annotated[int, typer.Option(min=1, help="How often.")] = 3,
) -> None:
    """Measure the pacing of the embedded switch."""
    print(f"{calls} calls, {seconds:g} s: inter-packet error in ms (goal: p99 < {GOAL_MS:g}); CPU of the switch")
    for _ in range(runs):
        errors, packets, loud, cpu = measure(calls, seconds)
        p50, p99, most = (np.percentile(errors, share) / 1e6 for share in (50, 99, 100))
        met = "met" if p99 < GOAL_MS else "MISSED"
        print(
            f"p50 {p50:6.3f}  p99 {p99:6.3f}  max {most:6.2f}  {met}; {packets} packets of "
            f"{round(calls * seconds / FRAME_SECONDS)}, {loud:.1%} of frames heard; {cpu:.0%} of a core"
        )


def measure(calls: int, seconds: float) -> tuple[np.ndarray[Any, Any], int, float, float]:
    """Inter-packet errors in ns, number of packets, share of the frames the switch heard, CPU share of the switch."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    port = free_port()
    switch = context.Process(target=_run_switch, args=(port, theirs), daemon=True)
    switch.start()
    theirs.close()
    try:
        ours.recv()
        errors, packets = asyncio.run(_call(port, calls, seconds, ours))
        ours.send("stop")
        loud, cpu = ours.recv()
    finally:
        switch.join(10)
        switch.kill()
    return errors, packets, loud, cpu


def _run_switch(port: int, pipe: Connection) -> None:
    asyncio.run(_switch(port, pipe))


async def _switch(port: int, pipe: Connection) -> None:
    tasks: set[asyncio.Task[None]] = set()
    ears: list[Loudness] = []

    def invite(call: IncomingCall) -> None:
        ears.append(ear := Loudness())
        call.sinks.append(ear)
        call.source = Player(tones.render(TONE), loops=-1)
        task = asyncio.get_running_loop().create_task(call.answer())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    endpoint = Endpoint("127.0.0.1", port, on_invite=invite, rtp_ports=SWITCH_RTP, user_agent="bench")
    await endpoint.start()
    pipe.send("ready")
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, pipe.recv)
    began, cpu = loop.time(), time.process_time()
    for ear in ears:
        ear.frames = ear.loud = 0
    await loop.run_in_executor(None, pipe.recv)
    share = (time.process_time() - cpu) / (loop.time() - began)
    pipe.send((sum(ear.loud for ear in ears) / max(sum(ear.frames for ear in ears), 1), share))
    await endpoint.stop()


async def _call(port: int, calls: int, seconds: float, pipe: Connection) -> tuple[np.ndarray[Any, Any], int]:
    unexpected: Callable[[IncomingCall], None] = lambda _: None  # noqa: E731
    peer = Peer("127.0.0.1", 0, on_invite=unexpected, rtp_ports=PEER_RTP, user_agent="bench")
    await peer.start()
    legs = []
    for _ in range(calls):
        leg = peer.originate(f"sip:bench@127.0.0.1:{port}", caller="bench")
        leg.source = Player(tones.render(TONE), loops=-1)
        legs.append(leg)
        await asyncio.sleep(RAMP_SECONDS / calls)
    for leg in legs:
        await leg.answered()
    pipe.send("measure")
    for sock in peer.sockets:
        sock.times.clear()
    await asyncio.sleep(seconds)
    gaps = [np.diff(sock.times) for sock in peer.sockets]
    packets = sum(len(sock.times) for sock in peer.sockets)
    for leg in legs:
        await leg.hangup()
    await peer.stop()
    return np.abs(np.concatenate(gaps) - round(FRAME_SECONDS * 1e9)), packets


if __name__ == "__main__":
    typer.run(main)
