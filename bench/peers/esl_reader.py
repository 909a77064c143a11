"""Reads events with one of the libraries, in a process of its own: ``esl_reader.py LIBRARY PORT COUNT``.

The last line it prints: seconds and seconds of CPU, from asking for events to having handled the last one.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

HOST, PASSWORD = "127.0.0.1", "ClueCon"


class Counter:
    """What the handler of each library does: look at two headers, and count."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.began = self.began_cpu = 0.0
        self.taken: dict[str, float] = {}

    def start(self) -> None:
        """Events are asked for."""
        self.began, self.began_cpu = time.perf_counter(), time.process_time()

    def event(self, headers: Any) -> bool:
        """One more; whether it was the last."""
        assert headers["Event-Name"]
        assert headers["Unique-ID"]
        self.left -= 1
        if self.left:
            return False
        self.taken = {"seconds": time.perf_counter() - self.began, "cpu": time.process_time() - self.began_cpu}
        return True


async def strowger(port: int, counter: Counter, *, every: bool = False) -> None:
    """Ours; with ``every`` header of each event decoded."""
    inbound, protocol = importlib.import_module("media.esl.inbound"), importlib.import_module("media.esl.protocol")
    connection = await inbound.connect(HOST, port, PASSWORD)
    done = asyncio.Event()

    def handler(event: Any) -> None:
        if counter.event(dict(event.headers.items()) if every else event):
            done.set()

    connection.listen(handler)
    counter.start()
    connection.write(protocol.command("event", "plain", "ALL"))
    await done.wait()


async def genesis(port: int, counter: Counter) -> None:
    """Genesis of Otoru."""
    client = importlib.import_module("genesis").Inbound(HOST, port, PASSWORD)
    done = asyncio.Event()

    async def handler(event: Any) -> None:
        if counter.event(event):
            done.set()

    client.on("*", handler)
    await client.start()
    counter.start()
    asking = asyncio.ensure_future(client.send("event plain ALL"))
    await done.wait()
    asking.cancel()


def greenswitch(port: int, counter: Counter) -> None:
    """greenswitch of EvoluxBR."""
    gevent = importlib.import_module("gevent.event")
    client = importlib.import_module("greenswitch").InboundESL(host=HOST, port=port, password=PASSWORD)
    done = gevent.Event()

    def handler(event: Any) -> None:
        if counter.event(event.headers):
            done.set()

    client.register_handle("*", handler)
    client.connect()
    counter.start()
    client.send("event plain ALL")
    done.wait()


READERS: dict[str, Callable[[int, Counter], Coroutine[Any, Any, None]]] = {
    "strowger": strowger,
    "strowger-all": partial(strowger, every=True),
    "genesis": genesis,
}


def main(library: str, port: int, count: int) -> None:
    """Read ``count`` events, and say how long it took."""
    counter = Counter(count)
    if library == "greenswitch":
        greenswitch(port, counter)
    else:
        asyncio.run(READERS[library](port, counter))
    print("\n" + json.dumps(counter.taken), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
