"""Whether the processes of this node are ready, as they say themselves, and what other nodes say of theirs."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from model.settings import Address, Settings
from operations.changes import Row
from state.store import Store, StoreError

TIMEOUT = 6.0
"Seconds that a process has to answer: a little more than its event loop has."
NECESSARY = ("agent",)
"Processes that every node has; what else does not listen may not belong to this one."


def processes(settings: Settings) -> list[Row]:
    """A row for each process of this node that listens, and the agent's in any case.

    ``ready`` is False where it is not ready or does not answer; ``checks`` is what it says of itself.
    """
    addresses = {
        "agent": settings.agent_metrics, "hook": settings.hook_metrics, "media": settings.media_metrics,
        "voicemail": settings.voicemail_metrics, "records": settings.records_metrics, "web": settings.web_address,
    }  # fmt: skip
    asked = {name: address for name, address in addresses.items() if address is not None}
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        found = list(pool.map(_ready, asked.values()))
    return [
        {"process": name, "address": str(address), **answer}
        for (name, address), answer in zip(asked.items(), found, strict=True)
        if answer["listens"] or name in NECESSARY
    ]


def _ready(address: Address) -> Row:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/ready")
        answer: Any = json.loads(connection.getresponse().read())
        checks = answer["checks"]
    except ConnectionRefusedError:
        return {"listens": False, "ready": False, "checks": [_failed("nobody listens there")]}
    except OSError as error:
        return {"listens": True, "ready": False, "checks": [_failed(error.strerror or str(error))]}
    except (http.client.HTTPException, ValueError, KeyError, TypeError):
        return {"listens": True, "ready": False, "checks": [_failed("whoever listens there is none of ours")]}
    finally:
        connection.close()
    return {"listens": True, "ready": bool(answer["ready"]), "checks": checks}


def _failed(text: str) -> Row:
    return {"name": "answers", "ok": False, "text": text}


def nodes(settings: Settings) -> list[Row]:
    """A row for each node: ``ready`` is whether it is live, and its agent says of nothing that it is not well.

    Raises StoreError.
    """
    store = Store(settings.redis_url)
    try:
        live, gone = store.nodes()
    finally:
        store.close()
    found: list[Row] = [
        {
            "node": node.name, "ready": not node.troubles and not node.draining, "draining": node.draining,
            "troubles": list(node.troubles),
        }
        for node in live
    ]  # fmt: skip
    troubles = ["nobody has heard of it for more than three seconds"]
    return found + [{"node": name, "ready": False, "draining": False, "troubles": troubles} for name in gone]


def everything(settings: Settings) -> Row:
    """Both, ``redis`` empty or why it cannot be asked, and ``ready`` for all."""
    own, others, away = processes(settings), [], ""
    try:
        others = nodes(settings)
    except StoreError as error:
        away = str(error)
    well = not away and all(row["ready"] for row in (*own, *others))
    return {"ready": well, "node": settings.node, "processes": own, "nodes": others, "redis": away}
