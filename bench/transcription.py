"""Transcription: how fast it is, and whether two services on one stream cost more for a message than one.

    python -m bench.transcription --blocks 5 --messages 12

Messages are spoken by flite and carried as 8 kHz. First one warm engine, without anything around it; then whole
services (index, jobs, disk), one in one world and two in another, by turns; CPU is that of services and engines.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console

from bench import report
from bench.figures import Figure, Goal, mean_interval, paired
from console.ports import free_port
from console.process import Process
from console.serve import ROOT
from media.transcription.resampling import Resampler
from media.transcription.transcriber import Transcriber
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import Box, Message, Store
from model.settings import Settings

RESULTS = ROOT / "bench" / "results"
BOX = "1001"
LIMIT = 1200.0
"Seconds that a block may take."
TICK = os.sysconf("SC_CLK_TCK")
TEXTS = (
    "Hello, this is Peter from the office, please call me back when you have a moment",
    "I left my keys at your house and I will come by after work",
    "Good morning, this is Mary from the bank, I am calling about your account",
    "My flight has been delayed and I will not be home for dinner",
)


def main() -> None:
    """Measure, print a table, write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.transcription", description=__doc__)
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--messages", type=int, default=12, help="in a block")
    parser.add_argument("--voice", default="rms", help="of flite")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="strowger-bench-") as directory:
        audio = [_spoken(text, Path(directory), given.voice) for text in TEXTS]
        figures = asyncio.run(_engine(audio, given.blocks)) + _services(Path(directory), audio, given)
    command = shlex.join(["python", "-m", "bench.transcription", *sys.argv[1:]])
    figures = [replace(one, machine=report.machine(), command=command) for one in figures]
    report.write(RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-transcription.jsonl", figures)
    report.show(Console(), figures)


async def _engine(audio: Sequence[Path], blocks: int) -> list[Figure]:
    transcriber = Transcriber("pocketsphinx")
    length = sum(map(_seconds, audio))
    factors = []
    try:
        await transcriber.transcribe(audio[0])  # loads the model
        pid = transcriber.pid or 0
        for _ in range(blocks):
            before = _cpu([pid])
            for path in audio:
                await transcriber.transcribe(path)
            factors.append((_cpu([pid]) - before) / length)
    finally:
        await transcriber.aclose()
    low, high = mean_interval(factors)
    mean = sum(factors) / len(factors)
    minute = 60 / (mean * length / len(audio))
    return [
        Figure("CPU of pocketsphinx for a second of speech", mean, "s", low=low, high=high, goal=Goal(1.0)),
        Figure(f"messages of {length / len(audio):.1f} s for each minute of a core", minute, "messages"),
    ]


def _services(directory: Path, audio: Sequence[Path], given: argparse.Namespace) -> list[Figure]:
    one: list[float] = []
    two: list[float] = []
    with ExitStack() as stack:
        worlds = [stack.enter_context(_world(directory / str(count), count)) for count in (1, 2)]
        for world in worlds:
            world.block(audio, 4 * len(world.services))  # loads the models, in each service
        for number in range(given.blocks):
            for world in worlds[:: 1 if number % 2 else -1]:
                (one if world is worlds[0] else two).append(world.block(audio, given.messages))
            print(f"block {number + 1} of {given.blocks}: {one[-1]:.3f} s, {two[-1]:.3f} s", file=sys.stderr)
    return [paired("CPU for a message, two services on the stream", "s", two, "one service", one, Goal(1.1))]


class _World:
    """A Redis, a box, and services that transcribe its messages."""

    def __init__(self, directory: Path, services: int) -> None:
        directory.mkdir()
        port = free_port()
        redis = ["redis-server", "--port", str(port), "--save", "", "--dir", str(directory), "--bind", "127.0.0.1"]
        environment = {
            "STROWGER_REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "STROWGER_VOICEMAIL": str(directory / "voicemail"),
            "STROWGER_RUN": str(directory / "run"),
        }
        self.settings = Settings.from_env(environment)
        self.store = Store(self.settings.voicemail)
        self.redis = Process("redis", redis, dict(os.environ), directory / "redis.log")
        command = [sys.executable, "-m", "console.main", "serve", "voicemail"]
        everything = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self.services = [
            Process("voicemail", command, everything, directory / f"{number}.log") for number in range(services)
        ]

    def block(self, audio: Sequence[Path], messages: int) -> float:
        """Seconds of CPU for each message."""
        before = _cpu(self._pids())
        left = asyncio.run(self._leave([audio[number % len(audio)] for number in range(messages)]))
        deadline = time.monotonic() + LIMIT
        while not all(self._done(message) for message in left):
            if time.monotonic() > deadline:
                raise SystemExit(f"{messages} messages are not transcribed within {LIMIT:g} s")
            time.sleep(0.2)
        return (_cpu(self._pids()) - before) / messages

    async def _leave(self, audio: Sequence[Path]) -> list[Message]:
        mailboxes = Mailboxes(self.store, self.settings.redis_url)
        left = []
        for path in audio:
            recording = await mailboxes.begin(BOX, caller="")
            recording.audio.write_bytes(path.read_bytes())
            left.append(await mailboxes.accept(recording))
        await mailboxes.close()
        return left

    def _done(self, message: Message) -> bool:
        transcript = self.store.message(BOX, message.id).transcript
        if transcript and transcript["state"] != "done":
            raise SystemExit(f"a message was not transcribed: {transcript}")
        return transcript is not None

    def _pids(self) -> list[int]:
        own = [service.popen.pid for service in self.services if service.popen]
        return own + [pid for one in own for pid in _children(one)]


@contextmanager
def _world(directory: Path, services: int) -> Iterator[_World]:
    world = _World(directory, services)
    with ExitStack() as stack:
        for process in (world.redis, *world.services):
            process.start()
            stack.callback(process.stop)
        world.store.put_box(Box(number=BOX, quota_messages=0, min_seconds=1))
        yield world


def _children(pid: int) -> list[int]:
    # Whichever of its threads began them.
    return [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]


def _cpu(pids: Sequence[int]) -> float:
    """Seconds that these processes have had of a processor."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


def _spoken(text: str, directory: Path, voice: str) -> Path:
    wide, narrow = directory / "wide.wav", directory / f"{abs(hash(text))}.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(wide)], check=True)
    with wave.open(str(wide), "rb") as file:
        resampler = Resampler(file.getframerate(), 8000)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
    found = np.concatenate((resampler.feed(samples), resampler.finish())).clip(-32768, 32767)
    with wave.open(str(narrow), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(found.astype("<i2").tobytes())
    return narrow


def _seconds(path: Path) -> float:
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()


if __name__ == "__main__":
    main()
