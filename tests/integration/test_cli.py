"""The `strowger` command as operators run it: what it prints, how it ends, and what it leaves undone."""

from __future__ import annotations

import csv
import getpass
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
import redis
import typer.main
from harness.cli import Cli, Done, Runner, forking, fresh
from harness.node import Node

import policyfile
from console.cli import app
from console.ports import free_port
from console.serve import ROOT
from model.entries import Action, Entry, Kind
from model.record import CallRecord
from state import audit, keys, tokens
from state.store import NodeReport, Store

NAME = "node-under-test"
CALLER, CALLEE = "1001", "02079460000"
POLICY = """\
# kept as it was written: “é”
strowger: 1
dialling_plans:
  gb: {{country_code: "44"}}
default_dialling: gb
trunks:
  lab: {{sources: [127.0.0.0/8]}}
gateways:
  carrier-a: {{address: "127.0.0.1:{first}", no_reply: 15s, progress: 15s}}
  carrier-b: {{address: "127.0.0.1:{second}", no_reply: 15s, progress: 15s}}
  carrier-six: {{address: "[fd00::5]:5070", transport: tcp, enabled: false}}
routes:
  - {{name: home, prefixes: ["+44"], gateways: {order}, max_attempts: 4, post_dial_delay: 30s}}
  - {{name: six, prefixes: ["+6"], gateways: [carrier-six]}}
  - {{name: premium, prefixes: ["+44909"], reject: {{id: premium, status: 403, phrase: No Premium}}}}
"""


def policy_text(order: str = "[carrier-a, carrier-b]", first: int = 15991, second: int = 15992) -> str:
    return POLICY.format(order=order, first=first, second=second)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with forking(tmp_path_factory.mktemp("cli")) as runner:
        yield runner


@pytest.fixture
def node(node: Node) -> Node:
    """The shared node with a policy of these tests in force."""
    loaded = policyfile.load(policy_text(), name="policy")
    store = node.store
    change = store.apply(
        text=loaded.text, policy=loaded.policy, routes=loaded.routes, expected=store.policy_version(), author="test"
    )
    store.confirm(change.seq)
    with node.kamcmd() as kamcmd:
        kamcmd.call("htable.flush", "health")
    return node


