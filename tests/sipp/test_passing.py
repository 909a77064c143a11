"""What belongs to a call passes the node as it was sent, both ways: a proxy that breaks none of it (docs/sip.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.node import Node, at
from harness.trace import assert_passed_on

from model.policy import Route

PAIRS = [
    # RFC 3515, RFC 3891
    ("uac-expect-notified-of-transfer.xml", "uas-accepts-refer.xml"),
    ("uac-expect-refer.xml", "uas-refers-then-hangs-up.xml"),
    # RFC 3262
    ("uac-expect-reliable-progress.xml", "uas-progresses-reliably.xml"),
    # RFC 3311
    ("uac-expect-updates.xml", "uas-updates.xml"),
    # RFC 4028
    ("uac-expect-session-timer.xml", "uas-refreshes-session.xml"),
    ("uac-expect-422-then-answer.xml", "uas-replies-422-then-answers.xml"),
    # RFC 3264 section 5; INFO, OPTIONS and MESSAGE within a dialog
    ("uac-expect-late-offer.xml", "uas-offers-late.xml"),
]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(("caller", "gateway"), PAIRS, ids=[caller[11:-4] for caller, _ in PAIRS])
def test_each_side_receives_what_the_other_sent(
    node: Node, tmp_path: Path, caller: str, gateway: str, transport: str
) -> None:
    near, far = tmp_path / "caller.trace", tmp_path / "gateway.trace"
    player = node.gateway(gateway, transport=f"{transport[0]}1", trace=far)
    node.apply([Route("r", ("",), ("g",))], [at("g", player, transport=transport)])
    # What explains a call takes it for placed once.
    once = "422" not in caller
    node.call(caller, "1001", "1002", transport=f"{transport[0]}1", trace=near, explained=once)
    assert_passed_on(near, far)
