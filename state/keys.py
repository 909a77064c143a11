"""Names in Redis. One hash tag, so that on a Redis Cluster a change stays one atomic script."""

from __future__ import annotations

SCHEMA = 1
"Version of the names and codecs; a reader refuses what it does not know."

_TAG = "{strowger}"

META = f"{_TAG}:meta"
"Hash: schema, generation (random, made with the first policy), seq (number of the last change)."
POLICY = f"{_TAG}:policy"
"Hash: version, text (the YAML as applied), document (JSON, resolved), applied (Unix time), author, message."
HISTORY = f"{_TAG}:history"
"Hash: for each version kept, `text:VERSION` and so on: the fields of the policy's hash."
ENTRIES = f"{_TAG}:entries"
"Hash: `kind:value` to the entry as JSON."
EXPIRIES = f"{_TAG}:expiries"
"Sorted set: `kind:value` by Unix time of expiry."
CHANGES = f"{_TAG}:changes"
"Stream of changes, their numbers as ids: op (put, del, policy), field, value."
NODES = f"{_TAG}:nodes"
"Set of the names of nodes that are live or died; one that stops in order is taken out."
APPLIED = f"{_TAG}:applied"
"Channel: the name of a node whenever it has a change in its snapshot."


def node(name: str) -> str:
    """Key of a node's report (JSON), which expires when the node stops renewing it."""
    return f"{_TAG}:node:{name}"