@pytest.fixture
def cli(node: Node, runner: Runner) -> Cli:
    """The command on the machine of the node."""
    return Cli(runner, node.stack.settings.to_env())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy file."""
    path = tmp_path / "policy.yaml"
    path.write_text(policy_text())
    return path


def test_the_installed_command_does_what_the_others_here_do(node: Node, file: Path) -> None:
    cli = Cli(fresh, node.stack.settings.to_env())
    assert cli("policy", "apply", str(file), "--json").data["nodes"] == [NAME]
    cli("block", "add", "--caller", CALLER)
    assert cli("explain", "--from", CALLER, "--to", CALLEE, "--json").data["refusal"] == "blocked-caller"
    assert "neither" in cli("block", "rm", "--caller", "1 > 2", status=2).said
    assert cli("block", "rm", "--caller", "1002", status=1).said == "there is no entry for caller 1002"
    assert cli("status").out.count("ok") == 3


# policy


def test_a_policy_is_checked_and_nothing_applied(node: Node, cli: Cli, file: Path) -> None:
    before = node.store.position()
    assert cli("policy", "validate", str(file)).out == f"{file}: valid: 1 trunks, 3 gateways, 3 routes\n"
    data = cli("policy", "validate", str(file), "--json").data
    assert data == {"valid": True, "trunks": 1, "gateways": 3, "routes": 3, "warnings": []}
    assert cli("policy", "validate", "-", text=policy_text()).out.startswith("-: valid")
    assert node.store.position() == before


def test_an_applied_policy_is_in_force_when_the_command_returns(node: Node, cli: Cli, file: Path) -> None:
    for order, gateway in (("[carrier-b]", "carrier-b"), ("[carrier-a]", "carrier-a")):
        file.write_text(policy_text(order))
        version = node.store.policy_version() + 1
        done = cli("policy", "apply", str(file), "--json")
        assert done.data == {"version": version, "nodes": [NAME]}
        found = cli("explain", "--from", CALLER, "--to", CALLEE, "--json").data
        assert (found["version"], found["gateway"]) == (version, gateway)
    assert cli("policy", "apply", "-", text=policy_text()).out == (
        f"policy version {version + 1} is in force on {NAME}\n"
    )


def test_a_policy_is_shown_as_it_was_applied(node: Node, cli: Cli) -> None:
    done = cli("policy", "show")
    assert done.out == policy_text()
    assert f"# version {node.store.policy_version()}, applied 20" in done.err
    data = cli("policy", "show", "--json").data
    assert set(data) == {"version", "applied", "author", "message", "text"}
    assert (data["text"], data["author"], data["message"]) == (policy_text(), "test", "")


def test_a_policy_expected_to_replace_another_version_is_not_applied(node: Node, cli: Cli, file: Path) -> None:
    before = node.store.position()
    version = node.store.policy_version()
    done = cli("policy", "apply", str(file), "--expect", str(version - 1), status=1)
    assert f"version {version} is in force, not {version - 1}" in done.said
    assert node.store.position() == before
    assert cli("policy", "apply", str(file), "--expect", str(version), "--json").data["version"] == version + 1


def test_the_history_tells_who_applied_what_and_why(node: Node, cli: Cli, file: Path) -> None:
    version = cli("policy", "apply", str(file), "-m", "first [/b] “é”", "--json").data["version"]
    file.write_text(policy_text("[carrier-b]"))
    cli("policy", "apply", str(file), "--message", "b only")
    newest, before = cli("policy", "history", "--limit", "2", "--json").data
    assert set(newest) == {"version", "applied", "author", "message"}
    assert (newest["version"], newest["message"], newest["author"]) == (version + 1, "b only", getpass.getuser())
    assert (before["version"], before["message"]) == (version, "first [/b] “é”")
    heading, first, *_ = cli("policy", "history").out.splitlines()
    assert heading.split() == ["version", "applied", "author", "message"]
    assert first.split()[0] == str(version + 1)
    shown = cli("policy", "show", "--version", str(version))
    assert shown.out == policy_text()
    assert f"# version {version}, " in shown.err
    assert shown.err.endswith(f"by {getpass.getuser()}: first [/b] “é”\n")
    assert cli("policy", "show", "--version", str(version + 1), "--json").data["text"] == policy_text("[carrier-b]")
    assert (
        f"version {version + 2} is not in the history"
        in cli("policy", "show", "--version", str(version + 2), status=1).said
    )


def test_a_rollback_is_a_new_version_with_the_earlier_text(node: Node, cli: Cli, file: Path) -> None:
    version = cli("policy", "apply", str(file), "--json").data["version"]
    for order in ("[carrier-b]", "[carrier-b, carrier-a]"):
        file.write_text(policy_text(order))
        cli("policy", "apply", str(file))
    done = cli("policy", "rollback", "--json")
    assert done.data == {"version": version + 3, "nodes": [NAME], "rolled_back_to": version + 1}
    assert cli("policy", "show").out == policy_text("[carrier-b]")
    assert cli("explain", "--to", CALLEE, "--json").data["gateway"] == "carrier-b"
    done = cli("policy", "rollback", "--to", str(version), "-m", "calls fail")
    assert done.out == f"policy version {version + 4} is in force on {NAME}\n"
    assert cli("policy", "show").out == policy_text()
    history = cli("policy", "history", "--limit", "5", "--json").data
    assert [item["version"] for item in history] == list(range(version + 4, version - 1, -1))
    assert history[0]["message"] == f"rollback to version {version}: calls fail"
    assert history[1]["message"] == f"rollback to version {version + 1}"


def test_rollbacks_at_once_undo_nobodys_change_unseen(node: Node, cli: Cli, file: Path) -> None:
    first = node.store.policy_version()
    cli("policy", "apply", str(file))

    def roll_back(_: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "console.cli", "policy", "rollback", "--to", str(first), "--json"]
        return subprocess.run(
            command, env={**os.environ, **cli.environment}, cwd=ROOT, capture_output=True, text=True, check=False
        )

    with ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(roll_back, range(3)))
    won = [json.loads(done.stdout)["version"] for done in ended if done.returncode == 0]
    assert sorted(won) == list(range(first + 2, first + 2 + len(won)))
    assert won
    assert all("somebody applied a policy meanwhile" in done.stderr for done in ended if done.returncode)
    assert node.store.policy_version() == max(won)


def test_a_rollback_that_cannot_be_is_refused(node: Node, cli: Cli, file: Path) -> None:
    # As if taken by a Strowger that was less strict.
    loaded = policyfile.load(policy_text(), name="policy")
    version = node.store.policy_version() + 1
    node.store.apply(
        text="strowger: 0\n", policy=loaded.policy, routes=loaded.routes, expected=version - 1, author="old"
    )
    cli("policy", "apply", str(file))
    before = node.store.position()
    for arguments, said in (
        ((), f"version {version} is no valid policy any more, and nothing was applied: version {version}:1: strowger"),
        (("--to", str(version + 1)), f"version {version + 1} is in force already"),
        (("--to", str(version + 2)), f"version {version + 2} is not in the history"),
        (("--to", "0"), "there is nothing before the first version"),
    ):
        assert said in cli("policy", "rollback", *arguments, status=1).said
    assert node.store.position() == before


def test_a_file_is_compared_with_the_policy_in_force(node: Node, cli: Cli, file: Path) -> None:
    assert cli("policy", "diff", str(file)).out == "no difference: both decide every call alike\n"
    text = policy_text("[carrier-b]").replace("name: six", "name: seven")
    file.write_text(text)
    done = cli("policy", "diff", str(file), status=1)
    assert done.out.splitlines() == [
        "~ route home",
        '    gateways: ["carrier-a", "carrier-b"] -> ["carrier-b"]',
        "+ route seven",
        '    prefixes: ["+6"]',
        '    gateways: ["carrier-six"]',
        "- route six",
        '    prefixes: ["+6"]',
        '    gateways: ["carrier-six"]',
    ]
    data = cli("policy", "diff", "-", "--json", status=1, text=text).data
    assert data["same"] is False
    assert data["changes"][0] == {
        "section": "route",
        "name": "home",
        "kind": "changed",
        "fields": [{"field": "gateways", "old": ["carrier-a", "carrier-b"], "new": ["carrier-b"]}],
    }
    # Whether there are colours is settled when the command starts.
    coloured = Cli(fresh, cli.environment).where(FORCE_COLOR="1", TERM="xterm")
    shown = coloured("policy", "diff", str(file), status=1).out
    assert all(line in shown for line in ("\x1b[33m~ route home", "\x1b[32m+ route seven", "\x1b[31m- route six"))
    assert node.store.policy().text == policy_text()


def test_versions_are_compared(node: Node, cli: Cli, file: Path) -> None:
    first = node.store.policy_version()
    file.write_text(policy_text("[carrier-b]"))
    cli("policy", "apply", str(file))
    older, newer = str(first), str(first + 1)
    there = cli("policy", "diff", "--from", older, "--to", newer, "--json", status=1).data
    assert cli("policy", "diff", "--from", older, "--json", status=1).data == there
    back = cli("policy", "diff", "--to", older, "--json", status=1).data
    (field,) = back["changes"][0]["fields"]
    assert (field["old"], field["new"]) == (["carrier-b"], ["carrier-a", "carrier-b"])
    assert cli("policy", "diff", "--from", newer, "--to", newer, "--json").data == {"same": True, "changes": []}
    assert cli("policy", "diff", "--from", newer, str(file)).out.startswith("no difference")


def test_what_cannot_be_compared_ends_with_2(node: Node, cli: Cli, file: Path) -> None:
    version = str(node.store.policy_version())
    cli("policy", "apply", str(file))
    with redis.Redis.from_url(node.stack.settings.redis_url) as client:
        client.hset(keys.HISTORY, f"document:{version}", '{"novel": 1}')
    assert "another release" in cli("policy", "diff", "--from", version, status=2).said
    unknown = str(node.store.policy_version() + 1)
    assert f"version {unknown} is not in the history" in cli("policy", "diff", "--from", unknown, status=2).said
    away = cli.where(STROWGER_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert "Redis does not answer" in away("policy", "diff", str(file), status=2).said
    fresh = cli.where(STROWGER_REDIS_URL=node.stack.settings.redis_url.removesuffix("/0") + "/1")
    assert "no policy was applied yet" in fresh("policy", "diff", str(file), status=2).said


@pytest.fixture
def spool(cli: Cli, tmp_path: Path) -> Path:
    """Records of a node: two calls of the last hour, one from before, a line that is torn."""
    directory = tmp_path / "spool"
    directory.mkdir()
    now = time.time()
    with (directory / "calls-20260131T09.jsonl").open("w") as file:
        for number, ago in enumerate((7200, 60, 30)):
            facts = {"caller": "07700900123", "callee": f"0207946000{number}", "source": "127.0.0.1"}
            file.write(json.dumps({"event": "decided", "call": f"c-{number}", "at": now - ago, "facts": facts}) + "\n")
        file.write('{"event": "deci')
    return directory


def test_a_dry_run_tells_which_calls_would_have_gone_elsewhere(node: Node, cli: Cli, file: Path, spool: Path) -> None:
    here = cli.where(STROWGER_SPOOL=str(spool))
    before, version = node.store.position(), node.store.policy_version()
    only = ", ".join(["carrier-b"] * 4)
    file.write_text(policy_text("[carrier-b]"))
    done = here("policy", "apply", str(file), "--dry-run")
    first, group, example, _, skipped = done.out.splitlines()
    assert first.startswith("2 of 2 calls since 20")
    assert first.endswith(f"would have gone elsewhere than under version {version}; nothing was applied")
    # Four attempts each.
    assert group.split(maxsplit=1) == ["2", f"{', '.join(['carrier-a, carrier-b'] * 2)} -> {only}"]
    assert "0770••••••• calls 0207••••••• (c-1)" in example
    assert skipped == "1 lines were skipped: no records, or not whole"
    data = here("policy", "apply", str(file), "--dry-run", "--since", "3h", "--numbers", "--json").data
    assert (data["calls"], data["changed"], data["skipped"], data["version"]) == (3, 3, 1, version)
    (found,) = data["groups"]
    assert (found["old"][:20], found["new"], found["calls"]) == ("carrier-a, carrier-b", only, 3)
    assert [item["callee"] for item in found["examples"]] == ["02079460000", "02079460001", "02079460002"]
    assert "07700" not in here("policy", "apply", str(file), "--dry-run", "--json").out
    assert node.store.position() == before


def test_a_dry_run_goes_by_the_lists_of_the_node(cli: Cli, file: Path, spool: Path) -> None:
    here = cli.where(STROWGER_SPOOL=str(spool))
    file.write_text(policy_text("[carrier-b]"))
    cli("block", "add", "--callee", "02079460001")
    assert here("policy", "apply", str(file), "--dry-run", "--json").data["changed"] == 1
    file.write_text(policy_text())
    assert here("policy", "apply", str(file), "--dry-run").out.startswith("0 of 2 calls since")


def test_a_dry_run_takes_the_calls_that_kamailio_recorded(node: Node, cli: Cli, file: Path, tmp_path: Path) -> None:
    file.write_text(policy_text(first=node.answering().port))
    cli("policy", "apply", str(file))
    other = tmp_path / "other.yaml"
    other.write_text(file.read_text().replace("[carrier-a, carrier-b]", "[carrier-b]"))

    def compared() -> tuple[int, int, int]:
        data = cli("policy", "apply", str(other), "--dry-run", "--json").data
        return data["calls"], data["changed"], data["skipped"]

    calls, changed, skipped = compared()
    node.answered(CALLER, CALLEE)
    assert compared() == (calls + 1, changed + 1, skipped)
    assert cli("policy", "apply", str(file), "--dry-run", "--json").data["changed"] == 0


def test_a_dry_run_needs_a_node_but_no_redis(cli: Cli, file: Path, spool: Path) -> None:
    alone = cli.where(STROWGER_SPOOL=str(spool), STROWGER_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert alone("policy", "apply", str(file), "--dry-run", "--json").data["calls"] == 2
    nowhere = alone.where(STROWGER_SNAPSHOT=str(spool / "none"))
    assert "no policy to compare with" in nowhere("policy", "apply", str(file), "--dry-run", status=1).said
    silent = alone.where(STROWGER_SPOOL=str(spool / "none"))
    assert silent("policy", "apply", str(file), "--dry-run", "--json").data["calls"] == 0


def editing(cli: Cli, directory: Path, script: str) -> Cli:
    """The command with an editor that does what ``script`` says to the file ``$1``."""
    editor = directory / "an editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o755)
    return cli.where(EDITOR=shlex.join([str(editor)]), VISUAL="", TMPDIR=str(directory))


def kept(directory: Path) -> list[Path]:
    return list(directory.glob("strowger-policy-*"))


TURN = "sed -i 's/\\[carrier-a, carrier-b\\]/[carrier-b]/' \"$1\""


def test_the_policy_in_force_is_edited_and_applied(node: Node, cli: Cli, tmp_path: Path) -> None:
    version = node.store.policy_version()
    done = editing(cli, tmp_path, TURN)("policy", "edit", "-m", "b only")
    assert done.out.splitlines() == [
        "~ route home",
        '    gateways: ["carrier-a", "carrier-b"] -> ["carrier-b"]',
        f"policy version {version + 1} is in force on {NAME}",
    ]
    assert (node.store.policy().text, node.store.policy().message) == (policy_text("[carrier-b]"), "b only")
    assert kept(tmp_path) == []


def test_an_edit_that_changes_no_decision_is_applied_and_one_that_changes_nothing_is_not(
    node: Node, cli: Cli, tmp_path: Path
) -> None:
    before = node.store.position()
    assert editing(cli, tmp_path, "true")("policy", "edit").out == "nothing was changed, and nothing applied\n"
    assert node.store.position() == before
    done = editing(cli, tmp_path, 'echo "# why" >> "$1"')("policy", "edit")
    assert done.out.startswith("no difference in what is decided")
    assert node.store.policy().text == policy_text() + "# why\n"
    assert kept(tmp_path) == []


def test_an_edit_that_somebody_overtook_is_kept_and_not_applied(
    node: Node, cli: Cli, tmp_path: Path, file: Path
) -> None:
    version = node.store.policy_version()
    file.write_text(policy_text("[carrier-a]"))
    meanwhile = f"{shlex.join([sys.executable, '-m', 'console.cli', 'policy', 'apply', str(file)])} >&2"
    done = editing(cli, tmp_path, f"{TURN}\n{meanwhile}")("policy", "edit", status=1)
    assert f"version {version + 1} is in force, not {version}" in done.said
    (path,) = kept(tmp_path)
    assert str(path) in done.said
    assert path.read_text() == policy_text("[carrier-b]")
    assert path.stat().st_mode & 0o077 == 0
    assert node.store.policy().text == policy_text("[carrier-a]")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sed -i 's/carrier-a, /carrier-z, /' \"$1\"", "unknown gateway 'carrier-z'"),
        ("printf '\\377' > \"$1\"", "not UTF-8"),
        (f"{TURN}; exit 3", "the editor ended with 3"),
    ],
)
def test_an_edit_that_is_no_policy_is_kept_and_not_applied(
    node: Node, cli: Cli, tmp_path: Path, script: str, said: str
) -> None:
    before = node.store.position()
    done = editing(cli, tmp_path, script)("policy", "edit", status=1)
    (path,) = kept(tmp_path)
    assert said in done.said
    assert str(path) in done.said
    assert node.store.position() == before


def test_without_an_editor_nothing_is_left_behind(cli: Cli, tmp_path: Path) -> None:
    nowhere = editing(cli, tmp_path, "").where(EDITOR="/nowhere/editor --wait")
    assert "the editor /nowhere/editor --wait cannot be run" in nowhere("policy", "edit", status=1).said
    assert kept(tmp_path) == []


BAD_FILES = {
    "malformed": (b"strowger: 1\nroutes: [\n", "not YAML"),
    "no-policy": (b"hello\n", "policy.yaml:1"),
    "empty": (b"", "empty"),
    "latin-1": (policy_text().encode("latin-1", "replace").replace(b"kept", b"gard\xe9"), "policy.yaml:1: not UTF-8"),
    "binary": (bytes(range(256)) * 40, "policy.yaml:2: not UTF-8"),
    "nul": (b"strowger: 1\n\0", "U+0000"),
    "unknown-gateway": (policy_text("[carrier-z]").encode(), "carrier-z"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_policy_file_is_refused_by_every_command(node: Node, cli: Cli, file: Path, kind: str) -> None:
    content, said = BAD_FILES[kind]
    file.write_bytes(content)
    before = node.store.position()
    messages = {
        cli(*arguments, status=2).err
        for arguments in (
            ("policy", "validate", str(file)),
            ("policy", "apply", str(file), "--json"),
            ("policy", "diff", str(file)),
            ("explain", "--to", CALLEE, "--policy", str(file)),
        )
    }
    (message,) = messages
    assert said in message
    assert message.startswith(str(file))
    assert node.store.position() == before


# block and allow


def test_an_entry_is_in_force_when_the_command_returns(cli: Cli) -> None:
    done = cli("block", "add", "--caller", "07700 900123", "--reason", "nuisance “é” [/b]")
    assert done.out == f"block caller +447700900123: in force on {NAME}\n"
    found = cli("explain", "--from", "07700900123", "--to", CALLEE, "--json").data
    assert (found["outcome"], found["refusal"], found["status"]) == ("refused", "blocked-caller", 403)
    assert cli("allow", "add", "--callee", CALLEE).out.startswith("allow callee +442079460000: in force")
    assert cli("explain", "--from", "07700900123", "--to", CALLEE, "--json").data["outcome"] == "answered"
    assert cli("allow", "rm", "--callee", CALLEE).out == f"callee +442079460000: removed on {NAME}\n"
    assert cli("block", "rm", "--caller", "07700 900123").out == f"caller +447700900123: removed on {NAME}\n"
    assert cli("block", "list").out == cli("allow", "list").out == "no entries\n"


def test_every_spelling_hits_the_same_entry(cli: Cli) -> None:
    for spelling in ("020 7946 0000", "+44 20 7946 0000", "0044 (20) 7946-0000"):
        data = cli("block", "add", "--callee", spelling, "--json").data
        assert (data["kind"], data["value"]) == ("callee", "+442079460000")
    assert [entry["value"] for entry in cli("block", "list", "--json").data] == ["+442079460000"]
    assert cli("block", "rm", "--callee", "+442079460000", "--json").data == {
        "kind": "callee",
        "value": "+442079460000",
        "nodes": [NAME],
    }
    assert cli("block", "list", "--json").data == []


SUBJECTS: dict[Kind, tuple[tuple[str, ...], str]] = {
    Kind.CALLER: (("--caller", "1001"), "1001"),
    Kind.CALLEE: (("--callee", "020 7946 0000"), "+442079460000"),
    Kind.PAIR: (("--caller", "1001", "--callee", "020 7946 0000"), "1001>+442079460000"),
    Kind.CALLER_PREFIX: (("--caller-prefix", "020"), "+4420"),
    Kind.CALLEE_PREFIX: (("--callee-prefix", "0044"), "+44"),
    Kind.SOURCE: (("--source", "127.0.0.77/24"), "127.0.0.0/24"),
    Kind.USER_AGENT: (("--user-agent", "Friendly [/scanner]"), "friendly [/scanner]"),
}


@pytest.mark.parametrize("kind", SUBJECTS)
def test_each_kind_of_entry_is_added_listed_and_removed(node: Node, cli: Cli, kind: Kind) -> None:
    options, value = SUBJECTS[kind]
    data = cli("block", "add", *options, "--ttl", "90m", "--json").data
    assert set(data) == {"action", "kind", "value", "expires", "reason", "created", "nodes"}
    assert (data["action"], data["kind"], data["value"], data["nodes"]) == ("block", kind, value, [NAME])
    assert data["expires"] == pytest.approx(data["created"] + 5400)
    listed = cli("block", "list", "--kind", kind).out
    assert value in listed
    assert kind in listed
    cli("block", "rm", *options)
    assert list(node.store.entries()) == []


@pytest.mark.parametrize(("ttl", "seconds"), [("45s", 45), ("12h", 43200), ("7d", 604800), ("90", 90)])
def test_an_entry_has_the_life_that_it_was_given(node: Node, cli: Cli, ttl: str, seconds: int) -> None:
    cli("allow", "add", "--caller", "1001", "--ttl", ttl)
    (entry,) = node.store.entries()
    assert entry.action is Action.ALLOW
    assert entry.expires - entry.created == pytest.approx(seconds)


def test_what_has_expired_is_listed_only_when_asked_for(node: Node, cli: Cli) -> None:
    node.store.put(Entry(Kind.CALLER, "gone", expires=1.0, reason="old"))
    node.store.put(Entry(Kind.CALLER, "stays"))
    node.store.put(Entry(Kind.CALLEE, "allowed", Action.ALLOW))
    listed = cli("block", "list", "--json").data
    assert [entry["value"] for entry in listed] == ["stays"]
    assert listed[0]["expires"] is None
    assert set(listed[0]) == {"action", "kind", "value", "expires", "reason", "created"}
    # The agent may have swept it.
    assert {entry["value"] for entry in cli("block", "list", "--expired", "--json").data} <= {"gone", "stays"}
    assert [entry["value"] for entry in cli("allow", "list", "--json").data] == ["allowed"]
    assert cli("allow", "list", "--kind", "caller", "--json").data == []


def test_an_entry_that_is_not_there_cannot_be_removed(cli: Cli) -> None:
    assert cli("block", "rm", "--caller", "nobody", status=1).said == "there is no entry for caller nobody"


# What is wrong with what was typed

BAD_ARGUMENTS: list[tuple[tuple[str | bytes, ...], str]] = [
    (("blok",), "blok"),
    (("--jason",), "--jason"),
    (("policy", "apply"), "FILE"),
    (("policy", "apply", "/nowhere/policy.yaml"), "does not exist"),
    (("policy", "validate", "/"), "is a directory"),
    (("policy", "apply", "-", "--expect", "one"), "one"),
    (("policy", "apply", "-"), "empty"),
    (("policy", "show", "now"), "now"),
    (("policy", "show", "--version", "last"), "last"),
    (("policy", "history", "--limit", "0"), "0"),
    (("policy", "rollback", "--to", "last"), "last"),
    (("policy", "apply", "-", "--dry-run", "--since", "soon"), "--since 'soon' is not a time such as 90"),
    (("policy", "apply", "-", "--dry-run", "--expect", "1"), "--dry-run applies nothing"),
    (("policy", "apply", "-", "--numbers"), "--numbers belongs to --dry-run"),
    (("policy", "diff"), "name a file, or versions"),
    (("policy", "diff", "-", "--to", "1"), "not both"),
    (("block", "add"), "name one of --caller"),
    (("block", "rm"), "name one of --caller"),
    (("block", "add", "1001"), "1001"),
    (("block", "add", "--caller"), "--caller"),
    (("block", "add", "--caller", ""), "caller: empty"),
    (("block", "add", "--caller", "alice bob"), "'alice bob' is neither a number"),
    (("block", "add", "--callee", "1>2"), "'1>2' is neither a number"),
    (("block", "add", "--caller", "1001", "--source", "192.0.2.1"), "name one of --caller"),
    (("block", "add", "--caller-prefix", "1", "--callee-prefix", "2"), "name one of --caller"),
    (("block", "add", "--caller", "1", "--callee", "2", "--user-agent", "x"), "name one of --caller"),
    (("block", "add", "--source", "192.0.2.0/33"), "'192.0.2.0/33' is no IP address or network"),
    (("block", "add", "--source", "carrier.example"), "'carrier.example' is no IP address or network"),
    (("allow", "add", "--user-agent", "x" * 201), "longer than 200 bytes"),
    (("block", "add", "--caller", "a" * 150, "--callee", "b" * 150), "longer than 200 bytes"),
    (("block", "add", "--caller", b"\xff\xfe"), "not UTF-8"),
    (("block", "add", "--caller", "1001", "--reason", b"gard\xe9"), "not UTF-8"),
    *((("block", "add", "--caller", "1001", "--ttl", ttl), f"--ttl {ttl!r} is not a time such as 90")
      for ttl in ("", "0", "0d", "-5", "5x", "1.5h", "h", "1e3", "1h30m", "36501d", "9999999999")),
    (("block", "list", "--kind", "callers"), "callers"),
    (("gateway", "list", "carrier-a"), "carrier-a"),
    (("explain",), "name the number with --to"),
    (("explain", "--to", CALLEE, "--at", "yesterday"), "--at 'yesterday' is not a time"),
    (("explain", "--to", CALLEE, "--at", "2026-02-30T10:00"), "is not a time"),
    (("explain", "--to", CALLEE, "--at", "9999-12-31T23:59-12:00"), "is not a time"),
    (("explain", "--to", CALLEE, "--source", "here"), "source 'here' is no IP address"),
    (("explain", "--to", CALLEE, "--source", "127.0.0.0/8"), "is no IP address"),
    (("explain", "--to", CALLEE, "--fail", "carrier-a"), "'carrier-a' is not GATEWAY=STATUS"),
    (("explain", "--to", CALLEE, "--fail", "carrier-a=200"), "is not GATEWAY=STATUS"),
    (("explain", "--to", CALLEE, "--fail", "carrier-a=503,slow"), "'slow' is none of"),
    (("explain", "--to", CALLEE, "--fail", "carrier-a=503,q850=x"), "q850 is a number"),
    (("explain", "--to", CALLEE, "--fail", "carrier-a=503,retry-after=" + "9" * 400), "retry-after is a number"),
    (("explain", "--to", CALLEE, "--fail", "carrier-z=503"), "the policy has no gateway carrier-z"),
    (("explain", "--to", CALLEE, "--policy", "/nowhere/policy.yaml"), "does not exist"),
    (("kamcmd",), "METHOD"),
    (("kamcmd", "core.version", "--timeout", "0"), "0"),
    (("kamcmd", "core.version", "--timeout", "soon"), "soon"),
    (("kamcmd", "core.version", "--timeout", "nan"), "NaN"),
    (("kamcmd", "core.version", "--address", "ftp://127.0.0.1/"), "ftp://127.0.0.1/"),
    (("kamcmd", "core.echo", "i:five"), "five"),
    (("kamcmd", "core.echo", "f:inf"), "float"),
    (("serve", "redis"), "redis"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"), BAD_ARGUMENTS, ids=[repr(arguments)[:60] for arguments, _ in BAD_ARGUMENTS]
)
def test_what_is_typed_wrongly_ends_with_2_and_changes_nothing(
    node: Node, cli: Cli, arguments: tuple[str | bytes, ...], said: str
) -> None:
    before = node.store.position()
    done = cli(*arguments, status=2)
    assert said in done.said
    assert done.out == ""
    assert node.store.position() == before


def test_a_setting_that_cannot_be_ends_with_2_and_is_named(cli: Cli) -> None:
    done = cli.where(STROWGER_SIP_PORT="5o60")("status", status=2)
    assert done.said == "STROWGER_SIP_PORT: '5o60' is not a whole number"


# explain


def test_a_call_is_explained_for_people(node: Node, cli: Cli) -> None:
    done = cli("explain", "--from", CALLER, "--to", CALLEE, "--fail", "carrier-a=503,q850=34")
    version = node.store.policy_version()
    lines = done.out.splitlines()
    assert lines[0] == f"policy version {version}"
    assert "attempt 1 carrier-a  sip:+442079460000@127.0.0.1:15991" in lines
    assert "  503, Q.850 cause 34: capacity, by the table of causes -> carrier-b" in lines
    assert "attempt 2 carrier-b  sip:+442079460000@127.0.0.1:15992" in lines
    assert lines[-1] == "outcome answered 200 carrier-b"
    assert [line.split()[0] for line in lines[1:6]] == ["trunk", "caller", "callee", "lists", "route"]


def test_a_call_is_explained_for_programs(cli: Cli) -> None:
    data = cli(
        "explain", "--from", CALLER, "--to", CALLEE, "--source", "127.0.0.9", "--asserted", "1002", "--user-agent",
        "Phone", "--private", "--at", "2026-01-31T18:00", "--fail", "carrier-a=timeout", "--fail",
        "carrier-b=486,location=U", "--json",
    ).data  # fmt: skip
    assert set(data) == {
        "facts", "version", "steps", "route", "attempts", "outcome", "gateway", "refusal", "status", "emergency",
        "app",
        "reason",
        "rates", "limits", "guards",
    }  # fmt: skip
    assert (data["rates"], data["limits"], data["guards"]) == ([], [], [])
    assert data["facts"] == {
        "caller": CALLER, "callee": CALLEE, "source": "127.0.0.9", "asserted": "1002", "user_agent": "Phone",
        "private": True, "caller_host": "", "hops": 0, "origin": "", "subscriber": "", "claims": None, "hook": "",
        "media": "",
    }  # fmt: skip
    assert (data["outcome"], data["status"], data["route"]) == ("reply passed on", 486, "home")
    first, second = data["attempts"]
    assert set(first) == {
        "number", "gateway", "uri", "result", "cause", "why", "following", "consequences",
    }  # fmt: skip
    assert (first["result"], first["cause"], first["following"]) == ("no reply", "no-reply", "carrier-b")
    assert (second["gateway"], second["cause"]) == ("carrier-b", "final")
    assert first["consequences"]["capacity"] == "carrier-b"
    assert {"what", "subject", "found"} == set(data["steps"][0])


def test_what_a_weighted_route_draws_may_be_given(cli: Cli, tmp_path: Path) -> None:
    written = (
        "strowger: 1\ntrunks: {t: {sources: [192.0.2.1]}}\n"
        "gateways: {a: {address: 192.0.2.2}, b: {address: 192.0.2.3}}\n"
        "routes: [{name: r, prefixes: [default], gateways: [a, b], strategy: weighted, weights: {a: 7, b: 3}}]\n"
    )
    file = tmp_path / "weighted.yaml"
    file.write_text(written)
    asked = ("explain", "--policy", str(file), "--to", CALLEE, "--json")
    drawn = {draw: cli(*asked, "--draw", draw).data["gateway"] for draw in ("0", "0.69", "0.7", "1")}
    assert drawn == {"0": "a", "0.69": "a", "0.7": "b", "1": "b"}
    assert cli(*asked).data["gateway"] == "a"


def test_an_emergency_call_is_explained_as_such(cli: Cli) -> None:
    file = str(ROOT / "examples" / "emergency.yaml")
    found = {number: cli("explain", "--policy", file, "--to", number, "--json").data for number in ("112", CALLEE)}
    assert {number: data["emergency"] for number, data in found.items()} == {"112": True, CALLEE: False}
    assert (found["112"]["route"], found["112"]["gateway"]) == ("emergency", "psap-a")
    lines = cli("explain", "--policy", file, "--to", "112").out.splitlines()
    assert any(line.split()[:2] == ["emergency", "112"] for line in lines)


def test_a_call_is_explained_as_of_another_time(node: Node, cli: Cli) -> None:
    node.put(Entry(Kind.CALLER, CALLER, expires=1_900_000_000.0))
    asked = ("explain", "--from", CALLER, "--to", CALLEE, "--json", "--at")
    assert cli(*asked, "2030-03-17T17:46:39Z").data["refusal"] == "blocked-caller"
    assert cli(*asked, "2030-03-17T17:46:40+00:00").data["outcome"] == "answered"


def test_where_a_call_comes_from_decides_and_defaults_to_the_first_trunk(cli: Cli) -> None:
    data = cli("explain", "--to", CALLEE, "--source", "192.0.2.1", "--json").data
    assert (data["refusal"], data["status"]) == ("unknown-source", 403)
    assert cli("explain", "--to", CALLEE, "--source", "::1", "--json").data["refusal"] == "unknown-source"
    assert cli("explain", "--to", CALLEE, "--json").data["facts"]["source"] == "127.0.0.0"


def test_refusals_are_told_apart(cli: Cli) -> None:
    assert cli("explain", "--to", "003312345678").out.splitlines()[-1] == "outcome refused 404 no-route"
    assert cli("explain", "--to", "006512345678").out.splitlines()[-1] == "outcome refused 503 gateways-down"
    assert cli("explain", "--to", "0909123456").out.splitlines()[-1] == "outcome refused 403 premium"


def test_a_policy_file_is_explained_without_being_applied(node: Node, cli: Cli, file: Path) -> None:
    before = node.store.position()
    file.write_text(policy_text("[carrier-b]"))
    data = cli("explain", "--to", CALLEE, "--policy", str(file), "--json").data
    assert (data["version"], data["gateway"]) == (0, "carrier-b")
    assert cli("explain", "--to", CALLEE, "--policy", str(file)).out.startswith("policy version (the file)\n")
    assert node.store.position() == before


def test_a_call_that_was_placed_is_explained(node: Node, cli: Cli, file: Path) -> None:
    full, answering = node.refusing(503), node.answering()
    file.write_text(policy_text(first=full.port, second=answering.port))
    cli("policy", "apply", str(file))
    call_id = node.answered(CALLER, CALLEE).call_id
    record = node.record(call_id)
    lines = cli("explain", "--call-id", call_id).out.splitlines()
    assert lines[0].endswith(f"{record.caller} calls {record.callee}: answered {record.duration:.1f} s")
    assert lines[1].endswith(", route home")
    attempts = [line.partition(" ")[2] for line in lines if " attempt " in line[1:24] and line[0] != " "]
    assert attempts[0].startswith("attempt 1 at carrier-a: 503 after ")
    assert attempts[0].endswith("(server-fault, by the table of causes)")
    assert attempts[1].startswith("attempt 2 at carrier-b: ")
    assert lines[-1].endswith(f"ended by caller, {record.duration:.1f} s")
    data = cli("explain", "--call-id", call_id, "--json").data
    assert data == {"records": [json.loads(record.encode())], "events": []}
    assert cli("explain", "--call-id", record.call, "--json").data == data


def test_a_call_whose_record_is_not_in_redis_yet_is_explained_from_the_spool(
    node: Node, cli: Cli, without_redis: Cli, file: Path
) -> None:
    file.write_text(policy_text(first=node.answering().port, second=node.answering().port))
    cli("policy", "apply", str(file))
    call_id = node.answered(CALLER, CALLEE).call_id
    lines = without_redis("explain", "--call-id", call_id).out.splitlines()
    assert f"{CALLER} calls {CALLEE}: carrier-a then carrier-b" in lines[0]
    assert [line.split()[1] for line in lines if not line.startswith(" ")][1:] == ["attempt", "ended"]
    data = without_redis("explain", "--call-id", call_id, "--json").data
    assert not data["records"]
    assert [event["event"] for event in data["events"]] == [event["event"] for event in node.events(call_id)]


def test_a_call_that_was_refused_is_explained(node: Node, cli: Cli) -> None:
    cli("block", "add", "--caller", CALLER, "--reason", "nuisance")
    call_id = node.refused(CALLER, CALLEE, 403, "blocked-caller").call_id
    node.record(call_id)
    lines = cli("explain", "--call-id", call_id).out.splitlines()
    assert lines[0].endswith(": refused 403 blocked-caller")
    assert ["block", "caller", CALLER, "nuisance"] in [line.split() for line in lines]
    (record,) = cli("explain", "--call-id", call_id, "--json").data["records"]
    assert (record["outcome"], record["refusal"], record["status"]) == ("refused", "blocked-caller", 403)


def test_a_torn_record_hides_no_other(cli: Cli, tmp_path: Path) -> None:
    record = {"event": "failed", "call": "c1", "call_id": "x@y", "at": 0.0}
    torn = tmp_path / "calls-20260131T10.jsonl"
    torn.write_bytes(b'{"event":"deci\n\xff\xfe\n[]\n7\n{}\n' + json.dumps(record).encode() + b'\n{"call":')
    assert cli.where(STROWGER_SPOOL=str(tmp_path))("explain", "--call-id", "x@y", "--json").data["events"] == [record]


def test_a_call_that_nobody_knows_is_not_explained(cli: Cli) -> None:
    assert cli("explain", "--call-id", "nobody@nowhere", status=1).said == (
        "there is no record of a call nobody@nowhere"
    )


# gateway, status, reload, kamcmd


def test_the_gateways_are_listed(cli: Cli) -> None:
    data = cli("gateway", "list", "--json").data
    # Calls of other tests.
    assert set(data[0].pop("quality")) == {"asr", "acd", "pdd", "attempts", "answered", "ended"}
    assert data[0] == {
        "name": "carrier-a", "kind": "gateway", "address": "127.0.0.1:15991", "transport": "udp", "enabled": True,
        "state": "up", "drained": None, "held_until": None, "probed": False, "probe_down_since": None,
        "breaker": {
            "state": "closed", "score": 0, "trip": 10, "open_until": None, "trials_passed": 0, "failures": {},
            "told_by": None,
        },
        "nodes": {},
    }  # fmt: skip
    rows = [line.replace(";", " ").split()[:5] for line in cli("gateway", "list").out.splitlines()]
    assert rows == [
        ["name", "kind", "address", "transport", "state"],
        ["carrier-a", "gateway", "127.0.0.1:15991", "udp", "up"],
        ["carrier-b", "gateway", "127.0.0.1:15992", "udp", "up"],
        ["carrier-six", "gateway", "[fd00::5]:5070", "tcp", "disabled"],
    ]


def test_a_gateway_that_asked_to_be_left_alone_is_listed_and_explained_so(node: Node, cli: Cli, file: Path) -> None:
    gateway = node.refusing(503)
    file.write_text(policy_text("[carrier-b]", second=gateway.port))
    cli("policy", "apply", str(file))
    node.refused(CALLER, CALLEE, 500, "gateways-failed", reply_header="Retry-After: 120")
    try:
        assert "held for 1" in cli("gateway", "list").out
        held = {row["name"]: row["held_until"] for row in cli("gateway", "list", "--json").data}
        assert [gateway for gateway, until in held.items() if until] == ["carrier-b"]
        assert cli("explain", "--to", CALLEE, "--json").data["refusal"] == "gateways-down"
    finally:
        cli("kamcmd", "htable.delete", "health", "carrier-b")
    assert cli("explain", "--to", CALLEE, "--json").data["outcome"] == "answered"


def states(cli: Cli) -> dict[str, str]:
    """Each gateway's state."""
    return {row["name"]: row["state"] for row in cli("gateway", "list", "--json").data}


