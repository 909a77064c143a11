"""``python -m bench.hook``: how long calls take to be set up while others wait for a route hook.

Two SIPps place 100 calls a second each. One's calls never ask a hook, and theirs are the times that count; the other's
take a route without a hook, or one whose hook answers in 5 ms, in 10 s, with garbage, or not at all. Blocks of all
kinds follow one another, in another order each round.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench import report
from bench.__main__ import RESULTS
from bench.figures import Figure, mean_interval, paired, percentile
from bench.netns import Namespace
from bench.sipp import SCENARIOS, start_gateway
from bench.variants import Node
from console.ports import free_port
from console.process import Process
from console.sipp import SIPP
from console.stack import Stack

OPEN = "02079460000"
ROOT = Path(__file__).parent.parent
KINDS = {
    "without a hook": "1",
    "5 ms": "2",
    "10 s": "3",
    "garbage": "4",
    "no answer": "5",
    "without a hook, again": "6",
}
"What the other half does, and the last digit of the numbers that it calls."
PATHS = {"5 ms": "/soon", "10 s": "/late", "garbage": "/garbage", "no answer": "/silent"}

_POLICY = """\
strowger: 1
dialling_plans:
  gb: {{country_code: "44"}}
default_dialling: gb
trunks:
  lab: {{sources: [127.0.0.0/8], dialling: gb}}
gateways:
  a: {{address: "127.0.0.1:{gateway}"}}
