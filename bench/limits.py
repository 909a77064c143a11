"""What limits, least cost and records cost: CPU for each call of one policy with them beside the same without."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench import changes, cpu, sheets
from bench.figures import Figure, Goal, paired
from bench.variants import PEERS, STROWGER, Kind, Node, Variant
from bench.world import Call, World
from console.stack import StackError
from kemi.rpc import Kamcmd

GOAL = Goal(1.25)
# Far from being reached, so that all calls are placed alike.
LIMITS = "{calls: 5000, per_second: 1000, when_away: closed}"
GATEWAY_LIMITS = "{calls: 5000, when_away: closed}"

LIMITED = replace(STROWGER, name="limited")
PLAIN = replace(STROWGER, name="plain")
CONTROL = replace(STROWGER, name="plain-again")
SETTLED_TIMEOUT = 30.0

_POLICY = """\
strowger: 1
dialling_plans:
  gb: {{country_code: "44"}}
default_dialling: gb
currency: USD
exchange: {{EUR: "1.0855"}}
trunks:
  lab: {{sources: [127.0.0.0/8], dialling: gb{trunk}}}
gateways:
{gateways}
routes:
  - {{name: way, prefixes: [default], gateways: [{names}]{route}}}
"""


def policy(port: int, *, limited: bool) -> str:
    """The policy with everything, or with as many attempts, none of which are chosen by price or limited."""
    count = sheets.GATEWAYS if limited else sheets.AT_MOST
    names = [sheets.name(number) for number in range(count)]
    own = f", limits: {GATEWAY_LIMITS}" if limited else ""
    return _POLICY.format(
        trunk=f", limits: {LIMITS}" if limited else "",
        gateways="\n".join(f'  {name}: {{address: "127.0.0.1:{port}"{own}}}' for name in names),
        names=", ".join(names),
        route=f", strategy: least_cost, at_most: {sheets.AT_MOST}" if limited else "",
    )


def run(
    full: Node, calls: Sequence[Call], directory: Path, *, blocks: int, seconds: float, rate: float,
    progress: Callable[[str], None],
) -> list[Figure]:  # fmt: skip
    """The figures. ``full`` has the rate sheets for ``calls``; ``rate`` is calls a second of each variant."""
    files = directory / "limits-files"
    World([], {}, list(calls), []).write(files)
    with ExitStack() as stack:
        plain = stack.enter_context(_node(directory / "plain"))
        for node in (full, plain):
            _apply(node, policy(node.answering_port, limited=node is full))
        kinds = ((full, LIMITED), (plain, PLAIN), (plain, CONTROL), (plain, _unrecorded(directory)))
        variants = [stack.enter_context(_variant(kind, node, files, progress)) for node, kind in kinds]
        _await_leases(variants[0])
        progress(f"CPU for each call: {blocks} blocks of {seconds:g} s, {rate:g} calls a second")
        found = cpu.blocks(
            variants, count=blocks, seconds=seconds, progress=progress, rate=rate, refused=0.0, beside=_redis
        )
    own, other, control, bare = (found[kind.name] for _, kind in kinds)
    redis, name = found["redis"], "CPU for each call with limits, least cost and records"
    return [
        paired(name, "µs", own, "without limits and least cost", other, GOAL),
        paired(name, "µs", own, "without limits, least cost and records", bare, GOAL),
        paired("the same, Redis included", "µs", _sum(own, redis), "without limits and least cost", other, None),
        paired("CPU for each call, control", "µs", control, "without limits and least cost", other, None),
    ]


def _sum(own: Sequence[float], more: Sequence[float]) -> list[float]:
    return [one + other for one, other in zip(own, more, strict=True)]


def _redis(variants: Sequence[Variant]) -> dict[str, int]:
    """CPU of the Redis that keeps the leases, in nanoseconds."""
    return {"redis": cpu.nanoseconds(variants[0].redis_pids())}


def _unrecorded(directory: Path) -> Kind:
    """Strowger that writes no line of a record; the product has no such setting."""
    lines = STROWGER.config.read_text().splitlines()
    config = directory / "unrecorded.cfg"
    # Something has to stand there: a block may not be empty.
    kept = ["$var(unrecorded) = 1;" if 'python_exec("on_record"' in line else line for line in lines]
    config.write_text("\n".join(kept) + "\n")
    return Kind("unrecorded", config, PEERS / "without_records.py")


@contextmanager
def _node(directory: Path) -> Iterator[Node]:
    node = Node(directory)
    try:
        node.start()
        yield node
    finally:
        node.stack.stop()


@contextmanager
def _variant(kind: Kind, node: Node, files: Path, progress: Callable[[str], None]) -> Iterator[Variant]:
    progress(f"starting {kind.name}")
    variant = Variant(kind, node, files)
    try:
        variant.start()
        yield variant
    finally:
        variant.stop()


def _apply(node: Node, text: str) -> None:
    file = node.directory / "policy.yaml"
    file.write_text(text)
    changes.run(node, "policy", "apply", str(file))


def _await_leases(variant: Variant) -> None:
    """Wait until Redis counts: until then limits that are closed when it is away refuse all calls."""
    deadline = time.monotonic() + SETTLED_TIMEOUT
    with Kamcmd(f"unix:{variant.settings.rpc_socket}", timeout=5.0) as kamcmd:
        while "redis" not in kamcmd.htable_dump("limits"):
            if time.monotonic() > deadline:
                raise StackError("the Redis of the leases does not count")
            time.sleep(0.1)