def test_a_gateway_is_drained_and_resumed(cli: Cli, file: Path) -> None:
    said = cli("gateway", "drain", "carrier-a", "--reason", "new [card]", "--for", "2h").out
    assert said.startswith("carrier-a is drained until 2")
    assert said.endswith(f"in force on {NAME}\n")
    try:
        row = cli("gateway", "list", "--json").data[0]
        assert (row["state"], row["drained"]["reason"], row["drained"]["author"]) == (
            "drained", "new [card]", getpass.getuser(),
        )  # fmt: skip
        assert row["drained"]["until"] - row["drained"]["since"] == 7200
        # In a narrow window the reason goes over two lines.
        assert "new [card]" in " ".join(cli("gateway", "list").out.split())
        explained = cli("explain", "--to", CALLEE, "--json").data
        assert explained["gateway"] == "carrier-b"
        assert "new [card]" in str(explained["steps"])
        # A policy may drop the gateway meanwhile.
        file.write_text(policy_text("[carrier-b]").replace("carrier-a", "carrier-x"))
        cli("policy", "apply", str(file))
        assert states(cli)["carrier-a"] == "unknown"
        assert "not in the policy, drained by" in cli("gateway", "list").out
    finally:
        assert cli("gateway", "resume", "carrier-a").out == f"carrier-a takes calls again: in force on {NAME}\n"
    assert "carrier-a" not in states(cli)


