"""What processes tell of themselves: health, the listener, labels, logs."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from console import serve
from console.ports import free_port
from model.settings import Address, Settings
from telemetry import logs, registry
from telemetry.health import Check, body
from telemetry.listener import Listener, Told, answer
from telemetry.registry import OTHER, Names, raised

WELL = Check("redis", True, "answers")
ILL = Check("kamailio", False, "does not answer")


def test_ready_is_503_with_every_check_as_soon_as_one_fails() -> None:
    told = Told(ready=lambda: [WELL, ILL])
    found = answer(told, "/ready")
    assert found.status == 503
    assert json.loads(found.content) == {
        "ready": False,
        "checks": [
            {"name": "redis", "ok": True, "text": "answers"},
            {"name": "kamailio", "ok": False, "text": "does not answer"},
        ],
    }
    assert answer(Told(ready=lambda: [WELL]), "/ready?by=prometheus").status == 200


def test_live_says_nothing_of_readiness() -> None:
    assert answer(Told(ready=lambda: [ILL]), "/live").status == 200
    assert body("live", []) == (True, b'{"live": true, "checks": []}\n')


def test_metrics_are_sampled_at_each_scrape() -> None:
    scrapes: list[int] = []
    told = Told(sample=lambda: scrapes.append(1))
    assert b"process_cpu_seconds_total" in answer(told, "/metrics").content
    answer(told, "/metrics")
    assert len(scrapes) == 2


@pytest.mark.parametrize("path", ["/", "/metrics/", "/drain", "/../etc/passwd"])
def test_nothing_else_is_there(path: str) -> None:
    assert answer(Told(), path).status == 404


def get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def listening(told: Told) -> int:
    """Port of a listener that is there."""
    port = free_port()
    Listener(Address("127.0.0.1", port), told).start()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            continue
        return port


def test_the_listener_answers_and_changes_nothing() -> None:
    port = listening(Told(ready=lambda: [ILL]))
    assert get(port, "/live") == (200, b'{"live": true, "checks": []}\n')
    assert get(port, "/ready")[0] == 503
    assert get(port, "/ready", method="POST")[0] == 501


def test_a_peer_that_says_nothing_holds_up_nobody() -> None:
    port = listening(Told())
    with socket.create_connection(("127.0.0.1", port)):
        assert get(port, "/live")[0] == 200


def test_a_check_that_raises_is_an_answer_of_its_own() -> None:
    def broken() -> list[Check]:
        raise ValueError("secret")

    status, content = get(listening(Told(ready=broken)), "/ready")
    assert (status, b"ValueError" in content, b"secret" in content) == (500, True, False)


def test_an_address_that_is_taken_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        Listener(Address("127.0.0.1", taken.getsockname()[1]), Told()).start()
        while "no metrics at 127.0.0.1" not in caplog.text:
            pass


def test_labels_are_few_and_no_numbers() -> None:
    names = Names(3)
    found = [names.label(name) for name in ("a", "b", "+442079460000", "02079460000", "*9711", "", "c", "d", "a")]
    assert found == ["a", "b", OTHER, OTHER, OTHER, OTHER, "c", OTHER, "a"]
    assert Names(1).label("100") == "100", "a name may be a short number"


def test_a_counter_follows_a_number_that_begins_anew() -> None:
    counter = Counter("followed", "A number.", registry=CollectorRegistry())
    for total, expected in ((3, 3), (5, 5), (5, 5), (2, 7)):
        raised(counter, total)
        assert counter._value.get() == expected


def test_every_metric_has_a_help_and_a_name_of_ours() -> None:
    import telemetry.agent
    import telemetry.hook
    import telemetry.media
    import telemetry.records
    import telemetry.voicemail
    import telemetry.web  # noqa: F401

    for family in registry.REGISTRY.collect():
        assert family.name.startswith(("strowger_", "process_")), family.name
        assert family.documentation.endswith("."), family.name


def test_the_page_names_every_metric() -> None:
    page = (serve.ROOT / "docs" / "metrics.md").read_text()
    for family in registry.REGISTRY.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name.startswith("process_") or f"| `{name}`" in page, f"docs/metrics.md does not have {name}"


# Logs


def record(message: str = "it is so", **more: object) -> logging.LogRecord:
    """A line to be."""
    return logging.LogRecord("strowger.agent", logging.WARNING, "file.py", 1, message, None, None, **more)  # type: ignore[arg-type]


def test_a_line_as_json_names_process_node_and_call() -> None:
    format = logs._Json("node1", "media").format
    assert set(json.loads(format(record()))) == {"at", "level", "node", "process", "logger", "message"}
    channel = logs.CHANNEL.set("uuid-1")
    try:
        with logs.about_call("19af-1-0", "abc@host"):
            found = json.loads(format(record("two\nlines")))
    finally:
        logs.CHANNEL.reset(channel)
    assert (found["call"], found["callid"], found["channel"]) == ("19af-1-0", "abc@host", "uuid-1")
    assert "call" not in json.loads(format(record()))
    assert (found["message"], found["level"]) == ("two\nlines", "warning")
    assert found.items() >= {"node": "node1", "process": "media", "logger": "strowger.agent"}.items()


def test_a_line_as_text_has_the_call_at_its_end() -> None:
    with logs.about_call("19af-1-0"):
        line = logs._Text(logs.TEXT).format(record())
    assert line.endswith("strowger.agent WARNING it is so call=19af-1-0")
    assert logs.parsed("media", line).at == pytest.approx(record().created, abs=10)


@pytest.mark.parametrize(
    "line",
    [
        '{ "time": "2023-11-14T22:13:21.500000321Z", "idx": 1, "message": "as Kamailio 6.0 has it" }',
        '{ "idx": 1, "at": 1700000001.5, "message": "as our prefix has it" }',
    ],
)
def test_kamailios_lines_have_their_time(line: str) -> None:
    assert logs.parsed("kamailio", line).at == 1_700_000_001.5


@pytest.mark.parametrize("line", ['{ "time": 7 }', '{ "time": "now" }', '{ "at": "x" }', "{", '{"at": null}'])
def test_a_line_whose_time_is_none_is_shown_all_the_same(line: str) -> None:
    assert logs.parsed("kamailio", line) == logs.Line(None, "kamailio", line)


def test_what_the_logs_say_of_a_call_is_put_in_order(tmp_path: Path) -> None:
    (tmp_path / "media.log").write_text(
        '{"at": 1700000002.5, "call": "19af-1-0", "message": "script voicemail left early"}\n'
        '{"at": 1700000002.6, "call": "19af-1-1", "message": "another call"}\n'
        "no line of ours, about uuid-1\n"
    )
    (tmp_path / "kamailio.log").write_text('{ "idx": 1, "callid": "abc@host", "message": "failed" }\n')
    (tmp_path / "agent.log").write_text("2023-11-14 22:13:21,000 strowger.agent INFO x call=19af-1-0\n")
    (tmp_path / "other.txt").write_text("19af-1-0\n")
    settings = Settings.from_env({"STROWGER_LOGS": str(tmp_path)})
    found = logs.about(settings, ["19af-1-0", "abc@host", "uuid-1", ""], 0.0, 2e9)
    assert [line.source for line in found] == ["kamailio", "media", "agent", "media"]
    assert [line.at is None for line in found] == [True, True, False, False]
    assert logs.about(settings, [""], 0.0, 2e9) == []
