"""Rate sheets, and the policy of a route that goes by them: drawn from one seed."""

from __future__ import annotations

import random
from pathlib import Path

from bench.world import SEED, Call

GATEWAYS = 20
# As many are tried as routes that go by price usually try.
AT_MOST = 3
# Digits of a prefix, country code included: from countries to blocks of a thousand numbers.
LENGTHS = (2, 3, 4, 5, 6, 7, 8, 9)
# Rows of the other gateways' sheets, for each row of the large one.
SHARE = 0.02

_POLICY = """\
strowger: 1
dialling_plans:
  gb: {{country_code: "44"}}
default_dialling: gb
currency: USD
exchange: {{EUR: "1.0855"}}
trunks:
  lab: {{sources: [127.0.0.0/8], dialling: gb}}
gateways:
{gateways}
routes:
  - {{name: cheapest, prefixes: [default], gateways: [{names}], strategy: least_cost, at_most: {at_most}}}
"""


def name(number: int) -> str:
    """Of a gateway."""
    return f"carrier-{number:02}"


def policy() -> str:
    """The policy file; nothing listens at its gateways."""
    gateways = "\n".join(f'  {name(number)}: {{address: "192.0.2.{number + 1}"}}' for number in range(GATEWAYS))
    return _POLICY.format(
        gateways=gateways, names=", ".join(name(number) for number in range(GATEWAYS)), at_most=AT_MOST
    )


def currency(number: int) -> str:
    """Of a gateway's sheet: one in four is in another than the policy's."""
    return "EUR" if number % 4 == 3 else "USD"


def write(directory: Path, rows: int, calls: int) -> list[Call]:
    """Write a sheet of so many rows and smaller ones for the other gateways; and calls to numbers of the large one."""
    rng = random.Random(SEED)
    prefixes = _prefixes(rng, rows)
    for number in range(GATEWAYS):
        own = prefixes if not number else rng.sample(prefixes, max(1, int(rows * SHARE)))
        with (directory / f"{name(number)}.csv").open("w") as file:
            file.write("prefix,price,billing,from\n")
            # Everybody goes everywhere at some price; the rest of a sheet are exceptions.
            file.writelines(f"+{digit},{_price(rng)},60/60,\n" for digit in range(1, 10))
            file.writelines(f"+{prefix},{_price(rng)},{rng.choice(('60/60', '1/1', '30/6'))},\n" for prefix in own)
    return [Call("+447700900123", f"+{rng.choice(prefixes)}".ljust(13, "5")) for _ in range(calls)]


def _prefixes(rng: random.Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        length = rng.choice(LENGTHS)
        found[str(rng.randrange(10 ** (length - 1), 10**length))] = None
    return list(found)


def _price(rng: random.Random) -> str:
    return f"0.{rng.randrange(1, 10_000):04d}"
