"""The ear of the tests' phone: packets are put where their timestamps say, however late they come."""

from __future__ import annotations

import struct

from harness.audio import FRAME, frequencies, tone
from harness.ear import GRACE, Ear

from devswitch.audio import g711

PCMU = 0
MARKER = 0x80
EVENTS = 101
TONE = tone(600, 1.0)


def packet(number: int, *, timestamp: int | None = None, second: int = PCMU, ssrc: int = 7) -> bytes:
    """The RTP packet of that frame of the tone."""
    samples = TONE[number * FRAME : (number + 1) * FRAME]
    at = number * FRAME if timestamp is None else timestamp
    return struct.pack("!BBHII", 0x80, second, number, at & 0xFFFFFFFF, ssrc) + g711.encode(samples, PCMU)


def ear() -> Ear:
    return Ear(lambda: None)


def pass_time(heard: Ear, frames: int) -> None:
    for _ in range(frames):
        heard.frame(TONE[:FRAME])


def test_packets_that_come_late_are_no_gap() -> None:
    heard = ear()
    for number in range(20):
        if number == 10:
            pass_time(heard, 5 * GRACE)
        heard.packet(packet(number))
    (found,) = heard.tones()
    assert (found.start, found.seconds, heard.now) == (0.0, 0.4, 0.4)


def test_a_jump_of_timestamps_is_silence() -> None:
    heard = ear()
    for number in range(40):
        heard.packet(packet(number % 20, timestamp=(number + 25 * (number >= 20)) * FRAME))
    first, second = heard.tones()
    assert (first.seconds, second.seconds) == (0.4, 0.4)
    assert second.start - first.end == 0.5


def test_timestamps_begin_anew_after_the_last() -> None:
    heard = ear()
    for number in range(20):
        heard.packet(packet(number, timestamp=0xFFFFFFFF - 9 * FRAME + number * FRAME))
    assert heard.now == 0.4


def test_a_packet_that_came_before_is_nothing_new() -> None:
    heard = ear()
    for number in (0, 1, 2, 1, 2, 3):
        heard.packet(packet(number))
    assert heard.now == 0.08


def test_where_nothing_is_sent_there_is_silence() -> None:
    heard = ear()
    for number in range(10):
        heard.packet(packet(number))
    pass_time(heard, GRACE)
    assert (heard.quiet(), heard.elapsed) == (0.0, 0.2)
    pass_time(heard, 25)
    assert (heard.quiet(), heard.elapsed, heard.now) == (1.0, 1.2, 0.2)
    for number in range(10, 20):
        heard.packet(packet(number, second=MARKER if number == 10 else PCMU))
    assert frequencies(heard.tones()) == [600, 600]
    assert heard.now == 1.4


def test_digits_and_what_is_no_rtp_are_no_sound() -> None:
    heard = ear()
    for data in (b"", b"x" * 40, packet(0, second=EVENTS)):
        heard.packet(data)
    assert heard.now == 0.0


def test_another_source_goes_on_where_the_first_was() -> None:
    heard = ear()
    heard.packet(packet(0))
    heard.packet(packet(1, timestamp=99999, ssrc=8))
    assert heard.now == 0.04
