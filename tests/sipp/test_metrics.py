"""What a node tells of calls that were placed, its readiness, and a node that is drained under load."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from harness.cli import Cli, fresh
from harness.load import Caller, SippLoad, until
from harness.node import GB, SCENARIOS, Node, at
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from console import serve, top_command
from console.ports import free_port
from console.sipp import render
from console.stack import Stack
from console.switch import Kind as SwitchKind
from console.switch import Switch
from model.entries import Entry, Kind
from model.policy import MEDIA_RETRY, Emergency, Gateway, MediaApp, NodeDrain, Policy, Route, Trunk
from operations import draining, health
from state import node_drains
from telemetry import logs

CALLER, CALLEE, BLOCKED = "442079460123", "02079460999", "02079460666"
MONITORING = serve.ROOT / "monitoring"
FAILS = """
from media.script import script

@script("fails")
async def fails(session):
    raise ValueError(session.channel.get("Caller-Caller-ID-Number"))
"""
Samples = dict[str, float]


def get(port: int, path: str) -> tuple[int, str]:
    """Status and body of a request to a process of this machine."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def scraped(port: int) -> Samples:
    """What a process tells: name with labels to value."""
    status, text = get(port, "/metrics")
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def ready(port: int) -> tuple[int, dict[str, bool]]:
    """Status, and what each check says."""
    status, text = get(port, "/ready")
    return status, {check["name"]: check["ok"] for check in json.loads(text)["checks"]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A whole node whose processes all tell of themselves."""
    directory = tmp_path_factory.mktemp("metered")
    processes = ("AGENT", "HOOK", "MEDIA", "VOICEMAIL", "RECORDS")
    metered = Node.create(
        directory,
        name="metered",
        **{f"STROWGER_{process}_METRICS": f"127.0.0.1:{free_port()}" for process in processes},
        STROWGER_LOG_FORMAT="json",
        STROWGER_LOGS=str(directory),
        STROWGER_SCRIPTS=str(directory / "scripts"),
        STROWGER_CDR_WEBHOOK=f"http://127.0.0.1:{free_port()}/",
        STROWGER_MEDIA_STATE=str(directory / "media"),
        STROWGER_SPEECH_CACHE=str(directory / "speech"),
        STROWGER_ESL_PASSWORD_FILE=str(directory / "esl-password"),
        STROWGER_ESL_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_ADDRESS=f"127.0.0.1:{free_port()}",
        STROWGER_WORKER_HTTP=f"127.0.0.1:{free_port()}",
    )
    (directory / "scripts").mkdir()
    (directory / "scripts" / "fails.py").write_text(FAILS)
    switch = Switch(kind=SwitchKind.EMBEDDED, sip_port=free_port(), directory=directory / "switch")
    metered.stack = Stack(metered.stack.settings, directory, switch, hook=True, web=True)
    try:
        metered.stack.start()
        metered.apply([Route("r", ("",), ("nobody",))], [Gateway("nobody", "127.0.0.1", free_port(), breaker=None)])
        metered.put(Entry(Kind.CALLEE, "+442079460666"))
        # So that there is a record, which nobody takes.
        blocked_call(metered)
        until(lambda: not ready(ports(metered)["records"])[1]["webhook"], "the webhook does not answer")
        yield metered
    finally:
        metered.close()


def blocked_call(node: Node) -> None:
    """Place a call that is refused."""
    with Caller(node.sip) as caller:
        assert caller.call(CALLER, BLOCKED).refusal == "blocked-callee"


def ports(node: Node) -> dict[str, int]:
    """Where each process listens."""
    settings = node.stack.settings
    addresses = {
        "agent": settings.agent_metrics, "hook": settings.hook_metrics, "media": settings.media_metrics,
        "voicemail": settings.voicemail_metrics, "records": settings.records_metrics, "web": settings.web_address,
    }  # fmt: skip
    return {name: address.port for name, address in addresses.items() if address} | {"kamailio": settings.rpc_port}


def grown(before: Samples, after: Samples, *families: str) -> Samples:
    """By how much samples of these families grew."""
    names = [name for name in after if name.startswith(families)]
    return {name: after[name] - before.get(name, 0.0) for name in names if after[name] != before.get(name, 0.0)}


def test_counts_are_those_of_the_calls_that_were_placed(site: Node) -> None:
    port = ports(site)["agent"]
    good, bad = site.answering(), site.refusing(503)
    site.apply([Route("r", ("",), ("bad", "good"))], [at("bad", bad), at("good", good)])
    before = scraped(port)
    for _ in range(3):
        site.answered(CALLER, CALLEE)
    for _ in range(2):
        site.refused(CALLER, BLOCKED, 403, "blocked-callee")
    shipped = "strowger_records_shipped_total"
    until(lambda: scraped(port)[shipped] - before.get(shipped, 0) == 5, "five records are shipped")
    after = scraped(port)
    counts = grown(before, after, "strowger_decisions_total", "strowger_attempts_total", "strowger_calls_total")
    assert counts == {
        "strowger_decisions_total{outcome=relay}": 3,
        "strowger_decisions_total{outcome=blocked-callee}": 2,
        "strowger_attempts_total{cause=server-fault,gateway=bad}": 3,
        "strowger_attempts_total{cause=answered,gateway=good}": 3,
        "strowger_calls_total{outcome=answered}": 3,
        "strowger_calls_total{outcome=refused}": 2,
    }
    times = grown(before, after, "strowger_decision_seconds_count", "strowger_post_dial_delay_seconds_count")
    assert times == {
        "strowger_decision_seconds_count": 5, "strowger_post_dial_delay_seconds_count{gateway=good}": 3,
    }  # fmt: skip
    assert after["strowger_calls_open"] == after["strowger_spool_backlog_bytes"] == 0
    assert after["strowger_gateway_breaker{gateway=bad}"] == 0
    assert after["strowger_redis_up"] == after["strowger_kamailio_up"] == 1
    assert after["strowger_policy_version"] == site.store.policy_version()


def test_no_number_and_no_call_is_in_what_any_process_tells(site: Node) -> None:
    site.answered(CALLER, CALLEE)
    told = {name: get(port, "/metrics")[1] + get(port, "/ready")[1] for name, port in ports(site).items() if port}
    for name, text in told.items():
        for secret in (CALLER, CALLEE.lstrip("0"), BLOCKED.lstrip("0"), "127.0.0.1:" + str(site.sip[1])):
            assert secret not in text, f"{name} tells {secret}"


def test_every_process_is_live_and_ready(site: Node) -> None:
    well = {"node": "metered", "ready": True, "draining": False, "troubles": []}
    until(lambda: health.nodes(site.stack.settings) == [well], "the agent reports that all is well", 30)
    found = health.everything(site.stack.settings)
    for row in found["processes"]:
        assert get(ports(site)[row["process"]], "/live")[0] == 200, row
        # Nobody is there to be told of records.
        assert row["ready"] == (row["process"] != "records"), row
    assert {row["process"] for row in found["processes"]} == {"agent", "hook", "media", "voicemail", "records", "web"}
    assert not found["ready"]


NAME = re.compile(r"\b(?:strowger|kamailio|process)_[a-zA-Z0-9_]+|\bup\b")


def _expressions() -> dict[str, list[str]]:
    rules = yaml.safe_load((MONITORING / "prometheus" / "alerts.yml").read_text())
    found = {rule["alert"]: [rule["expr"]] for group in rules["groups"] for rule in group["rules"]}
    for path in (MONITORING / "grafana" / "dashboards").glob("*.json"):
        for panel in json.loads(path.read_text())["panels"]:
            found[f"{path.stem}: {panel['title']}"] = [target["expr"] for target in panel["targets"]]
    return found


def test_every_metric_of_rules_and_dashboards_is_one_that_a_process_exports(site: Node) -> None:
    exported = {"up"}
    for port in ports(site).values():
        text = get(port, "/metrics")[1]
        exported |= set(re.findall(r"^(?:# TYPE )?([a-zA-Z_][a-zA-Z0-9_]*)", text, re.MULTILINE))
        for name in re.findall(r"^# TYPE (\w+) histogram", text, re.MULTILINE):
            exported |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    missing = {
        where: names
        for where, expressions in _expressions().items()
        if (names := {name for expr in expressions for name in NAME.findall(expr)} - exported)
    }
    assert not missing


def test_every_metric_of_ours_is_in_a_dashboard(site: Node) -> None:
    shown = {name for expressions in _expressions().values() for expr in expressions for name in NAME.findall(expr)}
    for name, port in ports(site).items():
        text = get(port, "/metrics")[1]
        for metric, kind in re.findall(r"^# TYPE (strowger_\w+) (\w+)", text, re.MULTILINE):
            base = f"{metric}_bucket" if kind == "histogram" else metric
            assert {base, f"{metric}_sum"} & shown or metric == "strowger_snapshot_seq", f"{name} tells {metric}"


@pytest.mark.parametrize(
    "words", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")], ids=["config", "rules"]
)
def test_prometheus_takes_the_files(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *words], cwd=MONITORING / "prometheus", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_has_its_page() -> None:
    rules = yaml.safe_load((MONITORING / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]
    tests = yaml.safe_load((MONITORING / "prometheus" / "alerts_test.yml").read_text())["tests"]
    page = (serve.ROOT / "docs" / "alerts.md").read_text()
    names = [rule["alert"] for rule in rules]
    assert [test["name"] for test in tests] == names
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == names
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"


def test_a_line_about_a_call_bears_its_id(site: Node) -> None:
    assert site.stack.switch is not None
    media = Gateway("fs-1", "127.0.0.1", site.stack.switch.sip_port, media=True, no_reply=15.0, progress=15.0)
    app = MediaApp("fails", "")
    site.apply([Route("to-script", ("",), ("fs-1",), media=app, retry=MEDIA_RETRY)], [media])
    before = scraped(ports(site)["media"])
    with Caller(site.sip) as caller:
        reply = caller.call(CALLER, CALLEE)
    record = site.record(reply.call_id)
    after = scraped(ports(site)["media"])
    runs = grown(before, after, "strowger_script_runs_total", "strowger_media_calls_taken_total")
    assert runs == {"strowger_script_runs_total{result=failed,script=fails}": 1, "strowger_media_calls_taken_total": 1}
    found = logs.about(site.stack.settings, [record.call], 0, 0)
    (line,) = [json.loads(line.text) for line in found if line.source == "media"]
    assert line["message"].startswith("script fails failed: ValueError at ")
    assert (line["call"], line["process"], line["node"], line["level"]) == (record.call, "media", "metered", "error")
    assert line["channel"]
    for path in site.directory.glob("*.log"):
        assert CALLER not in path.read_text(), path


def test_top_draws_what_there_is(site: Node) -> None:
    found = top_command.seen(site.store, time.time())
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(top_command.frame(found))
    text = console.export_text()
    assert "calls/s" in text
    assert "metered" in text
    assert "gateway" in text


def test_commands_tell_and_drain(site: Node) -> None:
    cli = Cli(fresh, site.stack.settings.to_env())
    done = cli("health", status=1)
    assert re.search(r"^not +records ", done.out, re.MULTILINE), done.out
    assert re.search(r"^ok +agent ", done.out, re.MULTILINE), done.out
    assert "webhook: records wait" in done.out
    assert cli("health", "--json", status=1).data["node"] == "metered"
    assert "reason" in cli("node", "drain", status=2).said
    assert cli("node", "drain", "nobody", "--reason", "x", status=1).said.startswith("there is no node 'nobody'")
    assert cli("node", "drain", "--reason", "kernel", "--for", "1h").out.startswith("metered takes no new calls until")
    assert "drained by cli:" in cli("nodes").out
    (row,) = cli("nodes", "--json").data
    assert (row["draining"], row["drain"]["reason"]) == (True, "kernel")
    assert "drained" in cli("top", "--once").out
    assert cli("node", "resume").out == "metered takes calls again\n"
    assert cli("node", "resume", status=1).said == "node metered is not drained"
    entries = cli("audit", "--json", "-n", "2").data
    assert [(entry["what"], entry["subject"]) for entry in entries] == [("node drain", "metered")] * 2
    assert (entries[0]["after"], entries[1]["after"]["reason"]) == (None, "kernel")
    # Later than Kamailio can count seconds.
    assert cli("node", "drain", "--reason", "for good", "--until", "2099-01-01").status == 0
    try:
        assert answer_to_options(site.sip) == 503
    finally:
        cli("node", "resume")


def test_a_switch_is_drained_by_its_worker(site: Node) -> None:
    cli = Cli(fresh, site.stack.settings.to_env())
    assert site.stack.switch is not None
    switch = "127.0.0.1", site.stack.switch.sip_port
    assert answer_to_options(switch) == 200
    assert "the switch of worker" in cli("media", "drain", "--switch").out
    assert answer_to_options(switch) == 503
    assert ready(ports(site)["media"]) == (503, {"switch": True, "scripts": True, "draining": False})
    cli("media", "resume", "--switch")
    assert answer_to_options(switch) == 200
    assert ready(ports(site)["media"])[0] == 200


def test_without_redis_the_agent_is_not_ready_and_says_why(site: Node) -> None:
    port = ports(site)["agent"]
    redis = site.stack.processes["redis"]
    until(lambda: ready(port)[0] == 200, "the agent is ready")
    redis.stop()
    try:
        status, checks = ready(port)
        assert (status, checks["redis"], checks["kamailio"]) == (503, False, True)
        assert get(port, "/live")[0] == 200
        assert scraped(port)["strowger_redis_up"] == 0
        assert not health.everything(site.stack.settings)["ready"]
        # Calls go on, and are counted as they are.
        before = scraped(port)
        blocked_call(site)
        decisions = "strowger_decisions_total{outcome=blocked-callee}"
        until(lambda: scraped(port)[decisions] == before[decisions] + 1, "the call is counted")
    finally:
        site.stack.start_redis()
    until(lambda: ready(port)[0] == 200, "the agent is ready again", 30)
    # What is read again for Redis is not counted again.
    until(lambda: scraped(port)["strowger_spool_backlog_bytes"] == 0, "all is shipped")
    assert scraped(port)[decisions] == before[decisions] + 1


# Draining


@pytest.fixture
def neighbour(tmp_path: Path, site: Node) -> Iterator[Node]:
    """Another node, which sends its calls to the first, and to a gateway when it cannot."""
    other = Node.create(tmp_path, name="neighbour", STROWGER_PROBE_INTERVAL="1")
    try:
        other.stack.start()
        yield other
    finally:
        other.close()


def options(node: Node) -> int:
    """Status that a node answers to OPTIONS."""
    return answer_to_options(node.sip)


def answer_to_options(address: tuple[str, int]) -> int:
    """The same of whoever listens there."""
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.settimeout(5)
        peer.connect(address)
        host, port = address
        own = peer.getsockname()[1]
        peer.send(
            f"OPTIONS sip:{host}:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{time.time_ns()}\r\n"
            f"From: <sip:probe@127.0.0.1>;tag=1\r\nTo: <sip:{host}>\r\nCall-ID: {time.time_ns()}\r\n"
            "CSeq: 1 OPTIONS\r\nMax-Forwards: 10\r\nContent-Length: 0\r\n\r\n".encode()
        )
        return int(peer.recv(4096).split()[1])


def test_a_node_drained_under_load_ends_its_calls_and_others_go_elsewhere(
    site: Node, neighbour: Node, tmp_path: Path
) -> None:
    good = site.answering()
    policy = Policy((Trunk("lab", ("127.0.0.0/8",), GB),), {"good": at("good", good)}, GB,
                    emergency=Emergency(("112",), ("good",)))  # fmt: skip
    site.put_in_force(policy, [Route("r", ("",), ("good",))])
    elsewhere = neighbour.answering()
    drained = Gateway("drained", "127.0.0.1", site.sip[1], no_reply=15.0, progress=15.0, breaker=None, probe=True)
    neighbour.apply([Route("r", ("",), ("drained", "elsewhere"))], [drained, at("elsewhere", elsewhere)])
    load = SippLoad(render(SCENARIOS / "uac-expect-answer.xml", tmp_path), neighbour.sip, tmp_path, CALLER, 20)
    load.start()
    try:
        until(lambda: load.replied > 40, "calls go by way of the node", 30)
        assert options(site) == 200
        row = draining.drain(site.store, "metered", "kernel")
        assert (row["in_force"], row["reason"]) == (True, "kernel")
        status, checks = ready(ports(site)["agent"])
        assert (status, checks["draining"]) == (503, False)
        assert scraped(ports(site)["agent"])["strowger_node_draining"] == 1
        assert options(site) == 503
        with Caller(site.sip) as caller:
            reply = caller.call(CALLER, CALLEE)
            assert (reply.status, reply.refusal, reply.headers["retry-after"]) == (503, "node-drained", "60")
            assert caller.call(CALLER, "112").status == 200, "emergency calls pass"

        def down() -> bool:
            with neighbour.kamcmd() as kamcmd:
                return any(int(since) > 0 for since in kamcmd.htable_dump("probed").values())

        until(down, "the dispatcher of the other node has found out", 30)
        goal = load.replied + 20
        until(lambda: load.replied >= goal, "calls go elsewhere", 30)
        restart_kamailio(site)
        assert options(site) == 503, "a restart does not end a drain"
    finally:
        draining.resume(site.store, "metered")
        result = load.stop()
    assert (result.failed, result.timeouts) == (0, 0), f"{result}\n{result.errors}"
    until(lambda: options(site) == 200, "it takes calls again")
    until(lambda: not down(), "and is found again", 30)
    assert not node_drains.all_of(site.store)


def restart_kamailio(node: Node) -> None:
    """Stop and start it."""
    node.stack.processes["kamailio"].stop()
    node.stack.start_kamailio()


def test_a_drain_ends_by_itself(site: Node) -> None:
    node_drains.put(site.store, NodeDrain("metered", reason="short", until=time.time() + 2, author="test"))
    until(lambda: options(site) == 503, "it is drained")
    until(lambda: options(site) == 200, "its time is over")
    node_drains.remove(site.store, "metered")
