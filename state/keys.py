"""Names in Redis. One hash tag, so that on a Redis Cluster a change stays one atomic script."""

from __future__ import annotations

SCHEMA = 2
"Version of the names and codecs that a new Redis gets, and that `strowger migrate` makes of an older one."
OLDEST = 1
"The oldest version that is still read and written; what is older, or newer than SCHEMA, is refused."

_TAG = "{strowger}"

META = f"{_TAG}:meta"
"""Hash: schema, generation (random, made with the first policy, and by a restore), seq (number of the last change);
migrating, the version that a migration is making, while it does."""
POLICY = f"{_TAG}:policy"
"Hash: version, text (the YAML as applied), document (JSON, resolved), applied (Unix time), author, message."
HISTORY = f"{_TAG}:history"
"Hash: for each version kept, `text:VERSION` and so on: the fields of the policy's hash."
ENTRIES = f"{_TAG}:entries"
"Hash: `kind:value` to the entry as JSON."
EXPIRIES = f"{_TAG}:expiries"
"Sorted set: `kind:value` by Unix time of expiry."
DRAINS = f"{_TAG}:drains"
"Hash: gateway to its drain as JSON."
NODE_DRAINS = f"{_TAG}:nodes:drains"
"Hash: node to its drain as JSON (see state/node_drains.py)."
SUBSCRIBERS = f"{_TAG}:subscribers"
"Hash: subscriber to what is known of them as JSON (model/subscriber.py); no password, but hashes as good as one."
BREAKERS = f"{_TAG}:breakers"
"Hash: `node/gateway` to the breaker that opened there (JSON, see model/open_breaker.py)."
ADOPTED = f"{_TAG}:breakers:adopted"
"Hash: `node/gateway` to the breaker of another node that this one goes by (JSON)."
CHANGES = f"{_TAG}:changes"
"Stream of changes, their numbers as ids: op (see state.store.Change), field, value."
AUDIT = f"{_TAG}:audit"
"Stream of who changed what: seq, who, what (op), subject, before, after (each as stored, or a summary; see audit.py)."
AUDIT_KEPT = 100_000
"Entries of it that are kept, or a few more."
TOKENS = f"{_TAG}:api-tokens"
"Hash: id of a token of the HTTP API to what is known of it as JSON; no token, but a hash of each."
PREFIXES = f"{_TAG}:prefixes"
"Hash: imported route prefix to the name of a route of the policy."
PREFIX_ROUTES = f"{_TAG}:prefix-routes"
"Hash: name of a route to how many imported prefixes lead to it."
SHEETS = f"{_TAG}:rate-sheets"
"Hash: gateway to what is known of its rate sheet as JSON (see state/rates.py)."
IMPORT = f"{_TAG}:import"
"Token of the import that is under way; expires when that import stops renewing it."
TOUCHED = f"{_TAG}:import:touched"
"Set of the entries that were put or deleted while an import is under way."
STAGED = f"{_TAG}:import:staged"
"What the import makes of its table: a hash such as the one that it will replace."
STAGED_EXTRA = f"{_TAG}:import:staged-extra"
"What goes with it: expiries of entries, or uses of routes."
STAGED_CHUNKS = f"{_TAG}:import:chunks"
"List of the import's chunks as they were sent."
RESTORED = f"{_TAG}:restored"
"What a restore's tables are called until they are in force: this, its token, and the key."
NODES = f"{_TAG}:nodes"
"Set of the names of nodes that are live or died; one that stops in order is taken out."
VERSIONS = f"{_TAG}:nodes:versions"
"Hash: node to its program's version and the newest schema that it knows (JSON, see state/schema.py)."
APPLIED = f"{_TAG}:applied"
"Channel: the name of a node whenever it has a change in its snapshot."

RECORDS = f"{_TAG}:cdr"
"Stream of the records of calls that are over, of all nodes: record (JSON, see model/record.py), n (its number)."
RECORDS_COUNT = f"{_TAG}:cdr:count"
"Number of the last record."
RECORDS_TOLD = f"{_TAG}:cdr:told"
"Hash: how far the records were told to the webhook (state/record_delivery.py)."
RECORDS_TELLER = f"{_TAG}:cdr:teller"
"Token of the service that tells them; it expires."

