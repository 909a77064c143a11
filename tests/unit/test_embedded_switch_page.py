"""The page about the embedded switch says what it can do, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devswitch import catalogue
from devswitch.esl.subscription import MY_EVENTS

PAGE = Path(__file__).parents[2] / "docs" / "embedded-switch.md"


def names_in(title: str) -> set[str]:
    """What stands in backticks in a section: the first cells of its table, or its first paragraph."""
    section = re.search(rf"^## {title}\n\n(.*?)(?=^## )", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert section, title
    text = section[1]
    if text.startswith("|"):
        rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        return set(re.findall(r"`(\w+)`", " ".join(rows)))
    return set(re.findall(r"`(\w+)`", text.split("\n\n")[0]))


@pytest.mark.parametrize(
    ("title", "known"),
    [
        ("Applications", catalogue.APPLICATIONS),
        ("API commands", catalogue.API_COMMANDS),
        ("ESL commands", catalogue.ESL_COMMANDS),
        ("Events", catalogue.EVENTS),
    ],
)
def test_the_page_names_what_is_registered(title: str, known: tuple[str, ...]) -> None:
    assert names_in(title) == set(known)


def test_what_myevents_subscribes_to_is_among_the_known_names() -> None:
    from devswitch.events import NAMES

    assert MY_EVENTS <= NAMES
