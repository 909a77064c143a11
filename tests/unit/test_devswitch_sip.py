"""SIP of the embedded switch without a network: messages, transactions, dialogs, SDP and causes."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devswitch.rtp.parameters import StreamParameters
from devswitch.sip import causes, sdp
from devswitch.sip.dialog import Dialog
from devswitch.sip.errors import MessageError, NegotiationError, SdpError, SipError
from devswitch.sip.headers import Headers, split_list
from devswitch.sip.message import Request, Response, parse
from devswitch.sip.server_transaction import InviteServerTransaction, ServerTransaction
from devswitch.sip.timers import T1, T2, T4, TIMEOUT
from devswitch.sip.transaction import TransactionLayer
from devswitch.sip.uri import Address, Uri

PEER = ("192.0.2.1", 5070)


def invite(method: str = "INVITE", *, branch: str = "z9hG4bKa", more: str = "", body: str = "") -> bytes:
    return (
        f"{method} sip:5000@192.0.2.9 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.1:5070;branch={branch};rport\r\n"
        'From: "Al, \\"the\\" caller" <sip:100@192.0.2.1>;tag=from\r\n'
        "To: <sip:5000@192.0.2.9>\r\n"
        "Call-ID: abc@192.0.2.1\r\n"
        f"CSeq: 7 {method}\r\n"
        "Contact: <sip:100@192.0.2.1:5070>\r\n"
        f"{more}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def request(method: str = "INVITE", **options: str) -> Request:
    found = parse(invite(method, **options))
    assert isinstance(found, Request)
    return found


class TestMessage:
    def test_what_is_written_is_read_again(self) -> None:
        first = request(body="hello", more="X-A: 1\r\nX-A: 2\r\n")
        again = parse(bytes(first))
        assert isinstance(again, Request)
        assert (again.method, again.uri, again.body) == ("INVITE", "sip:5000@192.0.2.9", b"hello")
        assert again.headers["x-a"] == "1, 2"
        assert again.from_.name == 'Al, "the" caller'
        assert again.from_.tag == "from"
        assert again.cseq == (7, "INVITE")

    def test_compact_and_folded_headers(self) -> None:
        text = (
            b"SIP/2.0 200 OK\r\nv: SIP / 2.0 / UDP a.example ; branch=z9hG4bKx\r\nf: sip:a@b;tag=1\r\n"
            b"t: <sip:c@d>\r\n ;tag=2\r\ni: x\r\nCSEQ: 1   OPTIONS\r\nl: 0\r\n\r\n"
        )
        found = parse(text)
        assert isinstance(found, Response)
        assert (found.from_.tag, found.to.tag, found.via.branch, found.call_id) == ("1", "2", "z9hG4bKx", "x")

    def test_the_body_ends_where_content_length_says(self) -> None:
        assert parse(invite(body="hello") + b"more").body == b"hello"

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b"Content-Length: 0", b"Content-Length: 1"),
            (b"Content-Length: 0", b"Content-Length: -1"),
            (b"Content-Length: 0", b"Content-Length: 9999999999"),
            (b"CSeq: 7 INVITE", b"CSeq: 36893488147419103232 INVITE"),
            (b"CSeq: 7 INVITE", b"CSeq: 2147483648 INVITE"),
            (b"CSeq: 7 INVITE", b"CSeq: 7 BYE"),
            (b"CSeq: 7 INVITE", b"CSeq: seven INVITE"),
            (b"Call-ID: abc@192.0.2.1\r\n", b""),
            (b"Call-ID: abc@192.0.2.1", b"Call-ID: a\r\nCall-ID: b"),
            (b"Call-ID: abc@192.0.2.1", b"Call-ID:"),
            (b"Via: SIP/2.0/UDP", b"Via: SIP/7.0/UDP"),
            (b"192.0.2.1:5070;branch", b"192.0.2.1:99999;branch"),
            (b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"),
            (b"SIP/2.0\r\nVia", b" SIP/2.0\r\nVia"),
            (b"INVITE sip:5000@192.0.2.9 ", b"INVITE sip:5000 @192.0.2.9 "),
            (b"To: <sip:5000@192.0.2.9>", b"To: <sip:5000@192.0.2.9"),
            (b"To: ", b"To : x\rX: "),
            (b"To: ", b"T o: "),
            (b"To: ", b"To: x" + b" " * 60000),
            (b"Contact: <", b"Contact: \0<"),
            (b"\r\n\r\n", b"\r\n"),
        ],
    )
    def test_broken_messages_are_refused(self, old: bytes, new: bytes) -> None:
        broken = invite().replace(old, new)
        assert broken != invite()
        with pytest.raises(MessageError):
            parse(broken)

    @given(st.binary(max_size=400))
    def test_no_bytes_do_harm(self, data: bytes) -> None:
        with pytest.raises(MessageError):
            parse(data)

    @given(st.integers(0, 300), st.binary(min_size=1, max_size=4))
    def test_no_change_of_a_message_does_harm(self, at: int, put: bytes) -> None:
        whole = invite()
        try:
            found = parse(whole[:at] + put + whole[at + len(put) :])
        except MessageError:
            return
        assert bytes(found)

    def test_bytes_that_are_no_text_pass_unchanged(self) -> None:
        raw = invite(more="X-Name: ").replace(b"X-Name: ", b"X-Name: \xff\xfe\r\n")
        assert b"X-Name: \xff\xfe\r\n" in bytes(parse(raw))


def test_lists_are_split_outside_of_quotes_and_brackets() -> None:
    assert split_list('"a, \\" b" <sip:a,b@c>;x=1, <sip:d>,e') == ['"a, \\" b" <sip:a,b@c>;x=1', "<sip:d>", "e"]


def test_headers_are_a_mapping_in_any_case() -> None:
    headers = Headers([("X-One", "1"), ("x-one", "2"), ("k", "timer")])
    assert dict(headers) == {"X-One": "1, 2", "Supported": "timer"}
    assert "X-ONE" in headers
    assert headers.get("none") is None
    headers.set("x-ONE", "3")
    assert headers.all("X-One") == ["3"]


def test_uris_and_addresses() -> None:
    uri = Uri.parse("sip:%23100:pw@host.example:5070;transport=udp;lr")
    assert (uri.user, uri.address, uri.is_loose) == ("#100", ("host.example", 5070), True)
    assert str(Uri("h", "a b")) == "sip:a%20b@h"
    assert Address.parse("sip:a@b;tag=1").uri == "sip:a@b"
    assert str(Address("sip:a@b", 'x"y', {"tag": "1"})) == '"x\\"y" <sip:a@b>;tag=1'
    for bad in ("tel:5", "sip:", "sip:a@b:99999", "sip:a b@c", ""):
        with pytest.raises(MessageError):
            Uri.parse(bad)


class FakeClock:
    """A clock that goes as far as it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, FakeTimer, Callable[[], object]]] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> FakeTimer:
        timer = FakeTimer()
        heapq.heappush(self._timers, (self.now + delay, next(self._order), timer, callback))
        return timer

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer, callback = heapq.heappop(self._timers)
            if not timer.cancelled:
                callback()
        self.now = end

    @property
    def pending(self) -> int:
        return sum(not timer.cancelled for _, _, timer, _ in self._timers)


