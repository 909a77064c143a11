"""What an operator does with calls that media has: play, transfer, run, originate, hang up; and keys that are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.api import Api
from harness.api import api as api_of
from harness.listening import listening
from harness.load import until
from harness.media_worker import MediaWorker, running, write
from harness.node import TRUNK, Node, at
from harness.switches import Embedded, FreeSwitch, Switch

from console import phone
from console.phone import PhoneCall
from model.policy import MEDIA_RETRY, Gateway, MediaApp, Route
from operations import live_calls
from state import audit, commands
from state.tokens import Role

pytestmark = pytest.mark.timeout(120)

MEDIA = "127.0.0.9"
"A media node's own address: what comes from it belongs to no trunk."
OUTSIDE = replace(TRUNK, sources=("127.0.0.1/32",))
PCMU = {"RTP/AVP 8": "RTP/AVP 0", "rtpmap:8 PCMA": "rtpmap:0 PCMU"}
SCRIPTS = """
    import json
    from media.script import script

    def note(**what):
        with open("NOTES", "a") as file:
            print(json.dumps(what), file=file)

    @script("waits")
    async def waits(session):
        await session.answer()
        while session.ready():
            await session.sleep(20000)

    @script("hums")
    async def hums(session, args):
        note(args=args)
        await session.answer()
        await session.execute("playback", "tone_stream://%(60000,0,700)")

    @script("asks")
    async def asks(session):
        await session.answer()
        note(first=await session.get_digits(1, "", 20000))
        session.hide_digits()
        await session.execute("playback", "tone_stream://%(200,0,500)")
        note(second=await session.get_digits(1, "", 20000))
