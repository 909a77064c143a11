"""The version of what stands in Redis, and how an older one becomes the present one.

A version of the program reads and writes every schema from ``keys.OLDEST`` to ``keys.SCHEMA``, so nodes are upgraded
one by one, and Redis stays as it is meanwhile. When all have the new version, an operator runs ``strowger migrate``:
only then Redis holds what an older version does not know, and one that comes back refuses to change it and goes on
from its snapshot.

A step may be repeated: a migration that was killed begins again where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, cast

from state import codec, keys
from state.store import Store, StoreError, _away, _unknown


@dataclass(frozen=True, slots=True)
class NodeVersion:
    """What a node says that it is."""

    program: str
    "Version of the program."
    schema: int
    "The newest that it knows."


class NotMigratedError(StoreError):
    """A migration cannot be; the message says why."""


def announce(store: Store, node: str) -> None:
    """Say that a node has this version of the program. Raises :class:`StoreError`."""
    text = json.dumps(asdict(NodeVersion(version("strowger"), keys.SCHEMA)))
    with _away():
        store._redis.hset(keys.VERSIONS, node, text)


def withdraw(store: Store, node: str) -> None:
    """The node stops: another version of the program may come back under its name."""
    with _away():
        store._redis.hdel(keys.VERSIONS, node)


def announced(store: Store) -> dict[str, NodeVersion]:
    """By node; those that are older than all this say nothing."""
    return {node: NodeVersion(**json.loads(text)) for node, text in store.records(keys.VERSIONS)}


def schema(store: Store) -> int:
    """Of what stands in Redis; 0 where there is nothing."""
    with _away():
        return int(cast("str | None", store._redis.hget(keys.META, "schema")) or 0)


def unready(store: Store) -> list[str]:
    """Live nodes that do not say that they know the newest schema."""
    versions = announced(store)
    live = [node.name for node in store.nodes()[0]]
    return [name for name in live if name not in versions or versions[name].schema < keys.SCHEMA]


def migrate(store: Store, *, force: bool = False) -> Iterator[tuple[int, int]]:
    """Bring Redis to the newest schema, step by step; yields from where and to where each goes.

    ``force``: whatever live nodes know. Raises :class:`NotMigratedError`, :class:`StoreError`.
    """
    found = schema(store)
    if found == 0:
        raise NotMigratedError("Redis holds nothing to migrate: no policy was applied yet")
    if not keys.OLDEST <= found <= keys.SCHEMA:
        raise NotMigratedError(_unknown(found))
    if found < keys.SCHEMA and (late := unready(store)) and not force:
        raise NotMigratedError(
            f"{', '.join(late)}: a version that does not know schema {keys.SCHEMA}; upgrade every node first"
        )
    for step in range(found, keys.SCHEMA):
        yield step, step + 1
        with _away():
            store._redis.hset(keys.META, "migrating", str(step + 1))
        STEPS[step](store)
        with _away():
            pipe = store._redis.pipeline(transaction=True)
            pipe.hset(keys.META, "schema", str(step + 1))
            pipe.hdel(keys.META, "migrating")
            pipe.execute()


def _to_2(store: Store) -> None:
    """Every policy stands in the history, with a message, and its document as this version would write it."""
    found, client = store.policy(), cast(Any, store._redis)
    client.hset(keys.POLICY, mapping={"message": found.message, "document": _rewritten(found.document)})
    for name in ("text", "document", "applied", "author", "message"):
        client.hset(keys.HISTORY, f"{name}:{found.version}", client.hget(keys.POLICY, name))
    for field in [field for field in client.hkeys(keys.HISTORY) if field.startswith("document:")]:
        client.hset(keys.HISTORY, field, _rewritten(client.hget(keys.HISTORY, field)))


def _rewritten(document: str) -> str:
    return codec.encode_document(*codec.decode_document(document))


STEPS: dict[int, Callable[[Store], None]] = {1: _to_2}
"From a schema to the next. While one runs, nobody's changes are taken."
