"""The benchmark of the embedded switch measures what it says."""

from __future__ import annotations

from bench import switch


def test_packets_are_counted_and_heard() -> None:
    errors, packets, loud, cpu = switch.measure(calls=3, seconds=1)
    # Of 150 packets; a busy machine may hold some up past the end.
    assert 75 < packets < 200
    assert len(errors) == packets - 3
    assert loud > 0.5
    assert cpu > 0
