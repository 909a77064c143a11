"""Message waiting without a network: what NOTIFYs say, and who gets one when."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from harness.load import until
from hypothesis import given
from hypothesis import strategies as st

from agent import lamp_messages as messages
from agent.lamp_messages import RefusedError
from agent.lamp_notify import phones
from agent.lamp_service import LampService
from agent.lamp_watchers import MOST_PER_BOX, Watchers
from agent.lamps import REMEMBERED, REPLY_WAIT, WAITS, Notifier
from kemi import lamps as worker
from kemi.rpc import RpcFault, RpcTimeout, RpcUnavailable
from model.settings import Settings
from state import mwi
from state.mwi import BadLampError, Lamp

PHONE = "sip:2001@192.0.2.20:5060"
ASKED = {
    "kind": "subscribe", "transaction": "1:2", "call_id": "c", "cseq": "1", "from": "sip:1001@pbx", "from_tag": "p",
    "to": "sip:1001@pbx", "to_tag": "", "user": "1001", "host": "192.0.2.1", "event": "message-summary",
    "expires": "600", "accept": "", "contact": "<sip:1001@10.0.0.5>", "routes": "",
    "peer": "sip:192.0.2.9:5060;transport=udp", "socket": "udp:192.0.2.1:5060",
}  # fmt: skip


Begin = Callable[[float], Notifier]


class Kamailio:
    """Takes what the notifier sends; ``error`` is what it raises instead."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None

    def __call__(self, *call: Any) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(call)

    def notices(self) -> list[str]:
        """The NOTIFYs since the last look: headers and body."""
        found = [call[5] + "\r\n" + call[6] for call in self.calls if call[0] == "tm.t_uac_start"]
        self.calls.clear()
        return found


@pytest.fixture
def kamailio() -> Kamailio:
    return Kamailio()


@pytest.fixture
def begin(tmp_path: Path, kamailio: Kamailio) -> Iterator[Begin]:
    """Starts an agent at a time; all have the same file."""
    opened: list[Watchers] = []

    def begin(now: float) -> Notifier:
        opened.append(Watchers(tmp_path / "watchers"))
        notifier = Notifier(opened[-1], kamailio, ("192.0.2.1", "[2001:db8::1]"), now)
        notifier.complete = notifier.sends_unsolicited = True
        return notifier

    yield begin
    for watchers in opened:
        watchers.close()


@pytest.fixture
def notifier(begin: Begin) -> Notifier:
    return begin(0.0)


def lit(notifier: Notifier, now: float, box: str = "1001", **fields: Any) -> None:
    lamp = Lamp(box=box, **fields)
    notifier.lamps({box: lamp.encode()}, now)
    notifier.advance(now)


def subscribed(notifier: Notifier, kamailio: Kamailio, now: float, **fields: str) -> str:
    """Subscribe; the NOTIFY at once."""
    notifier.subscribe({**ASKED, **fields}, now)
    name, status, *_ = kamailio.calls[0]
    assert (name, status) == ("tm.reply", 200)
    (notice,) = kamailio.notices()
    return notice


def header(notice: str, name: str) -> str:
    return next(line.partition(": ")[2] for line in notice.split("\r\n") if line.startswith(f"{name}: "))


def answer(notifier: Notifier, notice: str, now: float, status: int = 200) -> None:
    tag = header(notice, "From").partition(";tag=")[2]
    cseq = header(notice, "CSeq").split()[0]
    notifier.answered({"call_id": header(notice, "Call-ID"), "tag": tag, "cseq": cseq, "status": str(status)}, now)


def counts(notice: str) -> str:
    return header(notice, "Voice-Message")


def test_the_summary() -> None:
    lamp = Lamp(box="10#1", new=2, saved=8, urgent_new=1)
    assert messages.body(lamp, "192.0.2.1") == (
        "Messages-Waiting: yes\r\nMessage-Account: sip:10%231@192.0.2.1\r\nVoice-Message: 2/8 (1/0)\r\n"
    )
    assert messages.body(Lamp(box="1", saved=3), "h").startswith("Messages-Waiting: no\r\n")