"""


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch at an address of its own."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), address=MEDIA)


class Site:
    """Kamailio, a media node with a worker, a carrier, and the API."""

    def __init__(self, node: Node, switch: Switch, root: Path, api: Api) -> None:
        self.node, self.api, self.root = node, api, root
        # The phone's codec: FreeSWITCH offers a second leg what the first has.
        self.carrier = node.gateway("uas-answers.xml", **PCMU)
        media = Gateway("fs-1", MEDIA, switch.sip[1], media=True, no_reply=15.0, progress=15.0, breaker=None)
        routes = [
            Route(name, (f"5{number}",), ("fs-1",), media=MediaApp(name, ""), retry=MEDIA_RETRY)
            for number, name in enumerate(("waits", "hums", "asks"))
        ]
        node.apply(
            [*routes, Route("out", ("",), ("carrier",))], [media, at("carrier", self.carrier)], trunks=[OUTSIDE]
        )

    def live(self, **wanted: str) -> dict[str, Any]:
        """The only live call with these values, once it is there."""
        return only(self.node, **wanted)

    def act(self, method: str, path: str, status: int = 200, **body: Any) -> dict[str, Any]:
        """What an operator is answered."""
        response = self.api.ask(method, path, Role.OPERATE, json=body or None)
        assert response.status_code == status, response.text
        found: dict[str, Any] = response.json()
        return found

    def notes(self, count: int) -> list[dict[str, Any]]:
        """What scripts wrote, once there are so many lines."""
        file = self.root / "notes"
        until(lambda: file.exists() and len(file.read_text().splitlines()) >= count, "the script wrote it", 20)
        return [json.loads(line) for line in file.read_text().splitlines()]


def only(node: Node, **wanted: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = live_calls.page(node.store, live_calls.Filter(**wanted))["calls"]
        return len(found) == 1

    until(there, f"a live call {wanted}", timeout=20.0)
    return found[0]


@pytest.fixture
def site(node: Node, switch: Switch, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    settings = node.stack.settings
    scripts = write(tmp_path / "scripts", {"all.py": SCRIPTS.replace("NOTES", str(tmp_path / "notes"))})
    with api_of(settings) as api:
        made = Site(node, switch, tmp_path, api)
        worker = MediaWorker(
            tmp_path / "worker", switch, scripts, secret=settings.media_secret_file.read_bytes(),
            STROWGER_REDIS_URL=settings.redis_url, STROWGER_NODE="media-1",
            STROWGER_ORIGINATE_SIP="{}:{}".format(*node.sip), **getattr(request, "param", {}),
        )  # fmt: skip
        with worker:
            until(lambda: reported(node, worker), "the worker has reported itself")
            yield made


def reported(node: Node, worker: MediaWorker) -> bool:
    """Whether this worker has: the one of the test before, which was killed, is known for some seconds."""
    return any(one["pid"] == worker.pid and one["switch"]["connected"] for one in commands.workers(node.store).values())


async def talking(site: Site, number: str, caller: str, work: Callable[[PhoneCall], Awaitable[None]]) -> None:
    """A phone calls, and ``work`` is done once it is answered."""
    async with asyncio.timeout(60):
        async with phone.call(number, site.node.sip, caller=caller) as call:
            await call.answered()
            await work(call)


def test_a_tone_is_played_into_a_call(site: Site) -> None:
    async def work(call: PhoneCall) -> None:
        row = await asyncio.to_thread(site.live, caller="2001", state="answered")
        assert row["app"] == "waits"
        path = f"/calls/{row['call']}/play"
        await asyncio.to_thread(site.act, "POST", path, tone="%(3000,0,900)", side="caller")
        await call.until(lambda: call.rings_at(900))
        wrong = await asyncio.to_thread(site.act, "POST", path, 422, tone="$", side="caller")
        assert "no tone" in wrong["detail"]
        await call.hang_up()

    asyncio.run(talking(site, "5000", "2001", work))
    entry = audit.read(site.node.store, limit=1)[0]
    assert (entry.what, entry.who) == ("played into a call", "token:tester-operate")


def test_words_are_spoken_into_a_call(site: Site) -> None:
    async def work(call: PhoneCall) -> None:
        row = await asyncio.to_thread(site.live, caller="2002", state="answered")
        since = call.mark()
        await asyncio.to_thread(site.act, "POST", f"/calls/{row['call_id']}/play", text="Please hold the line.")
        await call.until(lambda: call.sound(since) > 0.5)
        await call.hang_up()

    asyncio.run(talking(site, "5000", "2002", work))


def test_a_call_is_given_to_another_script(site: Site) -> None:
    async def work(call: PhoneCall) -> None:
        row = await asyncio.to_thread(site.live, caller="2003", state="answered")
        missing = await asyncio.to_thread(site.act, "POST", f"/calls/{row['call']}/run", 409, script="nothing")
        assert "there is no script 'nothing'" in missing["detail"]
        await asyncio.to_thread(site.act, "POST", f"/calls/{row['call']}/run", script="hums", args="a b, c")
        await call.until(lambda: call.rings_at(700))
        # The new script's call is the same, and can be moved on.
        await asyncio.to_thread(site.act, "POST", f"/calls/{row['call']}/run", script="waits")
        await call.until(lambda: call.quiet(0) > 0.5)
        await asyncio.to_thread(site.act, "DELETE", f"/calls/{row['call']}")
        await call.ended()

    asyncio.run(talking(site, "5000", "2003", work))
    assert site.notes(1) == [{"args": "a b, c"}]


def test_a_call_is_transferred_to_a_number(site: Site) -> None:
    async def work(call: PhoneCall) -> None:
        row = await asyncio.to_thread(site.live, caller="2004", state="answered")
        await asyncio.to_thread(site.act, "POST", f"/calls/{row['call']}/transfer", number="02079460000")
        sent_on = await asyncio.to_thread(site.live, caller="2004", callee="+442079460000", state="answered")
        assert (sent_on["caller"], sent_on["gateway"]) == ("2004", "carrier")
        shown = await asyncio.to_thread(site.api.get, f"/calls/{sent_on['call']}/trace")
        assert [one["call"] for one in shown["calls"]] == [row["call"], sent_on["call"]]
        await call.hang_up()

    asyncio.run(talking(site, "5000", "2004", work))
    until(lambda: not site.api.get("/calls", caller="2004")["total"], "both are over", 20)


def test_a_call_that_no_script_has_is_not_played_into(site: Site) -> None:
    async def work(call: PhoneCall) -> None:
        row = await asyncio.to_thread(site.live, caller="2005", state="answered")
        refused = await asyncio.to_thread(site.act, "POST", f"/calls/{row['call']}/play", 409, text="Hello.")
        assert "only calls that a call script has" in refused["detail"]
        await call.hang_up()

    asyncio.run(talking(site, "02079460000", "2005", work))
    site.act("POST", "/calls/nothing/play", 404, text="Hello.")


def test_somebody_is_called_and_given_to_a_script(site: Site) -> None:
    with listening(site.api, kind="call.") as told:
        done = site.act("POST", "/calls", 202, to="02079460001", script="hums", args="hello", caller="4000")
        [*_, answered] = told.until("call.answered")
        assert told.hello
    started = next(event for event in site.api.get("/events/kept", kind="call.started", limit=1000)["events"][::-1])
    assert started["data"]["origin"] == done["call"]
    assert (answered["data"]["caller"], answered["data"]["gateway"]) == ("4000", "carrier")
    assert site.notes(1) == [{"args": "hello"}]
    site.act("DELETE", f"/calls/{answered['data']['call']}")
    until(lambda: not site.api.get("/calls", caller="4000")["total"], "it is over", 20)


def test_somebody_is_called_and_bridged_to_another(site: Site) -> None:
    site.act("POST", "/calls", 202, to="02079460001", bridge="02079460002", caller="4001")
    first = site.live(caller="4001", callee="+442079460001", state="answered")
    second = site.live(caller="4001", callee="+442079460002", state="answered")
    assert (first["caller"], second["caller"]) == ("4001", "4001")
    site.act("DELETE", f"/calls/{first['call']}")
    until(lambda: not site.api.get("/calls", caller="4001")["total"], "both are over", 20)
    site.act("POST", "/calls", 422, to="02079460001")
    site.act("POST", "/calls", 409, to="02079460001", script="nothing")


@pytest.mark.parametrize("site", [{}, {"STROWGER_EVENT_DIGITS": "yes"}], ids=["hidden", "shown"], indirect=True)
def test_keys_are_told_and_which_they_are_only_where_it_is_wanted(site: Site, request: pytest.FixtureRequest) -> None:
    shown = "shown" in request.node.name

    async def work(call: PhoneCall) -> None:
        await call.press("7")
        await call.until(lambda: call.rings_at(500))
        await call.press("8")
        await asyncio.to_thread(site.notes, 2)

    with listening(site.api, kind="dtmf") as told:
        asyncio.run(talking(site, "5200", "2006", work))
        first, second = told.event()["data"], told.event()["data"]
    assert site.notes(2) == [{"first": "7"}, {"second": "8"}]
    assert (first.get("digit"), second.get("digit")) == ("7" if shown else None, None)
    assert (first["caller"], first["callee"]) == ("2006", "5200")
