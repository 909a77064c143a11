"""What gateways charge, by prefix."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kemi import least_cost
from kemi.view import NoPolicyError, View
from model import ratefile
from model.listfile import Flaw
from model.numbers import normalise, normalise_beginning
from model.policy import Policy
from model.rates import CURRENCY, parse_billing
from model.settings import Settings
from operations import importing
from operations.changes import Row, in_force
from operations.errors import AwayError, InvalidError, MissingError
from operations.rate_dryrun import Comparison
from operations.routes import csv_line
from policyfile.problems import did_you_mean
from state import keys
from state.bulk import Import
from state.rates import SheetInfo, decode_row, encode_row
from state.snapshot import NoSnapshotError, SnapshotReader
from state.store import Store


def sheets(store: Store) -> list[Row]:
    """The sheets by gateway."""
    return [
        {
            "gateway": gateway,
            "currency": info.currency,
            "rates": store.count(keys.rates(gateway)),
            "imported": info.imported,
            "by": info.author,
        }
        for gateway, info in sorted(store.sheets().items())
    ]


def page(
    store: Store, gateway: str, *, prefix: str = "", after: str = "", offset: int = 0, limit: int
) -> tuple[list[tuple[str, ...]], int, str]:
    """Rates of a sheet as cells of ``ratefile.COLUMNS``, at most ``limit`` (0: all); how many; where the next begins.

    Raises MissingError, InvalidError.
    """
    sheet(store, gateway)
    beginning, total = normalise_beginning(prefix, store.policy().decode()[0].dialling) if prefix else "", 0
    behind = _place(after) if after else None

    def rows() -> Iterator[tuple[str, int, tuple[str, ...]]]:
        nonlocal total
        for record in store.records(keys.rates(gateway)):
            found, row = decode_row(*record)
            if found.startswith(beginning):
                total += 1
                if behind is None or (found, row.starts) > behind:
                    yield found, row.starts, ratefile.written(found, row)

    # Of a million only the page is kept.
    wanted = offset + limit
    known = heapq.nsmallest(wanted + 1, rows()) if limit else sorted(rows())
    found = known[offset:wanted] if limit else known[offset:]
    end = f"{found[-1][0]}/{found[-1][1]}" if limit and len(known) > wanted else ""
    return [cells for _, _, cells in found], total, end


def _place(after: str) -> tuple[str, int]:
    prefix, slash, starts = after.rpartition("/")
    if not slash or not (starts.isascii() and starts.isdigit()) or len(starts) > 12:
        raise InvalidError(f"after: {after[:40]!r} is not what a page says")
    return prefix, int(starts)


def quotes(settings: Settings, number: str, at: float = 0.0) -> list[Row]:
    """What each gateway charges for a number at a Unix time (0: now), as this node has it, the cheapest first.

    Raises AwayError where this node has no policy.
    """
    try:
        with SnapshotReader(settings.snapshot).read() as get:
            view = View(get)
            found = least_cost.every(normalise(number, view.policy.dialling), view, at or time.time())
    except (NoSnapshotError, NoPolicyError) as error:
        raise AwayError("this node has no policy, and so no rates") from error
    return [{**quote.as_dict()} for quote in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """How a file of rates is taken, as whoever sends it says; nothing of that is checked yet."""

    gateway: str
    currency: str = ""
    "Empty: that of the sheet in force."
    starts: str = ""
    "From when rows count that do not say so; empty: always."
    billing: str = "60/60"
    "First and further seconds of rows that do not say so."
    e164: bool = False
    "Prefixes are of public numbers, without a plus."
    replace: bool = False
    "The file becomes the whole sheet."
    skip_bad: bool = False
    "Lines that are wrong are left out; otherwise they are the end of it."


def imported(store: Store, file: BinaryIO, taking: Taking, author: str) -> Row:
    """Import a gateway's rates (CSV: prefix,price,fee,billing,from,until) as one change, and wait for the nodes.

    Raises InvalidError, ListFileError.
    """
    reader, info = reader_of(store, taking), SheetInfo(currency_of(store, taking), time.time(), author)
    work = importing_of(store, taking, info)
    done = importing.imported(
        store, work, file, lambda lines: records(reader, lines), replace=taking.replace, skip_bad=taking.skip_bad,
        what="rates",
    )  # fmt: skip
    return {**done, "currency": info.currency}


def compared(store: Store, file: BinaryIO, taking: Taking) -> Row:
    """What :func:`imported` would change, counted; nothing is. Raises as that does."""
    reader = reader_of(store, taking)
    currency_of(store, taking)
    comparison = Comparison(store, taking.gateway)
    reading = importing.Reading("body", skip_bad=taking.skip_bad)
    reading.send(records(reader, importing.lines_of(file)), comparison)
    return {**comparison.result(replace=taking.replace), "skipped": reading.row()["skipped"]}


def reader_of(store: Store, taking: Taking) -> ratefile.Reader:
    """What reads a sheet of a gateway. Raises InvalidError."""
    policy = store.policy().decode()[0]
    check_gateway(taking.gateway, policy)
    return ratefile.Reader(
        policy.dialling, e164=taking.e164, starts=beginning_of(taking.starts), billing=billing_of(taking.billing)
    )


def importing_of(store: Store, taking: Taking, info: SheetInfo) -> Import:
    """What puts rates in force as one change."""
    return Import(store, table="rates", replace=taking.replace, created=0.0, gateway=taking.gateway, sheet=info)


def records(reader: ratefile.Reader, lines: Iterable[str]) -> Iterator[tuple[str, str] | Flaw]:
    """Rates of a file as they are stored, or what is wrong with them."""
    for found in reader.read(lines):
        yield found if isinstance(found, Flaw) else encode_row(found[1], found[2])


def remove(store: Store, gateway: str) -> Row:
    """Remove a gateway's whole sheet, and wait for the nodes. Raises MissingError, StoreError."""
    change = store.remove_sheet(gateway)
    if change is None:
        raise no_sheet(store, gateway)
    return {"removed": gateway, **in_force(store, change, importing.CONFIRM_TIMEOUT)}


