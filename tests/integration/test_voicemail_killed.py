"""Services and Redis killed at random moments while messages come: none is lost, none is in a box twice."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest
from harness.voicemail import World, mail_server, until, world

from media.voicemail.store import Message
from state import keys

MESSAGES = 40
KILLS = 8


@pytest.mark.timeout(400)
def test_every_message_is_transcribed_and_mailed_whoever_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("STROWGER_TEST_SEED", time.time_ns() % 1_000_000))
    print(f"STROWGER_TEST_SEED={seed}")
    chance = random.Random(seed)
    with world(tmp_path, STROWGER_TRANSCRIPT_WAIT="60") as place, mail_server(place.settings.smtp.port) as mailbox:
        place.put(email="box@example.org", quota_messages=0)
        place.serve()
        place.serve()
        messages: list[Message] = []
        leaving = threading.Thread(target=lambda: leave(place, messages, random.Random(seed)))
        leaving.start()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.1, 1.5))
            kill_one(place, chance)
        leaving.join()
        until(lambda: all(place.delivery(message, "mail") == "sent" for message in messages), "all are mailed", 200)
        assert len(messages) == MESSAGES
        assert all(place.transcript(message)["state"] == "done" for message in messages)
        found = place.store.ids("1001", "new")
        assert sorted(found) == sorted({message.id for message in messages})
        until(lambda: indexed(place) == MESSAGES, "the index is whole")
        until(lambda: not place.store.pending(), "no mark is left")
    ids = {identity.split(".")[0].removeprefix("<") for identity in mailbox.ids}
    assert ids == {message.id for message in messages}
    assert len(set(mailbox.ids)) == MESSAGES


def leave(place: World, messages: list[Message], chance: random.Random) -> None:
    for _ in range(MESSAGES):
        messages.append(place.leave(urgent=chance.random() < 0.2))
        time.sleep(chance.uniform(0, 0.3))


def kill_one(place: World, chance: random.Random) -> None:
    """Kill a service or Redis, which then has nothing any more, and start another."""
    if chance.random() < 0.3:
        place.redis.stop()
        time.sleep(chance.uniform(0, 1.0))
        place.redis.start()
        return
    service = chance.choice([service for service in place.services if service.running])
    service.kill()
    place.serve()


def indexed(place: World) -> int:
    with place.redis.client() as client:
        return int(client.zcard(keys.vm_folder("1001", "new")))
