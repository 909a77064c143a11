"""A node that has no policy, or one that nobody can read: the caller is told so, and the next call is a new chance."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.load import until
from harness.node import TRUNK, Node, at
from harness.raw import Endpoint, status

from kemi import refusals
from model.policy import Policy, Route
from state import layout
from state.snapshot import SnapshotWriter


@pytest.fixture(scope="module")
def _lonely_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node.create(tmp_path_factory.mktemp("lonely"), workers=1)
    try:
        node.stack.start_kamailio()
        yield node
    finally:
        node.close()


@pytest.fixture
def lonely_node(_lonely_node: Node) -> Iterator[Node]:
    """Kamailio without Redis and without an agent, and so without a snapshot until a test writes one."""
    yield _lonely_node
    _lonely_node.stop_gateways()


def write_snapshot(node: Node, records: dict[bytes, bytes]) -> None:
    """Put records in the place of a node's snapshot."""
    writer = SnapshotWriter(node.stack.settings.snapshot)
    with writer.begin() as txn:
        writer.clear(txn)
        for key, value in records.items():
            txn.put(key, value)
    writer.close()


def good_snapshot(node: Node) -> dict[bytes, bytes]:
    """A policy that sends every number to a gateway that answers."""
    return layout.build(Policy((TRUNK,), {"g": at("g", node.answering())}), [Route("r", ("",), ("g",))], ())


def refused_for_no_policy(node: Node) -> None:
    """Place a call that must be refused since there is no policy."""
    node.refused("1001", "1002", 503, "cause=41;text=.no-policy.*Retry-After: 5[^0-9]", explained=False)


def test_without_a_snapshot_calls_are_refused_for_a_while(lonely_node: Node) -> None:
    refused_for_no_policy(lonely_node)
    refused_for_no_policy(lonely_node)


def test_an_empty_snapshot_is_no_policy_either(lonely_node: Node) -> None:
    write_snapshot(lonely_node, {})
    refused_for_no_policy(lonely_node)


CORRUPTIONS = {layout.POLICY: b"1\n{", layout.INDEX: b"{}", layout.route_key(""): b"not a route"}


@pytest.mark.parametrize("key", CORRUPTIONS, ids=repr)
def test_an_error_of_ours_is_told_and_logged_once_and_ends_with_its_cause(lonely_node: Node, key: bytes) -> None:
    records = good_snapshot(lonely_node)
    write_snapshot(lonely_node, {**records, key: CORRUPTIONS[key]})
    before = lonely_node.stack.log("kamailio")
    call = lonely_node.refused("1001", "1002", 500, "cause=41;text=.internal-error", explained=False)
    lines = lonely_node.stack.log("kamailio")[len(before) :].splitlines()
    (line,) = [line for line in lines if "on_call failed" in line]
    assert call.call_id in line
    assert not any("Traceback" in line for line in lines)
    write_snapshot(lonely_node, records)
    lonely_node.answered("1001", "1002", explained=False)


def test_a_snapshot_that_was_made_anew_is_followed(lonely_node: Node) -> None:
    """Each of these has one transaction, of the same number."""
    with Endpoint() as caller:

        def told() -> int:
            invite = caller.invite(uri=b"sip:1002@127.0.0.1")
            caller.send(invite, lonely_node.sip)
            return status(caller.final_reply(invite, lonely_node.sip))

        write_snapshot(lonely_node, {})
        for refusal in (refusals.NO_ROUTE, refusals.UNKNOWN_SOURCE):
            shutil.rmtree(lonely_node.stack.settings.snapshot, ignore_errors=True)
            trunks = (TRUNK,) if refusal is refusals.NO_ROUTE else ()
            write_snapshot(lonely_node, layout.build(Policy(trunks, {}), [], ()))
            until(lambda wanted=refusal.status: told() == wanted, f"the policy that leads to {refusal.id}")


def test_records_that_cannot_be_written_cost_no_call(tmp_path: Path) -> None:
    node = Node.create(tmp_path, workers=1)
    try:
        node.stack.start_kamailio()
        write_snapshot(node, good_snapshot(node))
        shutil.rmtree(node.stack.settings.spool)
        node.stack.settings.spool.write_text("a file, where the directory was")
        node.answered("1001", "1002", explained=False)
        # Its decision, answer and end.
        assert node.stack.log("kamailio").count("call record lost") >= 3
    finally:
        node.close()