def exported(store: Store, gateway: str) -> Iterator[str]:
    """A sheet as lines of a CSV file that :func:`imported` takes. Raises MissingError."""
    sheet(store, gateway)
    yield csv_line(ratefile.COLUMNS)
    for record in store.records(keys.rates(gateway)):
        yield csv_line(ratefile.written(*decode_row(*record)))


def check_gateway(name: str, policy: Policy) -> None:
    """Raises InvalidError where the policy has no gateway of this name that could charge."""
    known = tuple(gateway.name for gateway in policy.gateways.values() if not gateway.media)
    if name not in known:
        raise InvalidError(f"the policy in force has no gateway {name!r}{did_you_mean(name, known)}")


def currency_of(store: Store, taking: Taking) -> str:
    """The currency of a sheet that is imported. Raises InvalidError."""
    gateway, given = taking.gateway, taking.currency
    if given and not CURRENCY.fullmatch(given):
        raise InvalidError(f"currency {given!r} is not three capital letters such as USD")
    known = store.sheets().get(gateway)
    if known is None and not given:
        raise InvalidError(f"a currency is needed with the first sheet of {gateway}")
    if known is not None and given not in ("", known.currency) and not taking.replace:
        raise InvalidError(f"the sheet of {gateway} is in {known.currency}: only one that replaces it is in another")
    return given or (known.currency if known else "")


def beginning_of(text: str) -> int:
    """From when rows count that do not say so. Raises InvalidError."""
    try:
        return ratefile.moment(text) if text else 0
    except ValueError as error:
        raise InvalidError(f"from {error}") from None


def billing_of(text: str) -> tuple[int, int]:
    """First and further seconds. Raises InvalidError."""
    try:
        return parse_billing(text)
    except ValueError as error:
        raise InvalidError(f"billing {error}") from None


def sheet(store: Store, gateway: str) -> SheetInfo:
    """What is known of a gateway's sheet. Raises MissingError."""
    found = store.sheets().get(gateway)
    if found is None:
        raise no_sheet(store, gateway)
    return found


def no_sheet(store: Store, gateway: str) -> MissingError:
    """That there is none."""
    return MissingError(
        f"there is no rate sheet of a gateway {gateway!r}{did_you_mean(gateway, tuple(store.sheets()))}"
    )
