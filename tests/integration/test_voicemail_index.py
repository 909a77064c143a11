"""Mailboxes over a real disk and a real Redis: whatever comes in whatever order, the disk decides."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from harness.redis_server import RedisServer
from harness.voicemail import write_audio

from console.ports import free_port
from media.voicemail.attempts import TRIES
from media.voicemail.index import Seen
from media.voicemail.job import Job
from media.voicemail.jobs import Jobs
from media.voicemail.mailboxes import AWAY, REDIS_TIMEOUT, Mailboxes
from media.voicemail.reconcile import Reconciler
from media.voicemail.service import Service
from media.voicemail.store import Box, Message, NoSuchBoxError, Store
from model.settings import Settings
from state import keys, mwi
from state.clients import connect
from state.events import Events


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "voicemail")
    made.put_box(Box(number="1001", min_seconds=1, quota_messages=0, phones=("sip:1001@192.0.2.1",)))
    made.put_box(Box(number="1002", min_seconds=1, transcribe=False))
    return made


@asynccontextmanager
async def faces(store: Store, *urls: str | None) -> AsyncIterator[list[Mailboxes]]:
    """As many workers."""
    made = [Mailboxes(store, url) for url in urls]
    try:
        yield made
    finally:
        for one in made:
            await one.close()


async def leave(mailboxes: Mailboxes, box: str = "1001", *, urgent: bool = False) -> Message:
    recording = await mailboxes.begin(box)
    write_audio(recording.audio, 1.0)
    return await mailboxes.accept(recording, urgent=urgent)


async def rebuild(mailboxes: Mailboxes, redis: RedisServer) -> None:
    client = connect(redis.url)
    await Reconciler(mailboxes, client, Jobs(client, "test-1-0")).rebuild()
    await client.aclose()


def lamp(redis: RedisServer, box: str = "1001") -> mwi.Lamp | None:
    with redis.client() as client:
        text = client.hget(keys.MWI, box)
    return mwi.decode(box, str(text)) if text else None


def events(redis: RedisServer) -> list[tuple[str, dict[str, Any]]]:
    with redis.client() as client:
        found: Any = client.xrange(keys.EVENTS)
    return [(fields["kind"], json.loads(fields["data"])) for _, fields in found]


def test_what_happens_to_a_message_is_told(store: Store, redis: RedisServer) -> None:
    async def play() -> Message:
        async with faces(store, redis.url) as (mailboxes,):
            message = await leave(mailboxes, urgent=True)
            await mailboxes.move("1001", message.id, "saved")
            await mailboxes.move("1001", message.id, "deleted")
            await mailboxes.purge("1001", message.id)
            return message

    message = asyncio.run(play())
    told = [(kind, data.get("to", "")) for kind, data in events(redis) if kind != "mwi"]
    moves = [("message.moved", "saved"), ("message.moved", "deleted")]
    assert told == [("message.left", ""), *moves, ("message.deleted", "")]
    assert all(data["id"] == message.id for kind, data in events(redis) if kind != "mwi")
    lamps = [(data["new"], data["saved"], data["urgent_new"]) for kind, data in events(redis) if kind == "mwi"]
    assert lamps == [(1, 0, 1), (0, 1, 0), (0, 0, 0)]
    found = lamp(redis)
    assert found is not None
    assert (found.counts, found.phones) == ((0, 0, 0, 0), ("sip:1001@192.0.2.1",))
    assert not store.pending_of("1001", message.id).marks


def test_to_say_it_twice_changes_nothing(store: Store, redis: RedisServer) -> None:
    async def play() -> tuple[Any, Any]:
        async with faces(store, redis.url) as (mailboxes,):
            message = await leave(mailboxes)
            before = events(redis), jobs(redis)
            await mailboxes.accepted(message)
            await mailboxes.refresh("1001", message.id)
            return before, (events(redis), jobs(redis))

    before, after = asyncio.run(play())
    assert before == after


def jobs(redis: RedisServer) -> list[str]:
    with redis.client() as client:
        return [*sorted(client.hkeys(keys.VM_OPEN)), str(client.xlen(keys.vm_jobs("transcribe")))]


def test_who_looked_before_a_change_cannot_undo_it(store: Store, redis: RedisServer) -> None:
    """One looks at the disk and is slow; meanwhile another moves the message, and says so."""

    async def play() -> None:
        async with faces(store, redis.url, redis.url) as (slow, quick):
            message = await leave(quick)
            assert slow._index
            looks = 0

            async def look() -> Seen:
                nonlocal looks
                looks += 1
                seen = slow._seen(store.pending_of("1001", message.id))
                if looks == 1:
                    await quick.move("1001", message.id, "saved")
                return seen

            await slow._index.look("1001", message.id, look)
            assert looks == 2
            await rebuild(quick, redis)
            assert await slow.page("1001", "saved") == [message.id]
            assert await slow.page("1001", "new") == []

    asyncio.run(play())


def test_many_changes_by_many_workers_end_as_the_disk_is(store: Store, redis: RedisServer) -> None:
    chance = random.Random(5)

    async def play() -> None:
        async with faces(store, *[redis.url] * 4) as workers:
            messages = [await leave(workers[0], urgent=bool(number % 3 == 0)) for number in range(6)]

            async def work(mailboxes: Mailboxes) -> None:
                for _ in range(25):
                    message = chance.choice(messages)
                    await mailboxes.move("1001", message.id, chance.choice(("new", "saved", "deleted")))

            async def mend(mailboxes: Mailboxes) -> None:
                for _ in range(10):
                    await mailboxes.rebuild("1001")

            await asyncio.gather(*map(work, workers), mend(workers[0]))
            await rebuild_marks(workers[0])
            client = connect(redis.url)
            for folder in ("new", "saved", "deleted"):
                known = await client.zrange(keys.vm_folder("1001", folder), 0, -1)
                assert known == workers[0]._listed("1001", folder)
            await client.aclose()

    asyncio.run(play())
    found = lamp(redis)
    counts = store.counts("1001")
    assert found is not None
    assert found.counts == (counts.new, counts.saved, counts.urgent_new, counts.urgent_saved)


async def rebuild_marks(mailboxes: Mailboxes) -> None:
    for pending in mailboxes.store.pending():
        await mailboxes.settle(pending)


def test_many_messages_at_once_in_one_box_are_all_told(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, *[redis.url] * 4) as workers:
            messages = await asyncio.gather(*(leave(workers[number % 4]) for number in range(80)))
            client = connect(redis.url)
            assert await client.zcard(keys.vm_folder("1001", "new")) == len(messages)
            await client.aclose()
        assert [pending for pending in store.pending() if pending.id] == []

    asyncio.run(play())


def test_pages_and_counts_are_the_same_with_and_without_redis(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, redis.url, None) as (with_redis, without):
            for number in range(7):
                await leave(with_redis, urgent=number in (3, 5))
            await rebuild(with_redis, redis)
            for mailboxes in (with_redis, without):
                counts = await mailboxes.counts("1001")
                assert (counts.new, counts.urgent_new) == (7, 2)
            pages = [
                [await mailboxes.page("1001", "new", offset, 3) for offset in (0, 3, 6, 9)]
                for mailboxes in (with_redis, without)
            ]
            assert pages[0] == pages[1]
            assert [len(page) for page in pages[0]] == [3, 3, 1, 0]
            for mailboxes in (with_redis, without):
                with pytest.raises(NoSuchBoxError):
                    await mailboxes.counts("9999")
                with pytest.raises(NoSuchBoxError):
                    await mailboxes.page("9999", "new")

    asyncio.run(play())


def test_a_redis_that_lost_everything_is_not_believed(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, redis.url) as (mailboxes,):
            first = await leave(mailboxes)
            await rebuild(mailboxes, redis)
            with redis.client() as client:
                client.flushall()
            second = await leave(mailboxes)
            assert set(await mailboxes.page("1001", "new")) == {first.id, second.id}
            assert (await mailboxes.counts("1001")).new == 2

    asyncio.run(play())


def test_a_flush_while_the_index_is_made_anew_is_noticed(store: Store, redis: RedisServer) -> None:
    async def play() -> bool:
        async with faces(store, redis.url) as (mailboxes,):
            client = connect(redis.url)
            jobs = Jobs(client, "test-1-0")
            reconciler, original = Reconciler(mailboxes, client, jobs), mailboxes.rebuild

            async def flushed(box: str) -> None:
                await original(box)
                await client.flushall()

            mailboxes.rebuild = flushed  # type: ignore[method-assign]
            await reconciler.rebuild()
            sound = await jobs.is_sound()
            await client.aclose()
            return sound

    assert asyncio.run(play()) is False


def test_a_redis_that_hangs_delays_a_caller_once(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, redis.url) as (mailboxes,):
            await leave(mailboxes)
            with redis.hanging():
                took = []
                for _ in range(5):
                    began = time.monotonic()
                    assert (await mailboxes.counts("1001")).new == 1
                    took.append(time.monotonic() - began)
                # Not a question of speed: four of five do not ask it, or it was away for longer than AWAY.
                assert sum(took) < 5 * REDIS_TIMEOUT or sum(took) > AWAY
                assert sum(1 for seconds in took if seconds < REDIS_TIMEOUT / 2) >= 2

    asyncio.run(play())


def test_a_box_removed_is_known_no_more(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, redis.url) as (mailboxes,):
            await leave(mailboxes)
            await mailboxes.remove_box("1001")

    asyncio.run(play())
    assert lamp(redis) is None
    with redis.client() as client:
        assert client.hkeys(keys.VM_BOXES) == []
        assert not client.exists(keys.vm_folder("1001", "new"))


def test_every_box_has_a_lamp_that_is_out(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, redis.url) as (mailboxes,):
            await rebuild(mailboxes, redis)

    asyncio.run(play())
    for box in ("1001", "1002"):
        found = lamp(redis, box)
        assert found is not None
        assert found.counts == (0, 0, 0, 0)


# PINs


def test_a_pin_is_tried_no_more_often_than_the_limit_over_two_workers_at_once(store: Store, redis: RedisServer) -> None:
    store.set_pin("1001", "4711")
    tried = 0
    check = store.check_pin

    def counted(number: str, digits: str) -> bool:
        nonlocal tried
        tried += 1
        return check(number, digits)

    store.check_pin = counted  # type: ignore[method-assign]

    async def play() -> list[str]:
        async with faces(store, redis.url, redis.url) as workers:
            tries: list[Awaitable[Any]] = [workers[number % 2].try_pin("1001", f"9{number:03}") for number in range(20)]
            states = [(await result).state for result in asyncio.as_completed(tries)]
            assert (await workers[0].try_pin("1001", "4711")).state == "locked"
            assert (await workers[1].try_pin("1002", "4711")).state == "wrong"
            return states

    states = asyncio.run(play())
    # And one at the other box.
    assert tried == TRIES + 1
    assert states.count("wrong") == TRIES - 1


def test_the_right_pin_clears_what_was_counted(store: Store, redis: RedisServer) -> None:
    store.set_pin("1001", "4711")

    async def play(url: str | None) -> None:
        async with faces(store, url) as (mailboxes,):
            for _ in range(2):
                for _ in range(TRIES - 1):
                    assert (await mailboxes.try_pin("1001", "0815")).state == "wrong"
                assert (await mailboxes.try_pin("1001", "4711")).state == "ok"

    asyncio.run(play(redis.url))
    asyncio.run(play(None))


# Jobs


def with_jobs(redis: RedisServer, play: Callable[[Jobs, Jobs], Awaitable[None]]) -> None:
    async def run() -> None:
        client = connect(redis.url, timeout=5)
        try:
            await play(Jobs(client, "one-1-0"), Jobs(client, "two-2-0"))
        finally:
            await client.aclose()

    asyncio.run(run())


MESSAGE = "20260131T180000Z-1a2b3c4d"


def test_a_job_is_wanted_once_and_taken_by_one(redis: RedisServer) -> None:
    async def play(one: Jobs, two: Jobs) -> None:
        job = Job(kind="mail", message=MESSAGE, box="1001")
        assert await one.take("mail") is None
        assert await one.add(job)
        assert not await two.add(job)
        claim = await one.take("mail")
        assert claim
        assert claim.job.tries == 1
        assert await two.take("mail") is None
        assert await one.renew(claim)
        assert not await two.renew(claim)
        await two.done(claim)
        assert (await one.standing()).open["mail"] == 1
        await one.done(claim)
        assert (await one.standing()).open["mail"] == 0

    with_jobs(redis, play)


def test_a_job_that_waits_is_taken_when_it_is_due_or_promoted(redis: RedisServer) -> None:
    async def play(one: Jobs, _: Jobs) -> None:
        await one.take("mail")
        await one.add(Job(kind="transcribe", message=MESSAGE, box="1001"))
        await one.add(Job(kind="mail", message=MESSAGE, box="1001", due=time.time() + 1000))
        assert await one.take("mail") is None
        await one.take("transcribe")
        claim = await one.take("transcribe")
        assert claim
        await one.done(claim, ["mail", "webhook"])
        mail = await one.take("mail")
        assert mail
        await one.again(mail, 0)
        assert await one.move() == 1
        mail = await one.take("mail")
        assert mail
        assert mail.job.tries == 2
        assert (await one.standing()).open == {"transcribe": 0, "mail": 1, "webhook": 0}

    with_jobs(redis, play)


def test_what_was_given_up_is_not_wanted_again_unless_somebody_says_so(redis: RedisServer) -> None:
    async def play(one: Jobs, _: Jobs) -> None:
        job = Job(kind="mail", message=MESSAGE, box="1001")
        await one.take("mail")
        await one.add(job)
        claim = await one.take("mail")
        assert claim
        await one.dead(claim, "refused")
        (letter,) = await one.letters()
        assert (letter.message, letter.reason, letter.tries) == (MESSAGE, "refused", 1)
        assert not await one.add(job)
        assert await one.add(job, force=True)
        assert await one.letters() == []
        claim = await one.take("mail")
        assert claim

    with_jobs(redis, play)


def test_who_leaves_takes_no_job_with_him(redis: RedisServer) -> None:
    async def play(one: Jobs, two: Jobs) -> None:
        await one.take("mail")
        await one.report()
        await one.add(Job(kind="mail", message=MESSAGE, box="1001"))
        claim = await one.take("mail")
        assert claim
        await one.leave()
        standing = await two.standing()
        assert (standing.services, standing.open["mail"]) == ((), 1)
        # Nobody renewed the claim for long.
        with redis.client() as client:
            client.xclaim(keys.vm_jobs("mail"), keys.VM_GROUP, "one-1-0", 0, [claim.entry], idle=60_000, justid=True)
        taken = await two.take("mail")
        assert taken
        assert taken.job.tries == 2
        await two.done(taken)
        await one.leave()
        await two.leave()
        with redis.client() as client:
            assert client.xinfo_consumers(keys.vm_jobs("mail"), keys.VM_GROUP) == []

    with_jobs(redis, play)


def test_of_a_redis_that_was_flushed_nobody_is_forgotten(redis: RedisServer) -> None:
    async def play(one: Jobs, two: Jobs) -> None:
        await one.forget_the_gone()
        assert await one.take("mail") is None
        await two.forget_the_gone()

    with_jobs(redis, play)


def test_a_job_that_stands_nowhere_is_found(redis: RedisServer) -> None:
    async def play(one: Jobs, _: Jobs) -> None:
        await one.take("mail")
        await one.add(Job(kind="mail", message=MESSAGE, box="1001"))
        assert await one.repair() == 0
        with redis.client() as client:
            client.delete(keys.vm_jobs("mail"))
        assert await one.repair() == 1
        assert await one.repair() == 0
        assert await one.take("mail") is None
        assert await one.take("mail")

    with_jobs(redis, play)


def test_what_is_purged_leaves_no_job(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, redis.url) as (mailboxes,):
            message = await leave(mailboxes)
            assert jobs(redis) != ["1"]
            await mailboxes.purge("1001", message.id)

    asyncio.run(play())
    with redis.client() as client:
        assert client.hkeys(keys.VM_OPEN) == []


def spoiled(store: Store, message: Message) -> None:
    """As on a disk with a bad sector: the file cannot be read."""
    path = store.message(message.box, message.id).path / "message.json"
    path.unlink()
    path.mkdir()


def test_one_that_the_disk_refuses_keeps_no_other_from_the_index(store: Store, redis: RedisServer) -> None:
    async def play() -> None:
        async with faces(store, None, redis.url) as (unconnected, mailboxes):
            spoiled(store, await leave(unconnected))
            good = await leave(unconnected)
            await rebuild(mailboxes, redis)
            assert len(await mailboxes.page("1001", "new")) == 2
            with redis.client() as client:
                assert client.hkeys(keys.VM_OPEN) == [f"transcribe:{good.id}"]
                assert client.get(keys.VM_REBUILT)

    asyncio.run(play())


def test_one_that_the_disk_refuses_keeps_no_other_from_being_told(
    store: Store, redis: RedisServer, tmp_path: Path
) -> None:
    async def play() -> None:
        environment = {"STROWGER_REDIS_URL": redis.url, "STROWGER_VOICEMAIL": str(store.folder), "STROWGER_NODE": "a"}
        service = Service(Settings.from_env({**environment, "STROWGER_RUN": str(tmp_path)}))
        async with faces(store, None) as (unconnected,):
            spoiled(store, await leave(unconnected))
            good = await leave(unconnected)
        await service._sweep()
        await service._close()
        with redis.client() as client:
            assert client.zscore(keys.vm_folder("1001", "new"), good.id)

    asyncio.run(play())


def test_a_service_that_made_nothing_anew_compares_too(
    store: Store, redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.voicemail.service.RECONCILE", 0.0)

    async def play() -> None:
        async with faces(store, redis.url) as (mailboxes,):
            message = await leave(mailboxes)
            await rebuild(mailboxes, redis)
        environment = {"STROWGER_REDIS_URL": redis.url, "STROWGER_VOICEMAIL": str(store.folder), "STROWGER_NODE": "a"}
        service = Service(Settings.from_env({**environment, "STROWGER_RUN": str(tmp_path)}))
        await service._rebuild()
        with redis.client() as client:
            client.zrem(keys.vm_folder("1001", "new"), message.id)
            await service._expire()
            assert client.zscore(keys.vm_folder("1001", "new"), message.id)
        await service._close()

    asyncio.run(play())


def test_one_holds_a_lease(redis: RedisServer) -> None:
    async def play(one: Jobs, two: Jobs) -> None:
        assert await one.lease("keeper", 60)
        assert not await two.lease("keeper", 60)
        assert await one.lease("keeper", 60)

    with_jobs(redis, play)


def test_events_are_published_or_lost_and_nobody_minds(redis: RedisServer) -> None:
    async def play(url: str) -> bool:
        publisher = Events(url)
        try:
            return await publisher.publish("transcript.partial", {"call": "1"})
        finally:
            await publisher.close()

    assert asyncio.run(play(redis.url))
    assert events(redis) == [("transcript.partial", {"call": "1"})]
    assert not asyncio.run(play(f"redis://127.0.0.1:{free_port()}/0"))


def test_a_job_that_was_delivered_and_is_nobodys_is_found(redis: RedisServer) -> None:
    # As a Redis may have it that came back with half of a transaction.
    async def play(one: Jobs, two: Jobs) -> None:
        await one.take("mail")
        await one.add(Job(kind="mail", message=MESSAGE, box="1001"))
        claim = await one.take("mail")
        assert claim
        assert await two.repair() == 0
        with redis.client() as client:
            client.xack(keys.vm_jobs("mail"), keys.VM_GROUP, claim.entry)
        assert await two.repair() == 1
        again = await two.take("mail")
        assert again
        await two.done(again)
        with redis.client() as client:
            assert (client.hlen(keys.VM_OPEN), client.xlen(keys.vm_jobs("mail"))) == (0, 0)

    with_jobs(redis, play)
