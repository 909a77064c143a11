"""What the documentation shows is right as far as it can be told without a node: policies, scripts, commands, links."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest
import typer
import yaml
from harness.pages import ROOT, Block, blocks, pages

import policyfile
from bench import page as performance
from console.cli import app
from kemi import refusals
from media.loader import Scripts
from media.session import load_menus, load_phrases
from model.policy import Refusal
from policyfile.document import Document, keys_of

NOT_RUN_MOST = 45
"Blocks of commands that nobody can run here. Raise it only for one that truly needs what is not here."
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
ALL = [block for page in pages() for block in blocks(page)]
COMMANDS = {"console", "sh"}
OURS = re.compile(r"(?:^|[|&;(]\s*|(?:--rm|-T|agent)\s+)(?:\S*bin/)?strowger((?:\s+[^\s|&;<>`]+)+)", re.MULTILINE)


def of(*languages: str) -> list[Block]:
    return [block for block in ALL if block.language in languages]


class TestCommands:
    def test_what_is_not_run_says_why_and_is_little(self) -> None:
        left_out = [block for block in of(*COMMANDS) if block.not_run]
        assert all(len(block.not_run) > 10 for block in left_out)
        print("\n".join(f"{block}: {block.not_run}" for block in left_out))
        assert len(left_out) <= NOT_RUN_MOST

    def test_commands_are_in_blocks_that_are_run(self) -> None:
        """A `$ strowger` in a block of another kind would be run by nobody."""
        assert [str(block) for block in ALL if block.language not in COMMANDS and "\n$ " in "\n" + block.text] == []

    @pytest.mark.parametrize("block", [one for one in of(*COMMANDS) if one.not_run], ids=str)
    def test_those_that_are_not_run_exist(self, block: Block) -> None:
        for words in strowger_commands(block):
            assert_exists(words)

    @pytest.mark.parametrize("page", pages())
    def test_those_in_sentences_exist(self, page: str) -> None:
        text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
        for words in re.findall(r"`strowger ([a-z][^`…|]*)`", text):
            assert_exists(words.split())


def strowger_commands(block: Block) -> Iterator[list[str]]:
    """Command lines of `strowger` in a block, without the program's name."""
    text = "\n".join(line for line, _ in block.commands) if block.language == "console" else block.text
    for line in text.replace("\\\n", " ").splitlines():
        line = re.sub(r"(^|\s)#.*", "", line)
        for found in OURS.findall(line):
            yield shlex.split(found)


@functools.cache
def program() -> click.Command:
    return typer.main.get_command(app)


def assert_exists(words: list[str]) -> None:
    command, context = program(), click.Context(click.Command("strowger"))
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, f"strowger has no {shlex.join(words)}"
        command, words = found, words[1:]
    if words and not words[0].startswith("-"):
        assert any(isinstance(one, click.Argument) for one in command.params), f"{command.name} takes no {words[0]}"
    options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in options]
    assert unknown == []


class TestPolicies:
    @pytest.mark.parametrize("block", [one for one in of("yaml") if not one.not_run], ids=str)
    def test_loads(self, block: Block, tmp_path: Path) -> None:
        content = yaml.safe_load(block.text)
        if block.text.startswith(" "):
            content = {"routes": [{"name": "one", "prefixes": ["default"], **content}]}
        keys = set(content)
        if "menus" in keys:
            load_phrases_of(block, tmp_path)
            (tmp_path / "menus.yaml").write_text(block.text)
            load_menus(tmp_path / "menus.yaml")
        elif keys == {"phrases"}:
            (tmp_path / "phrases.yaml").write_text(block.text)
            load_phrases(tmp_path / "phrases.yaml")
        elif "strowger" in keys:
            assert policyfile.load(block.text, name=str(block)).policy
        else:
            assert keys <= set(keys_of(Document)), "neither a policy nor part of one: say why it is not run"
            assert policyfile.load(json.dumps(completed(content)), name=str(block)).policy


def load_phrases_of(block: Block, folder: Path) -> None:
    for other in blocks(block.page):
        if other.language == "yaml" and other.text.startswith("phrases:\n"):
            (folder / "phrases.yaml").write_text(other.text)