def test_a_drain_that_cannot_be_is_refused(cli: Cli) -> None:
    position = cli("status", "--json").data["redis"]["seq"]
    drain = ("gateway", "drain", "carrier-a", "--reason", "x")
    assert "no gateway 'carrier-q'" in cli("gateway", "drain", "carrier-q", "--reason", "x", status=2).said
    assert "did you mean" in cli("gateway", "drain", "carrier-q", "--reason", "x", status=2).said
    assert "--reason" in cli("gateway", "drain", "carrier-a", status=2).said
    assert "--for" in cli(*drain, "--for", "soon", status=2).said
    assert "--until" in cli(*drain, "--until", "soon", status=2).said
    assert "over already" in cli(*drain, "--until", "2020-01-01T00:00", status=2).said
    assert "either" in cli(*drain, "--until", "2099-01-01T00:00", "--for", "2h", status=2).said
    assert "is not drained" in cli("gateway", "resume", "carrier-a", status=1).said
    assert "no gateway" in cli("gateway", "resume", "carrier-q", status=2).said
    assert "no gateway" in cli("gateway", "reset", "carrier-q", status=2).said
    assert cli("status", "--json").data["redis"]["seq"] == position


def test_an_open_breaker_is_listed_explained_and_reset(node: Node, cli: Cli, file: Path) -> None:
    gateway = node.refusing(503)
    text = policy_text("[carrier-b]", second=gateway.port)
    file.write_text(text.replace("  carrier-six", "    breaker: {trip: 2, open: 5m}\n  carrier-six").replace(
        "no_reply: 15s, progress: 15s}\n    breaker: {trip: 2, open: 5m}",
        "no_reply: 15s, progress: 15s, breaker: {trip: 2, open: 5m}}",
    ))  # fmt: skip
    cli("policy", "apply", str(file))
    node.refused(CALLER, CALLEE, 500, "gateways-failed")
    row = cli("gateway", "list", "--json").data[1]
    assert (row["state"], row["breaker"]["failures"]) == ("open", {"server-fault": 1})
    assert "breaker open for" in cli("gateway", "list").out
    assert cli("explain", "--to", CALLEE, "--json").data["refusal"] == "gateways-down"
    cli("gateway", "reset", "carrier-b")
    assert states(cli)["carrier-b"] == "up"
    reset = audit.read(node.store, limit=1)[0]
    assert (reset.what, reset.subject, reset.after) == ("gateway reset", "carrier-b", {"nodes": [NAME]})
    cli("gateway", "reset", "carrier-b")
    assert cli("explain", "--to", CALLEE, "--json").data["outcome"] == "answered"


