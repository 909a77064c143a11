"""The shared state in Redis, which is the truth: policies, entries, the stream of changes, and who is live.

Every change is one atomic script that also numbers it (``seq``) and appends it to the stream, with its number as its
id there. A node that sees a number missing knows that it has lost something, whatever the reason, and reads
everything anew.

Exceptions::

    StoreError
    +-- StoreAwayError     Redis does not answer
    +-- ConflictError      somebody else applied a policy meanwhile
    +-- NoPolicyAppliedError
    +-- NotKeptError       the history does not hold this version
    +-- ImportedPrefixError
"""

from __future__ import annotations

import copy
import getpass
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.sentinel import Sentinel

from model.entries import Entry, Kind
from model.policy import Drain, Policy, Route
from model.subscriber import Subscriber
from state import codec, keys
from state.rates import SheetInfo
from state.sentinels import Sentinels

# Changes kept for nodes that were away; one that missed more reads everything anew.
CHANGES_KEPT = 100_000
# Versions of the policy in the history, the one in force among them. Each costs its text and its document.
HISTORY_KEPT = 100
# A node that has not renewed its report for this long is not waited for.
NODE_TTL = 3.0
# Seconds that a node may be busy with an import before a command gives up waiting for it.
BUSY_TIMEOUT = 120.0
# Seconds that a connection or an answer may take.
TIMEOUT = 2.0


class StoreError(Exception):
    """The shared state cannot be used; the message says why."""


class StoreAwayError(StoreError):
    """Redis does not answer."""


class ConflictError(StoreError):
    """Somebody else applied a policy since the one that this one was made from."""


class NoPolicyAppliedError(StoreError):
    """There is no policy yet, and so no rules for reading numbers."""


class NotKeptError(StoreError):
    """The history does not hold this version: it is too old, or never was."""


class ImportedPrefixError(StoreError):
    """A policy does not go with the prefixes that were imported (`strowger route import`)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change, as nodes follow it."""

    seq: int
    op: str
    "``put``, ``del``, ``import``, ``policy``, ``drain``, ``unrate``, ``subscriber`` or ``trip``."
    field: str = ""
    "Of an entry; or the id of an import."
    value: str = ""
    """Of an entry; what an import does (JSON, see :mod:`state.bulk`); a gateway and its drain, empty if it ends (JSON);
    a gateway whose rate sheet goes; a subscriber's name and the subscriber, empty if there is none any more (JSON); the
    name of what a guard counts and its trip, empty if it is released (JSON)."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the policy, without its content."""

    version: int
    applied: float
    "Unix time in seconds."
    author: str
    message: str
    "Why it was applied, in its author's words; empty where nothing was said."


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """A policy that is in force, or was."""

    version: int
    text: str
    "The YAML as it was applied."
    document: str
    "The same, resolved, as JSON."
    applied: float
    "Unix time in seconds."
    author: str
    message: str = ""
    "Why it was applied, in its author's words."

    def decode(self) -> tuple[Policy, tuple[Route, ...]]:
        """Policy and routes."""
        return codec.decode_document(self.document)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node agent says of itself, renewed every second."""

    name: str
    generation: str
    "Of the Redis that the node's snapshot copies."
    seq: int
    "Number of the last change in the node's snapshot."
    version: int
    "Of the policy in the node's snapshot."
    pid: int
    started: float
    "Unix time in seconds."
    busy: bool = False
    "Whether the node is bringing in many changes at once, and is to be waited for."
    draining: bool = False
    "Whether its Kamailio takes no new calls."
    calls: int | None = None
    "Dialogs that its Kamailio has; None: it does not answer."
    troubles: tuple[str, ...] = ()
    "What is not well there, for people."

    def has(self, generation: str, seq: int) -> bool:
        """Whether change ``seq`` of a generation is in the node's snapshot."""
        return self.generation == generation and self.seq >= seq


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Which nodes have a change in force."""

    seq: int
    nodes: tuple[str, ...]
    missing: tuple[str, ...]
    "Live nodes that did not confirm in time."


# Who made a change, and what it was before and is now, goes to the audit in the same script: subject is nothing where
# nobody made it, as when what has expired is swept.
# What a newer version wrote nobody of ours changes, and nobody anything while a migration reads and writes.
_APPEND = f"""
local schema = tonumber(redis.call('HGET', KEYS[1], 'schema') or '{keys.SCHEMA}')
if schema < {keys.OLDEST} or schema > {keys.SCHEMA} then
  return redis.error_reply('SCHEMA ' .. schema)
