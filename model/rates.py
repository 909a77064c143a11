"""What gateways charge for calls: exact amounts, one row of a rate sheet, and what a call costs by it.

An amount of money is a whole number of 1/100,000,000 of its currency, so that nothing is ever rounded but a call's
cost, once, at its end.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

DECIMALS = 8
"Of an amount as it is written."
UNIT: int = 10**DECIMALS
"One of a currency."
COST_DECIMALS = 6
"Of what a call costs; half of the last one is rounded up."
COST_UNIT: int = 10**COST_DECIMALS
SECONDS_MAX = 3600
"The longest first or further increment."
CURRENCY = re.compile(r"[A-Z]{3}")
"ISO 4217."

_AMOUNT = re.compile(rf"([0-9]{{1,9}})(?:\.([0-9]{{1,{DECIMALS}}}))?", re.ASCII)
_BILLING = re.compile(r"([0-9]{1,4})/([0-9]{1,4})", re.ASCII)
# What divides the amounts of a minute into units of a call's cost.
_DIVISOR = 60 * UNIT // COST_UNIT


class Rate(NamedTuple):
    """A price, and how it is charged."""

    price: int
    "Of a minute."
    fee: int = 0
    "Of each answered call, however long."
    initial: int = 60
    "Seconds that every answered call is charged."
    increment: int = 60
    "Seconds of each further step, charged once it has begun."

    @property
    def billing(self) -> str:
        """As it is written: ``60/60``."""
        return f"{self.initial}/{self.increment}"


class Row(NamedTuple):
    """A rate and when it is in force. Of several of one prefix, the one that began last counts."""

    rate: Rate
    starts: int = 0
    "Unix time."
    ends: int = 0
    "Unix time at which it is over; 0: it is not."


def parse_amount(text: str) -> int:
    """An amount of money. Raises ValueError."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no amount such as 0.0125, with at most {DECIMALS} decimals")
    whole, part = found.groups()
    return int(whole) * UNIT + (int(part.ljust(DECIMALS, "0")) if part else 0)


# Bounded, as a worker has it too. Few prices stand in a sheet, and again and again.
@lru_cache(maxsize=4096)
def amount_text(amount: int) -> str:
    """An amount as :func:`parse_amount` reads it, as short as it can be."""
    digits = f"{amount:09d}"
    return f"{digits[:-DECIMALS]}.{digits[-DECIMALS:]}".rstrip("0").removesuffix(".")


def parse_billing(text: str) -> tuple[int, int]:
    """Seconds of the first and of each further increment. Raises ValueError."""
    found = _BILLING.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not INITIAL/INCREMENT in seconds, such as 60/60, 1/1 or 30/6")
    initial, increment = int(found[1]), int(found[2])
    if not (initial <= SECONDS_MAX and 1 <= increment <= SECONDS_MAX):
        raise ValueError(f"{text!r}: at most {SECONDS_MAX} seconds, and the increment at least 1")
    return initial, increment


def billed(rate: Rate, milliseconds: int) -> int:
    """Seconds that an answered call of this length is charged."""
    over = milliseconds - rate.initial * 1000
    steps = -(-over // (rate.increment * 1000)) if over > 0 else 0
    return rate.initial + steps * rate.increment


def cost(rate: Rate, milliseconds: int) -> int:
    """What an answered call of this length costs, in 1/1,000,000: rounded once, half up."""
    exact = rate.fee * 60 + rate.price * billed(rate, milliseconds)
    return (2 * exact + _DIVISOR) // (2 * _DIVISOR)


def cost_text(units: int) -> str:
    """A call's cost as text, with all its decimals."""
    whole, part = divmod(units, COST_UNIT)
    return f"{whole}.{part:0{COST_DECIMALS}d}"
