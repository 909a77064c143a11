"""Two nodes on one Redis, and what a gateway saw of their calls."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from console.ports import free_port
from console.process import Process
from console.sipp import SIPP, authority, key_options, place_calls
from harness.node import SCENARIOS, TRUNK, Node
from kemi.rpc import RpcError
from model.policy import Gateway, Policy, Route
from state.limit_use import Use, usage

CALLER = SCENARIOS / "uac-expect-answer-or-503.xml"
CALLEE = "02079460000"
TIMEOUT = 30.0


@dataclass(slots=True)
class Pair:
    """Two nodes; the first one's stack holds the Redis."""

    nodes: tuple[Node, Node]
    directory: Path
    runs: int = 0

    @property
    def first(self) -> Node:
        """The one that applies policies."""
        return self.nodes[0]

    def apply(self, policy: Policy, routes: Sequence[Route]) -> None:
        """Put a policy in force on both."""
        self.first.put_in_force(policy, routes)

    def counts(self) -> bool:
        """Whether Redis counts for both nodes."""
        return all(counts(node) for node in self.nodes)

    def use(self, name: str) -> Use:
        """What is in use of a limit."""
        return usage(self.first.store, [name])[name]

    def load(self, *, rate: float, seconds: float, talk: float) -> None:
        """Place calls through both nodes at ``rate`` calls a second together; each is answered or refused with 503."""

        def calls(node: Node, port: int, directory: Path) -> None:
            done = place_calls(
                CALLER, server=node.sip, port=port, directory=directory, keys={"callee": CALLEE},
                calls=int(rate * seconds / 2), rate=rate / 2, talk=int(talk * 1000),
            )  # fmt: skip
            assert done.passed, done.output

        with ThreadPoolExecutor(2) as pool:
            ports = [free_port() for _ in self.nodes]
            list(pool.map(calls, self.nodes, ports, [self._directory() for _ in self.nodes]))

    @contextmanager
    def talking(self, node: Node, calls: int) -> Iterator[None]:
        """Calls through ``node`` that stand while the block runs, and are then forgotten by their caller."""
        directory = self._directory()
        directory.mkdir(parents=True, exist_ok=True)
        command = [
            SIPP, authority(*node.sip), "-sf", str(CALLER), "-i", "127.0.0.1", "-p", str(free_port()), "-nostdin",
            "-d", "600000", "-m", str(calls), "-r", "100", *key_options({"callee": CALLEE}),
        ]  # fmt: skip
        process = Process("sipp", command, {"TERM": "dumb"}, directory / "talking.log")
        process.start()
        try:
            yield
        finally:
            process.kill()

    def _directory(self) -> Path:
        self.runs += 1
        return self.directory / f"callers-{self.runs}"


def counts(node: Node) -> bool:
    """Whether Redis counts for a node's limits."""
    try:
        with node.kamcmd() as kamcmd:
            return "redis" in kamcmd.htable_dump("limits")
    except RpcError:
        return False


def until(holds: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> float:
    """Wait for something that takes its time by design; how long that was, in seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < timeout, what
        time.sleep(0.05)
    return time.monotonic() - began


@contextmanager
def pair(directory: Path) -> Iterator[Pair]:
    """Both nodes, running, with a Redis that counts."""
    first = Node.create(directory / "a", name="a", workers=2)
    url = first.stack.settings.redis_url
    second = Node.create(directory / "b", name="b", workers=2, STROWGER_REDIS_URL=url)
    try:
        first.stack.start()
        (directory / "b").mkdir()
        second.stack.start_agent()
        second.stack.start_kamailio()
        both = Pair((first, second), directory)
        until(both.counts, "Redis does not count")
        yield both
    finally:
        second.close()
        first.close()


def policy_of(gateways: Sequence[Gateway]) -> Policy:
    """A policy with the trunk of all tests."""
    return Policy((TRUNK,), {gateway.name: gateway for gateway in gateways}, TRUNK.dialling)


_HEAD = re.compile(r"-{20,} (\d{4}-\d\d-\d\d[ T\t]\d\d:\d\d:\d\d\.\d+)")
_CALL_ID = re.compile(r"^Call-ID: *(\S+)", re.MULTILINE | re.IGNORECASE)


def arrivals(trace: Path) -> list[tuple[float, str, str]]:
    """What a gateway received, as its trace has it: Unix time, method and Call-ID, each request once."""
    found: list[tuple[float, str, str]] = []
    seen: set[tuple[str, str]] = set()
    parts = _HEAD.split(trace.read_text(errors="replace"))
    for stamp, text in zip(parts[1::2], parts[2::2], strict=True):
        match = re.search(r"^(INVITE|BYE) sip:", text, re.MULTILINE)
        if "message received" not in text or match is None:
            continue
        call = _CALL_ID.search(text)
        assert call is not None, text
        if (key := (match[1], call[1])) not in seen:
            seen.add(key)
            found.append((datetime.fromisoformat(stamp.replace("\t", " ")).timestamp(), *key))
    return found


def most_at_once(seen: Sequence[tuple[float, str, str]]) -> int:
    """The most calls that a gateway had at once, in the order of its trace."""
    now = most = 0
    for _, method, _ in seen:
        now += 1 if method == "INVITE" else -1
        most = max(most, now)
    return most


def most_within(seen: Sequence[tuple[float, str, str]], seconds: float) -> int:
    """The most calls that began within so many seconds."""
    begun = [at for at, method, _ in seen if method == "INVITE"]
    return max(sum(at <= other < at + seconds for other in begun) for at in begun)
