"""Replies and events find who asked for them, whoever stopped waiting."""

import logging
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.esl.dispatch import Dispatch
from media.esl.errors import CommandError, ConnectionClosed, ProtocolError
from media.esl.message import Event, Headers, Message
from media.esl.replies import Replies, Unless, text


def reply(words: str) -> Message:
    return Message("command/reply", f"Content-Type: command/reply\nReply-Text: {words}".encode(), b"")


def event(name: str, **headers: str) -> Event:
    return Event(Headers.of({"Event-Name": name, **{key.replace("_", "-"): value for key, value in headers.items()}}))


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "ahead", "cancel", "answer"]), st.integers(min_value=0)))


@given(STEPS)
def test_each_waiter_gets_its_own_reply(steps):
    replies, waiters, answered = Replies(), {}, 0
    asked = 0
    for step, number in steps:
        if step == "ask":
            waiters[asked] = Future()
            replies.expect("x", waiters[asked])
            asked += 1
        elif step == "ahead":
            replies.expect("x", None)
            asked += 1
        elif step == "cancel" and waiters:
            list(waiters.values())[number % len(waiters)].cancel()
        elif step == "answer" and answered < asked:
            replies.reply(reply(f"+OK {answered}"))
            answered += 1
    assert len(replies) == asked - answered
    replies.fail(lambda: ConnectionClosed("over"))
    assert len(replies) == 0
    for number, waiter in waiters.items():
        if waiter.cancelled():
            continue
        if number < answered:
            assert text(waiter.result(0)) == f"+OK {number}"
        else:
            assert isinstance(waiter.exception(0), ConnectionClosed)


def test_errors_are_not_shared():
    replies, first, second = Replies(), Future(), Future()
    replies.expect("a", first)
    replies.expect("b", second)
    replies.fail(lambda: ConnectionClosed("over"))
    assert first.exception(0) is not second.exception(0)


def test_a_reply_nobody_asked_for():
    with pytest.raises(ProtocolError, match="nobody asked"):
        Replies().reply(reply("+OK"))


def test_a_response_to_another_command():
    replies = Replies()
    replies.expect("event", Future())
    with pytest.raises(ProtocolError, match="event"):
        replies.reply(Message("api/response", b"", b"+OK"))


def test_api_may_be_refused_by_a_reply():
    replies, waiter = Replies(), Future()
    replies.expect("api", waiter)
    replies.reply(reply("-ERR permission denied"))
    assert text(waiter.result(0)) == "-ERR permission denied"


def test_what_was_sent_ahead_is_logged_by_name_alone(caplog):
    replies = Replies()
    replies.expect("sendmsg", None)
    with caplog.at_level(logging.WARNING):
        replies.reply(reply("-ERR invalid session id [4711]"))
    assert "sendmsg" in caplog.text
    assert "4711" not in caplog.text


def test_events_go_to_who_waits_by_the_name_we_chose():
    dispatch, job, played, heard = Dispatch(), Future(), Future(), []
    dispatch.listen(heard.append)
    dispatch.expect("j", job)
    dispatch.expect("e", played)
    others = [
        event("BACKGROUND_JOB", Job_UUID="another"), event("CHANNEL_EXECUTE_COMPLETE", Application_UUID="another"),
        event("CHANNEL_EXECUTE", Application_UUID="e"), event("CHANNEL_EXECUTE_COMPLETE", Job_UUID="e"),
        event("CHANNEL_EXECUTE_COMPLETE"),
    ]  # fmt: skip
    for one in others:
        dispatch.event(one)
    assert heard == others
    assert not job.done()
    assert not played.done()
    mine, ours = event("BACKGROUND_JOB", Job_UUID="j"), event("CHANNEL_EXECUTE_COMPLETE", Application_UUID="e")
    dispatch.event(ours)
    dispatch.event(mine)
    assert (job.result(0), played.result(0)) == (mine, ours)
    assert heard == others


def test_an_event_given_up_goes_to_those_who_listen():
    dispatch, job, heard = Dispatch(), Future(), []
    dispatch.listen(heard.append)
    dispatch.expect("j", job)
    job.cancel()
    dispatch.event(event("BACKGROUND_JOB", Job_UUID="j"))
    assert len(heard) == 1


def test_a_broken_handler_is_no_matter_of_the_others(caplog):
    dispatch, heard = Dispatch(), []

    def broken(_: Event) -> None:
        raise RuntimeError("x")

    dispatch.listen(broken)
    stop = dispatch.listen(heard.append)
    dispatch.event(event("A"))
    stop()
    dispatch.event(event("B"))
    assert [one.name for one in heard] == ["A"]
    assert "handler of A" in caplog.text


def test_who_waits_for_an_event_hears_of_the_reply_only_if_it_is_a_refusal():
    replies, played, refused, given_up = Replies(), Future(), Future(), Future()
    for result in (played, refused, given_up):
        replies.expect("sendmsg", Unless("sendmsg", result))
    given_up.cancel()
    replies.reply(reply("+OK"))
    assert not played.done()
    replies.reply(reply("-ERR invalid session id [4711]"))
    with pytest.raises(CommandError, match="sendmsg"):
        refused.result(0)
    replies.reply(reply("-ERR"))
    replies.expect("sendmsg", Unless("sendmsg", played))
    replies.fail(lambda: ConnectionClosed("over"))
    assert isinstance(played.exception(0), ConnectionClosed)
