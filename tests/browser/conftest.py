"""One node, one site and one browser for each module of tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import uvicorn
from harness.console import Console, browsing
from harness.node import Node

from console.ports import free_port
from web.app import make_site


@pytest.fixture(scope="module")
def site_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with Redis, agent, Kamailio and the site."""
    node = Node.create(tmp_path_factory.mktemp("site"), workers=1)
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


@pytest.fixture(scope="module")
def console(site_node: Node) -> Iterator[Console]:
    """The console of ``site_node`` in a browser."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(make_site(site_node.stack.settings), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with browsing() as browser:
            yield Console(browser, site_node.store, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()
