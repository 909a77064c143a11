"""What the lamps of mailboxes' phones show (message waiting, RFC 3842), in Redis.

A hash holds each mailbox's lamp; a stream names the mailboxes whose lamp changed. Who follows the stream looks up the
hash, so of many changes at once only the last one counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast

from state import keys
from state.store import Store, _away

# Changes kept for nodes that were away; one that missed more reads everything anew anyway.
CHANGES_KEPT = 10_000
COUNTS = ("new", "saved", "urgent_new", "urgent_saved")

_WRITE = """
if ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'box', ARGV[1])
"""
_LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class BadLampError(ValueError):
    """A lamp in Redis is not as it should be; the message names the mailbox and the field."""

    def __init__(self, box: str, what: str) -> None:
        super().__init__(f"lamp of mailbox {box!r}: {what}")
        self.flaw = f"the lamp of a mailbox: {what}"
        "The same for logs, in which no mailbox is named."


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """What a mailbox holds, as phones are told."""

    box: str
    new: int = 0
    "All new messages, urgent ones included."
    saved: int = 0
    "All messages heard, urgent ones included."
    urgent_new: int = 0
    urgent_saved: int = 0
    phones: tuple[str, ...] = ()
    "SIP URIs that are told of each change without having asked; their hosts are IP addresses."
    seq: int = 0
    "Number of the change, for who debugs."

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """New, saved, urgent new, urgent saved."""
        return self.new, self.saved, self.urgent_new, self.urgent_saved

    def encode(self) -> str:
        """As the hash holds it."""
        fields = asdict(self)
        del fields["box"]
        return json.dumps(fields, separators=(",", ":"))


def decode(box: str, text: str) -> Lamp:
    """The lamp of ``box``; raises :class:`BadLampError`."""
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise BadLampError(box, "not a JSON object")
    numbers = {name: _number(box, data, name) for name in (*COUNTS, "seq")}
    phones = data.get("phones", [])
    if not isinstance(phones, list) or not all(isinstance(phone, str) for phone in phones):
        raise BadLampError(box, "phones is not a list of strings")
    return Lamp(box=box, phones=tuple(phones), **numbers)


def write(store: Store, lamp: Lamp) -> None:
    """Put a lamp in place of the one before. Raises :class:`state.store.StoreError`."""
    _change(store, lamp.box, lamp.encode())


def remove(store: Store, box: str) -> None:
    """There is no such mailbox any more. Raises :class:`state.store.StoreError`."""
    _change(store, box, "")


def read_all(store: Store) -> tuple[str, dict[str, str]]:
    """Where the stream stands, and then each mailbox's lamp, not decoded. Raises :class:`state.store.StoreError`."""
    with _away():
        last = cast("list[tuple[str, Any]]", store._redis.xrevrange(keys.MWI_CHANGES, count=1))
        return (last[0][0] if last else "0-0"), cast("dict[str, str]", store._redis.hgetall(keys.MWI))


def read(store: Store, boxes: Iterable[str]) -> dict[str, str | None]:
    """The lamps of some mailboxes, not decoded; None where there is none. Raises :class:`state.store.StoreError`."""
    names = list(boxes)
    with _away():
        found = cast("list[str | None]", store._redis.hmget(keys.MWI, names)) if names else []
    return dict(zip(names, found, strict=True))


def follow(store: Store, after: str, block: float) -> tuple[str, list[str]]:
    """The next changes after a position in the stream, waiting at most ``block`` seconds: the position, and mailboxes.

    Raises :class:`state.store.StoreError`.
    """
    with _away():
        raw = store._redis.xread({keys.MWI_CHANGES: after}, count=1000, block=max(1, int(block * 1000)))
    found = cast("list[tuple[str, list[tuple[str, dict[str, str]]]]]", raw)
    entries = found[0][1] if found else []
    return (entries[-1][0] if entries else after), [fields["box"] for _, fields in entries if "box" in fields]


def changed(store: Store, after: str, last: str) -> list[str]:
    """The mailboxes that changed after a position in the stream, up to another.

    Raises :class:`state.store.StoreError`.
    """
    with _away():
        raw = store._redis.xrange(keys.MWI_CHANGES, min=f"({after}", max=last)
    return [fields["box"] for _, fields in cast("list[tuple[str, dict[str, str]]]", raw) if "box" in fields]


def tell(store: Store, boxes: Iterable[str]) -> None:
    """Have nodes look at the lamps of mailboxes, whose entries were changed by other means than these.

    Raises :class:`state.store.StoreError`.
    """
    with _away():
        pipe = store._redis.pipeline(transaction=False)
        for box in boxes:
            pipe.xadd(keys.MWI_CHANGES, {"box": box}, maxlen=CHANGES_KEPT, approximate=True)
        pipe.execute()


def lease(store: Store, node: str, seconds: float) -> bool:
    """Whether ``node`` is the one that sends unsolicited NOTIFYs; if so, for ``seconds`` from now.

    Raises :class:`state.store.StoreError`.
    """
    script: Any = store._redis.register_script(_LEASE)
    with _away():
        return bool(script(keys=[keys.MWI_SENDER], args=[node, int(seconds * 1000)]))


def _change(store: Store, box: str, text: str) -> None:
    script: Any = store._redis.register_script(_WRITE)
    with _away():
        script(keys=[keys.MWI, keys.MWI_CHANGES], args=[box, text, CHANGES_KEPT])


def _number(box: str, data: dict[str, Any], name: str) -> int:
    value = data.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**53:
        raise BadLampError(box, f"{name} is not a whole number from 0 on")
    return value