def test_a_token_is_made_listed_and_revoked(node: Node, cli: Cli) -> None:
    made = cli("token", "create", "billing robot", "--role", "read", "--ttl", "1h")
    token = tokens.check(node.store, made.out.strip(), time.time())
    assert token is not None
    assert "nobody can show it again" in made.err
    [row] = [one for one in cli("token", "list", "--json").data if one["name"] == "billing robot"]
    assert (row["id"], row["role"], row["expires"]) == (token.id, "read", token.expires)
    assert token.expires == pytest.approx(token.created + 3600, abs=1)
    assert cli("token", "revoke", token.id).out == f"token {token.id} of billing robot is revoked\n"
    assert tokens.check(node.store, made.out.strip(), time.time()) is None
    assert token.id not in cli("token", "list").out
    revoked = audit.read(node.store, limit=1)[0]
    assert (revoked.what, revoked.subject, revoked.after) == ("token", token.id, None)
    assert revoked.who.startswith("cli:")
    assert f"there is no token '{token.id}'" in cli("token", "revoke", token.id, status=1).said


def test_the_status_of_a_node_that_is_well(node: Node, cli: Cli) -> None:
    data = cli("status", "--json").data
    assert data["ok"] is True
    assert set(data) == {"ok", "redis", "snapshot", "kamailio"}
    assert all(data[part]["ok"] and data[part]["text"] for part in ("redis", "snapshot", "kamailio"))
    assert data["redis"]["nodes"] == [NAME]
    assert data["redis"]["version"] == data["snapshot"]["version"] == node.store.policy_version()
    assert [line.split()[:2] for line in cli("status").out.splitlines()] == [
        ["ok", "redis"], ["ok", "snapshot"], ["ok", "kamailio"],
    ]  # fmt: skip


