"""Trunks: where calls come from, what their names are known to be, and how registrations stand."""

from __future__ import annotations

from typing import Any

from model.policy import ANY, Trunk
from model.settings import Settings
from operations.changes import Row
from operations.gateways import answers_of
from state import names, registrations
from state.names import Answer, Question
from state.store import Store


def rows(store: Store, settings: Settings) -> list[Row]:
    """The trunks of the policy in force, as this node knows their names."""
    known, stand = answers_of(settings), registrations.read(store)
    return [_row(trunk, known, stand) for trunk in store.policy().decode()[0].trunks]


def _row(trunk: Trunk, known: names.Answers, stand: dict[str, dict[str, Any]]) -> dict[str, Any]:
    answers = {name: known.get(str(Question(name, 0, ANY)), Answer()) for name in trunk.names}
    waiting = {"state": "registering", "reason": "no node has said so yet", "since": None, "until": None}
    return {
        "name": trunk.name,
        "sources": list(trunk.sources),
        "names": [
            {
                "name": name,
                "addresses": [one.address for one in answer.found],
                "since": answer.since or None,
                "trouble": answer.trouble or ("" if answer.since else "is not resolved yet"),
            }
            for name, answer in answers.items()
        ],
        "registration": stand.get(trunk.name, waiting) if trunk.registration is not None else None,
    }