def completed(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a policy with what it speaks of around it."""
    whole: dict[str, Any] = {
        "strowger": 1,
        "dialling_plans": {"gb": {"country_code": "44"}},
        "default_dialling": "gb",
        "currency": "USD",
        "subscribers": {"realm": "example.net"},
        **part,
    }
    routes = whole.get("routes", [])
    whole["trunks"] = {
        **{name: {"sources": [f"192.0.2.{number}"]} for number, name in enumerate(named(routes, "trunks"), 100)},
        **({} if "trunks" in part else {"office": {"sources": ["192.0.2.0/24"], "tags": ["staff"]}}),
        **whole.get("trunks", {}),
    }
    wanted = named([*routes, *[one for one in [whole.get("emergency")] if one]], "gateways")
    whole["gateways"] = {name: {"address": "198.51.100.1"} for name in wanted} | whole.get("gateways", {})
    if any("media" in route or "voicemail" in route for route in routes):
        whole.setdefault("media", {"fs-1": {"address": "203.0.113.11"}})
    whole["trunks"].pop("subscribers", None)
    whole["hooks"] = {
        route["hook"]: {"url": "https://billing.example.net/"} for route in routes if "hook" in route
    } | whole.get("hooks", {})
    return {key: value for key, value in whole.items() if value != {}}


def named(sections: list[Any], key: str) -> list[str]:
    return sorted({name for section in sections for name in section.get(key, ())})


class TestCode:
    @pytest.mark.parametrize("block", of("python"), ids=str)
    def test_is_python(self, block: Block) -> None:
        compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)

    @pytest.mark.parametrize("page", sorted({one.page for one in of("python") if "@script" in one.text}))
    def test_call_scripts_load(self, page: str, tmp_path: Path) -> None:
        declared = 0
        for number, block in enumerate(blocks(page)):
            if block.language == "python" and "@script" in block.text:
                (tmp_path / f"page{number}.py").write_text(block.text)
                declared += block.text.count("@script")
            if block.language == "yaml" and block.text.startswith("phrases:\n"):
                (tmp_path / "phrases.yaml").write_text(block.text)
        scripts = Scripts(tmp_path)
        scripts.load()
        assert scripts.registry.refused == {}
        assert len(scripts.registry.scripts()) == declared

    @pytest.mark.parametrize("block", of("json"), ids=str)
    def test_is_json(self, block: Block) -> None:
        for text in re.split(r"^(?=\{)", block.text, flags=re.MULTILINE):
            if text.strip():
                json.loads(text)

    @pytest.mark.parametrize("block", of("xml"), ids=str)
    def test_is_xml(self, block: Block) -> None:
        ElementTree.fromstring(f"<all>{block.text}</all>")

    @pytest.mark.parametrize("block", of("ini"), ids=str)
    def test_is_ini(self, block: Block) -> None:
        text = block.text if "\n[" in "\n" + block.text else "[all]\n" + block.text
        ConfigParser(strict=False, interpolation=None).read_string(text)


class TestLinks:
    @pytest.mark.parametrize("page", pages())
    def test_files_exist(self, page: str) -> None:
        path = ROOT / page
        for target in LINK.findall(re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)):
            assert (path.parent / target).exists(), f"{page} names {target}"

    def test_make_targets_exist(self) -> None:
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for page in pages():
            text = (ROOT / page).read_text()
            named_here = set(re.findall(r"^(?:\$ )?make ([\w-]+)(?=$|  )|`make ([\w-]+)`", text, re.MULTILINE))
            assert {word for pair in named_here for word in pair if word} <= targets, page

    def test_the_site_builds_and_fetches_nothing_from_elsewhere(self, tmp_path: Path) -> None:
        subprocess.run(
            [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", tmp_path],
            cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True, timeout=100,
        )  # fmt: skip
        built = sorted(tmp_path.rglob("*.html"))
        assert len(built) > len(list((ROOT / "docs").glob("*.md")))
        for page in built:
            loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"?([^\s\">]+)", page.read_text())
            assert [url for url in loaded if re.match(r"(?:https?:)?//", url)] == [], page


def test_the_figures_are_the_newest_ones() -> None:
    rows = performance.newest()
    # To bring page and pictures up to date: python -m bench.page
    assert performance.updated(performance.PAGE.read_text(), rows) == performance.PAGE.read_text()
    for name, text in performance.pictures(rows).items():
        assert (performance.PICTURES / f"{name}.svg").read_text() == text


def test_every_refusal_is_in_the_table() -> None:
    table = (ROOT / "docs" / "refusals.md").read_text()
    rows = {row[0]: row for row in re.findall(r"^\| `([\w-]+)` \| (\d+) \| (\d+) \|", table, re.MULTILINE)}
    own = [value for value in vars(refusals).values() if isinstance(value, Refusal)]
    for refusal in (*own, *refusals.BLOCKED.values()):
        assert rows.pop(refusal.id) == (refusal.id, str(refusal.status), str(refusal.cause))
    # Made by kamailio.cfg, before any Python.
    assert set(rows) == {"too-many-hops"}