def test_a_reload_is_announced(cli: Cli) -> None:
    data = cli("reload", "--json").data
    assert data["new"] == data["old"] + 1
    assert f"(version {data['new']} -> {data['new'] + 1})" in cli("reload").out


def test_any_rpc_can_be_called(node: Node, cli: Cli) -> None:
    assert cli("kamcmd", "core.version").out.startswith("kamailio ")
    assert cli("kamcmd", "core.echo", "5", "s:5", "0044", "--json").data == ["5", "5", "0044"]
    http = f"http://127.0.0.1:{node.stack.settings.rpc_port}/RPC"
    assert "uptime" in cli("kamcmd", "core.uptime", "--address", http).data
    assert isinstance(cli("kamcmd", "core.version", "--json").data, str)


def test_the_name_that_people_try_first_reloads_too(cli: Cli) -> None:
    first = cli("kamcmd", "app_python3.reload").data
    second = cli("kamcmd", "app_python.reload").data
    assert second["old"] == first["new"]


def test_an_rpc_that_is_not_there_ends_with_1(node: Node, cli: Cli) -> None:
    done = cli("kamcmd", "no.such", status=1)
    assert done.said.startswith(f"no.such at unix:{node.stack.settings.rpc_socket}: ")
    assert "not found" in done.said.lower()


