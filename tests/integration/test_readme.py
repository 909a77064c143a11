"""What the README shows works: its policies load, its commands end well, its files are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from harness.node import Node

import policyfile
from console import demo
from kemi import refusals
from model.policy import Refusal

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")

pytestmark = pytest.mark.timeout(120)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(README) if kind == language]


def commands() -> list[list[str]]:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ strowger")]
    return [shlex.split(line)[1:] for line in lines]


def test_its_policies_load() -> None:
    policies = blocks("yaml")
    assert policies
    for number, text in enumerate(policies):
        assert policyfile.load(text, name=f"README block {number}").routes


def test_its_commands_end_well_on_a_running_node(node: Node, tmp_path: Path) -> None:
    demo.apply(node.stack.settings, demo.POLICY.read_text())
    (tmp_path / "policy.yaml").write_text(blocks("yaml")[0])
    environment = {**os.environ, **node.stack.settings.to_env()}
    ran = commands()
    assert len(ran) > 12
    for arguments in ran:
        done = subprocess.run(
            [sys.executable, "-m", "console.cli", *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"strowger {shlex.join(arguments)}: {done.stdout}{done.stderr}"


def test_its_make_targets_and_files_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for pair in re.findall(r"^make (\w+)|`make (\w+)`", README, re.MULTILINE) for word in pair if word}
    assert named <= targets
    for path in sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")):
        for target in LINK.findall(path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} names {target}"


def test_every_refusal_is_in_the_table() -> None:
    table = (ROOT / "docs" / "refusals.md").read_text()
    rows = {row[0]: row for row in re.findall(r"^\| `([\w-]+)` \| (\d+) \| (\d+) \|", table, re.MULTILINE)}
    own = [value for value in vars(refusals).values() if isinstance(value, Refusal)]
    for refusal in (*own, *refusals.BLOCKED.values()):
        assert rows.pop(refusal.id) == (refusal.id, str(refusal.status), str(refusal.cause))
    # Made by kamailio.cfg, before any Python.
    assert set(rows) == {"too-many-hops"}