end
if redis.call('HEXISTS', KEYS[1], 'migrating') == 1 then return redis.error_reply('MIGRATING') end
local function append(op, field, value, subject, before, after)
  local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], seq .. '-0', 'op', op, 'field', field, 'value', value)
  if subject then
    redis.call('XADD', KEYS[#KEYS - 2], 'MAXLEN', '~', ARGV[1], '*', 'seq', seq, 'who', ARGV[#ARGV], 'what', op,
               'subject', subject, 'before', before or '', 'after', after or '')
  end
  if field ~= '' and redis.call('EXISTS', KEYS[#KEYS - 1]) == 1 then redis.call('SADD', KEYS[#KEYS], field) end
  return seq
end
"""
_PUT = (
    _APPEND
    + """
if redis.call('HEXISTS', KEYS[1], 'generation') == 0 then return -1 end
local before = redis.call('HGET', KEYS[3], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
redis.call('ZREM', KEYS[4], ARGV[2])
if tonumber(ARGV[4]) > 0 then redis.call('ZADD', KEYS[4], ARGV[4], ARGV[2]) end
return append('put', ARGV[2], ARGV[3], ARGV[2], before, ARGV[3])
"""
)
_DELETE = (
    _APPEND
    + """
local before = redis.call('HGET', KEYS[3], ARGV[2])
if redis.call('HDEL', KEYS[3], ARGV[2]) == 0 then return 0 end
redis.call('ZREM', KEYS[4], ARGV[2])
return append('del', ARGV[2], '', ARGV[2], before)
"""
)
_DRAIN = (
    _APPEND
    + """
if redis.call('HEXISTS', KEYS[1], 'generation') == 0 then return -1 end
local before = redis.call('HGET', KEYS[3], ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
elseif redis.call('HDEL', KEYS[3], ARGV[2]) == 0 then return 0 end
return append('drain', '', cjson.encode({ARGV[2], ARGV[3]}), ARGV[2], before, ARGV[3])
"""
)
# KEYS: 3 sheets, 4 the gateway's sheet
_UNRATE = (
    _APPEND
    + """
if redis.call('EXISTS', KEYS[#KEYS - 1]) == 1 then return -1 end
local before = redis.call('HGET', KEYS[3], ARGV[2])
if redis.call('HDEL', KEYS[3], ARGV[2]) == 0 then return 0 end
redis.call('UNLINK', KEYS[4])
redis.call('HINCRBY', KEYS[1], 'swaps', 1)
return append('unrate', '', ARGV[2], ARGV[2], before)
"""
)
# Only where nobody changed the subscriber since they were read: ARGV[4] is what they were; 5 and 6, what the audit may
# hold of them before and after.
_SUBSCRIBER = (
    _APPEND
    + """
if redis.call('HEXISTS', KEYS[1], 'generation') == 0 then return -1 end
if (redis.call('HGET', KEYS[3], ARGV[2]) or '') ~= ARGV[4] then return -2 end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
else redis.call('HDEL', KEYS[3], ARGV[2]) end
return append('subscriber', '', cjson.encode({ARGV[2], ARGV[3]}), ARGV[2], ARGV[5], ARGV[6])
"""
)
# An entry that was renewed meanwhile has another expiry, and stays.
_SWEEP = (
    _APPEND
    + """
local gone = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', ARGV[2], 'LIMIT', 0, 1000)
for _, field in ipairs(gone) do
  redis.call('ZREM', KEYS[4], field)
  if redis.call('HDEL', KEYS[3], field) == 1 then append('del', field, '') end
end
return #gone
"""
)
# The history gets what the policy's hash holds. A policy that was applied before there was a history enters it when
# the next one takes its place.
_APPLY = (
    _APPEND
    + """
local names = {'text', 'document', 'applied', 'author', 'message'}
local function keep(version)
  for _, name in ipairs(names) do
    redis.call('HSET', KEYS[4], name .. ':' .. version, redis.call('HGET', KEYS[3], name) or '')
  end
end
local version = tonumber(redis.call('HGET', KEYS[3], 'version') or '0')
if version ~= tonumber(ARGV[2]) then return {-1, version} end
local named, lost, twice = {}, {}, {}
for _, name in ipairs(cjson.decode(ARGV[11])) do named[name] = true end
for _, name in ipairs(redis.call('HKEYS', KEYS[6])) do
  if not named[name] then lost[#lost + 1] = name end
end
if #lost > 0 then return {-2, table.concat(lost, ', ')} end
for _, prefix in ipairs(cjson.decode(ARGV[12])) do
  if redis.call('HEXISTS', KEYS[5], prefix) == 1 then twice[#twice + 1] = prefix end
end
if #twice > 0 then return {-3, table.concat(twice, ', ')} end
if version > 0 and redis.call('HEXISTS', KEYS[4], 'text:' .. version) == 0 then keep(version) end
redis.call('HSETNX', KEYS[1], 'generation', ARGV[6])
redis.call('HSETNX', KEYS[1], 'schema', ARGV[7])
redis.call('HSET', KEYS[3], 'version', version + 1, 'text', ARGV[3], 'document', ARGV[4], 'applied', ARGV[8],
           'author', ARGV[5], 'message', ARGV[9])
keep(version + 1)
for _, name in ipairs(names) do redis.call('HDEL', KEYS[4], name .. ':' .. version + 1 - ARGV[10]) end
redis.call('XADD', KEYS[7], 'MAXLEN', '~', 100000, '*', 'kind', 'policy.applied', 'at', ARGV[8], 'data',
           cjson.encode({version = version + 1, author = ARGV[5], message = ARGV[9]}))
local after = cjson.encode({version = version + 1, message = ARGV[9]})
return {append('policy', '', version + 1, 'policy', version > 0 and cjson.encode({version = version}), after),
        version + 1}
"""
)

BAD_ADDRESS = (
    "the address of Redis is not usable: it is redis://HOST:PORT/DB, rediss:// with TLS, or with a password "
    "redis://:PASSWORD@HOST:PORT/DB, where its special characters are percent-encoded; or, found by its sentinels, "
    "redis-sentinel://HOST:PORT,HOST:PORT/DB?master=NAME"
)


class Store:
    """A blocking client of the shared state; for commands and the node agent, never for a SIP worker."""

    def __init__(self, url: str, who: str = "") -> None:
        """``url`` as redis-py takes it; nothing is connected before the first call. Raises :class:`StoreError`.

        ``who`` stands in the audit of changes; by default, the user of this process.
        """
        self._who = who
        try:
            self._redis: redis.Redis = client_of(url, redis.Redis, Sentinel, socket_timeout=TIMEOUT)
        except ValueError:
            # The address may hold a password, so neither it nor a message that quotes it is repeated.
            raise StoreError(BAD_ADDRESS) from None

    def close(self) -> None:
        """Release the connections."""
        self._redis.close()

    @property
    def who(self) -> str:
        """Who makes the changes."""
        return self._who or f"cli:{_user()}"

    @property
    def user(self) -> str:
        """The same without what they use: the user of this process, or the name of a token."""
        return self.who.partition(":")[2]

    def acting_as(self, who: str) -> Store:
        """The same store, whose changes ``who`` makes; there is one set of connections."""
        other = copy.copy(self)
        other._who = who
        return other

    def ping(self) -> None:
        """Raises :class:`StoreAwayError` where Redis does not answer."""
        with _away():
            self._redis.ping()

    # Policy

    def policy(self) -> AppliedPolicy:
        """The policy in force; raises :class:`NoPolicyAppliedError`."""
        with _away():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hget(keys.META, "schema")
            pipe.hgetall(keys.POLICY)
            schema, found = pipe.execute()
        _check(schema)
        if not found:
            raise NoPolicyAppliedError("no policy was applied yet: see `strowger policy apply`")
        return _applied(int(found["version"]), found)

    def policy_of(self, version: int) -> AppliedPolicy:
        """An earlier policy, or the one in force; raises :class:`NoPolicyAppliedError`, :class:`NotKeptError`."""
        current = self.policy()
        if version == current.version:
            return current
        names = ("text", "document", "applied", "author", "message")
        with _away():
            values = self._redis.hmget(keys.HISTORY, [f"{name}:{version}" for name in names])
        found = dict(zip(names, cast("list[str | None]", values), strict=True))
        if found["text"] is None:
            raise NotKeptError(
                f"version {version} is not in the history, which keeps the last {HISTORY_KEPT} up to {current.version}"
            )
        return _applied(version, cast("dict[str, str]", found))

    def history(self, limit: int = HISTORY_KEPT) -> list[Version]:
        """The last versions, newest first, at most ``limit``; none where no policy was applied yet."""
        newest = self.policy_version()
        versions = range(newest, max(newest - min(limit, HISTORY_KEPT), 0), -1)
        with _away():
            pipe = self._redis.pipeline(transaction=False)
            for version in versions:
                pipe.hmget(keys.HISTORY, [f"{name}:{version}" for name in ("applied", "author", "message")])
            rows = zip(versions, pipe.execute(), strict=True)
        kept = [Version(version, float(row[0]), *row[1:]) for version, row in rows if row[0] is not None]
        if newest and not kept:
            # It was applied before there was a history, and enters it with the next one.
            current = self.policy()
            return [Version(current.version, current.applied, current.author, current.message)]
        return kept

    def policy_version(self) -> int:
        """Version of the policy in force; 0 where there is none."""
        with _away():
            return int(cast("str | None", self._redis.hget(keys.POLICY, "version")) or 0)

    def apply(
        self, *, text: str, policy: Policy, routes: tuple[Route, ...], expected: int, author: str, message: str = ""
    ) -> Change:
        """Put a policy in force, and in the history, if the one in force still has version ``expected``.

        Raises :class:`ConflictError`, :class:`ImportedPrefixError`.
        """
        document = codec.encode_document(policy, routes)
        arguments = (
            expected, text, document, author, secrets.token_hex(8), keys.SCHEMA, time.time(), message, HISTORY_KEPT,
            json.dumps([route.name for route in routes]),
            json.dumps([prefix for route in routes for prefix in route.prefixes]),
        )  # fmt: skip
        names = (keys.POLICY, keys.HISTORY, keys.PREFIXES, keys.PREFIX_ROUTES, keys.EVENTS)
        seq, version = self._script(_APPLY, names, arguments)
        if seq == -2:
            raise ImportedPrefixError(f"imported prefixes lead to routes that this policy has not: {version}")
        if seq == -3:
            raise ImportedPrefixError(f"prefixes of this policy are imported, too: {version}")
        if seq < 0:
            raise ConflictError(f"version {version} is in force, not {expected}: somebody applied a policy meanwhile")
        return Change(seq=seq, op="policy", value=str(version))

    # Entries

    def put(self, entry: Entry) -> Change:
        """Add an entry, or replace the one of the same kind and value; raises :class:`NoPolicyAppliedError`."""
        field, value = codec.entry_field(entry.kind, entry.value), codec.encode_entry(entry)
        seq = self._script(_PUT, (keys.ENTRIES, keys.EXPIRIES), (field, value, entry.expires))
        if seq < 0:
            raise NoPolicyAppliedError("no policy was applied yet: see `strowger policy apply`")
        return Change(seq=seq, op="put", field=field, value=value)

    def delete(self, kind: Kind, value: str) -> Change | None:
        """Remove an entry; None where there was none."""
        field = codec.entry_field(kind, value)
        seq = self._script(_DELETE, (keys.ENTRIES, keys.EXPIRIES), (field,))
        return Change(seq=seq, op="del", field=field) if seq else None

    def drain(self, drain: Drain) -> Change:
        """Let no new call go to a gateway, on any node; raises :class:`NoPolicyAppliedError`."""
        seq = self._script(_DRAIN, (keys.DRAINS,), (drain.gateway, codec.encode_drain(drain)))
        if seq < 0:
            raise NoPolicyAppliedError("no policy was applied yet: see `strowger policy apply`")
        return Change(seq=seq, op="drain")

    def resume(self, gateway: str) -> Change | None:
        """End a gateway's drain; None where there was none."""
        seq = self._script(_DRAIN, (keys.DRAINS,), (gateway, ""))
        return Change(seq=seq, op="drain") if seq > 0 else None

    def drains(self) -> dict[str, Drain]:
        """The drains by gateway, those that are over and those of unknown gateways included."""
        return {name: codec.decode_drain(name, text) for name, text in self.records(keys.DRAINS)}

    def sheets(self) -> dict[str, SheetInfo]:
        """The rate sheets by gateway, those of unknown gateways included."""
        return {gateway: SheetInfo.decode(text) for gateway, text in self.records(keys.SHEETS)}

    def remove_sheet(self, gateway: str) -> Change | None:
        """Remove a gateway's rate sheet; None where there was none. Raises :class:`StoreError` during an import."""
        seq = self._script(_UNRATE, (keys.SHEETS, keys.rates(gateway)), (gateway,))
        if seq < 0:
            raise StoreError("an import is under way, which may have copied what would be removed: try again")
        return Change(seq=seq, op="unrate", value=gateway) if seq else None

    # Subscribers

    def subscriber(self, name: str) -> Subscriber | None:
        """One subscriber; None where there is none of this name."""
        with _away():
            text = cast("str | None", self._redis.hget(keys.SUBSCRIBERS, name))
        return Subscriber.decode(name, text) if text is not None else None

    def subscribers(self) -> list[Subscriber]:
        """All subscribers, by name."""
        found = dict(self.records(keys.SUBSCRIBERS))
        return [Subscriber.decode(name, found[name]) for name in sorted(found)]

    def put_subscriber(self, subscriber: Subscriber, before: Subscriber | None) -> Change:
        """Put a subscriber in the place of ``before``; raises :class:`NoPolicyAppliedError`, :class:`ConflictError`."""
        return self._change_subscriber(subscriber.name, subscriber, before)

    def remove_subscriber(self, before: Subscriber) -> Change:
        """Remove a subscriber; raises as :meth:`put_subscriber`."""
        return self._change_subscriber(before.name, None, before)

    def _change_subscriber(self, name: str, after: Subscriber | None, before: Subscriber | None) -> Change:
        arguments = (
            name, after.encode() if after else "", before.encode() if before else "",
            json.dumps(before.shown()) if before else "", json.dumps(after.shown()) if after else "",
        )  # fmt: skip
        seq = self._script(_SUBSCRIBER, (keys.SUBSCRIBERS,), arguments)
        if seq == -1:
            raise NoPolicyAppliedError("no policy was applied yet: see `strowger policy apply`")
        if seq == -2:
            raise ConflictError(f"somebody else changed subscriber {name} meanwhile: look, and try again")
        return Change(seq=seq, op="subscriber")

    def entries(self) -> Iterator[Entry]:
        """All entries, expired ones included, in no order."""
        for field, value in self.records(keys.ENTRIES):
            yield codec.decode_entry(field, value)

    def records(self, table: str) -> Iterator[tuple[str, str]]:
        """The fields of a hash as they are, in no order; one may come twice.

        Raises :class:`StoreError` at the end where an import replaced the hash meanwhile.
        """
        with _away():
            swaps, schema = cast("list[str | None]", self._redis.hmget(keys.META, ["swaps", "schema"]))
            _check(schema)
            yield from self._redis.hscan_iter(table, count=1000)
            if self._redis.hget(keys.META, "swaps") != swaps:
                raise StoreError("an import took effect while the list was read: try again")

    def count(self, table: str) -> int:
        """How many fields a hash has."""
        with _away():
            return int(cast("int", self._redis.hlen(table)))

    def values(self, table: str, fields: list[str]) -> list[str | None]:
        """Some fields of a hash, None for one that it has not."""
        with _away():
            return cast("list[str | None]", self._redis.hmget(table, fields)) if fields else []

    def sweep(self, before: float) -> int:
        """Remove up to 1,000 entries that expired before the Unix time ``before``; returns how many."""
        return int(self._script(_SWEEP, (keys.ENTRIES, keys.EXPIRIES), (before,)))

    # Changes, as nodes follow them

    def position(self) -> tuple[str, int]:
        """Generation (empty: Redis holds no policy) and number of the last change.

        A Redis that was started again, or that took another one's place, may have lost its last changes and given
        their numbers to others. So each process of Redis is a generation of its own.
        """
        with _away():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hmget(keys.META, ["generation", "seq", "schema"])
            pipe.info("server")
            (generation, seq, schema), server = pipe.execute()
        _check(schema)
        return f"{generation}/{server['run_id']}" if generation else "", int(seq or 0)

    def changes(self, after: int, block: float) -> list[Change]:
        """Up to 1,000 changes after number ``after``, waiting at most ``block`` seconds for the first."""
        with _away():
            answer: Any = self._redis.xread({keys.CHANGES: f"{after}-0"}, count=1000, block=max(1, int(block * 1000)))
        found = answer[0][1] if answer else []
        return [
            Change(seq=int(stream_id.partition("-")[0]), op=item["op"], field=item["field"], value=item["value"])
            for stream_id, item in found
        ]

    def vitals(self) -> tuple[int, bool]:
        """Bytes of memory that Redis uses, and whether it could last write its append-only file."""
        with _away():
            memory, disk = (cast("dict[str, Any]", self._redis.info(part)) for part in ("memory", "persistence"))
        return int(memory["used_memory"]), disk.get("aof_last_write_status", "ok") == "ok"

    def report(self, node: NodeReport) -> None:
        """Renew a node's report and tell those who wait for its confirmation."""
        with _away():
            pipe = self._redis.pipeline(transaction=False)
            pipe.set(keys.node(node.name), json.dumps(asdict(node)), px=int(NODE_TTL * 1000))
            pipe.sadd(keys.NODES, node.name)
            pipe.publish(keys.APPLIED, node.name)
            pipe.execute()

    def retire(self, name: str) -> None:
        """Withdraw a node's report: it stops, and nobody is to miss it."""
        with _away():
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(keys.node(name))
            pipe.srem(keys.NODES, name)
            pipe.execute()

    def nodes(self) -> tuple[list[NodeReport], list[str]]:
        """The live nodes' reports, and the names of those that were live once."""
        with _away():
            names = sorted(cast("set[str]", self._redis.smembers(keys.NODES)))
            raw = cast("list[str | None]", self._redis.mget([keys.node(name) for name in names])) if names else []
        live = [_reported(json.loads(item)) for item in raw if item is not None]
        return live, [name for name, item in zip(names, raw, strict=True) if item is None]

    def confirm(self, seq: int, timeout: float = 5.0) -> Confirmation:
        """Wait until every live node has change ``seq`` in force, at most ``timeout`` seconds.

        A node that dies or hangs meanwhile is missing; one that retires is not waited for. One that is busy with an
        import has ``BUSY_TIMEOUT``.
        """
        started = time.monotonic()
        deadline = started + timeout
        pubsub: Callable[..., Any] = self._redis.pubsub
        waited_for: set[str] = set()
        with _away(), pubsub(ignore_subscribe_messages=True) as news:
            news.subscribe(keys.APPLIED)
            while True:
                generation, _ = self.position()
                live, gone = self.nodes()
                have = {node.name for node in live if node.has(generation, seq)}
                waited_for |= {node.name for node in live}
                missing = (waited_for - have) & ({node.name for node in live} | set(gone))
                if any(node.busy and node.name in missing for node in live):
                    deadline = max(deadline, min(time.monotonic() + timeout, started + BUSY_TIMEOUT))
                left = deadline - time.monotonic()
                if not missing or left <= 0:
                    return Confirmation(seq, tuple(sorted(have)), tuple(sorted(missing)))
                # A node that dies says nothing, so its report is looked for again before it has expired.
                news.get_message(timeout=min(left, 0.5))

    def _script(self, source: str, names: tuple[str, ...], arguments: tuple[Any, ...]) -> Any:
        script: Callable[..., Any] = self._redis.register_script(source)
        with _away():
            # Last, the audit, and what tells an import that is under way of a change.
            last = (keys.AUDIT, keys.IMPORT, keys.TOUCHED)
            return script(keys=[keys.META, keys.CHANGES, *names, *last], args=[CHANGES_KEPT, *arguments, self.who])


@cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return str(os.getuid())


def _reported(found: dict[str, Any]) -> NodeReport:
    # What a later version says besides is not for this one.
    known = {field.name: found[field.name] for field in fields(NodeReport) if field.name in found}
    return NodeReport(**known | {"troubles": tuple(found.get("troubles", ()))})


def _applied(version: int, found: dict[str, str]) -> AppliedPolicy:
    return AppliedPolicy(
        version=version,
        text=found["text"],
        document=found["document"],
        applied=float(found["applied"]),
        author=found["author"],
        # A policy that was applied before there were messages has none.
        message=found.get("message", ""),
    )


def _check(schema: str | None) -> None:
    if schema is not None and not keys.OLDEST <= int(schema) <= keys.SCHEMA:
        raise StoreError(_unknown(schema))


def _unknown(schema: object) -> str:
    return f"Redis holds schema {schema}, which this version does not know; it knows {keys.OLDEST} to {keys.SCHEMA}"


def client_of(url: str, redis_class: Any, sentinel_class: Any, **options: Any) -> Any:
    """A client of one of redis-py's two kinds; nothing is connected before the first call. Raises ValueError."""
    options |= {"decode_responses": True, "socket_connect_timeout": TIMEOUT}
    sentinels = Sentinels.parse(url)
    if sentinels is None:
        # Part of a password that is not encoded would be taken for a host or port, and stand in messages.
        if "@" in "".join(urlsplit(url)[2:]):
            raise ValueError
        return redis_class.from_url(url, **options)
    asking: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    asking |= sentinels.login if sentinels.ask_as else {}
    asked = sentinel_class(sentinels.hosts, sentinel_kwargs=asking)
    options |= {"db": sentinels.database, **sentinels.login}
    return asked.master_for(sentinels.master, redis_class=redis_class, **options)


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise StoreAwayError(f"Redis does not answer: {error}") from error
    except redis.RedisError as error:
        code, _, rest = str(error).partition(" ")
        if code == "SCHEMA":
            raise StoreError(_unknown(rest.partition(" ")[0])) from None
        if code == "MIGRATING":
            raise StoreError(
                "Redis is being migrated: try again in a moment; `strowger migrate` finishes what was cut off"
            ) from None
        raise StoreError(f"Redis refuses: {error}") from error
    except UnicodeDecodeError:
        raise StoreError("Redis holds what nobody of us wrote: it is no UTF-8") from None