hooks:
{hooks}
routes:
  - {{name: open, prefixes: ["020"], gateways: [a]}}
{routes}
"""


def policy(gateway: int, server: int) -> str:
    """Hooks that go on being asked however they fail, and a route for each."""
    options = "timeout: 1s, fallback: continue, at_most: 10000, failures: 1000000"
    names = {kind: path.strip("/") for kind, path in PATHS.items()}
    return _POLICY.format(
        gateway=gateway,
        hooks="\n".join(
            f'  {names[kind]}: {{url: "http://127.0.0.1:{server}{path}", {options}}}' for kind, path in PATHS.items()
        ),
        routes="\n".join(
            f'  - {{name: r{digit}, prefixes: ["0161{digit}"], gateways: [a]'
            + (f", hook: {names[kind]}}}" if kind in names else "}")
            for kind, digit in KINDS.items()
        ),
    )


async def serve(port: int) -> None:
    """The program that is asked; what it does says the path."""
    # It stands for one on another machine, as far as that can be.
    os.nice(19)
    server = await asyncio.start_server(_answer, "127.0.0.1", port, backlog=1000)
    async with server:
        await server.serve_forever()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            path = head.split()[1].decode()
            body = b"}{" if path == "/garbage" else b'{"action": "continue"}'
            await asyncio.sleep({"/soon": 0.005, "/late": 10.0, "/silent": 3600.0}.get(path, 0.0))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    writer.close()


@dataclass(frozen=True, slots=True)
class Block:
    """What one block showed; seconds."""

    others: list[float]
    "Set-up times of calls that ask nobody."
    asking: list[float]
    "Of the others."


def block(port: int, callee: str, *, rate: float, seconds: float, directory: Path) -> Block:
    """Place both halves of the calls. Raises RuntimeError where one fails."""
    halves = [_Half(port, number, rate, seconds, directory / name) for name, number in (("o", OPEN), ("a", callee))]
    return Block(*(half.times() for half in halves))


# Time, what it is, and of which call; the first 200 of a call is that to its INVITE.
_MESSAGE = re.compile(
    r"^-+ ([-0-9]+ [0-9:.]+)\n\w+ message (?:sent|received).*\n\n(INVITE|SIP/2.0 200)(?:.*\n)+?Call-ID: (\S+)",
    re.MULTILINE,
)


class _Half:
    def __init__(self, port: int, callee: str, rate: float, seconds: float, directory: Path) -> None:
        directory.mkdir(parents=True)
        calls = directory / "calls.csv"
        calls.write_text(f"SEQUENTIAL\n1001;{callee};\n")
        self._directory, self._limit = directory, seconds + 60
        command = [
            SIPP, f"127.0.0.1:{port}", "-sf", str(SCENARIOS / "caller-answered.xml"), "-inf", str(calls), "-p",
            str(free_port()), "-i", "127.0.0.1", "-d", "0", "-r", f"{rate:g}", "-m", str(round(rate * seconds)),
            "-nostdin", "-trace_msg", "-message_file", "messages", "-recv_timeout", "20000",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, cwd=directory, env={"TERM": "dumb"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def times(self) -> list[float]:
        if self._process.wait(self._limit):
            raise RuntimeError(f"calls failed: {self._directory}")
        # Its own times are of a clock that ticks every four milliseconds.
        sent: dict[str, float] = {}
        answered: dict[str, float] = {}
        for at, first, call in _MESSAGE.findall((self._directory / "messages").read_text()):
            (sent if first == "INVITE" else answered).setdefault(call, datetime.fromisoformat(at).timestamp())
        return [answered[call] - at for call, at in sent.items()]


def run(
    directory: Path, *, rounds: int, seconds: float, rate: float, progress: Callable[[str], None]
) -> list[Figure]:
    """The figures."""
    with ExitStack() as stack:
        node = Node(directory / "node")
        settings = replace(node.settings, sip_port=free_port(), rpc_port=free_port())
        own = Stack(settings, node.directory, hook=True)
        stack.callback(own.stop)
        node.directory.mkdir()
        own.start()
        gateway, server = free_port(), free_port()
        # At once and without ringing: nothing but the node is in the times.
        scenario, usual = directory / "answers-at-once.xml", (SCENARIOS / "gateway-answers.xml").read_text()
        scenario.write_text(re.sub("<send>.*?</send>|<pause.*?/>", "", usual, count=2, flags=re.DOTALL))
        stack.callback(start_gateway(Namespace(), str(scenario), gateway, directory).kill)
        command = [sys.executable, "-m", "bench.hook", "--serve", str(server)]
        asked = Process("hook-server", command, {"PYTHONPATH": str(ROOT)}, directory / "server.log")
        asked.start()
        stack.callback(asked.kill)
        path = directory / "policy.yaml"
        path.write_text(policy(gateway, server))
        subprocess.run(node.strowger("policy", "apply", str(path)), env=node.environment, check=True)
        port = own.settings.sip_port
        found: dict[str, list[Block]] = {kind: [] for kind in KINDS}
        for number in range(-1, rounds):
            kinds = list(KINDS)
            first = number % len(kinds)
            for kind in kinds[first:] + kinds[:first]:
                progress(f"round {number + 1} of {rounds}: {kind}")
                place, callee = directory / f"{number}-{KINDS[kind]}", f"0161{KINDS[kind]}460000"
                one = block(port, callee, rate=rate, seconds=seconds if number >= 0 else 1.0, directory=place)
                if number >= 0:
                    found[kind].append(one)
        return figures(found)


def figures(found: dict[str, list[Block]]) -> list[Figure]:
    """Of each kind the middle and the slow set-up times of calls that ask nobody, beside those of the control's."""
    control = found["without a hook"]
    told = []
    for kind, blocks in found.items():
        for name, share in (("median", 0.5), ("99th percentile", 0.99)):
            own, other = ([percentile(block.others, share) * 1000 for block in some] for some in (blocks, control))
            low, high = mean_interval(own)
            text = f"set-up of other calls, {name}, hook: {kind}"
            told.append(replace(Figure(text, sum(own) / len(own), "ms"), low=low, high=high))
            if kind != "without a hook":
                told.append(paired(f"{text}, by block", "ms", own, "without a hook", other, None))
        asking = [percentile(block.asking, 0.5) * 1000 for block in blocks]
        low, high = mean_interval(asking)
        text = f"set-up of calls that ask, median, hook: {kind}"
        told.append(replace(Figure(text, sum(asking) / len(asking), "ms"), low=low, high=high))
    return told


def main(
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of blocks.")] = 14,
    seconds: Annotated[float, typer.Option(min=1, help="Of each block.")] = 2.0,
    rate: Annotated[float, typer.Option(help="Calls a second of each half.")] = 100.0,
    results: Annotated[Path, typer.Option(help="Directory for the results.")] = RESULTS,
    port: Annotated[int, typer.Option("--serve", hidden=True)] = 0,
) -> None:
    """Measure whether a route hook slows the calls that do not ask it."""
    if port:
        asyncio.run(serve(port))
        return
    progress, began = Console(stderr=True), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="strowger-bench-") as directory:
        told = run(
            Path(directory), rounds=rounds, seconds=seconds, rate=rate,
            progress=lambda text: progress.print(f"[{time.monotonic() - began:4.0f} s] {text}", markup=False),
        )  # fmt: skip
    command = f"python -m bench.hook --rounds {rounds} --seconds {seconds:g} --rate {rate:g}"
    told = [replace(one, machine=report.machine(), command=command) for one in told]
    report.write(results / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-hook.jsonl", told)
    report.show(Console(), told)


if __name__ == "__main__":
    typer.run(main)
