"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import suppress

import hypothesis
import pytest
from harness.longest_first import LongestFirst
from harness.node import METRICS, Node
from xdist.remote import Producer

# Processes of tests run beside each other, and none is at a port that another may have.
os.environ.update(dict.fromkeys(METRICS, ""))
# How long an example takes says nothing on a machine that is busy with something else.
hypothesis.settings.register_profile("strowger", deadline=None)
hypothesis.settings.load_profile("strowger")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongestFirst:
    """How processes share the tests."""
    return LongestFirst(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Give each of xdist's processes a session of its own.

    The kernel shares the processor out by sessions (autogroup, sched(7)), of which every server of a test has its own:
    in one session all phones of all tests together would get as much as a single Redis, and stand still for a second.
    """
    if hasattr(config, "workerinput"):
        with suppress(PermissionError):
            os.setsid()


def pytest_collection_finish() -> None:
    """Who collects garbage, as the loader of call scripts does, need not look through thousands of tests each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def _session_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.create(tmp_path_factory.mktemp("node"))
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


@pytest.fixture
def node(_session_node: Node) -> Iterator[Node]:
    """The shared node, with no gateways and no entries left by another test."""
    _session_node.clear_entries()
    yield _session_node
    _session_node.stop_gateways()
