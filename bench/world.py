"""The policy, lists and calls that everything is measured with: drawn from one seed, the same for every variant."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SEED = 20240229

# Lengths of normalised prefixes, the plus sign included; peers/native.cfg asks for exactly these.
LIST_LENGTHS = (7, 5)
ROUTE_LENGTHS = (9, 8, 7, 6)

# One route in ten begins with a gateway that refuses each call with 503, so that failover is part of the job.
DETOUR_SHARE = 0.1
# Of all calls, those that a list refuses.
REFUSED_SHARE = 0.15
# Entries of each other kind than caller.
FEW = 100

POLICY = """\
strowger: 1
dialling_plans:
  gb: {{country_code: "44"}}
default_dialling: gb
trunks:
  lab: {{sources: [127.0.0.0/8], dialling: gb}}
gateways:
  a: {{address: "127.0.0.1:{answering}"}}
  b: {{address: "127.0.0.1:{answering}"}}
  down: {{address: "127.0.0.1:{refusing}"}}
routes:
  - {{name: main, prefixes: {main}, gateways: [a, b]}}
  - {{name: detour, prefixes: ["+70002"], gateways: [down, a]}}
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it is dialled."""

    caller: str
    callee: str


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is drawn."""

    entries: list[tuple[str, str]]
    "Kind and normalised value; all of them block."
    prefixes: dict[str, str]
    "Normalised prefix to route."
    answered: list[Call]
    refused: list[Call]

    def write(self, directory: Path) -> None:
        """Write the files that imports, native Kamailio and SIPp read."""
        directory.mkdir(parents=True, exist_ok=True)
        _lines(directory / "entries.csv", "kind,value", (f"{kind},{value}" for kind, value in self.entries))
        _lines(
            directory / "prefixes.csv", "prefix,route", (f"{prefix},{route}" for prefix, route in self.prefixes.items())
        )
        for name, calls in (("answered", self.answered), ("refused", self.refused)):
            _lines(directory / f"{name}.csv", "SEQUENTIAL", (f"{call.caller};{call.callee};" for call in calls))


def policy(answering: int, refusing: int, *, default: bool = False) -> str:
    """The policy file for gateways on these ports; with a default route where no prefixes are imported."""
    main = "[default]" if default else '["+70001"]'
    return POLICY.format(answering=answering, refusing=refusing, main=main)


def draw(entries: int, prefixes: int, calls: int) -> World:
    """A world of so many list entries and route prefixes, and so many different calls."""
    rng = random.Random(SEED)
    routes = _routes(rng, prefixes)
    listed = _entries(rng, entries)
    blocked = [value for kind, value in listed if kind == "caller"]
    known = set(blocked)
    list_prefixes = tuple(value for kind, value in listed if kind.endswith("-prefix"))

    def callee() -> str:
        prefix = rng.choice(targets)
        return prefix + _digits(rng, 13 - len(prefix))

    def caller() -> str:
        while (number := _subscriber(rng)) in known or number.startswith(list_prefixes):
            pass
        return number

    targets = list(routes)
    refused = round(calls * REFUSED_SHARE)
    return World(
        entries=listed,
        prefixes=routes,
        answered=[Call(_dialled(rng, caller()), _dialled(rng, callee())) for _ in range(calls - refused)],
        refused=[Call(_dialled(rng, rng.choice(blocked)), _dialled(rng, callee())) for _ in range(refused)],
    )


def _routes(rng: random.Random, count: int) -> dict[str, str]:
    # No prefix in use begins with +447: those are the callers.
    routes: dict[str, str] = {}
    while len(routes) < count:
        length = rng.choice(ROUTE_LENGTHS)
        prefix = rng.choice(("+441", "+442", "+1", "+3", "+4", "+6", "+8", "+9"))
        prefix += _digits(rng, length - len(prefix))
        if not prefix.startswith("+447"):
            routes[prefix] = "detour" if rng.random() < DETOUR_SHARE else "main"
    return routes


def _entries(rng: random.Random, count: int) -> list[tuple[str, str]]:
    few = min(FEW, count // 10)
    drawn: dict[tuple[str, str], None] = {}
    # Callees, prefixes and sources that no call of the benchmark has: each look-up is made, and misses.
    for index in range(few):
        drawn["callee", f"+5{index:010d}"] = None
        drawn["pair", f"{_subscriber(rng)}>+5{index:010d}"] = None
        drawn["caller-prefix", f"+4479{rng.randrange(100):02d}"] = None
        drawn["callee-prefix", f"+5{rng.randrange(100000):05d}"] = None
        drawn["source", f"192.0.{index}.0/24"] = None
    drawn["caller-prefix", "+4479"] = None
    drawn["callee-prefix", "+5009"] = None
    while len(drawn) < count:
        drawn["caller", _subscriber(rng)] = None
    return list(drawn)


def _subscriber(rng: random.Random) -> str:
    # Up to +4478: +4479 is listed as a prefix.
    return f"+447{rng.randrange(9 * 10**8):09d}"


def _dialled(rng: random.Random, number: str) -> str:
    """One of the ways in which a British trunk dials it."""
    spellings = [number, "00" + number[1:]]
    # Two leading zeros would be read as the international prefix.
    if number.startswith("+44") and number[3] != "0":
        spellings.append("0" + number[3:])
    return rng.choice(spellings)


def _digits(rng: random.Random, count: int) -> str:
    return f"{rng.randrange(10**count):0{count}d}" if count > 0 else ""


def _lines(path: Path, first: str, lines: Iterator[str]) -> None:
    with path.open("w") as file:
        file.write(first + "\n")
        file.writelines(line + "\n" for line in lines)