# Parts of the node are away


@pytest.fixture
def without_redis(cli: Cli) -> Cli:
    return cli.where(STROWGER_REDIS_URL=f"redis://:s3cret@127.0.0.1:{free_port()}/0")


@pytest.mark.parametrize(
    "arguments",
    [
        ("policy", "apply", str(ROOT / "examples" / "minimal.yaml")),
        ("policy", "show"),
        ("block", "add", "--caller", "1001"),
        ("block", "rm", "--caller", "1001"),
        ("allow", "list"),
        ("gateway", "list", "--json"),
    ],
)
def test_without_redis_what_needs_it_ends_with_1(without_redis: Cli, arguments: tuple[str, ...]) -> None:
    done = without_redis(*arguments, status=1)
    assert done.said.startswith("Redis does not answer: ")
    assert "s3cret" not in done.err
    assert done.out == ""


def test_without_redis_a_node_explains_validates_and_tells(without_redis: Cli, file: Path) -> None:
    assert without_redis("explain", "--to", CALLEE, "--json").data["outcome"] == "answered"
    without_redis("policy", "validate", str(file))
    status = without_redis("status", "--json", status=1).data
    assert [status[part]["ok"] for part in ("redis", "snapshot", "kamailio")] == [False, True, True]
    assert status["ok"] is False
    assert without_redis("status", status=1).out.startswith("down redis     Redis does not answer: ")


def test_an_address_of_redis_that_cannot_be_is_not_repeated(cli: Cli) -> None:
    done = cli.where(STROWGER_REDIS_URL="redis://:s3/cret@127.0.0.1:6379/0")("block", "list", status=1)
    assert "STROWGER" in done.said or "address of Redis" in done.said
    assert "cret" not in done.err


def test_without_kamailio_what_needs_it_ends_with_1(cli: Cli, tmp_path: Path) -> None:
    elsewhere = cli.where(STROWGER_RUN=str(tmp_path))
    for arguments in (("reload",), ("kamcmd", "core.version")):
        assert f"unix:{tmp_path}/kamailio.sock: No such file" in elsewhere(*arguments, status=1).said
    status = elsewhere("status", "--json", status=1).data
    assert [status[part]["ok"] for part in ("redis", "snapshot", "kamailio")] == [True, True, False]


def test_without_kamailio_a_call_is_explained_with_a_warning(cli: Cli, tmp_path: Path) -> None:
    elsewhere = cli.where(STROWGER_RUN=str(tmp_path))
    done = elsewhere("explain", "--to", CALLEE, "--json")
    assert done.data["outcome"] == "answered"
    assert "Kamailio does not tell which gateways it holds" in done.said
    assert elsewhere("gateway", "list", "--json").data[0]["held_until"] is None
    assert "carrier-a" in elsewhere("gateway", "list").out


def test_without_a_snapshot_a_call_is_not_explained(cli: Cli, tmp_path: Path, file: Path) -> None:
    elsewhere = cli.where(STROWGER_SNAPSHOT=str(tmp_path / "none"))
    done = elsewhere("explain", "--to", CALLEE, status=1)
    assert "this node has no policy" in done.said
    assert "--policy FILE" in done.said
    elsewhere("explain", "--to", CALLEE, "--policy", str(file))
    assert elsewhere("status", "--json", status=1).data["snapshot"]["ok"] is False


