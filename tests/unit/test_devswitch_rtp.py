"""RTP of the embedded switch: the jitter buffer, digits as events, and what is no packet."""

from __future__ import annotations

import asyncio
import random
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devswitch.leg import FRAME, Frame
from devswitch.rtp.dtmf import END_BIT, ENDS, GAP_FRAMES, LOST_FRAMES, DigitReceiver, DigitSender
from devswitch.rtp.jitter import LONGEST, PRIMED, Decode, JitterBuffer
from devswitch.rtp.peer import THRESHOLD, Peer
from devswitch.rtp.stream import payload_of


def packet(value: int, length: int = FRAME) -> Decode:
    return lambda: np.full(length, value, np.int16)


def heard(buffer: JitterBuffer, frames: int) -> list[int]:
    return [int(buffer.take()[0]) for _ in range(frames)]


class TestJitterBuffer:
    def test_it_waits_until_it_has_something_in_hand(self) -> None:
        buffer = JitterBuffer()
        buffer.put(1, packet(1))
        assert heard(buffer, 2) == [0, 0]
        buffer.put(2, packet(2))
        assert PRIMED == 2
        assert heard(buffer, 3) == [1, 2, 0]

    def test_disorder_and_doubles_are_put_right(self) -> None:
        buffer = JitterBuffer()
        for number in (1, 3, 2, 3, 5, 4):
            buffer.put(number, packet(number))
        assert heard(buffer, 6) == [1, 2, 3, 4, 5, 0]

    def test_what_is_lost_is_silence_and_what_is_late_is_dropped(self) -> None:
        buffer = JitterBuffer()
        for number in (1, 2, 4, 5):
            buffer.put(number, packet(number))
        assert heard(buffer, 3) == [1, 2, 0]
        buffer.put(3, packet(3))
        assert heard(buffer, 3) == [4, 5, 0]

    def test_a_long_gap_is_left_out(self) -> None:
        buffer = JitterBuffer()
        for number in (1, 2, 50, 51):
            buffer.put(number, packet(number))
        assert heard(buffer, 5) == [1, 2, 50, 51, 0]

    def test_numbers_begin_anew(self) -> None:
        buffer = JitterBuffer()
        for number in (65534, 65535, 0, 1):
            buffer.put(number, packet(number % 1000 + 1))
        assert heard(buffer, 5) == [535, 536, 1, 2, 0]
        for number in (2, 3):
            buffer.put(number, packet(number))
        assert heard(buffer, 2) == [2, 3]

    def test_a_jump_is_another_beginning(self) -> None:
        buffer = JitterBuffer()
        for number in (1, 2, 30000, 30001):
            buffer.put(number, packet(number))
        assert heard(buffer, 3) == [30000, 30001, 0]
        buffer.restart()
        for number in (29999, 30000):
            buffer.put(number, packet(7))
        assert heard(buffer, 3) == [7, 7, 0]

    def test_delay_does_not_grow(self) -> None:
        buffer = JitterBuffer()
        for number in range(LONGEST + 5):
            buffer.put(number, packet(number))
        assert heard(buffer, 1) == [5]

    def test_packets_of_other_lengths(self) -> None:
        buffer = JitterBuffer()
        for number in range(4):
            buffer.put(number, packet(number + 1, 240))
        frames = [buffer.take() for _ in range(6)]
        assert np.concatenate(frames).tolist() == [1] * 240 + [2] * 240 + [3] * 240 + [4] * 240

    def test_events_take_no_time(self) -> None:
        buffer = JitterBuffer()
        for number in range(1, 6):
            buffer.put(number, packet(number) if number in (1, 5) else None)
        assert heard(buffer, 2) == [1, 5]

    @given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 400)), max_size=60))
    def test_it_always_gives_a_frame(self, packets: list[tuple[int, int]]) -> None:
        buffer = JitterBuffer()
        for number, length in packets:
            buffer.put(number, packet(1, length) if length else None)
            assert len(buffer.take()) == FRAME


def event(digit: int, duration: int, *, end: bool = False) -> bytes:
    return struct.pack("!BBH", digit, 10 | (END_BIT if end else 0), duration)


class TestDigitReceiver:
    def test_a_digit_is_told_once(self) -> None:
        receiver = DigitReceiver()
        told = [
            *receiver.packet(1000, event(5, 160)),
            *receiver.packet(1000, event(5, 640)),
            *[digit for _ in range(3) for digit in receiver.packet(1000, event(5, 800, end=True))],
        ]
        assert told == [("5", 800)]

    def test_the_same_digit_twice_is_two_digits(self) -> None:
        receiver = DigitReceiver()
        told = receiver.packet(1000, event(11, 800, end=True)) + receiver.packet(2000, event(11, 800, end=True))
        assert told == [("#", 800), ("#", 800)]

    def test_a_digit_whose_end_is_lost_ends_with_the_next(self) -> None:
        receiver = DigitReceiver()
        assert receiver.packet(1000, event(1, 480)) == []
        assert receiver.packet(3000, event(2, 160)) == [("1", 480)]

    def test_or_when_nothing_more_is_heard(self) -> None:
        receiver = DigitReceiver()
        receiver.packet(1000, event(1, 480))
        ticks = [receiver.tick() for _ in range(LOST_FRAMES + 5)]
        assert [told for told in ticks if told] == [[("1", 480)]]
        assert receiver.packet(1000, event(1, 800, end=True)) == []

    def test_a_short_digit_has_freeswitchs_least_duration(self) -> None:
        assert DigitReceiver().packet(0, event(0, 10, end=True)) == [("0", 400)]

    @pytest.mark.parametrize("payload", [b"", b"\x05", event(16, 800, end=True), event(255, 0)])
    def test_what_is_no_digit_is_nothing(self, payload: bytes) -> None:
        assert DigitReceiver().packet(1, payload) == []


