"""Everything that is measured, in order."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import capacity, changes, cpu, decision, limits, memory, report, sheets
from bench.figures import Figure, Goal, mean_interval, paired, percentile, percentile_interval
from bench.variants import ALL_KEMI, BARE, CONTROL, NATIVE, STROWGER, SYNC_REDIS, Kind, Node, Variant
from bench.world import REFUSED_SHARE, Call, World, draw, policy

ALL = ("import", "change", "decision", "memory", "cpu", "capacity", "rates", "limits")
KINDS = (NATIVE, STROWGER, CONTROL, BARE, SYNC_REDIS, ALL_KEMI)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    entries: int = 1_000_000
    prefixes: int = 100_000
    rates: int = 1_000_000
    "Rows of a rate sheet."
    calls: int = 20_000
    "Different calls."
    rated_calls: int = 100_000
    "The same, to numbers of the rate sheets: what a worker learns at its first thousands is told apart."
    changes: int = 300
    blocks: int = 10
    seconds: float = 22.0
    "Of each block."
    idle: float = 10.0
    "Seconds for which Kamailio without calls is watched."
    memory_calls: int = 8_000
    searches: int = 4
    probe: float = 5.0
    "Seconds of each probe of a search."


SMOKE = Sizes(2_000, 500, 5_000, 1_500, 1_500, 5, 2, 2.0, 1.0, 200, 0, 1.0)


FIRST = 5_000
"Calls of a worker that has met few of the short prefixes yet."


@dataclass(slots=True)
class Bench:
    """One run in a directory of its own."""

    directory: Path
    sizes: Sizes
    progress: Callable[[str], None]

    @property
    def files(self) -> Path:
        """Lists and calls."""
        return self.directory / "files"

    def run(self, only: Sequence[str]) -> list[Figure]:
        """The figures of the parts ``only``."""
        if not set(only) - {"rates", "limits"}:
            return self._apart(only)
        self.progress(f"drawing {self.sizes.entries:,} entries and {self.sizes.prefixes:,} prefixes")
        world = draw(self.sizes.entries, self.sizes.prefixes, self.sizes.calls)
        world.write(self.files)
        figures = []
        with self._node("node", empty=False) as node:
            seconds = self._fill(node)
            if "import" in only:
                figures.append(
                    Figure("import of the block list", seconds, "s", low=seconds, high=seconds, goal=Goal(60))
                )
            if "change" in only:
                figures += self._changes(node)
            if "decision" in only or "memory" in only:
                with self._node("empty", empty=True) as empty:
                    figures += self._decisions(node, empty, world) if "decision" in only else []
                    figures += self._memory(node, empty) if "memory" in only else []
            if "cpu" in only:
                figures += self._cpu(node, world)
            if "capacity" in only and self.sizes.searches:
                figures += self._capacity(node, world)
        return figures + self._apart(only)

    def _apart(self, only: Sequence[str]) -> list[Figure]:
        """What needs no lists, but rate sheets."""
        if not {"rates", "limits"} & set(only):
            return []
        self.progress(f"rates: a sheet of {self.sizes.rates:,} rows, and {sheets.GATEWAYS - 1} small ones")
        node = Node(self.directory / "rated")
        try:
            node.start()
            calls = sheets.write(node.directory, self.sizes.rates, self.sizes.rated_calls)
            file = node.directory / "policy.yaml"
            file.write_text(sheets.policy())
            changes.run(node, "policy", "apply", str(file))
            took = [self._import_sheet(node, number) for number in range(sheets.GATEWAYS)]
            figures = self._rates(node, calls, took[0]) if "rates" in only else []
            return figures + (self._limits(node, calls) if "limits" in only else [])
        finally:
            node.stack.stop()

    def _limits(self, node: Node, calls: Sequence[Call]) -> list[Figure]:
        sizes = self.sizes
        return limits.run(
            node, calls[: sizes.calls], self.directory, blocks=sizes.blocks, seconds=sizes.seconds, rate=cpu.RATE,
            progress=self.progress,
        )  # fmt: skip

    def _rates(self, node: Node, calls: Sequence[Call], took: float) -> list[Figure]:
        decisions = decision.microseconds(node.settings.snapshot, calls)
        again = self._import_sheet(node, 0, "--replace")
        goal = Goal(90)
        return [
            Figure("import of a rate sheet", took, "s", low=took, high=took, goal=goal),
            Figure("the same in the place of the one in force", again, "s", low=again, high=again, goal=goal),
            _share("a decision by least cost, median", decisions, "µs", 0.5, None),
            _share("a decision by least cost, p99", decisions, "µs", 0.99, Goal(40)),
            _share("the same of a worker's first calls, p99", decisions[:FIRST], "µs", 0.99, None),
        ]

    def _import_sheet(self, node: Node, number: int, *options: str) -> float:
        name = sheets.name(number)
        file, currency = node.directory / f"{name}.csv", sheets.currency(number)
        return changes.run(node, "rates", "import", name, str(file), "--currency", currency, *options)

    @contextmanager
    def _node(self, name: str, *, empty: bool) -> Iterator[Node]:
        node = Node(self.directory / name)
        try:
            node.start()
            file = node.directory / "policy.yaml"
            file.write_text(policy(node.answering_port, node.refusing_port, default=empty))
            changes.run(node, "policy", "apply", str(file))
            yield node
        finally:
            node.stack.stop()

    def _fill(self, node: Node) -> float:
        self.progress("importing")
        changes.run(node, "route", "import", str(self.files / "prefixes.csv"))
        return changes.run(node, "block", "import", str(self.files / "entries.csv"))

    def _changes(self, node: Node) -> list[Figure]:
        self.progress("changes")
        return [_share("a change, p99", changes.milliseconds(node, self.sizes.changes), "ms", 0.99, Goal(100))]

    def _decisions(self, node: Node, empty: Node, world: World) -> list[Figure]:
        self.progress("decisions")
        calls = [call for pair in zip(world.answered, world.refused * 10, strict=False) for call in pair]
        full = decision.microseconds(node.settings.snapshot, calls)
        none = decision.microseconds(empty.settings.snapshot, calls)
        # What a worker with 250 calls a second meets: caches that others have used meanwhile.
        rested = decision.microseconds(node.settings.snapshot, calls[: decision.WARM_UP + 500], pause=0.004)
        figures = [_share("a decision 4 ms after the last, median", rested, "µs", 0.5, None)]
        for name, share, goal in (("median", 0.5, Goal(25)), ("p99", 0.99, Goal(50))):
            peer, figure = percentile(none, share), _share(f"a decision, {name}", full, "µs", share, goal)
            figures.append(replace(figure, peer="no entries", peer_value=peer, ratio=figure.value / peer))
        return figures

    def _memory(self, node: Node, empty: Node) -> list[Figure]:
        self.progress("memory of workers")
        own = [self._worker_memory(one, refused) for one, refused in ((node, REFUSED_SHARE), (empty, 0.0))]
        grown = [mine - statistics.fmean(own[1]) for mine in own[0]]
        # Of all workers the largest counts, so there is no spread to speak of.
        figure = Figure(
            "growth of a worker", max(grown), "MB", "its size with an empty policy", statistics.fmean(own[1]),
            low=max(grown), high=max(grown), goal=Goal(20),
        )  # fmt: skip
        return [figure]

    def _worker_memory(self, node: Node, refused: float) -> list[float]:
        with self._variants(node, [STROWGER]) as (variant,):
            return memory.after_calls(variant, self.sizes.memory_calls, refused=refused)

    def _cpu(self, node: Node, world: World) -> list[Figure]:
        with self._variants(node, KINDS, len(world.entries) + len(world.prefixes)) as variants:
            self.progress(f"CPU for each call: {self.sizes.blocks} blocks of {self.sizes.seconds:g} s")
            found = cpu.blocks(variants, count=self.sizes.blocks, seconds=self.sizes.seconds, progress=self.progress)
            idle = cpu.idle(variants, self.sizes.idle)
        (self.directory / "cpu.svg").write_text(_cpu_picture(found))
        own, unit = found["strowger"], "µs"
        busy = {name: [value - idle[name] / cpu.RATE for value in values] for name, values in found.items()}
        goals = {"native": Goal(1.10), "sync-redis": Goal(0.75)}
        return [
            *(paired("CPU for each call", unit, own, peer, found[peer], goals.get(peer))
              for peer in ("native", "sync-redis", "all-kemi", "native-without-records")),
            paired("CPU for each call, control", unit, found["control"], "native", found["native"], None),
            *(paired("the same, without what Kamailio uses when idle", unit, busy["strowger"], peer, busy[peer], None)
              for peer in ("native", "sync-redis")),
        ]  # fmt: skip

    def _capacity(self, node: Node, world: World) -> list[Figure]:
        with self._variants(node, (NATIVE, STROWGER), len(world.entries) + len(world.prefixes)) as variants:
            self.progress(f"most calls a second with {capacity.SHARE:.0%} of a core")
            try:
                found = capacity.searches(
                    variants, rounds=self.sizes.searches, seconds=self.sizes.probe, progress=self.progress
                )
            except capacity.NoQuotaError as error:
                self.progress(f"left out: {error}")
                return []
        goal = Goal(0.95, at_least=True)
        return [paired("most calls a second", "calls/s", found["strowger"], "native", found["native"], goal)]

    @contextmanager
    def _variants(self, node: Node, kinds: Sequence[Kind], records: int = 0) -> Iterator[list[Variant]]:
        variants: list[Variant] = []
        try:
            for kind in kinds:
                self.progress(f"starting {kind.name}")
                variants.append(Variant(kind, node, self.files, entries=records))
                variants[-1].start()
            yield variants
        finally:
            for variant in variants:
                variant.stop()


def _share(name: str, values: Sequence[float], unit: str, share: float, goal: Goal | None) -> Figure:
    low, high = percentile_interval(values, share)
    return Figure(name, percentile(values, share), unit, low=low, high=high, goal=goal)


def _cpu_picture(found: dict[str, list[float]]) -> str:
    bars = []
    for name, values in sorted(found.items(), key=lambda item: statistics.fmean(item[1])):
        low, high = mean_interval(values)
        mean = statistics.fmean(values)
        bars.append((name, mean, mean if math.isnan(low) else low, mean if math.isnan(high) else high))
    return report.picture("CPU of Kamailio for each call, with the mean's 90 % interval", "µs", bars)
