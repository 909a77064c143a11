"""One call, live or past: what was decided, what was tried, what it told, and its end by an operator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent import assembly
from model.record import CallRecord
from model.settings import Settings
from operations import events, live_calls, recordings
from operations.errors import AwayError, DoubtError, ImpossibleError, MissingError
from operations.live_calls import Live, State
from state import audit, commands, keys, records
from state.commands import NoAnswerError, NotTakenError, RefusedError
from state.store import Store, _away

Row = dict[str, Any]

_ID = re.compile(r"([0-9a-f]{11,12})-[0-9a-f]+-[0-9a-f]+")
"Milliseconds since 1970, process and number, as kemi/routing.py makes them."
CLOCKS = 60_000
"Milliseconds by which the clocks of a node and of Redis may differ."
LEGS_LATE = 60_000
"Milliseconds after a call's end in which what it sent on may end."
LEGS = 20
"Calls shown that another sent on, at most."
HANGUP_TIMEOUT = 2.0


def one(store: Store, wanted: str, here: Settings) -> Row:
    """A call by its id or Call-ID: its record so far, ``live`` and ``state``, its ``events``, ``legs``: the calls
    that media sent on for it, and ``recorded``: the files of its recordings, as far as they are ``here``.

    Raises :class:`MissingError`, StoreError.
    """
    live, record = _found(store, wanted)
    row = record.as_dict() | {"live": live is not None, "state": live.state if live else None}
    if live is not None:
        # It has no outcome yet, and no end.
        row |= {"outcome": None, "status": None, "ended": None}
    row["origin"] = next((of for what, of, _ in record.steps if what == "returned"), "")
    row["events"] = events.of_call(store, record.call, record.call_id, record.began, record.ended)
    row["legs"] = _legs(store, record)
    row["recorded"] = recordings.rows(record, here)
    return row


def trace(store: Store, wanted: str, here: Settings) -> Row:
    """A call and every call that belongs to it, by id or Call-ID, from the one that came first; as :func:`one`.

    Raises :class:`MissingError`, StoreError.
    """
    first = one(store, wanted, here)
    seen = {first["call"]}
    while first["origin"] and first["origin"] not in seen:
        seen.add(first["origin"])
        try:
            first = one(store, first["origin"], here)
        except MissingError:
            break
    calls = [first]
    for call in calls:
        known = {of["call"] for of in calls}
        calls += [one(store, leg["call"], here) for leg in call["legs"] if leg["call"] not in known]
    return {"calls": calls, "events": sorted((event for call in calls for event in call["events"]), key=_order)}


def recordings_of(store: Store, wanted: str, here: Settings) -> list[Row]:
    """What a call recorded or left, as :func:`operations.recordings.rows` has it. Raises as :func:`one`."""
    return recordings.rows(_found(store, wanted)[1], here)


def audio(store: Store, wanted: str, number: int, here: Settings) -> Path:
    """The file of a row of :func:`recordings_of`. Raises :class:`MissingError` where it has gone, StoreError."""
    return recordings.file(_found(store, wanted)[1], number, here)


def hangup(store: Store, wanted: str) -> Row:
    """End a live call, on whichever node it is: ``call``, ``call_id``, ``node``, and ``how``: BYE or CANCEL.

    Raises :class:`MissingError`, :class:`ImpossibleError`, :class:`AwayError`, StoreError.
    """
    live = live_calls.find(store, wanted)
    if live is None or live.state is None:
        raise MissingError(f"there is no live call {wanted!r}")
    if live.state in (State.ASKING, State.BROKEN_OFF):
        raise ImpossibleError(f"the call is {live.state}: it cannot be ended now; try again in a second")
    call_id = live.events[0]["call_id"]
    try:
        done = commands.ask(
            store, commands.node(live.node), "hangup", who=store.who, wait=HANGUP_TIMEOUT, call=live.call,
            call_id=call_id,
        )  # fmt: skip
    except RefusedError as error:
        raise ImpossibleError(str(error)) from None
    except NotTakenError as error:
        raise AwayError(str(error)) from None
    except NoAnswerError as error:
        raise DoubtError(str(error)) from None
    row = {"call": live.call, "call_id": call_id, "node": live.node, "how": str(done["how"])}
    audit.write(store, "call hung up", live.call, {"state": live.state}, {"how": row["how"], "node": live.node})
    return row


def _order(event: Row) -> tuple[float, str]:
    return event["at"], event["id"]


def _found(store: Store, wanted: str) -> tuple[Live | None, CallRecord]:
    if (live := live_calls.find(store, wanted)) is not None:
        return live, records.with_media(store, [assembly.record(live.node, live.call, live.events)])[0]
    record = _past(store, wanted)
    if record is None:
        # It may have ended between the two looks.
        record = _past(store, wanted)
    if record is None:
        raise MissingError(f"there is no call {wanted!r}, live or in the records that are kept")
    return None, record


def _past(store: Store, wanted: str) -> CallRecord | None:
    if (made := _ID.fullmatch(wanted)) is not None:
        # Its id tells when it began, so few records have to be looked at.
        for record in _between(store, int(made[1], 16) - CLOCKS, None, wanted):
            if record.call == wanted:
                return record
        return None
    return next((record for _, record in records.newest(store, wanted) if record.call_id == wanted), None)


def _legs(store: Store, record: CallRecord) -> list[Row]:
    """Calls that media sent on for this one."""
    if not any(step for step in record.steps if step[0] == "to media") and not record.app:
        return []
    found: list[Row] = []
    begin = int(record.began * 1000) - CLOCKS
    end = int(record.ended * 1000) + CLOCKS + LEGS_LATE if record.ended else None
    for other in _between(store, begin, end, record.call):
        if ("returned", record.call) in [step[:2] for step in other.steps]:
            found.append({"call": other.call, "call_id": other.call_id, "live": False})
        if len(found) == LEGS:
            return found
    if record.ended is None:
        marked = json.dumps(record.call)
        found += [
            {"call": live.call, "call_id": live.events[0]["call_id"], "live": True}
            for live in live_calls.everywhere(store)
            if live.call != record.call and marked in json.dumps(live.events)
        ]
    return found[:LEGS]


def _between(store: Store, begin: int, end: int | None, containing: str) -> Iterator[CallRecord]:
    """Records shipped between two times in milliseconds that have a text somewhere in them."""
    after, marked = str(max(0, begin)), json.dumps(containing)
    while True:
        with _away():
            page: Any = store._redis.xrange(keys.RECORDS, min=after, max=str(end) if end else "+", count=records.PAGE)
        yield from (CallRecord.decode(item["record"]) for _, item in page if marked in item["record"])
        if len(page) < records.PAGE:
            return
        after = f"({page[-1][0]}"