class TestDigitSender:
    def send(self, digits: str, ms: int) -> list[tuple[int, list[bytes]]]:
        async def run() -> list[tuple[int, list[bytes]]]:
            sender = DigitSender()
            done = sender.press(digits, ms)
            sent, timestamp = [], 0
            while not done.done():
                sent.append(sender.packets(timestamp))
                timestamp += FRAME
            return sent

        return asyncio.run(run())

    def test_durations_grow_and_the_end_is_sent_three_times(self) -> None:
        sent = self.send("7", 60)
        assert sent == [
            (0, [event(7, 160)]),
            (0, [event(7, 320)]),
            (0, [event(7, 480, end=True)] * ENDS),
        ]

    def test_between_two_digits_there_is_a_gap(self) -> None:
        sent = self.send("1d", 40)
        assert [len(payloads) for _, payloads in sent] == [1, ENDS, *[0] * GAP_FRAMES, 1, ENDS]
        assert sent[-1] == (5 * FRAME, [event(15, 320, end=True)] * ENDS)

    def test_what_is_sent_is_received(self) -> None:
        receiver = DigitReceiver()
        told = [
            digit
            for timestamp, payloads in self.send("0123456789*#ABCD", 100)
            for payload in payloads
            for digit in receiver.packet(timestamp, payload)
        ]
        assert told == [(digit, 800) for digit in "0123456789*#ABCD"]

    @pytest.mark.parametrize("digits", ["", "12x", " "])
    def test_other_characters_are_refused(self, digits: str) -> None:
        with pytest.raises(ValueError, match="no digits"):
            self.send(digits, 100)


class TestPeer:
    DESCRIBED, NAT, FORGOTTEN = ("192.0.2.1", 4000), ("192.0.2.2", 5000), ("192.0.2.3", 6000)

    def test_where_it_says_nobody_else_is_heard(self) -> None:
        peer = Peer(self.DESCRIBED)
        assert peer.address == self.DESCRIBED
        assert peer.takes(self.DESCRIBED)
        assert not any(peer.takes(self.FORGOTTEN) for _ in range(2 * THRESHOLD))
        assert peer.takes(self.DESCRIBED)
        assert peer.address == self.DESCRIBED

    def test_behind_nat_it_is_where_it_sends_from(self) -> None:
        peer = Peer(self.DESCRIBED)
        assert peer.takes(self.NAT)
        assert peer.address == self.NAT
        assert all(peer.takes(self.NAT) for _ in range(THRESHOLD))
        assert not peer.takes(self.FORGOTTEN)
        assert peer.address == self.NAT

    @pytest.mark.parametrize("before", [1, THRESHOLD, 2 * THRESHOLD])
    def test_others_who_send_before_it_do_not_keep_it_away(self, before: int) -> None:
        peer = Peer(self.DESCRIBED)
        assert all(peer.takes(self.FORGOTTEN) for _ in range(before))
        assert peer.takes(self.DESCRIBED)
        assert not peer.takes(self.FORGOTTEN)
        assert peer.address == self.DESCRIBED


def rtp(first: int, rest: bytes) -> bytes:
    return bytes([first, 0]) + bytes(10) + rest


def test_payloads_are_found() -> None:
    assert payload_of(rtp(0x80, b"abc")) == b"abc"
    assert payload_of(rtp(0x82, bytes(8) + b"abc")) == b"abc"
    assert payload_of(rtp(0x90, b"\0\0\0\1" + bytes(4) + b"abc")) == b"abc"
    assert payload_of(rtp(0xA0, b"abc\0\0\3")) == b"abc"


@pytest.mark.parametrize(
    "data",
    [b"", bytes(11), rtp(0x80, b""), rtp(0x40, b"abc"), rtp(0x8F, b"abc"), rtp(0x90, b"abc"), rtp(0xA0, b"ab\xff")],
)
def test_what_is_no_packet_has_none(data: bytes) -> None:
    assert payload_of(data) is None


def test_disorder_of_a_whole_call_is_put_right() -> None:
    """As if packets came by up to three places early or late."""
    order = sorted(range(500), key=lambda number: number + random.Random(number).uniform(0, 2))
    buffer, frames = JitterBuffer(), list[Frame]()
    for number in order:
        buffer.put(number, packet(number + 1))
        frames.append(buffer.take())
    sounds = [int(frame[0]) for frame in frames if frame[0]]
    assert sounds == sorted(sounds)
    assert len(sounds) > 480
