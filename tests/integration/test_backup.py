"""A backup of a node that carries calls, and a restore into one that lost everything: a call, mailboxes, a lamp."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from harness.api import api_settings
from harness.lamp_phone import LampPhone
from harness.load import until
from harness.node import Node
from harness.raw import status
from harness.redis_server import redis_server

from console import serve
from media.voicemail.jobs import Jobs
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.reconcile import Reconciler
from media.voicemail.store import Box
from media.voicemail.store import Store as Boxes
from model.entries import Action, Entry, Kind
from model.policy import Drain
from model.settings import Settings
from model.subscriber import Subscriber
from operations import backup, restore
from policyfile import load
from state import bulk, keys, tokens
from state.clients import connect
from state.rates import SheetInfo
from state.store import Store, StoreError

PIN = "8462"
SPOKEN = b"\x01\x02" * 8000
POLICY = """
strowger: 1
trunks: {{lab: {{sources: [127.0.0.0/8]}}}}
dialling_plans: {{gb: {{country_code: "44", international_prefixes: ["00"], national_prefix: "0"}}}}
default_dialling: gb
subscribers: {{realm: example.com}}
gateways: {{solid: {{address: "127.0.0.1:{port}", breaker: off}}, spare: {{address: "127.0.0.1:9"}}}}
routes:
  - {{name: all, prefixes: [default], gateways: [solid]}}
"""
REFUSED = Entry(kind=Kind.CALLER, value="+447700900123", action=Action.BLOCK, created=1.0, reason="nuisance")
FOR_LONG = Entry(kind=Kind.CALLEE, value="+442079460001", action=Action.ALLOW, created=1.0, expires=time.time() + 9999)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node with a voicemail service, and no switch."""
    node = Node.create(tmp_path, name="saved", workers=2)
    try:
        node.stack.start()
        node.stack.start_voicemail()
        yield node
    finally:
        if "voicemail" in node.stack.processes:
            node.stack.processes["voicemail"].kill()
        node.close()


def client_of(node: Node) -> redis.Redis:
    """For what no product code does."""
    return redis.Redis.from_url(node.stack.settings.redis_url, decode_responses=True)


def strowger(node: Node, *words: str, code: int = 0, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "console.main", *words], input=stdin, capture_output=True, check=False,
        env={**os.environ, **node.stack.settings.to_env(), "PYTHONPATH": str(serve.ROOT)},
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode()
    return done


def fill(node: Node, port: int) -> str:
    """Everything that a backup holds; the token of its administrator."""
    store = node.store
    for message in ("the first", "the one in force"):
        text = POLICY.format(port=port).replace("strowger: 1", f"strowger: 1  # {message}")
        loaded = load(text, name="policy")
        change = store.apply(
            text=text, policy=loaded.policy, routes=loaded.routes, expected=store.policy_version(), author="test",
            message=message,
        )  # fmt: skip
    node.confirmed(change)
    for entry in (REFUSED, FOR_LONG):
        node.put(entry)
    store.drain(Drain("spare", reason="new SBC", since=1.0, until=0.0))
    store.put_subscriber(Subscriber(name="1001", realm="example.com", ha1={"MD5": "0" * 32}), None)
    imported(store, "prefixes", [(f"+331{n}", "all") for n in range(1200)])
    imported(store, "rates", [], gateway="solid", sheet=SheetInfo("EUR", 2.0))
    boxes = Boxes(node.stack.settings.voicemail)
    boxes.put_box(Box(number="1001", numbers=("+442079460007",), min_seconds=1, transcribe=False), new=True)
    boxes.set_pin("1001", PIN)
    leave(boxes, "1001")
    return tokens.make(store, "backup test", tokens.Role.ADMIN)[1]


def imported(store: Store, table: str, records: list[tuple[str, str]], **more: object) -> None:
    with bulk.Import(store, table=table, replace=True, created=2.0, **more) as work:  # type: ignore[arg-type]
        work.send(records)
        list(work.build())
        work.commit()


