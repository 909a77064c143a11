"""Records told to a webhook: each at least once, whoever dies, hangs or refuses; by their ids, exactly once."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.cli import Cli, fresh
from harness.redis_server import RedisServer, redis_server
from harness.voicemail import Hook, hook_server, until

from agent import record_webhook
from agent.record_webhook import RecordWebhook
from console.process import Process
from console.serve import ROOT
from model.record import CallRecord, Outcome
from state import keys, record_delivery, records
from state.store import Store

SECRET = "s3cret"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    """A Redis that holds nothing."""
    with server.client() as client:
        client.flushall()
    store = Store(server.url)
    yield store
    store.close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_server() as hook:
        yield hook


def record(name: str) -> CallRecord:
    return CallRecord(
        call=name, node="edge-1", call_id=f"{name}@x", from_tag="t", trunk="lab", caller="1", callee="2", route="r",
        version=1, emergency=False, outcome=Outcome.ANSWERED, refusal="", status=200, began=1.0, answered=2.0,
        ended=3.0, duration=1.0, ended_by="caller", attempts=(), steps=(),
    )  # fmt: skip


def ship(store: Store, first: int, last: int, keep: int = 100_000) -> None:
    """Records of calls of these numbers."""
    assert records.ship(store, "edge-1", "", "", [record(f"c{number}") for number in range(first, last)], {}, keep)


def teller(store: Store, hook: Hook, stopped: Any = lambda: False) -> RecordWebhook:
    return RecordWebhook(store, hook.url, SECRET, stopped)


def told(hook: Hook) -> list[str]:
    """The ids of all records that came, in order, those that came again as well."""
    return [item["id"] for body in hook.bodies for item in body["records"]]


def names(first: int, last: int) -> list[str]:
    return [f"edge-1/c{number}" for number in range(first, last)]


def test_batches_are_signed_and_hold_whole_records(store: Store, hook: Hook) -> None:
    ship(store, 0, 150)
    service = teller(store, hook)
    assert [service.turn(), service.turn()] == [0.0, 0.0]
    assert service.turn() == record_webhook.POLL
    assert told(hook) == names(0, 150)
    headers, body = hook.requests[0]
    signed = f"{headers['X-Strowger-Timestamp']}.".encode() + body
    assert headers["X-Strowger-Signature"] == "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    found = json.loads(body)
    assert (found["event"], found["id"], len(found["records"])) == ("call.records", headers["X-Strowger-Delivery"], 100)
    first = dict(found["records"][0])
    assert first.pop("id") == "edge-1/c0"
    assert CallRecord.decode(json.dumps(first)) == record("c0")
    known = record_delivery.progress(store)
    assert (known.delivered, known.lost, known.tries, record_delivery.waiting(store, known)) == (150, 0, 0, 0)


@pytest.mark.parametrize("status", [500, 400, 302, 429])
def test_who_refuses_is_told_the_same_again(store: Store, hook: Hook, status: int) -> None:
    ship(store, 0, 3)
    service = teller(store, hook)
    hook.status = status
    waits = [service.turn() for _ in range(3)]
    assert waits == [0.5, 1.0, 2.0]
    assert record_delivery.progress(store).error == f"answered {status}"
    # What comes meanwhile does not make another batch of it.
    ship(store, 3, 5)
    hook.status = 204
    assert [service.turn(), service.turn()] == [0.0, 0.0]
    assert len({body for _, body in hook.requests[:4]}) == 1
    assert len({headers["X-Strowger-Delivery"] for headers, _ in hook.requests[:4]}) == 1
    assert told(hook)[-5:] == names(0, 5)
    assert record_delivery.progress(store).error == ""


def test_who_refuses_for_weeks_is_still_told(store: Store, server: RedisServer, hook: Hook) -> None:
    ship(store, 0, 1)
    with server.client() as client:
        client.hset(keys.RECORDS_TOLD, "tries", 20_000)
    service, hook.status = teller(store, hook), 503
    assert service.turn() == record_webhook.LONGEST_WAIT
    hook.status = 204
    assert service.turn() == 0
    assert told(hook) == names(0, 1) * 2


def test_who_hangs_or_is_away_is_told_later(store: Store, hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_webhook, "LIMIT", 0.3)
    ship(store, 0, 2)
    hook.hang = True
    service = teller(store, hook)
    assert service.turn() > 0
    assert record_delivery.progress(store).error == "no answer within 0.3 s"
    hook.hang = False
    away = RecordWebhook(store, "http://127.0.0.1:1/secret", "", lambda: False, service._token)
    assert away.turn() > 0
    assert record_delivery.progress(store).error == "no answer: ConnectionRefusedError"
    assert service.turn() == 0.0
    assert told(hook) == names(0, 2) * 2


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", b"no HTTP at all\r\n\r\n"])
def test_who_breaks_off_is_told_again(store: Store, hook: Hook, answer: bytes) -> None:
    ship(store, 0, 2)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def break_off() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(100)
                peer.sendall(answer)

        thread = threading.Thread(target=break_off)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        broken = RecordWebhook(store, url, "", lambda: False)
        assert broken.turn() > 0
        thread.join()
    assert record_delivery.progress(store).error.startswith("no answer: ")
    assert RecordWebhook(store, hook.url, "", lambda: False, broken._token).turn() == 0.0
    assert told(hook) == names(0, 2)
    assert "X-Strowger-Signature" not in hook.requests[0][0]


def test_one_tells_at_a_time_and_another_takes_over(store: Store, hook: Hook) -> None:
    ship(store, 0, 2)
    first, second = teller(store, hook), teller(store, hook)
    hook.status = 500
    first.turn()
    assert second.turn() == record_webhook.POLL
    assert len(hook.requests) == 1
    # As if its lease had expired while it told.
    store._redis.delete(keys.RECORDS_TELLER)
    hook.status = 204
    assert second.turn() == 0.0
    assert hook.requests[0][1] == hook.requests[1][1]
    batch = record_delivery.Batch((("9-9", 9, "{}"),), 0)
    assert not record_delivery.told(store, first._token, batch, 1.0)
    assert record_delivery.progress(store).delivered == 2


def test_records_that_redis_kept_no_longer_are_counted(store: Store, hook: Hook) -> None:
    service = teller(store, hook)
    ship(store, 0, 10)
    service.turn()
    hook.status = 500
    ship(store, 10, 20)
    service.turn()
    store._redis.xtrim(keys.RECORDS, maxlen=4, approximate=False)
    ship(store, 20, 22)
    hook.status = 204
    service.turn()
    service.turn()
    known = record_delivery.progress(store)
    assert (known.delivered, known.lost, record_delivery.waiting(store, known)) == (16, 6, 0)
    assert set(told(hook)) == {*names(0, 22)}
    # All of the batch that was being told is gone.
    hook.status = 500
    ship(store, 22, 24)
    service.turn()
    store._redis.xtrim(keys.RECORDS, maxlen=0, approximate=False)
    ship(store, 24, 25)
    hook.status = 204
    service.turn()
    known = record_delivery.progress(store)
    assert (known.delivered, known.lost) == (17, 8)
    events: Any = store._redis.xrange(keys.EVENTS)
    assert [json.loads(row["data"])["count"] for _, row in events if row["kind"] == "records.lost"] == [6, 2]


def test_a_redis_that_lost_everything_begins_anew(store: Store, hook: Hook) -> None:
    service = teller(store, hook)
    ship(store, 0, 3)
    service.turn()
    store._redis.flushall()
    ship(store, 0, 4)
    service.turn()
    assert told(hook) == names(0, 3) + names(0, 4)
    assert record_delivery.progress(store).lost == 0


def test_records_are_forgotten_by_time(store: Store) -> None:
    old = int((time.time() - 3 * 86400) * 1000)
    for number in range(5):
        store._redis.xadd(keys.RECORDS, {"record": record(f"old{number}").encode()}, id=f"{old + number}-0")
    ship(store, 0, 2)
    assert records.forget(store, 4) == 0
    assert records.forget(store, 2) == 5
    assert [found.call for found in records.oldest(store)] == ["c0", "c1"]


@pytest.mark.timeout(180)
def test_a_service_that_is_killed_again_and_again_loses_nothing(
    server: RedisServer, store: Store, hook: Hook, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "cdr").write_text(SECRET)
    (secrets / "cdr").chmod(0o600)
    environment = {
        **os.environ, "STROWGER_REDIS_URL": server.url, "STROWGER_CDR_WEBHOOK": hook.url,
        "STROWGER_SECRETS": str(secrets), "STROWGER_CDR_WEBHOOK_SECRET": "cdr", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "console.main", "serve", "records"]
    ship(store, 0, 1000)
    for run in range(3):
        process = Process("records", command, environment, tmp_path / f"records-{run}.log")
        # In the midst of a request, or between two.
        hook.hang = run != 1
        seen = len(hook.requests)
        process.start()
        until(lambda seen=seen: len(hook.requests) > seen, "a batch is told")  # type: ignore[misc]
        process.kill()
        # Not to wait until its lease is over.
        store._redis.delete(keys.RECORDS_TELLER)
        hook.release.set()
    hook.hang = False
    process = Process("records", command, environment, tmp_path / "records.log")
    process.start()
    try:
        ship(store, 1000, 1100)
        until(lambda: record_delivery.progress(store).position == _last(store), "all are told")
    finally:
        process.stop()
    times = Counter(told(hook))
    assert set(times) == set(names(0, 1100))
    assert times.total() > 1100
    assert hook.url not in "".join(path.read_text() for path in tmp_path.glob("*.log"))
    cli = Cli(fresh, {"STROWGER_REDIS_URL": server.url})
    assert cli("cdr", "webhook", "--json").data["waiting"] == 0


def _last(store: Store) -> str:
    rows: Any = store._redis.xrevrange(keys.RECORDS, count=1)
    return str(rows[0][0])


def test_what_cannot_be_told_anything_is_said(server: RedisServer, tmp_path: Path) -> None:
    cli = Cli(fresh, {"STROWGER_REDIS_URL": server.url, "STROWGER_SECRETS": str(tmp_path)})
    assert "STROWGER_CDR_WEBHOOK" in cli("serve", "records", status=2).err
    wrong = cli.where(STROWGER_CDR_WEBHOOK="ftp://user:hush@host/")
    assert "hush" not in wrong("serve", "records", status=2).err
    unsigned = cli.where(STROWGER_CDR_WEBHOOK="http://127.0.0.1:1/", STROWGER_CDR_WEBHOOK_SECRET="cdr")
    assert "cdr" in unsigned("serve", "records", status=2).err


def test_a_record_names_the_message_that_its_call_left(store: Store) -> None:
    left, none = (replace(record(name), app="voicemail") for name in ("left", "none"))
    other = record("other")
    for name in ("left", "other"):
        store._redis.set(keys.record_message(name), "2001/x")
    found = records.with_media(store, [left, none, other])
    assert [item.message for item in found] == ["2001/x", "", ""]
    assert CallRecord.decode(found[0].encode()) == found[0]
