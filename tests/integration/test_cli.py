"""The `strowger` command as operators run it: what it prints, how it ends, and what it leaves undone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
import redis
import typer.main
from harness.cli import Cli, Runner, forking, fresh
from harness.node import Node

import policyfile
from console.cli import app
from console.serve import ROOT
from console.stack import free_port
from model.entries import Action, Entry, Kind
from state import keys
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
    assert data == {"valid": True, "trunks": 1, "gateways": 3, "routes": 3}
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
    assert set(data) == {"version", "applied", "author", "text"}
    assert (data["text"], data["author"]) == (policy_text(), "test")


def test_a_policy_expected_to_replace_another_version_is_not_applied(node: Node, cli: Cli, file: Path) -> None:
    before = node.store.position()
    version = node.store.policy_version()
    done = cli("policy", "apply", str(file), "--expect", str(version - 1), status=1)
    assert f"version {version} is in force, not {version - 1}" in done.said
    assert node.store.position() == before
    assert cli("policy", "apply", str(file), "--expect", str(version), "--json").data["version"] == version + 1


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
    (("explain", "--to", CALLEE, "--source", "here"), "--source 'here' is no IP address"),
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
        "facts", "version", "steps", "route", "attempts", "outcome", "gateway", "refusal", "status",
    }  # fmt: skip
    assert data["facts"] == {
        "caller": CALLER, "callee": CALLEE, "source": "127.0.0.9", "asserted": "1002", "user_agent": "Phone",
        "private": True, "caller_host": "",
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
    lines = cli("explain", "--call-id", call_id).out.splitlines()
    assert lines[0].endswith(f"{CALLER} calls {CALLEE}: carrier-a then carrier-b then carrier-a then carrier-b")
    assert "attempt 1 at carrier-a failed: 503 (server-fault, by the table of causes) -> carrier-b" in lines[-1]
    decided, failed = cli("explain", "--call-id", call_id, "--json").data
    assert (decided["event"], decided["call_id"], decided["route"]) == ("decided", call_id, "home")
    assert (failed["event"], failed["gateway"], failed["next"]) == ("failed", "carrier-a", "carrier-b")
    by_own_id = cli("explain", "--call-id", decided["call"], "--json").data
    assert by_own_id == [decided, failed]


def test_a_call_that_was_refused_is_explained(node: Node, cli: Cli) -> None:
    cli("block", "add", "--caller", CALLER, "--reason", "nuisance")
    call_id = node.refused(CALLER, CALLEE, 403, "blocked-caller").call_id
    lines = cli("explain", "--call-id", call_id).out.splitlines()
    assert lines[0].endswith(f"{CALLER} calls {CALLEE}: 403 blocked-caller")
    assert lines[-1].split() == ["block", "caller", CALLER, "nuisance"]
    (record,) = cli("explain", "--call-id", call_id, "--json").data
    assert (record["refusal"], record["status"]) == ("blocked-caller", 403)


def test_a_torn_record_hides_no_other(cli: Cli, tmp_path: Path) -> None:
    record = {"event": "failed", "call": "c1", "call_id": "x@y", "at": 0.0}
    torn = tmp_path / "calls-20260131T10.jsonl"
    torn.write_bytes(b'{"event":"deci\n\xff\xfe\n[]\n7\n{}\n' + json.dumps(record).encode() + b'\n{"call":')
    assert cli.where(STROWGER_SPOOL=str(tmp_path))("explain", "--call-id", "x@y", "--json").data == [record]


def test_a_call_that_nobody_knows_is_not_explained(cli: Cli) -> None:
    assert cli("explain", "--call-id", "nobody@nowhere", status=1).said == (
        "this node has no record of a call nobody@nowhere"
    )


# gateway, status, reload, kamcmd


def test_the_gateways_are_listed(cli: Cli) -> None:
    data = cli("gateway", "list", "--json").data
    assert data[0] == {
        "name": "carrier-a", "address": "127.0.0.1:15991", "transport": "udp", "enabled": True, "held_until": None,
    }  # fmt: skip
    rows = [line.split() for line in cli("gateway", "list").out.splitlines()]
    assert rows == [
        ["name", "address", "transport", "state"],
        ["carrier-a", "127.0.0.1:15991", "udp", "in", "use"],
        ["carrier-b", "127.0.0.1:15992", "udp", "in", "use"],
        ["carrier-six", "[fd00::5]:5070", "tcp", "disabled"],
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
        cli("kamcmd", "htable.delete", "held", "carrier-b")
    assert cli("explain", "--to", CALLEE, "--json").data["outcome"] == "answered"


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
    for arguments in (("policy", "show"), ("block", "add", "--caller", "1"), ("gateway", "list")):
        assert fresh(*arguments, status=1).said == "no policy was applied yet: see `strowger policy apply`"
    assert fresh("block", "list").out == "no entries\n"


# Help and completion


def commands(command: click.Command, path: tuple[str, ...] = ("strowger",)) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        for word, child in command.commands.items():
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


def test_a_shell_is_given_the_words_that_may_follow() -> None:
    completing = Cli(fresh).where(_STROWGER_COMPLETE="complete_bash", COMP_WORDS="strowger block ", COMP_CWORD="2")
    assert completing().out.split() == ["add", "rm", "list", "check", "import", "export"]
