"""What is done with messages, by real services: whatever dies, each message is transcribed and delivered once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.voicemail import World, mail_server, until, world, write_audio

from media.voicemail.mailboxes import Mailboxes
from state import keys


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, STROWGER_MAIL_FROM="voicemail@example.org") as made:
        yield made


def boxes(place: World) -> Mailboxes:
    return Mailboxes(place.store, place.settings.redis_url)


def indexed(place: World, box: str = "1001") -> int:
    with place.redis.client() as client:
        return int(client.zcard(keys.vm_folder(box, "new")))


def open_jobs(place: World) -> int:
    with place.redis.client() as client:
        return int(client.hlen(keys.VM_OPEN))


def test_a_message_is_transcribed_and_then_mailed_with_its_transcript(place: World) -> None:
    place.put(email="box@example.org")
    with mail_server(place.settings.smtp.port) as mailbox:
        place.serve()
        message = place.leave()
        until(lambda: place.delivery(message, "mail") == "sent", "mailed")
    assert place.transcript(message)["state"] == "done"
    (mail,) = mailbox.mails
    body, audio = mail.iter_parts()
    assert "hello there" in body.get_content()
    assert audio.get_content() == place.store.message("1001", message.id).audio.read_bytes()
    until(lambda: not open_jobs(place), "all jobs are over")
    log = place.log()
    assert message.id in log
    for secret in ("1001", "2079460123", "hello", "example.org"):
        assert secret not in log.replace(str(place.root), "")


def test_an_engine_that_hangs_delays_neither_index_nor_mail_for_longer_than_it_may(tmp_path: Path) -> None:
    with world(tmp_path, STROWGER_TRANSCRIPT_WAIT="1") as place, mail_server(place.settings.smtp.port) as mailbox:
        place.mode("hang")
        place.put(email="box@example.org")
        place.serve()
        message = place.leave()
        assert indexed(place) == 1
        until(lambda: place.delivery(message, "mail") == "sent", "mailed without a transcript")
        assert place.store.message("1001", message.id).transcript is None
        assert "not ready" in next(iter(mailbox.mails[0].iter_parts())).get_content()
        place.mode("quick")
        until(lambda: place.transcript(message), "transcribed")
        until(lambda: not open_jobs(place), "all jobs are over")
    assert len(mailbox.mails) == 1


def test_an_engine_over_its_limit_marks_the_transcript(tmp_path: Path) -> None:
    with world(tmp_path, STROWGER_TRANSCRIBE_LIMIT="3") as place, mail_server(place.settings.smtp.port) as mailbox:
        place.mode("hang")
        place.put(email="box@example.org")
        place.serve()
        message = place.leave()
        until(lambda: place.delivery(message, "mail") == "sent", "mailed all the same")
        assert place.transcript(message)["reason"] == "timeout"
    assert "No transcript" in next(iter(mailbox.mails[0].iter_parts())).get_content()


def test_what_was_given_up_is_shown_and_tried_again(place: World) -> None:
    place.mode("refuse")
    place.put()
    place.serve()
    message, other = place.leave(), place.leave()
    until(lambda: len(command(place, "dead")) == 2, "both are given up")
    assert place.transcript(message)["reason"] == "refused"
    with place.redis.client() as client:
        client.flushall()
    until(lambda: len(command(place, "dead")) == 2, "the disk knew")
    place.mode("quick")
    assert command(place, "retry", message.id) == [("transcribe", message.id)]
    until(lambda: place.transcript(message)["state"] == "done", "transcribed")
    assert command(place, "retry", "--all") == [("transcribe", other.id)]
    until(lambda: place.transcript(other)["state"] == "done", "transcribed")
    assert command(place, "dead") == []


def command(place: World, name: str, *words: str) -> list[tuple[str, str]]:
    """What `strowger voicemail NAME` says."""
    done = subprocess.run(
        [sys.executable, "-m", "console.main", "voicemail", name, *words, "--json"],
        env={**os.environ, **place.environment},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [(found["kind"], found["message"]) for found in json.loads(done.stdout)]


def test_an_engine_that_crashes_is_tried_again(place: World) -> None:
    place.mode("crash")
    place.put()
    place.serve()
    message = place.leave()
    until(lambda: "crashed, try 1" in place.log(), "it crashed")
    place.mode("quick")
    until(lambda: place.transcript(message).get("state") == "done", "transcribed")


def test_a_service_killed_at_work_is_followed_by_another(place: World) -> None:
    place.mode("hang")
    place.put(email="box@example.org")
    with mail_server(place.settings.smtp.port) as mailbox:
        first = place.serve()
        message = place.leave()
        until(lambda: place.heard == 1, "the first is at it")
        place.serve()
        first.kill()
        place.mode("quick")
        until(lambda: place.delivery(message, "mail") == "sent", "transcribed and mailed by the second")
    assert len(mailbox.mails) == 1
    assert place.heard == 2


def test_two_services_do_no_message_twice(place: World) -> None:
    place.put(email="box@example.org")
    with mail_server(place.settings.smtp.port) as mailbox:
        place.serve()
        place.serve()
        messages = [place.leave() for _ in range(30)]
        until(lambda: all(place.delivery(message, "mail") == "sent" for message in messages), "all are mailed")
        until(lambda: not open_jobs(place), "all jobs are over")
    assert place.heard == len(messages)
    assert len(mailbox.ids) == len(set(mailbox.ids)) == len(messages)


def test_a_frozen_service_loses_its_claim_but_not_its_work(place: World) -> None:
    place.mode("hang")
    place.put()
    first = place.serve()
    message = place.leave()
    until(lambda: place.heard == 1, "the first is at it")
    assert first.popen
    os.kill(first.popen.pid, signal.SIGSTOP)
    place.serve()
    until(lambda: claimant(place) not in ("", name(place, 0)), "the second takes the claim, and finds it occupied")
    os.kill(first.popen.pid, signal.SIGCONT)
    place.mode("quick")
    until(lambda: place.transcript(message), "transcribed")
    until(lambda: not open_jobs(place), "the job is over")
    assert place.heard == 1


def name(place: World, number: int) -> str:
    """Of a service."""
    log = place.services[number].log.read_text()
    return log.partition("voicemail service ")[2].partition(" ")[0]


def claimant(place: World) -> str:
    """Who was last to have a transcription."""
    with place.redis.client() as client:
        consumers = client.xinfo_consumers(keys.vm_jobs("transcribe"), keys.VM_GROUP)
        waiting = client.zcard(keys.VM_DUE)
    held = [consumer["name"] for consumer in consumers if consumer["pending"]]
    return "put back" if waiting else "".join(held)


def test_redis_flushed_and_restarted_in_the_midst_of_it_loses_nothing(place: World) -> None:
    place.put(email="box@example.org")
    with mail_server(place.settings.smtp.port) as mailbox:
        place.serve()
        place.mode("slow")
        messages = [place.leave() for _ in range(4)]
        until(lambda: place.heard, "at work")
        with place.redis.client() as client:
            client.flushall()
        messages += [place.leave() for _ in range(2)]
        place.redis.stop()
        messages += [place.leave(urgent=True) for _ in range(2)]
        place.mode("quick")
        place.redis.start()
        until(lambda: indexed(place) == len(messages), "the index is made anew")
        until(lambda: all(place.delivery(message, "mail") == "sent" for message in messages), "all are mailed")
        until(lambda: not open_jobs(place), "all jobs are over")
    assert place.heard == len(messages)
    assert sorted(mailbox.ids) == sorted(set(mailbox.ids))
    assert len(mailbox.ids) == len(messages)

    async def asked() -> tuple[list[str], int, int]:
        mailboxes = boxes(place)
        counts, page = await mailboxes.counts("1001"), await mailboxes.page("1001", "new")
        await mailboxes.close()
        return page, counts.new, counts.urgent_new

    page, new, urgent = asyncio.run(asked())
    assert (new, urgent) == (8, 2)
    assert set(page[:2]) == {message.id for message in messages if message.urgent}


def test_what_was_left_while_redis_was_away_is_told_when_it_is_back(place: World) -> None:
    place.redis.stop()
    place.put(phones=("sip:1001@192.0.2.1",))
    message = place.leave()
    place.serve()
    place.redis.start()
    until(lambda: place.transcript(message), "transcribed")
    with place.redis.client() as client:
        assert '"new":1' in str(client.hget(keys.MWI, "1001"))
        assert "sip:1001@192.0.2.1" in str(client.hget(keys.MWI, "1001"))
    until(lambda: not place.store.pending(), "no mark is left")


def test_a_recording_whose_worker_died_is_adopted(place: World) -> None:
    place.put()
    recording = place.store.begin("1001")
    write_audio(recording.audio)
    os.utime(recording.audio, (1, 1))
    recording.close()
    place.serve()
    until(lambda: place.store.ids("1001", "new"), "adopted")
    (message,) = place.store.ids("1001", "new")
    until(lambda: indexed(place) == 1, "indexed")
    until(lambda: place.store.message("1001", message).transcript, "transcribed")


def test_sigterm_hands_back_what_is_under_way(place: World) -> None:
    place.mode("hang")
    place.put()
    first = place.serve()
    message = place.leave()
    until(lambda: place.heard == 1, "the first is at it")
    assert first.popen
    first.popen.terminate()
    assert first.popen.wait(30) == 0
    with place.redis.client() as client:
        assert client.zrange(keys.VM_SERVICES, 0, -1) == []
    place.mode("quick")
    place.serve()
    until(lambda: place.transcript(message), "transcribed by the second")
