"""What of voicemail's delivery is pure: the mail's text, what is still to be done, delays, the limit for PINs."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest
from harness.audio import tone, write_wav

from console.serve import ROOT
from media.posting import headers, signature
from media.voicemail.attempts import FORGET, LOCK, LONGEST, TRIES, OwnAttempts
from media.voicemail.index import score
from media.voicemail.job import MAIL, TRANSCRIBE, WEBHOOK, Claim, DeadLetter, Job
from media.voicemail.lane import Lane
from media.voicemail.letter import compose
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import Box, Message, Store, Stored
from media.voicemail.wanted import has_failed, is_open, letters, wanted
from media.voicemail.work import LONGEST as LONGEST_DELAY
from media.voicemail.work import TRIES as JOB_TRIES
from media.voicemail.work import Work, delay

ALL = ("transcribe", "mail", "webhook")


def stored(
    transcript: dict[str, Any] | None = None, delivery: dict[str, Any] | None = None, **about: Any
) -> Stored:
    fields = {"id": "20260131T180000Z-1a2b3c4d", "box": "1001", "received": 1769882400.0, "seconds": 75.2, **about}
    fields.setdefault("wanted", ALL)
    message = Message(**{"sha256": "ab" * 32, "caller": "+442079460123", **fields})
    return Stored(message=message, folder="new", path=Path("/x"), transcript=transcript, delivery=delivery)


BOX = Box(number="1001", email="box@example.org", time_zone="Europe/Berlin")


def text(told: Stored, box: Box = BOX) -> str:
    return str(compose(told, box, "vm@example.org", None).get_content())


def test_the_mail_tells_who_called_when_and_what_was_said() -> None:
    said = text(stored({"state": "done", "text": "call me back"}, caller_name="Ann", callee="5000"))
    assert "Ann (+442079460123)" in said
    assert "5000" in said
    assert "Saturday, 31 January 2026, 19:00 CET" in said
    assert "1:15" in said
    assert "call me back" in said


def test_the_mail_is_the_same_in_every_try() -> None:
    first, second = (compose(stored(), BOX, "vm@example.org", None) for _ in range(2))
    assert first.as_bytes() == second.as_bytes()
    assert first["Message-ID"] == f"<20260131T180000Z-1a2b3c4d.{'ab' * 8}@voicemail.strowger>"


@pytest.mark.parametrize("name", ["=?utf-8?b?AAAA?=", "=?utf-8?q?x=0D=0ABcc:_x?=", "=?us-ascii?q?=ff?="])
def test_what_a_caller_wrote_as_a_header_is_no_code(name: str) -> None:
    mail = compose(stored(caller_name=name), BOX, "vm@example.org", None)
    head = mail.as_bytes().partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    assert all(0x20 <= char < 0x7F for line in head.split(b"\r\n") for char in line)
    assert mail["Subject"] == f"Voice message from {name.replace('=?', '= ?')} (+442079460123)"


@pytest.mark.parametrize("name", ["Ann\r\nBcc: evil@example.org", "Ann\u2028Bcc: x", "A\x00nn", "Ann\x85Bcc: x"])
def test_what_a_caller_says_of_himself_makes_no_header(name: str) -> None:
    mail = compose(stored(caller_name=name), BOX, "vm@example.org", None)
    assert mail["Bcc"] is None
    assert b"\r\nBcc" not in mail.as_bytes()


def test_a_withheld_number_and_an_urgent_message() -> None:
    mail = compose(stored(caller="", urgent=True), BOX, "vm@example.org", None)
    assert mail["Subject"] == "Urgent voice message from a withheld number"
    assert mail["Importance"] == "high"


def test_the_audio_is_attached_as_it_is() -> None:
    mail = compose(stored(), BOX, "vm@example.org", b"RIFF....", "wav")
    (audio,) = mail.iter_attachments()
    assert (audio.get_content_type(), audio.get_content()) == ("audio/wav", b"RIFF....")
    (audio,) = compose(stored(), BOX, "vm@example.org", b"\xff\xf3", "mp3").iter_attachments()
    assert audio.get_content_type() == "audio/mpeg"


@pytest.mark.parametrize(
    ("transcript", "words"),
    [
        (None, "not ready"),
        ({"state": "failed", "reason": "timeout"}, "No transcript could be made"),
        ({"state": "done", "text": ""}, "nothing was understood"),
    ],
)
def test_what_stands_for_a_transcript_that_is_none(transcript: dict[str, Any] | None, words: str) -> None:
    assert words in text(stored(transcript))


def test_mail_and_webhook_wait_for_the_transcript_only_while_there_is_none() -> None:
    jobs = {job.kind: job for job in wanted(stored(), 1000.0, 600.0)}
    assert set(jobs) == set(ALL)
    assert (jobs[TRANSCRIBE].due, jobs[MAIL].due, jobs[WEBHOOK].due) == (0.0, 1600.0, 1600.0)
    assert [job.due for job in wanted(stored({"state": "failed"}), 1000.0, 600.0)] == [0.0, 0.0]


def test_nothing_is_wanted_that_was_not_wanted_when_the_message_was_left() -> None:
    assert wanted(stored(wanted=()), 0.0, 0.0) == []
    assert [job.kind for job in wanted(stored(wanted=("mail",)), 0.0, 0.0)] == [MAIL]


@pytest.mark.parametrize("state", ["sent", "failed", "nobody"])
def test_a_mail_that_is_over_is_not_wanted_again(state: str) -> None:
    told = stored({"state": "done"}, {"mail": {"state": state}})
    assert [job.kind for job in wanted(told, 0.0, 0.0)] == [WEBHOOK]
    assert not is_open(told, MAIL)
    assert has_failed(told, MAIL) == (state == "failed")


def test_the_disk_knows_the_dead_letters() -> None:
    failed = {"state": "failed", "reason": "timeout", "tries": 1, "at": 5.0}
    (letter,) = letters(stored(failed, {"mail": {"state": "sent"}}))
    assert (letter.kind, letter.reason, letter.at) == (TRANSCRIBE, "timeout", 5.0)
    name = f"{letter.kind}:{letter.message}"
    assert DeadLetter.parse(name, letter.record()) == letter


def test_a_job_survives_being_stored() -> None:
    job = Job(kind=MAIL, message="20260131T180000Z-1a2b3c4d", box="10:01", tries=3, since=5.5, force=True)
    assert Job.parse(job.kind, job.message, job.record()) == job


def test_urgent_ones_come_first_and_then_the_oldest() -> None:
    old, new = "20260131T180000Z-ffffffff", "20260131T180001Z-00000000"
    assert score(old, urgent=False) < score(new, urgent=False)
    assert score(new, urgent=True) < 0 < score(old, urgent=False)
    assert score(old, urgent=True) < score(new, urgent=True)


def test_delays_double_up_to_an_hour_and_mail_is_tried_for_days() -> None:
    assert [delay(tries) for tries in (1, 2, 3)] == [5.0, 10.0, 20.0]
    assert delay(10_000) == LONGEST_DELAY
    assert sum(map(delay, range(1, JOB_TRIES[MAIL]))) > 3 * 86400
    assert 12 * 3600 < sum(map(delay, range(1, JOB_TRIES[WEBHOOK]))) < 2 * 86400


def test_the_signature_is_of_timestamp_and_body() -> None:
    # echo -n '1.{}' | openssl dgst -sha256 -hmac key
    assert signature("key", 1, b"{}") == "sha256=1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
    assert "X-Strowger-Signature" not in headers("1", "", b"{}", 1)


def test_the_document_tells_how_to_check_the_signature() -> None:
    page = (ROOT / "docs" / "voicemail.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "is_ours" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    now = int(time.time())
    signed = signature("shared", now, b"{}")
    assert names["is_ours"](b"shared", str(now), signed, b"{}")
    assert not names["is_ours"](b"other", str(now), signed, b"{}")
    assert not names["is_ours"](b"shared", str(now - 600), signature("shared", now - 600, b"{}"), b"{}")


def test_a_pin_may_be_tried_a_few_times_and_then_not_for_twice_as_long_each_time() -> None:
    now = [0.0]
    attempts = OwnAttempts(lambda: now[0])
    for wait in (LOCK, 2 * LOCK, 4 * LOCK):
        assert [attempts.take("1001").seconds for _ in range(TRIES)] == [0] * (TRIES - 1) + [wait]
        assert not attempts.take("1001").allowed
        assert attempts.take("1002").allowed
        attempts.clear("1002")
        now[0] += wait
    for _ in range(20):
        waits = [attempts.take("1001").seconds for _ in range(TRIES)]
        now[0] += waits[-1]
    assert waits[-1] == LONGEST < FORGET
    attempts.clear("1001")
    assert attempts.take("1001").seconds == 0


class Sender:
    """Counts mails."""

    sent = 0

    async def send(self, _stored: Stored, _box: Box) -> None:
        self.sent += 1


@pytest.mark.parametrize("full", [True, False])
def test_no_mail_is_sent_again_and_again_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    store, sender = Store(tmp_path), Sender()
    store.put_box(BOX)
    recording = store.begin("1001")
    write_wav(recording.audio, tone(440, 4.0))
    message, put, written = recording.accept(), store.put_delivery, list[str]()

    def putting(box: str, id: str, delivery: dict[str, Any]) -> None:
        if full:
            raise OSError(28, "No space left on device")
        written.append(delivery[MAIL]["state"])
        put(box, id, delivery)

    monkeypatch.setattr(store, "put_delivery", putting)
    work = Work(Mailboxes(store, None), None, sender, None)  # type: ignore[arg-type]
    lane = Lane(MAIL, 1, None, work, tmp_path)  # type: ignore[arg-type]
    job = Job(kind=MAIL, message=message.id, box="1001", tries=3)
    result = asyncio.run(lane._result(Claim(job=job, entry="1-1")))
    assert result is not None
    if full:
        # Nor is it given up, however long the disk is full.
        assert (sender.sent, result.state, result.counts) == (0, "again", False)
    else:
        assert (sender.sent, result.state, written) == (1, "done", ["trying", "sent"])


class Told:
    """Where a lane says what became of a job."""

    ends: list[str]

    def __init__(self) -> None:
        self.ends = []

    async def again(self, _claim: Claim, _seconds: float, *, counts: bool) -> None:
        self.ends.append("again" if counts else "again, uncounted")

    async def dead(self, _claim: Claim, _reason: str, _promote: tuple[str, ...]) -> None:
        self.ends.append("dead")


def test_a_job_whose_message_is_damaged_is_given_up_in_the_end(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put_box(BOX)
    recording = store.begin("1001")
    write_wav(recording.audio, tone(440, 4.0))
    message = recording.accept()
    (store.message("1001", message.id).path / "message.json").write_text("{")
    told, work = Told(), Work(Mailboxes(store, None), None, Sender(), None)  # type: ignore[arg-type]
    lane = Lane(MAIL, 1, told, work, tmp_path)  # type: ignore[arg-type]
    for tries in (1, JOB_TRIES[MAIL] + 1):
        job = Job(kind=MAIL, message=message.id, box="1001", tries=tries)
        asyncio.run(lane._do(Claim(job=job, entry="1-1")))
    assert told.ends == ["again", "dead"]