@given(
    st.builds(
        Lamp,
        box=st.just("1001"),
        new=st.integers(0, 2**40),
        saved=st.integers(0, 99),
        urgent_new=st.integers(0, 9),
        urgent_saved=st.integers(0, 9),
        phones=st.lists(st.text(max_size=9), max_size=3).map(tuple),
        seq=st.integers(0, 2**53 - 1),
    )
)
def test_a_lamp_comes_back_as_it_was(lamp: Lamp) -> None:
    assert mwi.decode("1001", lamp.encode()) == lamp


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"new": -1}', "new"),
        ('{"saved": true}', "saved"),
        ('{"urgent_new": "1"}', "urgent_new"),
        ('{"phones": "sip:1@192.0.2.1"}', "phones"),
        ('{"phones": [1]}', "phones"),
    ],
)
def test_a_lamp_that_cannot_be(text: str, named: str) -> None:
    with pytest.raises(BadLampError, match=rf"1001.*{named}"):
        mwi.decode("1001", text)


@given(st.fixed_dictionaries({name: st.text(max_size=20) for name in ASKED if name not in ("event", "cseq")}))
def test_whatever_a_phone_writes_is_taken_or_refused(data: dict[str, str]) -> None:
    try:
        messages.parse({**ASKED, **data})
    except RefusedError as refused:
        status = refused.status
    else:
        status = 200
    assert status in (200, 400, 406, 423)


@given(st.sampled_from(sorted(set(ASKED) - {"user"})), st.text(max_size=9))
def test_a_folded_header_is_no_line_of_ours(name: str, word: str) -> None:
    folded = f"{ASKED[name]}\r\n {word}"
    try:
        request = messages.parse({**ASKED, name: folded})
    except (RefusedError, ValueError):
        return
    assert not {"\r", "\n"} & set("".join(map(str, dataclasses.astuple(request))))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"event": "presence"}, 489),
        ({"event": "message-summary.winfo"}, 489),
        ({"expires": "59"}, 423),
        ({"expires": "soon"}, 400),
        ({"expires": "-1"}, 400),
        ({"accept": "application/pidf+xml, text/plain"}, 406),
        ({"contact": "*"}, 400),
        ({"contact": "tel:1001"}, 400),
    ],
)
def test_requests_that_are_refused(fields: dict[str, str], status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        messages.parse({**ASKED, **fields})
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("contact", "uri"),
    [
        ("<sip:1001@10.0.0.5:5060;line=2>;expires=60", "sip:1001@10.0.0.5:5060;line=2"),
        ("sip:1001@10.0.0.5;q=1", "sip:1001@10.0.0.5"),
        ('"Ann, <b>" <sip:1001@10.0.0.5>', "sip:1001@10.0.0.5"),
    ],
)
def test_the_uri_of_a_contact(contact: str, uri: str) -> None:
    accepted = {"accept": "text/plain, application/*;q=0.5"}
    assert messages.parse({**ASKED, "contact": contact, **accepted}).contact == uri


def test_what_a_worker_hands_over_is_what_the_agent_reads() -> None:
    values = {
        "$T(id_index)": 7, "$T(id_label)": 9, "$ci": "c", "$cs": "4", "$fu": "sip:a@h", "$ft": "p", "$tu": "sip:b@h",
        "$rU": "10%231", "$rd": "[2001:db8::1]", "$hdr(Event)": "message-summary;x=1;id=5",
        "$hdr(Contact)": "<sip:a@h>", "$si": "2001:db8::5", "$sp": 5060, "$proto": "TCP", "$Ri": "2001:db8::1",
        "$Rp": 5070,
    }  # fmt: skip
    request = messages.parse(worker.subscribe(lambda name: values.get(name, "")))
    assert (request.transaction, request.box, request.event) == ("7:9", "10#1", "message-summary;id=5")
    assert request.peer == "sip:[2001:db8::5]:5060;transport=tcp"
    assert request.socket == "tcp:[2001:db8::1]:5070"
    assert messages.contact("10#1", request.socket) == "<sip:10%231@[2001:db8::1]:5070;transport=tcp>"