class FakeTimer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class World:
    """A transaction layer with everything it sends and tells."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sent: list[tuple[float, bytes]] = []
        self.requests: list[ServerTransaction] = []
        self.acks: list[Request] = []
        self.statuses: list[int] = []
        self.timeouts = 0
        self.layer = TransactionLayer(clock=self.clock, send=lambda data, _: self.sent.append((self.clock.now, data)))
        self.layer.on_request = lambda _, transaction, __: self.requests.append(transaction)
        self.layer.on_ack = self.acks.append

    def client(self, method: str) -> Request:
        made = request(method)
        self.layer.request(
            made, PEER, on_response=lambda response: self.statuses.append(response.status), on_timeout=self._time_out
        )
        return made

    def receive(self, message: Request | Response) -> None:
        self.layer.receive(parse(bytes(message)), PEER)

    def times(self) -> list[float]:
        times = [time for time, _ in self.sent]
        self.sent.clear()
        return times

    def _time_out(self) -> None:
        self.timeouts += 1


class TestClientTransactions:
    def test_an_invite_is_sent_again_until_it_times_out(self) -> None:
        world = World()
        world.client("INVITE")
        world.clock.advance(TIMEOUT)
        # 17.1.1.2: timer A doubles without end, timer B is 64 T1.
        assert world.times() == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        assert world.timeouts == 1
        assert world.clock.pending == 0

    def test_another_request_is_sent_again_every_t2_at_last(self) -> None:
        world = World()
        world.client("OPTIONS")
        world.clock.advance(TIMEOUT)
        assert world.times()[:6] == [0, 0.5, 1.5, 3.5, 7.5, 11.5]
        assert world.timeouts == 1

    def test_a_provisional_reply_ends_the_retransmission_of_an_invite(self) -> None:
        world = World()
        sent = world.client("INVITE")
        world.receive(sent.reply(180, tag="t"))
        world.clock.advance(10 * TIMEOUT)
        assert world.times() == [0]
        assert (world.statuses, world.timeouts) == ([180], 0)

    def test_a_failure_is_acknowledged_each_time_and_told_once(self) -> None:
        world = World()
        sent = world.client("INVITE")
        world.receive(sent.reply(486, tag="t"))
        world.receive(sent.reply(486, tag="t"))
        acks = [data for _, data in world.sent[1:]]
        assert len(acks) == 2
        ack = parse(acks[0])
        assert isinstance(ack, Request)
        assert (ack.method, ack.via.branch, ack.to.tag, ack.cseq) == ("ACK", sent.via.branch, "t", (7, "ACK"))
        assert world.statuses == [486]
        world.clock.advance(TIMEOUT)
        assert world.clock.pending == 0

    def test_every_2xx_goes_up_and_none_is_acknowledged_here(self) -> None:
        world = World()
        sent = world.client("INVITE")
        world.receive(sent.reply(200, tag="a"))
        world.receive(sent.reply(200, tag="a"))
        world.receive(sent.reply(486, tag="b"))
        assert world.statuses == [200, 200]
        assert len(world.sent) == 1

    def test_a_final_reply_to_another_request_is_told_once(self) -> None:
        world = World()
        sent = world.client("BYE")
        world.receive(sent.reply(200, tag="t"))
        world.receive(sent.reply(200, tag="t"))
        assert world.statuses == [200]
        world.clock.advance(T4)
        world.receive(sent.reply(200, tag="t"))
        assert world.statuses == [200]

    @pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
    def test_a_request_to_nobody_is_as_good_as_refused(self, method: str) -> None:
        world = World()
        world.client(method)
        world.layer.unreachable(("192.0.2.7", 5060))
        assert world.statuses == []
        world.layer.unreachable(PEER)
        world.layer.unreachable(PEER)
        assert world.statuses == [503]
        assert world.clock.pending == 0

    def test_but_not_once_somebody_replied(self) -> None:
        world = World()
        sent = world.client("INVITE")
        world.receive(sent.reply(180, tag="t"))
        world.layer.unreachable(PEER)
        assert world.statuses == [180]

    def test_a_reply_to_nothing_is_dropped(self) -> None:
        world = World()
        world.receive(request().reply(200, tag="t"))
        assert not world.sent


class TestServerTransactions:
    def serve(self, world: World, method: str = "INVITE") -> ServerTransaction:
        world.receive(request(method))
        return world.requests[-1]

    def test_a_request_that_comes_again_is_answered_again_and_not_told(self) -> None:
        world = World()
        transaction = self.serve(world, "OPTIONS")
        transaction.reply(transaction.request.reply(200, tag="t"))
        world.receive(request("OPTIONS"))
        assert len(world.requests) == 1
        assert world.sent[0][1] == world.sent[1][1]
        world.clock.advance(TIMEOUT)
        assert world.clock.pending == 0

    def test_only_the_first_final_reply_counts(self) -> None:
        world = World()
        transaction = self.serve(world)
        transaction.reply(transaction.request.reply(486, tag="t"))
        transaction.reply(transaction.request.reply(200, tag="t"))
        assert transaction.status == 486

    def test_a_failure_is_sent_until_its_ack(self) -> None:
        world = World()
        transaction = self.serve(world)
        transaction.reply(transaction.request.reply(486, tag="t"))
        world.clock.advance(8)
        assert world.times() == [0, 0.5, 1.5, 3.5, 7.5]
        world.receive(request("ACK"))
        assert not world.acks
        world.clock.advance(60)
        assert not world.sent
        assert world.clock.pending == 0

    def test_a_2xx_is_sent_until_the_dialog_says_stop(self) -> None:
        world = World()
        transaction = self.serve(world)
        assert isinstance(transaction, InviteServerTransaction)
        transaction.reply(transaction.request.reply(200, tag="t"))
        world.clock.advance(2 * T2)
        assert world.times() == [0, 0.5, 1.5, 3.5, 7.5]
        world.receive(request("ACK", branch="z9hG4bKother"))
        assert len(world.acks) == 1
        transaction.acknowledged()
        world.clock.advance(60)
        assert not world.sent
        assert world.clock.pending == 0

    def test_a_2xx_that_nobody_acknowledges_is_told(self) -> None:
        world = World()
        transaction = self.serve(world)
        assert isinstance(transaction, InviteServerTransaction)
        told: list[float] = []
        transaction.on_unacknowledged = lambda: told.append(world.clock.now)
        transaction.reply(transaction.request.reply(200, tag="t"))
        world.clock.advance(100)
        assert told == [TIMEOUT]
        assert world.clock.pending == 0

    def test_a_cancel_finds_its_invite(self) -> None:
        world = World()
        transaction = self.serve(world)
        assert world.layer.invite_of(request("CANCEL")) is transaction
        assert world.layer.invite_of(request("CANCEL", branch="z9hG4bKother")) is None

    def test_a_client_of_rfc_2543_is_served(self) -> None:
        world = World()
        world.receive(request(branch="1"))
        world.receive(request(branch="1"))
        assert len(world.requests) == 1
        transaction = world.requests[0]
        transaction.reply(transaction.request.reply(486, tag="t"))
        world.times()
        ack = request("ACK", branch="1")
        ack.headers.set("To", "<sip:5000@192.0.2.9>;tag=t")
        world.receive(ack)
        world.clock.advance(T1 * 10)
        assert not world.sent


class TestDialog:
    ROUTES = "Record-Route: <sip:p1;lr>, <sip:p2:5080;lr>\r\n"

    def test_a_callee_sends_by_the_routes_in_order(self) -> None:
        dialog = Dialog.of_server(request(more=self.ROUTES), "our")
        bye = dialog.request("BYE")
        assert (bye.uri, bye.headers.all("Route")) == ("sip:100@192.0.2.1:5070", ["<sip:p1;lr>", "<sip:p2:5080;lr>"])
        assert (bye.from_.tag, bye.headers["CSeq"]) == ("our", "1 BYE")
        assert dialog.next_hop() == ("p1", 5060)

    def test_a_caller_sends_by_the_routes_in_reverse(self) -> None:
        sent = request()
        reply = request(more=self.ROUTES).reply(200, tag="their")
        reply.headers.add("Contact", "<sip:5000@192.0.2.9:5090>")
        dialog = Dialog.of_client(sent, reply)
        assert dialog.next_hop() == ("p2", 5080)
        assert dialog.request("ACK", 7).headers["CSeq"] == "7 ACK"
        assert dialog.request("BYE").headers["CSeq"] == "8 BYE"

    def test_a_strict_router_gets_itself_as_the_target(self) -> None:
        dialog = Dialog.of_server(request(more="Record-Route: <sip:old>\r\n"), "our")
        bye = dialog.request("BYE")
        assert (bye.uri, bye.headers.all("Route")) == ("sip:old", ["<sip:100@192.0.2.1:5070>"])

    def test_old_requests_are_not_accepted(self) -> None:
        dialog = Dialog.of_server(request(), "our")
        assert not dialog.accepts(request("BYE"))

    def test_without_contact_there_is_no_dialog(self) -> None:
        found = request()
        found.headers.set("Contact", "")
        with pytest.raises(MessageError):
            Dialog.of_server(found, "our")


def description(*lines: str, host: str = "192.0.2.5") -> bytes:
    return "\r\n".join(["v=0", f"o=- 1 1 IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0", *lines, ""]).encode()


class TestSdp:
    def test_the_first_codec_of_the_offer_that_we_know_is_taken(self) -> None:
        offer = sdp.parse(description("m=audio 4000 RTP/AVP 9 8 0 96", "a=rtpmap:96 telephone-event/8000"))
        stream = sdp.negotiate(offer)
        assert stream == StreamParameters("192.0.2.5", 4000, 8, 96)
        answer = sdp.parse(sdp.answer(offer, stream, "192.0.2.9", 5000)).audio()
        assert (answer.formats, answer.port, answer.host) == (["8", "96"], 5000, "192.0.2.9")

    def test_our_offer_and_its_answer_agree(self) -> None:
        offer = sdp.parse(sdp.offer("192.0.2.9", 5000))
        assert sdp.negotiate(offer) == StreamParameters("192.0.2.9", 5000, 0, sdp.DEFAULT_EVENTS)

    def test_other_media_are_refused_in_their_place(self) -> None:
        offer = sdp.parse(description("m=video 4002 RTP/AVP 31", "m=audio 4000 RTP/AVP 0"))
        answer = sdp.answer(offer, sdp.negotiate(offer), "192.0.2.9", 5000).decode()
        assert "m=video 0 RTP/AVP 31\r\nm=audio 5000 RTP/AVP 0\r\n" in answer

    @pytest.mark.parametrize(
        ("theirs", "ours", "sends"),
        [
            ("sendrecv", "sendrecv", True),
            ("sendonly", "recvonly", False),
            ("recvonly", "sendonly", True),
            ("inactive", "inactive", False),
        ],
    )
    def test_directions_are_mirrored(self, theirs: str, ours: str, sends: bool) -> None:
        offer = sdp.parse(description("m=audio 4000 RTP/AVP 0", f"a={theirs}"))
        stream = sdp.negotiate(offer)
        assert stream.sends == sends
        assert f"a={ours}\r\n" in sdp.answer(offer, stream, "192.0.2.9", 5000).decode()

    def test_hold_of_the_old_way(self) -> None:
        assert not sdp.negotiate(sdp.parse(description("m=audio 4000 RTP/AVP 0", host="0.0.0.0"))).sends

    @pytest.mark.parametrize(
        "lines",
        [
            ["m=audio 0 RTP/AVP 0"],
            ["m=audio 4000 RTP/AVP 9 18"],
            ["m=audio 4000 RTP/SAVP 0"],
            ["m=video 4000 RTP/AVP 31"],
            ["m=audio 4000 RTP/AVP 0", "a=rtpmap:0 G729/8000"],
        ],
    )
    def test_no_common_codec(self, lines: list[str]) -> None:
        with pytest.raises(NegotiationError):
            sdp.negotiate(sdp.parse(description(*lines)))

    @pytest.mark.parametrize("body", [b"", b"hello", b"m=audio", b"m=audio 70000 RTP/AVP 0", b"c=x\r\nm=audio 1 a 0"])
    def test_broken_descriptions(self, body: bytes) -> None:
        with pytest.raises(SdpError):
            sdp.parse(body)

    @given(st.text(alphabet="vomca=audio 0189/RTPAV:rtpmap\r\n", max_size=200))
    def test_no_description_does_harm(self, text: str) -> None:
        try:
            sdp.negotiate(sdp.parse(text.encode()))
        except SipError:
            return
        assert "m=audio" in text


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        ("USER_BUSY", 486),
        ("NO_ANSWER", 480),
        ("NORMAL_CLEARING", 480),
        ("CALL_REJECTED", 603),
        ("UNALLOCATED_NUMBER", 404),
        ("NORMAL_TEMPORARY_FAILURE", 503),
        ("INCOMPATIBLE_DESTINATION", 488),
        ("ORIGINATOR_CANCEL", 487),
        ("WHO_KNOWS", 480),
    ],
)
def test_causes_become_the_statuses_of_freeswitch(cause: str, status: int) -> None:
    assert causes.to_status(cause) == status


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (486, "USER_BUSY"),
        (480, "NO_USER_RESPONSE"),
        (404, "UNALLOCATED_NUMBER"),
        (603, "CALL_REJECTED"),
        (499, "NORMAL_UNSPECIFIED"),
    ],
)
def test_statuses_become_the_causes_of_freeswitch(status: int, cause: str) -> None:
    assert causes.from_status(status) == cause


def test_reasons_are_those_of_freeswitch() -> None:
    assert causes.to_reason("USER_BUSY") == 'Q.850;cause=17;text="USER_BUSY"'
    assert causes.to_reason("ORIGINATOR_CANCEL") == 'SIP;cause=487;text="ORIGINATOR_CANCEL"'
    assert causes.from_reason('SIP;cause=200, Q.850 ;cause=19;text="x"') == "NO_ANSWER"
    assert causes.from_reason("SIP;cause=486") == causes.from_reason("Q.850;cause=126") == ""


def test_every_cause_with_a_status_has_a_number() -> None:
    assert {cause for cause in causes.NUMBERS if causes.to_status(cause) != 480} >= {"USER_BUSY", "UNWANTED"}
    assert not {causes.from_status(status) for status in range(300, 700)} - set(causes.NUMBERS)
