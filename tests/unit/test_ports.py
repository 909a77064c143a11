"""Ports that two runs on one machine never share."""

from __future__ import annotations

import socket
import subprocess
import sys

from console.ports import free_port, free_range

MANY = "from console.ports import free_port; print(*[free_port() for _ in range(150)])"


def test_two_processes_are_given_different_ports() -> None:
    own = {free_port() for _ in range(150)}
    assert len(own) == 150
    # The reservation goes with its process, so both must live at once: this one does.
    others = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=True).stdout.split()
    assert len(others) == 150
    assert own.isdisjoint(map(int, others))


def test_a_port_that_is_in_use_is_passed_over() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port()))
        assert free_port(taken.getsockname()[1]) != taken.getsockname()[1]


def test_the_preferred_port_is_given_where_it_is_free() -> None:
    port = free_port()
    assert free_port(port) == port
    assert free_port(port) == port


def test_two_processes_that_prefer_one_port_get_two() -> None:
    port = free_port()
    assert free_port(port) == port
    asked = f"from console.ports import free_port; print(free_port({port}))"
    other = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert int(other) != port


def test_a_range_begins_even_and_has_no_gap() -> None:
    ports = free_range(12)
    assert len(ports) == 12
    assert ports[0] % 2 == 0
