"""kamcmd itself, as operators type it."""

from __future__ import annotations

import subprocess

from harness.node import Node


def kamcmd(node: Node, *words: str) -> str:
    socket = node.stack.settings.run / "kamailio_ctl"
    done = subprocess.run(["kamcmd", "-s", str(socket), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_reaches_the_node(node: Node) -> None:
    assert "uptime:" in kamcmd(node, "core.uptime")


def test_its_reload_leaves_the_node_deciding(node: Node) -> None:
    before = int(kamcmd(node, "app_python.reload").split("new:")[1].split()[0])
    assert int(kamcmd(node, "app_python.reload").split("new:")[1].split()[0]) == before + 1
    node.apply([])
    for number in range(8):
        node.refused(f"10{number}", "02079460000", 404, "no-route")