TRIPS = f"{_TAG}:fraud:trips"
"Hash: guard/prefix/who (model/fraud.py) to the trip for which their calls are refused (JSON)."
TRIPS_PAST = f"{_TAG}:fraud:past"
"Stream of warnings, blocks and releases: kind, at (Unix time), data (the trip as JSON)."
GUARDED = f"{_TAG}:fraud:known"
"Sorted set: what guards count by the Unix time in milliseconds at which it is forgotten."

LIMITS = f"{_TAG}:limits"
"Hash: run (run_id of this Redis), since (Unix time in milliseconds at which a node first saw it)."
LIMIT_NODES = f"{_TAG}:limits:nodes"
"Sorted set: nodes that keep limits, by the Unix time in milliseconds until which each counts as live."

MWI = f"{_TAG}:vm:mwi"
"Hash: mailbox to what its lamps show (JSON, see state/mwi.py); an entry for each mailbox, empty ones too."
MWI_CHANGES = f"{_TAG}:vm:mwi:changes"
"Stream: box, whenever its entry changed or went."
MWI_SENDER = f"{_TAG}:vm:mwi:sender"
"Name of the node that sends unsolicited NOTIFYs; expires when it stops renewing it."

REGISTRATIONS = f"{_TAG}:registrations"
"Hash: trunk to how its outbound registration stands (JSON, see agent/registrations.py), and on which node."
REGISTERING = f"{_TAG}:registrations:node"
"Name of the node that registers; expires when it stops renewing it."

MEDIA_WORKERS = f"{_TAG}:media:workers"
"Set of the names of media workers that are live or died: node/port."


def media_worker(name: str) -> str:
    """Key of a media worker's report (JSON), which expires when it stops renewing it."""
    return f"{_TAG}:media:worker:{name}"


def commands(recipient: str) -> str:
    """Key of a list: commands that wait for a node or a media worker (state/commands.py); it expires."""
    return f"{_TAG}:commands:{recipient}"


def command_answers(command: str) -> str:
    """Key of a list: what those who were asked say; it expires."""
    return f"{_TAG}:command:{command}"


def idempotency(token: str, key: str) -> str:
    """Key of what was answered to a change that a bearer of a token asked for under a key; it expires."""
    return f"{_TAG}:api-idempotency:{token}:{key}"


def rates(gateway: str) -> str:
    """Key of a hash, a gateway's rate sheet: prefix and beginning to the rate (see state/rates.py)."""
    return f"{_TAG}:rates:{gateway}"


def fraud_counts(name: str) -> str:
    """Key of a hash: what a guard counts of somebody in each stretch of its window (state/fraud.py); it expires."""
    return f"{_TAG}:fraud:counts:{name}"


def fraud_numbers(name: str) -> str:
    """Key of a sorted set: the numbers that were called, by the Unix time in milliseconds; it expires."""
    return f"{_TAG}:fraud:numbers:{name}"


def fraud_until(node: str) -> str:
    """Key of the Unix time up to which guards have counted a node's running calls."""
    return f"{_TAG}:fraud:until:{node}"


def limit_leases(name: str) -> str:
    """Key of a sorted set: `node/call` of each call under a limit, by the Unix time in ms at which that ends."""
    return f"{_TAG}:limits:calls:{name}"


def limit_starts(name: str) -> str:
    """Key of a list: Unix times in microseconds at which the last calls under a limit began, newest first."""
    return f"{_TAG}:limits:starts:{name}"


def limit_refusals(minute: int) -> str:
    """Key of a hash: what each limit refused in a minute, counted from 1970, by the key of its leases; it expires."""
    return f"{_TAG}:limits:refused:{minute}"


def quality(slot: int) -> str:
    """Key of a hash: what was counted of gateways in a slot (see model/quality.py): `gateway:what`; it expires."""
    return f"{_TAG}:quality:{slot}"


