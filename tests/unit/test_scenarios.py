"""What holds for all of SIPp's scenarios."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

TESTS = Path(__file__).parent.parent
SCENARIOS = sorted(TESTS.glob("**/sipp/*.xml"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.stem)
def test_what_follows_at_once_may_overtake(scenario: Path) -> None:
    """Over UDP each message has a worker of Kamailio's, so an ACK or a reply may be overtaken by what follows at once.

    Of two messages that are waited for one after the other the first must be ``optional="global"``, which SIPp
    takes at any later time; with ``condexec`` the second is one that did not come before.
    """
    steps = [step for step in ElementTree.parse(scenario).getroot() if step.tag in ("send", "recv", "pause", "label")]
    waits = [(first, then) for first, then in pairwise(steps) if first.tag == then.tag == "recv"]
    mandatory = [(first, then) for first, then in waits if "optional" not in first.attrib]
    assert [first.attrib for first, then in mandatory if "condexec" not in then.attrib] == []