def leave(boxes: Boxes, box: str) -> None:
    recording = boxes.begin(box, caller="+447700900999", reason="busy")
    with wave.open(str(recording.audio), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(SPOKEN)
    recording.accept()


def state(node: Node) -> dict[str, object]:
    """All that must be the same before and after, as its readers see it."""
    store, boxes = node.store, Boxes(node.stack.settings.voicemail)
    policy = store.policy()
    with client_of(node) as client:
        plain = {key: client.hgetall(key) for key in (keys.PREFIXES, keys.PREFIX_ROUTES, keys.SHEETS, keys.HISTORY)}
        expiries = client.zrange(keys.EXPIRIES, 0, -1, withscores=True)
    [id] = boxes.ids("1001", "new")
    return {
        "policy": policy, "history": store.history(), "entries": sorted(map(str, store.entries())),
        "drains": store.drains(), "subscribers": store.subscribers(), "plain": plain, "expiries": expiries,
        "box": boxes.box("1001"), "pin": boxes.check_pin("1001", PIN), "found": boxes.find_box("+442079460007"),
        "message": boxes.message("1001", id).message, "audio": boxes.message("1001", id).audio.read_bytes(),
    }  # fmt: skip


def lose_everything(node: Node) -> None:
    with client_of(node) as client:
        client.flushall()
    shutil.rmtree(node.stack.settings.voicemail / "boxes")
    shutil.rmtree(node.stack.settings.voicemail / "numbers")


def test_what_was_lost_is_as_it_was(node: Node, tmp_path: Path) -> None:
    answering = node.answering()
    token = fill(node, answering.port)
    node.answered("02079460000", "02079461111")
    node.refused("07700900123", "02079461111", 403)
    with LampPhone(node.sip) as phone:
        until(lambda: subscribed(phone), "the mailbox is not known", 20)
    before, file = state(node), tmp_path / "strowger.backup"
    shown = strowger(node, "backup", str(file), "--secrets").stdout.decode()
    assert "voicemail 1" in shown
    assert file.stat().st_mode & 0o777 == 0o600
    # Refused, and nothing is done, while there is something.
    refused = strowger(node, "restore", str(file), code=1).stderr.decode()
    assert "there is something already: policy, lists, prefixes" in refused
    assert state(node) == before

    lose_everything(node)
    node.stack.settings.media_secret_file.unlink()
    strowger(node, "restore", str(file))
    assert state(node) == before
    # It is in force on the node, which read everything anew.
    node.answered("02079460000", "02079461111")
    node.refused("07700900123", "02079461111", 403)
    assert tokens.check(node.store, token, time.time()) is not None
    with client_of(node) as client:
        until(lambda: client.get(keys.VM_REBUILT), "the index of mailboxes is not made anew", 30)
        assert json.loads(client.hget(keys.MWI, "1001"))["new"] == 1
        assert not client.keys(f"{keys.RESTORED}*")
    with LampPhone(node.sip) as phone:
        until(lambda: subscribed(phone), "the mailbox is not known", 20)
        phone.new_dialog()
        assert status(phone.subscribe(600)) == 200
        # The agent may still be reading.
        while (lamp := phone.notified().lamp) != ("yes", "1/0 (0/0)"):
            assert lamp == ("no", "0/0 (0/0)")
    # Secrets come back only when they are asked for.
    assert not node.stack.settings.media_secret_file.exists()
    strowger(node, "restore", str(file), "--only", "secrets", "--only", "drains", "--force")
    assert len(node.stack.settings.media_secret_file.read_bytes()) == 32
    # Over what is there, by standard input, and from a copy that was changed since.
    node.store.delete(REFUSED.kind, REFUSED.value)
    leave(Boxes(node.stack.settings.voicemail), "1001")
    strowger(node, "restore", "-", "--force", stdin=file.read_bytes())
    assert state(node) == before


def subscribed(phone: LampPhone) -> bool:
    phone.new_dialog()
    return status(phone.subscribe(0)) == 200


def test_a_file_that_is_not_whole_changes_nothing(node: Node, tmp_path: Path) -> None:
    fill(node, 9)
    whole = tmp_path / "whole"
    strowger(node, "backup", str(whole))
    assert b"whole" in strowger(node, "restore", "--check", str(whole)).stdout
    with tarfile.open(whole) as tar:
        assert "secrets/media-secret" not in tar.getnames()
        assert tar.getnames()[-1] == "manifest.json"
    data = whole.read_bytes()
    cut, other = tmp_path / "cut", tmp_path / "other"
    cut.write_bytes(data[: len(data) // 2])
    other.write_text("no backup")
    changed = tmp_path / "changed"
    with tarfile.open(whole) as old, tarfile.open(changed, "w:gz") as new:
        for info in old:
            content = old.extractfile(info)
            assert content is not None
            if info.name.endswith("entries.jsonl"):
                text = content.read().replace(b"nuisance", b"NUISANCE")
                new.addfile(info, io.BytesIO(text))
            else:
                new.addfile(info, content)
    before = state(node)
    for file, why in ((cut, "not a whole backup"), (other, "not a whole backup"), (changed, "is not what the mani")):
        assert why in strowger(node, "restore", str(file), "--force", code=2).stderr.decode(), file
    unknown = strowger(node, "restore", str(whole), "--only", "everything", code=2)
    assert b"no kind 'everything'" in unknown.stderr
    assert state(node) == before


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[tuple[Store, Settings, Boxes]]:
    """A Redis with a policy, and a mailbox with a message; nothing else runs."""
    with redis_server(tmp_path) as server:
        settings = api_settings(server.url, tmp_path)
        store, text = Store(server.url, "test"), POLICY.format(port=9)
        loaded = load(text, name="policy")
        store.apply(
            text=text, policy=loaded.policy, routes=loaded.routes, expected=store.policy_version(), author="test",
            message="",
        )  # fmt: skip
        boxes = Boxes(settings.voicemail)
        boxes.put_box(Box(number="1001", min_seconds=1, transcribe=False), new=True)
        leave(boxes, "1001")
        yield store, settings, boxes
        store.close()


def written(store: Store, settings: Settings) -> io.BytesIO:
    file = io.BytesIO()
    backup.write(store, settings, file, progress=lambda *_: None)
    return file


def test_a_restore_that_redis_refuses_leaves_mailboxes_as_they_are(desk: tuple[Store, Settings, Boxes]) -> None:
    store, settings, boxes = desk
    file = written(store, settings)
    leave(boxes, "1001")
    before = boxes.ids("1001", "new")
    with bulk.Import(store, table="prefixes", replace=True, created=2.0), pytest.raises(StoreError, match="an import"):
        restore.restore(store, settings, file, force=True, progress=lambda *_: None)
    assert boxes.ids("1001", "new") == before


def test_mailboxes_alone_are_indexed_anew(desk: tuple[Store, Settings, Boxes]) -> None:
    store, settings, boxes = desk
    file = written(store, settings)
    leave(boxes, "1001")

    async def listed(*, rebuilding: bool) -> list[str]:
        client, mailboxes = connect(settings.redis_url), Mailboxes(boxes, settings.redis_url)
        try:
            if rebuilding:
                await Reconciler(mailboxes, client, Jobs(client, "one-1-0")).rebuild()
            return await mailboxes.page("1001", "new")
        finally:
            await mailboxes.close()
            await client.aclose()

    assert len(asyncio.run(listed(rebuilding=True))) == 2
    restore.restore(store, settings, file, only=["voicemail"], force=True, progress=lambda *_: None)
    assert asyncio.run(listed(rebuilding=False)) == boxes.ids("1001", "new")
    assert len(boxes.ids("1001", "new")) == 1


def test_what_goes_while_a_backup_is_written_is_not_in_it(desk: tuple[Store, Settings, Boxes]) -> None:
    store, settings, boxes = desk
    [id] = boxes.ids("1001", "new")
    # As a recording has it for a moment after it has become a message.
    intent = boxes.message("1001", id).path / "intent.json"
    intent.write_text("{}")
    file = io.BytesIO()
    done = backup.write(store, settings, file, progress=lambda *_: intent.unlink(missing_ok=True))
    assert done.counts["voicemail"] == 1
    assert not [name for name in done.members if name.endswith("intent.json")]
    assert [name for name in done.members if name.endswith("audio.wav")]