def record_message(call: str) -> str:
    """Key of what a call left in voicemail, as mailbox/id; it expires when its record is long made."""
    return f"{_TAG}:cdr:message:{call}"


def record_recordings(call: str) -> str:
    """Key of a list: names of what a call recorded (state/recordings.py); it expires when its record is long made."""
    return f"{_TAG}:cdr:recordings:{call}"


def spool(node: str) -> str:
    """Key of a hash: position, up to which a node's spool is shipped, and each call that is not over: its events."""
    return f"{_TAG}:cdr:spool:{node}"


def chunks(import_id: str) -> str:
    """Key of the chunks of an import that is done, for nodes to read; it expires."""
    return f"{_TAG}:import:done:{import_id}"


def node(name: str) -> str:
    """Key of a node's report (JSON), which expires when the node stops renewing it."""
    return f"{_TAG}:node:{name}"


def node_health(name: str) -> str:
    """Key of what a node's Kamailio knows of gateways (JSON, see state/node_health.py); it expires."""
    return f"{_TAG}:node:{name}:health"


# Voicemail. The disk is the truth; all of this can be made anew from it.

EVENTS = f"{_TAG}:events"
"Stream of what happened, for whoever wants to know: kind, at (Unix time), data (JSON); see state/events.py."
EVENTS_KEPT = 100_000
"Events that the stream keeps, or a few more."
VM_REBUILT = f"{_TAG}:vm:rebuilt"
"The run_id of the Redis in which all of this agrees with the disk; another one, or none: it is to be made anew."
VM_REBUILDING = f"{_TAG}:vm:rebuilding"
"Token of the making anew that is under way: whoever does not find its own there was overtaken, or Redis was flushed."
VM_BOXES = f"{_TAG}:vm:boxes"
"Hash: box to the number of its last change, which also tells whether the disk was looked at before that change."
VM_OPEN = f"{_TAG}:vm:open"
"Hash: `kind:message` of each job that is not over, waiting or under way, to its box, tries and beginning (JSON)."
VM_DUE = f"{_TAG}:vm:due"
"Sorted set: `kind:message` of jobs that wait for a time, by that Unix time."
VM_DEAD = f"{_TAG}:vm:dead"
"Hash: `kind:message` of jobs that were given up to box, tries, time and reason (JSON)."
VM_SERVICES = f"{_TAG}:vm:services"
"Sorted set: each voicemail service that is live by the Unix time of its last report."
VM_GROUP = "voicemail"
"Consumer group of the streams of jobs."


def vm_folder(box: str, folder: str) -> str:
    """Key of a sorted set: messages of a folder in the order in which they are heard; see media/voicemail/index.py."""
    return f"{_TAG}:vm:box:{box}:{folder}"


def vm_jobs(kind: str) -> str:
    """Key of the stream of jobs of a kind that may be done now: id (of the message)."""
    return f"{_TAG}:vm:jobs:{kind}"


def vm_lease(name: str) -> str:
    """Key of a lease: who does what only one service does; it expires."""
    return f"{_TAG}:vm:lease:{name}"


def vm_pin(box: str) -> str:
    """Key of a hash: attempts at a box's PIN (tries), how often it was locked (locks), and until when (until)."""
    return f"{_TAG}:vm:pin:{box}"


# The console


def web_session(key: str) -> str:
    """Key of a session of the console, by the hash of its id (JSON, see state/sessions.py); it expires."""
    return f"{_TAG}:web:session:{key}"


def web_note(key: str) -> str:
    """Key of what is to be said on the next page of a session; it expires."""
    return f"{_TAG}:web:note:{key}"


def web_logins(address: str) -> str:
    """Key of the number of failed log-ins from an address; it expires."""
    return f"{_TAG}:web:logins:{address}"


def overview(size: int, slot: int) -> str:
    """Key of a hash: what was counted of all calls in a slot of so many seconds (see state/overview.py); it expires."""
    return f"{_TAG}:overview:{size}:{slot}"