def test_no_log_says_whose_lamp_it_is(notifier: Notifier, kamailio: Kamailio, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    phones(Lamp(box="7654", phones=("sip:7654@phone.example",)))
    notifier.lamps({"7654": "{"}, 1.0)
    notifier.sends_unsolicited = True
    kamailio.error = RpcFault(method="m", address="a", code=500, message="no socket")
    notifier.lamps({"7654": Lamp(box="7654", new=1, phones=("sip:7654@192.0.2.7",)).encode()}, 1.0)
    notifier.advance(1.0)
    assert len(caplog.messages) == 3
    assert "7654" not in caplog.text


def test_only_phones_at_addresses_are_told() -> None:
    usable = (PHONE, "sip:[2001:db8::5]:5060;transport=tcp", "sip:2001@192.0.2.21")
    bad = ("sip:a@phone.example.net", "sip:a@192.0.2.300", "tel:1", "sip:a@192.0.2.1\r\nX: y", "sip:a@192.0.2.1?X=y")
    assert phones(Lamp(box="1", phones=(*usable, *bad, PHONE))) == usable


def test_a_burst_of_changes_is_one_notify_while_another_is_under_way(notifier: Notifier, kamailio: Kamailio) -> None:
    lit(notifier, 1.0)
    first = subscribed(notifier, kamailio, 2.0)
    assert counts(first) == "0/0 (0/0)"
    for new in range(1, 9):
        lit(notifier, 2.5, new=new)
    assert kamailio.notices() == []
    answer(notifier, first, 3.0)
    (second,) = kamailio.notices()
    assert counts(second) == "8/0 (0/0)"
    # The first's answer once more is not the second's.
    lit(notifier, 3.5, new=9)
    answer(notifier, first, 3.6)
    assert kamailio.notices() == []
    answer(notifier, second, 4.0)
    assert [counts(notice) for notice in kamailio.notices()] == ["9/0 (0/0)"]


def test_a_phone_that_does_not_answer_is_tried_a_few_times_and_the_other_is_told_meanwhile(
    notifier: Notifier, kamailio: Kamailio
) -> None:
    lit(notifier, 1.0, new=1, phones=(PHONE, "sip:[2001:db8::5]"))
    dead, well = sorted(kamailio.notices(), key=lambda notice: PHONE not in notice)
    assert header(dead, "From").startswith("<sip:1001@192.0.2.1>;tag=mwi-")
    assert header(well, "From").startswith("<sip:1001@[2001:db8::1]>;tag=mwi-")
    answer(notifier, well, 1.1)
    tries, now = 0, 1.0
    while now < 1000:
        now += 0.5
        notifier.advance(now)
        tries += len(kamailio.notices())
    assert tries == len(WAITS)
    # The next change reaches for it again.
    lit(notifier, now, new=2, phones=(PHONE, "sip:[2001:db8::5]"))
    assert len(kamailio.notices()) == 2


@pytest.mark.parametrize("status", [408, 503])
def test_a_subscriber_that_never_answers_is_given_up(notifier: Notifier, kamailio: Kamailio, status: int) -> None:
    lit(notifier, 1.0)
    notice, now = subscribed(notifier, kamailio, 1.0, expires="7200"), 1.0
    for wait in WAITS:
        answer(notifier, notice, now, status)
        notifier.advance(now + wait - 0.1)
        assert kamailio.notices() == []
        now += wait
        notifier.advance(now)
        (notice,) = kamailio.notices()
    notifier.advance(now + REPLY_WAIT)
    lit(notifier, now + 999, new=1)
    assert kamailio.notices() == []


@pytest.mark.parametrize(
    ("contact", "routes", "other"),
    [
        ("<sip:1001@192.0.2.9;transport=tcp>", "", "sip:192.0.2.9:5060;transport=tcp"),
        ("<sip:1001@192.0.2.9:5070>", "", "sip:192.0.2.9:5070;transport=tcp"),
        ("<sip:1001@10.0.0.5>", "<sip:192.0.2.9:5070;lr>, <sip:10.0.0.1;lr>", "sip:192.0.2.9:5070;transport=tcp"),
        ("<sip:1001@198.51.100.1>", "", ""),
        ("<sip:1001@192.0.2.9>", "<sip:198.51.100.1;lr>", ""),
        ("<sip:192.0.2.9@198.51.100.1>", "", ""),
        ("<sip:1001@192.0.2.9:40000>", "", ""),
    ],
)
def test_a_connection_that_is_closed_is_made_anew_to_where_the_phone_says(
    notifier: Notifier, kamailio: Kamailio, contact: str, routes: str, other: str
) -> None:
    came_from = "sip:192.0.2.9:40000;transport=tcp"
    asked = {**ASKED, "peer": came_from, "contact": contact, "routes": routes}
    lit(notifier, 1.0)
    notifier.subscribe(asked, 1.0)
    assert [call[3] for call in kamailio.calls[1:]] == [came_from]
    first = kamailio.notices()[0]
    notifier.advance(1.0 + REPLY_WAIT)
    notifier.advance(1.0 + REPLY_WAIT + WAITS[0])
    assert [call[3] for call in kamailio.calls] == [other or came_from]
    answer(notifier, kamailio.notices()[0], 13.0)
    # And stays there, while the phone says and sends the same.
    tag = header(first, "From").partition(";tag=")[2]
    notifier.subscribe({**asked, "to_tag": tag, "cseq": "2"}, 14.0)
    assert [call[3] for call in kamailio.calls[1:]] == [other or came_from]


def test_a_subscription_expires_and_says_so(notifier: Notifier, kamailio: Kamailio) -> None:
    lit(notifier, 0.0)
    answer(notifier, subscribed(notifier, kamailio, 0.0, expires="60"), 0.1)
    notifier.advance(59.0)
    assert kamailio.notices() == []
    assert notifier.advance(59.9) == 60.0
    notifier.advance(60.0)
    (last,) = kamailio.notices()
    assert header(last, "Subscription-State") == "terminated;reason=timeout"
    answer(notifier, last, 60.1)
    lit(notifier, 61.0, new=1)
    assert kamailio.notices() == []


def test_what_is_due_while_kamailio_is_away_comes_later(notifier: Notifier, kamailio: Kamailio) -> None:
    lit(notifier, 0.0)
    answer(notifier, subscribed(notifier, kamailio, 0.0), 0.1)
    kamailio.error = RpcUnavailable(method="m", address="a", reason="gone")
    lit(notifier, 1.0, new=1)
    lit(notifier, 2.0, new=2)
    kamailio.error = None
    notifier.advance(3.0)
    assert [counts(notice) for notice in kamailio.notices()] == ["2/0 (0/0)"]


def test_a_notify_of_which_kamailio_says_nothing_counts_as_sent(notifier: Notifier, kamailio: Kamailio) -> None:
    lit(notifier, 1.0)
    answer(notifier, subscribed(notifier, kamailio, 1.0), 1.1)
    kamailio.error = RpcTimeout(method="m", address="a", reason="no answer")
    lit(notifier, 2.0, new=1)
    kamailio.error = None
    notifier.advance(2.0 + REPLY_WAIT)
    assert kamailio.notices() == []
    notifier.advance(2.0 + REPLY_WAIT + WAITS[0])
    assert [counts(notice) for notice in kamailio.notices()] == ["1/0 (0/0)"]


def test_a_notify_that_kamailio_refuses_is_not_tried_for_ever(notifier: Notifier, kamailio: Kamailio) -> None:
    kamailio.error = RpcFault(method="m", address="a", code=500, message="no socket")
    lit(notifier, 0.0, new=1, phones=(PHONE,))
    tries, now = 0, 0.0
    while now < 1000:
        due = notifier.advance(now)
        tries, now = tries + 1, max(due, now + 0.5)
    assert tries <= len(WAITS) + 2


def test_another_agent_goes_on_where_one_stopped(begin: Begin, notifier: Notifier, kamailio: Kamailio) -> None:
    lit(notifier, 1.0, new=1, phones=(PHONE,))
    (unasked,) = kamailio.notices()
    answer(notifier, unasked, 1.1)
    answer(notifier, subscribed(notifier, kamailio, 1.2), 1.3)
    other = begin(10.0)
    lit(other, 10.0, new=1, phones=(PHONE,))
    assert kamailio.notices() == []
    lit(other, 11.0, new=2, phones=(PHONE,))
    assert [header(notice, "CSeq") for notice in kamailio.notices()] == ["2 NOTIFY", "2 NOTIFY"]


def test_of_several_nodes_one_tells_the_phones_and_another_takes_over(notifier: Notifier, kamailio: Kamailio) -> None:
    notifier.sends_unsolicited = False
    lit(notifier, 0.0, new=1, phones=(PHONE,))
    lit(notifier, 1.0, box="1002", new=1, phones=(PHONE,))
    notifier.advance(REMEMBERED + 0.7)
    notifier.sends_unsolicited = True
    notifier.advance(REMEMBERED + 0.9)
    assert kamailio.notices() == []
    notifier.advance(REMEMBERED + 1.3)
    assert [header(notice, "Message-Account") for notice in kamailio.notices()] == ["sip:1002@192.0.2.1"]


def test_refusals_of_the_notifier(notifier: Notifier, kamailio: Kamailio) -> None:
    def status(now: float = 1.0, **fields: str) -> int:
        notifier.subscribe({**ASKED, **fields}, now)
        return next(int(call[1]) for call in reversed(kamailio.calls) if call[0] == "tm.reply")

    notifier.complete = False
    assert status() == 503
    notifier.complete = True
    assert status() == 404
    notifier.lamps({"1001": "{"}, 0.0)
    assert status() == 404
    lit(notifier, 0.0)
    assert status(to_tag="mwi-1") == 481
    assert status(cseq="5") == 200
    tag = kamailio.calls[-2][4]
    assert status(to_tag=tag, cseq="5") == 500
    assert status(to_tag=tag, cseq="6", from_tag="other") == 481
    assert status(to_tag=tag, cseq="6", event="message-summary;id=2") == 481
    assert status(to_tag=tag, cseq="6") == 200
    assert status(602.0, to_tag=tag, cseq="7") == 481
    for number in range(1, MOST_PER_BOX):
        assert status(call_id=f"c{number}") == 200
    assert status(call_id="one more", contact="<sip:1001@10.0.0.6>") == 403


def test_a_phone_that_begins_anew_all_the_time_takes_no_room_from_others(
    notifier: Notifier, kamailio: Kamailio
) -> None:
    lit(notifier, 1.0)
    others = MOST_PER_BOX - 2
    for number in range(others):
        contact = f"<sip:{number}@192.0.2.30>"
        answer(notifier, subscribed(notifier, kamailio, 1.0, call_id=f"other-{number}", contact=contact), 1.1)
    for number in range(10):
        answer(notifier, subscribed(notifier, kamailio, 2.0 + number, call_id=f"own-{number}"), 2.1 + number)
    lit(notifier, 20.0, new=1)
    told = [header(notice, "Call-ID") for notice in kamailio.notices()]
    assert (len(told), {id for id in told if id.startswith("own")}) == (MOST_PER_BOX, {"own-8", "own-9"})


def test_a_lamp_that_is_broken_leaves_the_one_before(notifier: Notifier, kamailio: Kamailio) -> None:
    lit(notifier, 0.0, new=1)
    answer(notifier, subscribed(notifier, kamailio, 0.0), 0.1)
    notifier.lamps({"1001": '{"new": "x"}'}, 1.0)
    notifier.advance(1.0)
    assert kamailio.notices() == []
    answer(notifier, subscribed(notifier, kamailio, 2.0, call_id="d"), 2.1)


def test_the_agent_away_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        worker.tell(tmp_path / "agent.pipe", {})
    with pytest.raises(OSError, match="too long"):
        worker.tell(tmp_path / "agent.pipe", {"from": "x" * 5000})


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\x00" + b"x" * 4096])
def test_a_broken_file_is_put_aside(tmp_path: Path, begin: Begin, kamailio: Kamailio, content: bytes) -> None:
    (tmp_path / "watchers").write_bytes(content)
    notifier = begin(1.0)
    lit(notifier, 1.0)
    subscribed(notifier, kamailio, 1.0)
    assert (tmp_path / "watchers.broken").read_bytes() == content
    with closing(Watchers(tmp_path / "watchers")) as again:
        assert len(list(again)) == 1


def test_a_file_without_our_tables_is_put_aside(tmp_path: Path, begin: Begin) -> None:
    with closing(sqlite3.connect(tmp_path / "other", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE lamps (something TEXT)")
        # As a crash leaves them.
        for suffix in ("", "-wal"):
            (tmp_path / f"watchers{suffix}").write_bytes((tmp_path / f"other{suffix}").read_bytes())
    lit(begin(1.0), 1.0)
    assert begin(2.0)._watchers.lamps().keys() == {"1001"}


def test_a_disk_that_takes_no_file_is_no_end(tmp_path: Path, kamailio: Kamailio) -> None:
    (tmp_path / "file").touch()
    with closing(Watchers(tmp_path / "file" / "watchers")) as watchers:
        notifier = Notifier(watchers, kamailio, ("192.0.2.1",), 1.0)
        notifier.complete = True
        lit(notifier, 1.0, new=1)
        assert counts(subscribed(notifier, kamailio, 1.0)) == "1/0 (0/0)"


def test_a_file_that_another_has_locked_is_not_put_aside(tmp_path: Path, begin: Begin) -> None:
    with closing(Watchers(tmp_path / "watchers")) as watchers:
        watchers.save_lamp("1001", Lamp(box="1001").encode())
    with closing(sqlite3.connect(tmp_path / "watchers", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        Watchers(tmp_path / "watchers").close()
    assert begin(2.0)._watchers.lamps().keys() == {"1001"}


def test_what_the_file_cannot_take_is_told_all_the_same(tmp_path: Path, begin: Begin, kamailio: Kamailio) -> None:
    notifier = begin(1.0)
    with closing(sqlite3.connect(tmp_path / "watchers")) as other:
        other.execute("DROP TABLE watchers")
        other.execute("DROP TABLE lamps")
    lit(notifier, 1.0)
    answer(notifier, subscribed(notifier, kamailio, 1.0), 1.1)
    lit(notifier, 2.0, new=1)
    assert [counts(notice) for notice in kamailio.notices()] == ["1/0 (0/0)"]


def test_what_another_release_kept_is_forgotten(tmp_path: Path, begin: Begin, kamailio: Kamailio) -> None:
    notifier = begin(1.0)
    lit(notifier, 1.0)
    subscribed(notifier, kamailio, 1.0)
    with closing(sqlite3.connect(tmp_path / "watchers")) as other:
        other.execute("""UPDATE watchers SET watcher = '{"key": "k", "told": []}'""")
        other.commit()
    lit(begin(2.0), 2.0, new=1)
    assert kamailio.notices() == []


def test_a_folder_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    paths = {"STROWGER_RUN": str(tmp_path / "run" / "node"), "STROWGER_SNAPSHOT": str(tmp_path / "snapshot")}
    nowhere = {"STROWGER_REDIS_URL": "redis://127.0.0.1:1/0"}
    settings, stopped = Settings.from_env({**paths, **nowhere}), threading.Event()
    service = threading.Thread(target=LampService(settings, stopped.is_set).run)
    service.start()
    try:
        until(settings.watchers.exists, "it did not begin", 30)
        (tmp_path / "run").unlink()
        until(settings.agent_pipe.is_fifo, "nobody opens the pipe", 30)
    finally:
        stopped.set()
        service.join()
