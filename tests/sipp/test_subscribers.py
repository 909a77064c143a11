"""Subscribers' phones on the wire: who may register and call, and where calls to them go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.cli import Cli, fresh
from harness.dialog import header, headers
from harness.digest_phone import DigestPhone
from harness.lamp_phone import LampPhone
from harness.limits import counts
from harness.load import until
from harness.node import GB, Node, at
from harness.raw import Endpoint, reply_to, status

from model.handover import Handover
from model.narrowing import Narrowing
from model.policy import MEDIA_RETRY, Emergency, Gateway, MediaApp, Policy, Route, Subscribers, Trunk
from model.subscriber import Forwards, Subscriber, hashes
from state import mwi
from state.mwi import Lamp

REALM = "phones.example"
OFFICE = "127.0.0.2"


def subscriber(name: str, **more: object) -> Subscriber:
    return Subscriber(name=name, realm=REALM, ha1=hashes(name, REALM, f"secret-of-{name}"), **more)  # type: ignore[arg-type]


def put(node: Node, one: Subscriber) -> None:
    node.confirmed(node.store.put_subscriber(one, node.store.subscriber(one.name)))


@pytest.fixture(scope="module")
def media() -> Iterator[Endpoint]:
    """A media node that the test plays."""
    with Endpoint("127.0.0.9") as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, media: Endpoint) -> Iterator[Node]:
    """A node with phones at 127.0.0.1, and a trunk at another address."""
    fs = Gateway("fs", media.address, media.port, no_reply=15.0, progress=15.0, breaker=None, media=True)
    own = Node.create(tmp_path_factory.mktemp("subscribers"), name="subscribers", workers=2)
    try:
        own.stack.start()
        gateway = own.answering()
        own.put_in_force(
            Policy(
                trunks=(Trunk("office", (f"{OFFICE}/32",), GB),),
                gateways={"carrier": at("carrier", gateway), "fs": fs},
                dialling=GB,
                subscribers=Subscribers(REALM, GB, algorithms=("SHA-256", "MD5"), guesses=3),
                emergency=Emergency(("112",), ("carrier",)),
            ),
            (
                Route("phones", ("1",), subscribers=True, ring=5.0),
                Route("world", ("+44",), ("carrier",)),
                Route("app", ("5",), ("fs",), media=MediaApp("welcome"), retry=MEDIA_RETRY),
                Route("own", ("7",), ("carrier",), narrowing=Narrowing(trunks=("subscribers",))),
            ),
        )
        for name in ("1001", "1002", "1003", "1004", "1005"):
            put(own, subscriber(name))
        yield own
    finally:
        own.close()


def phone(node: Node, name: str = "1001", **more: str) -> DigestPhone:
    return DigestPhone(node.sip, name, f"secret-of-{name}", **more)


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_a_phone_registers_and_takes_itself_back(node: Node, algorithm: str) -> None:
    with phone(node, algorithm=algorithm) as own:
        challenge = own.ask(own.request("REGISTER", ""))
        assert status(challenge) == 401
        offered = [value.rpartition(b"algorithm=")[2] for value in headers(challenge, b"WWW-Authenticate")]
        assert offered == [b"SHA-256", b"MD5"]
        reply = own.register(120)
        assert status(reply) == 200
        assert b";expires=120" in header(reply, b"Contact")
        gone = own.register(0)
        assert (status(gone), header(gone, b"Contact")) == (200, b"")


def test_a_wrong_password_is_asked_again_and_then_not_listened_to(node: Node) -> None:
    with DigestPhone(node.sip, "1004", "not-the-secret") as own:
        for _ in range(3):
            reply = own.register()
            assert status(reply) == 401
            assert b"stale" not in header(reply, b"WWW-Authenticate")
        own.password = "secret-of-1004"
        assert status(own.register()) == 403
    with phone(node, "1004", address="127.0.0.3") as elsewhere:
        # Another address has done nothing wrong.
        assert status(elsewhere.register()) == 200
        elsewhere.register(0)


def test_an_answer_that_was_used_is_worth_nothing(node: Node) -> None:
    with phone(node) as own:
        challenge = own.ask(own.request("REGISTER", "", contact="<sip:1001@127.0.0.1:9>"))
        answer = own.answer(challenge, "REGISTER")
        assert status(own.ask(own.request("REGISTER", "", more=["Expires: 0", answer]))) == 200
        replayed = own.ask(own.request("REGISTER", "", more=["Expires: 0", answer]))
        assert (status(replayed), b"stale=true" in replayed) == (401, True)
        # The next number of the same nonce is good, and none before it.
        second = own.answer(challenge, "REGISTER", nc=3)
        assert status(own.ask(own.request("REGISTER", "", more=["Expires: 0", second]))) == 200
        late = own.answer(challenge, "REGISTER", nc=2)
        assert status(own.ask(own.request("REGISTER", "", more=["Expires: 0", late]))) == 401


def test_without_a_count_an_answer_is_good_once(node: Node) -> None:
    with phone(node, algorithm="MD5") as own:
        challenge = own.ask(own.request("REGISTER", ""))
        old = own.answer(challenge, "REGISTER", qop=False)
        replies = [own.ask(own.request("REGISTER", "", more=["Expires: 0", old])) for _ in range(2)]
        assert list(map(status, replies)) == [200, 401]


def test_a_registration_that_is_sent_again_gets_the_same_reply(node: Node) -> None:
    with phone(node) as own:
        challenge = own.ask(own.request("REGISTER", ""))
        request = own.request("REGISTER", "", more=["Expires: 0", own.answer(challenge, "REGISTER")])
        assert (status(own.ask(request)), status(own.ask(request))) == (200, 200)


def test_nobody_registers_as_another(node: Node) -> None:
    with phone(node) as own:
        assert status(own.register(to="1002")) == 403


def test_too_short_and_too_many(node: Node) -> None:
    with phone(node, "1005") as own:
        brief = own.register(30)
        assert (status(brief), header(brief, b"Min-Expires")) == (423, b"60")
        long = own.register(999999)
        assert b";expires=3600" in header(long, b"Contact")
        for port in range(1, 5):
            assert status(own.register(contact=f"<sip:1005@127.0.0.1:{port}>")) == 200
        assert status(own.register(contact="<sip:1005@127.0.0.1:9>")) == 503
        own.register(0, contact="*")


def test_a_call_rings_every_phone_and_the_first_that_answers_has_it(node: Node) -> None:
    with phone(node) as first, phone(node) as second, phone(node, "1002") as caller:
        assert (status(first.register()), status(second.register())) == (200, 200)
        request = caller.request("INVITE", "1001")
        challenge = caller.ask(request)
        assert status(challenge) == 407
        caller.endpoint.send(
            caller.request("INVITE", "1001", more=[caller.answer(challenge, "INVITE", "1001")]), caller.server
        )
        invite, sender = first.endpoint.next_invite()
        other, _ = second.endpoint.next_invite()
        assert b"Proxy-Authorization" not in invite + other
        # One that refuses is not the end for the other.
        first.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        second.endpoint.send(
            reply_to(other, b"200 OK", [b"Contact: <sip:1001@127.0.0.1:%d>" % second.endpoint.port]), sender
        )
        answered = caller.endpoint.receive(b"SIP/2.0 200")
        events = node.events(header(answered, b"Call-ID").decode())
        assert "answered" in [event["event"] for event in events]
        first.register(0)
        second.register(0)


def test_a_subscriber_without_a_phone_is_away(node: Node) -> None:
    with phone(node, "1002") as caller:
        reply = caller.invite("1003")
        assert status(reply) == 480
        assert b'text="subscriber-away"' in header(reply, b"Reason")
        assert status(caller.invite("1999")) == 404


def test_a_trunk_reaches_a_phone_and_is_not_challenged(node: Node) -> None:
    with phone(node) as own, Endpoint(OFFICE) as office:
        own.register()
        office.send(
            office.invite(uri=b"sip:1001@127.0.0.1").replace(
                b"127.0.0.1:%d;" % office.port, b"127.0.0.2:%d;" % office.port
            ),
            node.sip,
        )
        invite, sender = own.endpoint.next_invite()
        own.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        assert status(office.receive(b"SIP/2.0 4")) == 486
        own.register(0)


def test_a_subscriber_calls_from_their_own_numbers_only(node: Node) -> None:
    with phone(node, "1002") as own:
        reply = own.invite("1003", sender="1001")
        assert (status(reply), b"not-your-number" in reply) == (403, True)
        asserted = own.invite("1003", more=["P-Asserted-Identity: <sip:1001@127.0.0.1>"])
        assert (status(asserted), b"not-your-number" in asserted) == (403, True)
        put(node, subscriber("1002", numbers=("+442079460001",)))
        remote = "Remote-Party-ID: <sip:%s@127.0.0.1>;party=calling;screen=yes"
        for user, expected in (("02079460002", 403), ("1002", 480), ("02079460001", 480), ("anonymous", 480)):
            more = [remote % "1002", remote % user, "Remote-Party-ID: <sip:1003@127.0.0.1>;party=called"]
            assert status(own.invite("1003", more=more)) == expected, user
        assert status(own.invite("1003", sender="02079460001")) == 480
        assert status(own.invite("1003", sender="anonymous")) == 480


def test_forwards_and_do_not_disturb(node: Node) -> None:
    with phone(node, "1002") as caller, phone(node) as target:
        target.register()
        for settings, expected in (
            ({"do_not_disturb": True}, b"do-not-disturb"),
            ({"forwards": Forwards(always="1003")}, b"forward-loop"),
        ):
            put(node, subscriber("1003", **settings))
            assert expected in caller.invite("1003")
        put(node, subscriber("1003", forwards=Forwards(unreachable="1001")))
        challenge = caller.ask(caller.request("INVITE", "1003"))
        caller.endpoint.send(
            caller.request("INVITE", "1003", more=[caller.answer(challenge, "INVITE", "1003")]), caller.server
        )
        invite, sender = target.endpoint.next_invite()
        target.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        assert status(caller.endpoint.receive(b"SIP/2.0 4")) == 486
        put(node, subscriber("1003"))
        target.register(0)


def test_a_phone_that_is_gone_does_not_hide_that_another_is_busy(node: Node) -> None:
    put(node, subscriber("1005", forwards=Forwards(busy="1001")))
    with phone(node, "1002") as caller, phone(node, "1005") as busy, phone(node) as target, Endpoint() as silent:
        for own, contact in ((busy, ""), (busy, f"<sip:1005@127.0.0.1:{silent.port}>"), (target, "")):
            assert status(own.register(contact=contact)) == 200
        challenge = caller.ask(caller.request("INVITE", "1005"))
        caller.endpoint.send(
            caller.request("INVITE", "1005", more=[caller.answer(challenge, "INVITE", "1005")]), caller.server
        )
        invite, sender = busy.endpoint.next_invite()
        busy.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        invite, sender = target.endpoint.next_invite()
        target.endpoint.send(reply_to(invite, b"603 Decline"), sender)
        assert status(caller.endpoint.receive(b"SIP/2.0 6")) == 603
        busy.register(0, contact="*")
        target.register(0)
    put(node, subscriber("1005"))


def test_an_emergency_call_from_where_a_phone_registered_is_not_challenged(node: Node) -> None:
    with phone(node, "1001") as own, phone(node, "1003") as unknown:
        own.register()
        own.password = "forgotten-since"
        assert status(own.ask(own.request("INVITE", "112"))) == 200
        assert status(unknown.ask(unknown.request("INVITE", "112"))) == 407
        # Whatever its display is set to: nobody is refused who is known.
        assert status(unknown.invite("112", sender="02079460002")) == 200
        own.password = "secret-of-1001"
        own.register(0)


def test_phones_are_where_they_were_after_kamailio_was_killed(node: Node) -> None:
    with phone(node) as own, phone(node, "1002") as caller:
        own.register()
        before = caller.ask(caller.request("INVITE", "1001"))
        node.stack.processes["kamailio"].kill()
        node.stack.start_kamailio()
        # A challenge of the one that was killed is worth nothing now: what was used of it is not known.
        stale = caller.ask(caller.request("INVITE", "1001", more=[caller.answer(before, "INVITE", "1001")]))
        assert (status(stale), b"stale=true" in stale) == (407, True)
        caller.endpoint.send(
            caller.request("INVITE", "1001", more=[caller.answer(stale, "INVITE", "1001")]), caller.server
        )
        invite, sender = own.endpoint.next_invite()
        own.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        assert status(caller.endpoint.receive(b"SIP/2.0 4")) == 486


def test_a_phone_that_registers_is_told_of_its_mailbox(node: Node) -> None:
    mwi.write(node.store, Lamp(box="1002", new=1))
    with LampPhone(node.sip, "1002") as own:
        client = DigestPhone(node.sip, "1002", "secret-of-1002")
        client.endpoint.socket.close()
        client.endpoint = own.endpoint
        # The agent takes the mailbox in at its own pace.
        until(lambda: status(subscribe(client, own)) == 200, "the mailbox is not known", 20)
        while own.notified().state != "terminated;reason=timeout":
            pass
        client.register()
        assert own.notified().lamp == ("yes", "1/0 (0/0)")
        # The same registration again is no news.
        client.register()
        assert own.is_left_alone()
        mwi.write(node.store, Lamp(box="1002", new=0))
        assert own.notified().lamp == ("no", "0/0 (0/0)")
        client.register(0)


@pytest.fixture
def cli(node: Node) -> Cli:
    return Cli(fresh, node.stack.settings.to_env())


def test_a_subscriber_is_added_changed_and_removed_by_commands(node: Node, cli: Cli, tmp_path: Path) -> None:
    made = cli("subscriber", "add", "1100", "numbers=02079460100", "--json").data
    assert made["numbers"] == ["+442079460100"]
    with DigestPhone(node.sip, "1100", made["password"]) as own:
        assert status(own.register()) == 200
        shown = cli("subscriber", "show", "1100", "--json")
        assert [one["uri"] for one in shown.data["phones"]] == [f"sip:1100@127.0.0.1:{own.endpoint.port}"]
        assert made["password"] not in shown.out
        assert cli("subscriber", "add", "1100", status=1).said.startswith("there is a subscriber 1100 already")
        own.register(0)
        cli("subscriber", "set", "1100", "--stdin", "algorithms=MD5", text="a-new-password\n")
        own.algorithm = "MD5"
        assert status(own.register()) == 401
        own.password = "a-new-password"
        offered = headers(own.ask(own.request("REGISTER", "")), b"WWW-Authenticate")
        assert [value.rpartition(b"=")[2] for value in offered] == [b"MD5"]
        assert status(own.register(0)) == 200
    with phone(node, "1002") as caller:
        cli("subscriber", "set", "1100", "do_not_disturb=on")
        assert b"do-not-disturb" in caller.invite("1100")
        cli("subscriber", "set", "1100", "do_not_disturb=off", "forward_busy=1001")
        told = cli("explain", "--subscriber", "1002", "--to", "1100", "--fail", "subscriber:1100=486", "--json").data
        assert [one["gateway"] for one in told["attempts"]] == ["subscriber:1100", "subscriber:1001"]
        cli("subscriber", "remove", "1100")
        assert b"no-subscriber" in caller.invite("1100")
    file = tmp_path / "subscribers.csv"
    file.write_text("name,password,forward_busy\n1101,secret-of-1101,1001\n1102,short,\n")
    assert f"{file}:3: a password has" in cli("subscriber", "import", str(file), status=2).said
    file.write_text("name,password,forward_busy\n1101,secret-of-1101,1001\n1102,secret-of-1102,\n")
    assert cli("subscriber", "import", str(file), "--json").data["added"] == 2
    names = [one["name"] for one in cli("subscriber", "list", "--json").data]
    assert {"1101", "1102"} <= set(names)
    assert "1100" not in names


def test_a_subscriber_has_as_many_calls_as_they_may(node: Node, cli: Cli) -> None:
    until(lambda: counts(node), "Redis counts", 20.0)
    cli("subscriber", "set", "1002", "calls=1")
    assert "calls=1\nper_second=\n" in cli("subscriber", "show", "1002").out
    with phone(node, "1002") as caller, phone(node) as target:
        # A phone of a test before that never answers would have the last word.
        target.register(0, contact="*")
        target.register()
        challenge = caller.ask(caller.request("INVITE", "1001"))
        caller.endpoint.send(
            caller.request("INVITE", "1001", more=[caller.answer(challenge, "INVITE", "1001")]), caller.server
        )
        invite, sender = target.endpoint.next_invite()
        # So that what follows may take its time.
        target.endpoint.send(reply_to(invite, b"180 Ringing"), sender)
        with phone(node, "1002") as second:
            reply = second.invite("1001")
        assert (status(reply), b"subscriber-calls-limit" in reply) == (503, True)
        (row,) = [row for row in cli("limits", "--json").data["limits"] if row["limit"] == "subscriber:1002"]
        assert (row["calls"], row["calls_limit"], row["refused"]) == (1, 1, 1)
        target.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        assert status(caller.endpoint.receive(b"SIP/2.0 4")) == 486
        # The place is free for the next call, whoever gives it back.
        with phone(node, "1002") as third:
            assert status(third.invite("1003")) == 480
        target.register(0)
    cli("subscriber", "set", "1002", "calls=")


@pytest.mark.parametrize(
    "words",
    [("set", "1001", "calls=-1"), ("set", "1001", "dnd=on"), ("set", "1001", "enabled=perhaps"), ("add", "a b")],
)
def test_a_mistake_is_named(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli("subscriber", *words, status=2).err


def test_a_subscriber_subscribes_to_their_own_mailbox_only(node: Node) -> None:
    with phone(node, "1002") as own:
        more = ["Event: message-summary", "Expires: 0"]
        challenge = own.ask(own.request("SUBSCRIBE", "1003", more=more))
        assert status(challenge) == 401
        answer = own.answer(challenge, "SUBSCRIBE", "1003")
        assert status(own.ask(own.request("SUBSCRIBE", "1003", more=[*more, answer]))) == 403


def subscribe(client: DigestPhone, own: LampPhone) -> bytes:
    own.new_dialog()
    challenge = own.subscribe(0)
    own.new_dialog()
    return own.subscribe(0, headers=[client.answer(challenge, "SUBSCRIBE", "1002")])


def test_who_is_redirected_by_media_stays_who_they_are(node: Node, media: Endpoint) -> None:
    with phone(node) as own, ThreadPoolExecutor(1) as beside:
        redirecting = beside.submit(media.refuse_next, b"302 Moved", [b"Contact: <sip:7001@example.org>"])
        assert status(own.invite("5000")) == 200
        marks = redirecting.result()
        assert header(marks, b"X-Strowger-Subscriber") == b"1001"
    # And so is who comes back in a call of the media node's own.
    key = node.stack.settings.media_secret_file.read_bytes()
    told = Handover(call="1a-2b-3c", app="welcome", caller="1001", subscriber="1001", expires=int(time.time()) + 30)
    proof = [f"{name}: {value}".encode() for name, value in told.headers(key)]
    back = media.invite(uri=b"sip:7001@127.0.0.1", headers=proof)
    media.send(back, node.sip)
    assert status(media.final_reply(back, node.sip)) == 200
    # Whose name nobody proved, is nobody.
    forged = [line.replace(b"Subscriber: 1001", b"Subscriber: 1002") for line in proof]
    back = media.invite(uri=b"sip:7001@127.0.0.1", headers=forged)
    media.send(back, node.sip)
    assert status(media.final_reply(back, node.sip)) == 403
