"""One node, one site and one browser for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.console import Console, browsing
from harness.node import Node


@pytest.fixture(scope="module")
def site_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with Redis, agent, Kamailio and the site."""
    node = Node.create(tmp_path_factory.mktemp("site"), workers=1, web=True)
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


@pytest.fixture(scope="module")
def console(site_node: Node) -> Iterator[Console]:
    """The console of ``site_node`` in a browser."""
    with browsing() as browser:
        yield Console(browser, site_node.store, f"http://{site_node.stack.settings.web_address}")