@contextmanager
def laggard(node: Node) -> Iterator[None]:
    """A second node that is live and never has any change."""
    stop, store = threading.Event(), Store(node.stack.settings.redis_url)
    generation, _ = store.position()

    def renew() -> None:
        while not stop.is_set():
            store.report(NodeReport("laggard", generation, 0, 0, 0, 0.0))
            stop.wait(0.5)

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        yield
    finally:
        stop.set()
        renewing.join()
        store.retire("laggard")
        store.close()
        with redis.Redis.from_url(node.stack.settings.redis_url) as client:
            client.srem(keys.NODES, "laggard")


def test_a_change_that_a_node_does_not_confirm_ends_with_1_and_names_it(node: Node, cli: Cli) -> None:
    with laggard(node):
        status = cli("status", "--json", status=1).data
        assert status["redis"]["behind"] == ["laggard"]
        done = cli("block", "add", "--caller", "1001", status=1)
    assert "not confirmed by laggard" in done.said
    assert [entry.value for entry in node.store.entries()] == ["1001"]


def test_before_the_first_policy_an_operator_is_told_what_to_do(node: Node, tmp_path: Path, cli: Cli) -> None:
    # Another database of the same Redis, which holds nothing.
    fresh = cli.where(STROWGER_REDIS_URL=node.stack.settings.redis_url.removesuffix("/0") + "/1")
    asked = (("policy", "show"), ("policy", "rollback"), ("block", "add", "--caller", "1"), ("gateway", "list"))
    for arguments in asked:
        assert fresh(*arguments, status=1).said == "no policy was applied yet: see `strowger policy apply`"
    assert fresh("block", "list").out == "no entries\n"
    assert fresh("policy", "history").out == "no policy was applied yet\n"


# Help and completion


def commands(command: click.Command, path: tuple[str, ...] = ("strowger",)) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            child = command.get_command(context, word)
            assert child is not None
            yield from commands(child, (*path, word))


TREE = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", TREE)
def test_every_command_and_every_option_says_what_it_is_for(path: str) -> None:
    command = TREE[path]
    assert (command.help or "").strip().endswith("."), f"{path} has no help"
    for parameter in command.params:
        if parameter.name not in ("install_completion", "show_completion"):
            text = getattr(parameter, "help", None)
            assert text, f"{path} {parameter.name} has no help"


def test_help_is_given_without_settings_or_node() -> None:
    lost = Cli(fresh).where(STROWGER_SIP_PORT="x", STROWGER_REDIS_URL="x")
    for arguments in ((), ("block", "add")):
        done = lost(*arguments, "--help")
        assert "Usage: strowger" in done.out
        assert done.err == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_can_be_produced(shell: str) -> None:
    done = Cli(fresh).where(_STROWGER_COMPLETE=f"source_{shell}")()
    assert "strowger" in done.out
    assert "_STROWGER_COMPLETE" in done.out


@pytest.mark.parametrize(
    ("words", "following"),
    [
        ("strowger block ", ["add", "rm", "list", "check", "import", "export"]),
        ("strowger gateway ", ["list", "drain", "resume", "reset", "quality"]),
        ("strowger gateway drain carrier-a --u", ["--until"]),
        ("strowger cdr ", ["tail", "webhook", "export"]),
        ("strowger voicemail box ", ["add", "set", "show", "remove", "pin"]),
        ("strowger voicemail retry --a", ["--all"]),
        ("strowger rates ", ["import", "list", "show", "export", "remove"]),
        ("strowger cdr tail --outcome f", ["failed"]),
    ],
)
def test_a_shell_is_given_the_words_that_may_follow(words: str, following: list[str]) -> None:
    place = str(len(words.split(" ")) - 1)
    completing = Cli(fresh).where(_STROWGER_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)
    assert completing().out.split() == following


# cdr


@pytest.fixture
def two_calls(node: Node, cli: Cli, file: Path) -> tuple[CallRecord, ...]:
    """The records of a call that was answered at the second gateway, and of one that was refused."""
    failing, answering = node.refusing(503), node.answering()
    file.write_text(policy_text(first=failing.port, second=answering.port))
    cli("policy", "apply", str(file))
    answered = node.record(node.answered(CALLER, CALLEE).call_id)
    cli("block", "add", "--caller", "07700900999")
    refused = node.record(node.refused("07700900999", CALLEE, 403).call_id)
    return answered, refused


def shown(done: Done) -> list[str]:
    """The Call-IDs that were shown, in order."""
    return [json.loads(line)["call_id"] for line in done.out.splitlines()]


def test_the_newest_records_are_shown(cli: Cli, two_calls: tuple[CallRecord, ...]) -> None:
    answered, refused = two_calls
    lines = cli("cdr", "tail", "-n", "2").out.splitlines()
    assert [line.split()[-1] for line in lines] == [answered.call_id, refused.call_id]
    assert "carrier-a, carrier-b" in lines[0]
    assert "refused 403 blocked-caller" in lines[1]
    assert shown(cli("cdr", "tail", "-n", "1", "--json")) == [refused.call_id]
    assert json.loads(cli("cdr", "tail", "-n", "1", "--json").out) == refused.as_dict() | {
        "steps": [list(step) for step in refused.steps], "attempts": [], "limits": [], "recordings": [],
    }  # fmt: skip


@pytest.mark.parametrize(("option", "attribute"), [
    ("--caller", "caller"), ("--outcome", "outcome"), ("--gateway", "gateway"), ("--route", "route"),
])  # fmt: skip
def test_records_are_filtered(cli: Cli, two_calls: tuple[CallRecord, ...], option: str, attribute: str) -> None:
    answered, _ = two_calls
    found = cli("cdr", "tail", "-n", "1", "--json", option, str(getattr(answered, attribute)))
    assert shown(found) == [answered.call_id]
    both = cli("cdr", "tail", "-n", "2", "--json", "--callee", answered.callee)
    assert shown(both) == [record.call_id for record in two_calls]


def test_records_are_exported(cli: Cli, two_calls: tuple[CallRecord, ...], tmp_path: Path) -> None:
    answered, refused = two_calls
    target = tmp_path / "records.csv"
    assert cli("cdr", "export", str(target), "--since", "1h").said.endswith("records written")
    with target.open(newline="") as file:
        rows = {row["call_id"]: row for row in csv.DictReader(file)}
    row = rows[answered.call_id]
    assert (row["outcome"], row["gateway"], row["caller"]) == ("answered", "carrier-b", answered.caller)
    assert row["attempts"] == "carrier-a=503:server-fault carrier-b=200"
    assert row["duration"] == f"{answered.duration:.3f}"
    assert row["began"].endswith("Z")
    assert (rows[refused.call_id]["refusal"], rows[refused.call_id]["answered"]) == ("blocked-caller", "")
    whole = cli("cdr", "export", "-", "--format", "jsonl").out.splitlines()
    assert refused in [CallRecord.decode(line) for line in whole]


def test_an_export_is_of_a_span_of_time(cli: Cli, two_calls: tuple[CallRecord, ...]) -> None:
    later = datetime.fromtimestamp(time.time() + 60, UTC).isoformat()
    for span in (("--since", later), ("--until", "2026-01-31T18:00"), ("--until", "12h")):
        assert len(cli("cdr", "export", "-", *span).out.splitlines()) == 1, span
    assert "--since 'soon'" in cli("cdr", "export", "-", "--since", "soon", status=2).err
    assert "--until" in cli("cdr", "export", "-", "--until", "2026-13-31", status=2).err
