"""A call's way as a ladder: who sent what to whom, and when; pure. templates/ladder.html draws it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from model.record import AttemptRecord, CallRecord, Outcome
from web.render import clock, lasting

LEFT, APART, TOP, ROW, RIGHT = 96, 176, 52, 30, 88
"Pixels: of the times, between two columns, above the first arrow, between two arrows, and behind the last column."
NAME_MAX = 22
"Characters of a name that stand above a column."


@dataclass(frozen=True, slots=True)
class Column:
    """Somebody who takes part."""

    x: int
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """Something that one sent to another."""

    y: int
    at: str
    "The time of day."
    begin: int
    end: int
    head: str
    "The arrow's head, as a path."
    middle: int
    text: str
    kind: str
    "``good``, ``bad``, ``soft`` for what is provisional, or empty."


@dataclass(frozen=True, slots=True)
class Ladder:
    """A drawing of a call."""

    width: int
    height: int
    columns: tuple[Column, ...]
    arrows: tuple[Arrow, ...]
    summary: str
    "For who cannot see it."
    live: bool


@dataclass(frozen=True, slots=True)
class _Sent:
    at: float
    sender: int
    receiver: int
    text: str
    kind: str = ""


def ladder(record: CallRecord, *, live: bool = False) -> Ladder:
    """Draw a call, which is not over yet where it is ``live``."""
    gateways = list(dict.fromkeys(attempt.gateway for attempt in record.attempts if attempt.gateway))
    columns = (
        Column(LEFT, _short(record.caller or "anonymous"), "caller"),
        Column(LEFT + APART, _short(record.node), "Kamailio"),
        *(
            Column(LEFT + APART * index, _short(name), _role(record, name))
            for index, name in enumerate(gateways, 2)
        ),
    )  # fmt: skip
    # What happened at the same moment stays in the order in which it was said.
    sent = sorted(_all_sent(record, gateways, live=live), key=lambda one: one.at)
    arrows = tuple(_arrow(columns, index, one) for index, one in enumerate(sent))
    return Ladder(
        width=columns[-1].x + RIGHT, height=TOP + ROW * len(arrows) + 14, columns=columns, arrows=arrows, live=live,
        summary="; ".join(
            f"{arrow.at} {columns[one.sender].name} to {columns[one.receiver].name}: {arrow.text}"
            for one, arrow in zip(sent, arrows, strict=True)
        ),
    )  # fmt: skip


def _role(record: CallRecord, gateway: str) -> str:
    if record.media_node == gateway and record.app:
        return f"media: {record.app}"
    return "gateway"


def _all_sent(record: CallRecord, gateways: list[str], *, live: bool) -> Iterator[_Sent]:
    yield _Sent(record.began, 0, 1, f"INVITE {record.callee}")
    for index, attempt in enumerate(record.attempts):
        if attempt.gateway:
            answered = record.answered is not None and index == len(record.attempts) - 1
            yield from _attempt(attempt, gateways.index(attempt.gateway) + 2, answered=answered)
    last = gateways.index(record.gateway) + 2 if record.gateway else 1
    if record.answered is not None:
        yield _Sent(record.answered, 1, 0, f"{record.status or 200} answered", "good")
    if not live:
        yield from _end(record, last)


def _attempt(attempt: AttemptRecord, column: int, *, answered: bool) -> Iterator[_Sent]:
    yield _Sent(attempt.began, 1, column, "INVITE")
    if attempt.rang is not None:
        yield _Sent(attempt.rang, column, 1, f"ringing after {lasting(attempt.post_dial_delay)}", "soft")
    if attempt.ended is None:
        return
    if answered:
        yield _Sent(attempt.ended, column, 1, f"{attempt.status or 200}", "good")
    elif attempt.cause == "cancelled":
        yield _Sent(attempt.ended, 1, column, "CANCEL", "soft")
    else:
        said = "no reply" if attempt.local else str(attempt.status or "")
        q850 = f" q850={attempt.q850}" if attempt.q850 is not None else ""
        yield _Sent(attempt.ended, column, 1, f"{said}{q850} {attempt.cause}".strip(), "bad")


def _end(record: CallRecord, last: int) -> Iterator[_Sent]:
    if record.ended is None:
        return
    match record.outcome:
        case Outcome.ANSWERED:
            talked = f"BYE after {lasting(record.duration)}"
            way = (0, 1, last) if record.ended_by != "callee" else (last, 1, 0)
            for sender, receiver in pairwise(way):
                if sender != receiver:
                    yield _Sent(record.ended, sender, receiver, talked if sender == way[0] else "BYE")
        case Outcome.CANCELLED:
            # Before the attempt is: the caller is who hung up.
            yield _Sent(record.ended - 1e-6, 0, 1, "CANCEL", "soft")
        case _:
            yield _Sent(record.ended, 1, 0, f"{record.status or ''} {record.refusal}".strip() or record.outcome, "bad")


def _arrow(columns: tuple[Column, ...], index: int, sent: _Sent) -> Arrow:
    begin, end, y = columns[sent.sender].x, columns[sent.receiver].x, TOP + ROW * index + 18
    back = -8 if end > begin else 8
    return Arrow(
        y=y, at=clock(sent.at), begin=begin, end=end, head=f"M{end} {y}l{back} -4v8z", middle=(begin + end) // 2,
        text=sent.text, kind=sent.kind,
    )  # fmt: skip


def _short(text: str) -> str:
    return text if len(text) <= NAME_MAX else f"{text[: NAME_MAX - 1]}…"
