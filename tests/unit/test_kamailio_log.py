"""What a SIP worker itself says in Kamailio's log."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from kemi.log import Log


def made(said: list[str], *, as_json: bool, level: int = 1) -> Log:
    """A log whose Kamailio only remembers."""
    ksr = SimpleNamespace(err=lambda text: said.append(f"E {text}"), warn=lambda text: said.append(f"W {text}"))
    return Log(ksr, "node1", as_json=as_json, level=level)


def test_as_text_a_line_ends_with_the_calls_id() -> None:
    said: list[str] = []
    log = made(said, as_json=False)
    log.error("it failed", "19af-1-0", "abc@host")
    log.warning("nobody knows which call")
    assert said == ["E it failed call=19af-1-0\n", "W nobody knows which call\n"]


def test_as_json_it_is_as_every_process_writes_it(capfd: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    log = made(said, as_json=True)
    log.warning('with "quotes"', "19af-1-0", 'a"b\n@host')
    log.error("without a call")
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert said == []
    at = first.pop("at")
    assert at == pytest.approx(second.pop("at"), abs=60)
    same = {"node": "node1", "process": "kamailio", "logger": "strowger.routing"}
    ids = {"call": "19af-1-0", "callid": 'a"b\n@host'}
    assert first == {"level": "warning", **same, "message": 'with "quotes"', **ids}
    assert second == {"level": "error", **same, "message": "without a call"}


@pytest.mark.parametrize("as_json", [False, True])
def test_warnings_are_for_who_wants_them(capfd: pytest.CaptureFixture[str], *, as_json: bool) -> None:
    said: list[str] = []
    made(said, as_json=as_json, level=-1).warning("x")
    assert (said, capfd.readouterr().err) == ([], "")
