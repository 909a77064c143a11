"""docker-compose.yml and the Dockerfile name only what exists."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from console.cli import app
from devswitch import __main__ as devswitch
from model.settings import SETTINGS

ROOT = Path(__file__).parents[2]
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
MANUAL = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EMBEDDED_TEXT = (ROOT / "docker-compose.embedded.yml").read_text(encoding="utf-8")
EMBEDDED: dict[str, dict[str, Any]] = yaml.safe_load(EMBEDDED_TEXT)["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
IMAGE = f"strowger:{PROJECT['project']['version']}"
# As a plugin of the docker command, or by itself.
COMPOSE_PLUGIN = next(
    (
        words
        for words in (["docker", "compose"], ["docker-compose"])
        if shutil.which(words[0])
        and subprocess.run([*words, "version"], capture_output=True, check=False).returncode == 0
    ),
    [],
)
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == IMAGE)
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
INSTRUCTIONS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
KNOWN = {setting.name: setting.default for setting in SETTINGS}
# What FreeSWITCH's configuration reads besides; its page has the table.
OF_SWITCH = {
    name
    for file in ("vars.xml", "start")
    for name in re.findall(r"STROWGER_FS_\w+", (ROOT / "media" / "freeswitch" / file).read_text(encoding="utf-8"))
}
# Not a setting: who types the command.
OF_LOGIN = {"LOGNAME"}
# A version, or a date; at least two numbers, so that no later build takes the tag over.
EXACT_TAG = re.compile(r"[\w./-]+:(?:v?\d+\.\d+\.\d+|[a-z]+-\d{8})(?:-[\w.]+)?")


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Source and target of each."""
    return [(words[0], words[1]) for words in (volume.split(":") for volume in service.get("volumes", ()))]


def settable(service: dict[str, Any]) -> dict[str, str | None]:
    """The variables of a service that come from outside, wholly or in part."""
    return {name: value for name, value in service["environment"].items() if value is None or "$" in value}


def read_by(value: str) -> str:
    """The default of `${NAME:-default}`."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def copied() -> list[str]:
    """What the Dockerfile takes from the checkout."""
    copies = [shlex.split(rest) for name, rest in INSTRUCTIONS if name == "COPY" and not rest.startswith("--from")]
    return [source for *sources, _ in copies for source in sources]


def test_a_node_is_redis_agent_and_kamailio_and_a_switch_with_its_worker() -> None:
    assert OURS == ["agent", "hook", "kamailio", "media", "records", "strowger", "voicemail", "web"]
    assert set(SERVICES) == {*OURS, "redis", "switch", "rtpengine", "prometheus", "grafana"}
    # `docker compose up` starts no command, and nobody who tells a URL that is not named.
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"records", "strowger", "rtpengine"}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    assert EXACT_TAG.fullmatch(SERVICES[name]["image"])


def test_base_images_are_pinned() -> None:
    froms = [rest.split() for name, rest in INSTRUCTIONS if name == "FROM"]
    stages = {words[2] for words in froms if len(words) == 3}
    bases = [words[0] for words in froms if words[0] not in stages]
    assert bases
    assert [base for base in bases if not EXACT_TAG.fullmatch(base)] == []


@pytest.mark.parametrize("name", OURS)
def test_builds_from_files_that_exist(name: str) -> None:
    build = SERVICES[name]["build"]
    context = ROOT / build["context"]
    assert context.is_dir()
    assert (context / build["dockerfile"]).is_file()


def test_every_setting_is_known() -> None:
    text = COMPOSE_TEXT + EMBEDDED_TEXT + DOCKERFILE + MANUAL
    assert set(re.findall(r"STROWGER_\w+", text)) - set(KNOWN) - OF_SWITCH == set()


def test_the_manual_has_every_setting_with_its_default() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in MANUAL.splitlines() if line[:1] == "|"]
    told = {
        name: default
        for names, _, defaults in (row for row in rows if "STROWGER_" in row[0])
        for name, default in zip(re.findall(r"\w+", names), re.findall(r"`([^`]+)`|$", defaults), strict=False)
    }
    assert set(told) == {name for service in (*OURS, "switch") for name in settable(SERVICES[service])} - OF_LOGIN
    for name, default in told.items():
        if name in KNOWN and any(SERVICES[service]["environment"].get(name, "") is None for service in OURS):
            assert default == KNOWN[name], name


def test_every_setting_reaches_a_container_or_is_a_directory_of_the_image() -> None:
    named = {name for service in OURS for name in SERVICES[service]["environment"]}
    directories = {
        name: default for name, default in KNOWN.items() if default.startswith(("/var/", "/run/")) and name not in named
    }
    assert set(KNOWN) - named == set(directories)
    for service in OURS:
        targets = [Path(target) for _, target in mounts(SERVICES[service])]
        for directory in directories.values():
            assert any(Path(directory).is_relative_to(target) for target in targets), f"{service}: {directory}"


def test_all_processes_are_one_node_and_see_each_other() -> None:
    assert len({SERVICES[name]["environment"]["STROWGER_NODE"] for name in OURS}) == 1
    # LMDB's table of readers, see docker-compose.yml.
    assert {SERVICES[name].get("pid") for name in OURS} == {"host"}


@pytest.mark.parametrize("name", SERVICES)
def test_runs_with_as_little_as_it_can(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] if name not in OURS else "user" not in service
    assert "ports" not in service
    assert "privileged" not in service


def test_the_image_is_not_run_by_root() -> None:
    assert [rest for name, rest in INSTRUCTIONS if name == "USER"] == ["strowger"]


def test_no_secret_stands_in_the_file_or_in_an_environment() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable and variable != "STROWGER_SMTP_PASSWORD_FILE":
                assert value in {f"/run/secrets/{secret}" for secret in service["secrets"]}, (name, variable)
    assert re.findall(r"redis://(.*?)@", COMPOSE_TEXT) == []


def test_secrets_are_files_of_those_who_need_them() -> None:
    holders = {name: set(service["secrets"]) for name, service in SERVICES.items() if service.get("secrets")}
    assert holders == {
        **{name: {"redis-password"} for name in OURS}, "redis": {"redis-password"}, "grafana": {"grafana-password"},
        "switch": {"esl-password"}, "media": {"redis-password", "esl-password"},
    }  # fmt: skip
    assert "--esl-password-file=/run/secrets/esl-password" in EMBEDDED["switch"]["command"]
    made = (ROOT / "docker" / "make-secrets").read_text(encoding="utf-8")
    for name, secret in COMPOSE["secrets"].items():
        assert secret["file"] == f"./secrets/{name}"
        assert f"\nmake {name} " in made
    assert "/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_secrets_are_made_once(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("gives files to other users")
    (tmp_path / "docker").mkdir()
    script = shutil.copy(ROOT / "docker" / "make-secrets", tmp_path / "docker")
    for _ in range(2):
        subprocess.run([script], check=True)
    found = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    assert set(found) == set(COMPOSE["secrets"])
    assert len({path.read_text() for path in found.values()}) == len(found)
    assert [oct(found[name].stat().st_mode & 0o777) for name in sorted(found)] == ["0o400", "0o400", "0o440"]
    # Redis's line ends where a password does.
    assert all(re.fullmatch(r"[0-9a-f]{48}", path.read_text()) for path in found.values())


@pytest.mark.parametrize("name", SERVICES)
def test_has_a_health_check_unless_it_is_one_command(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (name != "strowger")


@pytest.mark.parametrize("name", SERVICES)
def test_takes_no_more_than_its_share(name: str) -> None:
    service = SERVICES[name]
    assert re.fullmatch(r"\d+[gm]", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 1024
    # Of the processor, a quota only where the work can wait.
    assert ("cpus" in service) == (name in {"voicemail", "web", "prometheus", "grafana"})
    assert service["cpu_shares"] >= 512
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_the_processor_is_there_first_for_those_who_carry_calls() -> None:
    most = max(service["cpu_shares"] for service in SERVICES.values())
    first = [name for name, service in SERVICES.items() if service["cpu_shares"] == most]
    assert sorted(first) == ["kamailio", "rtpengine", "switch"]


@pytest.mark.skipif(not COMPOSE_PLUGIN, reason="no docker compose")
@pytest.mark.parametrize("files", [["docker-compose.yml"], ["docker-compose.yml", "docker-compose.embedded.yml"]])
def test_compose_itself_finds_nothing_wrong(files: list[str]) -> None:
    profiles = [word for name in ("cli", "webhook", "relay") for word in ("--profile", name)]
    command = [*COMPOSE_PLUGIN, *(word for file in files for word in ("-f", file)), *profiles, "config"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(yaml.safe_load(done.stdout)["services"]) == set(SERVICES)


def test_the_switch_and_its_worker_meet_on_loopback() -> None:
    for name in ("switch", "media"):
        assert SERVICES[name]["network_mode"] == "host"
        # Their defaults are addresses of 127.0.0.1 (model/settings.py, media/freeswitch/vars.xml).
        assert SERVICES[name]["environment"]["STROWGER_WORKER_ADDRESS"] is None
        assert read_by(SERVICES[name]["environment"]["STROWGER_ESL_ADDRESS"]) == KNOWN["STROWGER_ESL_ADDRESS"]
        for volume in ("recordings", "voicemail", "speech"):
            assert (volume, f"/{volume}") in mounts(SERVICES[name])
    assert SERVICES["switch"]["user"] == "10001:10001"
    assert "--uid 10001" in DOCKERFILE
    for directory in ("/recordings", "/voicemail", "/speech"):
        assert directory in DOCKERFILE


def test_all_see_messages_under_the_same_path() -> None:
    for name in ("media", "voicemail", "strowger"):
        assert SERVICES[name]["environment"]["STROWGER_VOICEMAIL"] == "/voicemail"
        assert ("voicemail", "/voicemail") in mounts(SERVICES[name])


def test_all_reach_redis_where_it_listens() -> None:
    assert {service["network_mode"] for service in SERVICES.values()} == {"host"}
    (text,) = SERVICES["redis"]["command"]
    listens = dict(line.split(maxsplit=1) for line in text.splitlines() if line.startswith(("bind", "port")))
    for name in OURS:
        setting = SERVICES[name]["environment"]["STROWGER_REDIS_URL"]
        url = setting.removeprefix("${STROWGER_REDIS_URL:-").removesuffix("}")
        assert url == f"redis://{listens['bind']}:{listens['port']}/0"


def test_freeswitch_has_our_configuration_where_it_looks_for_it() -> None:
    (source,) = [source for source, target in mounts(SERVICES["switch"]) if target == "/opt/strowger/media/freeswitch"]
    program = SERVICES["switch"]["command"][0]
    assert os.access(ROOT / source / Path(program).relative_to("/opt/strowger/media/freeswitch"), os.X_OK)


def test_the_embedded_switch_takes_the_place_of_freeswitch() -> None:
    assert set(EMBEDDED) == {"switch"}
    service = EMBEDDED["switch"]
    assert service["image"] == IMAGE
    assert service["build"] == SERVICES["media"]["build"]
    assert service["entrypoint"][-2:] == ["-m", "devswitch"]
    plain = [re.sub(r"\$\{\w+:-(?:\$\{\w+:-)?([^}]*)\}+", r"\1", word) for word in service["command"]]
    settings = devswitch._parse(plain)
    assert settings.esl == ("127.0.0.1", 8021)
    assert dict(settings.var)["workers"] == KNOWN["STROWGER_WORKER_ADDRESS"]
    assert settings.recordings == Path("/recordings")
    for folder in (settings.dialplan, settings.phrases):
        assert (ROOT / folder.relative_to("/opt/strowger")).is_dir()


@pytest.mark.parametrize("name", SERVICES)
def test_mounts_only_what_exists(name: str) -> None:
    for source, _ in mounts(SERVICES[name]):
        if source.startswith((".", "/")):
            assert (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]


def test_every_volume_is_mounted() -> None:
    assert set(COMPOSE["volumes"]) == {
        source for service in SERVICES.values() for source, _ in mounts(service) if not source.startswith(".")
    }


def test_depends_on_services_that_exist() -> None:
    depended = {(name, on) for name, service in SERVICES.items() for on in service.get("depends_on", {})}
    assert depended
    for name, on in depended:
        assert on in SERVICES
        if SERVICES[name]["depends_on"][on]["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[on]


def commands() -> list[list[str]]:
    """Every `strowger` command line of the file, its comments and docs/docker.md, without the program's name."""
    found = [SERVICES[name]["command"] for name in OURS if "command" in SERVICES[name]]
    tests = [SERVICES[name]["healthcheck"]["test"] for name in OURS if "healthcheck" in SERVICES[name]]
    found += [words[2:] for words in tests if words[:2] == ["CMD", "strowger"]]
    pattern = r"docker compose (?:run --rm (?:-T )?strowger|exec web strowger) ([^`\n<>…]+)"
    return [*found, *(shlex.split(text, comments=True) for text in re.findall(pattern, COMPOSE_TEXT + MANUAL))]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_exists(words: list[str]) -> None:
    command, context = typer.main.get_command(app), click.Context(click.Command("strowger"))
    rest = list(words)
    while isinstance(command, click.Group):
        found = command.get_command(context, rest[0])
        assert found is not None, f"strowger has no {' '.join(words)}"
        command, rest = found, rest[1:]
    # Parses options and arguments, files included; runs nothing.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        command.make_context(command.name or "", rest)


def test_the_service_that_commands_are_run_in_sees_what_they_see() -> None:
    assert "docker compose exec web strowger" in MANUAL
    web, command = SERVICES["web"], SERVICES["strowger"]
    assert set(mounts(command)) - set(mounts(web)) == {("./examples", "/opt/strowger/examples")}
    assert {
        name for name in command["environment"] if command["environment"][name] != web["environment"].get(name)
    } == (OF_LOGIN)


def test_policies_named_are_mounted() -> None:
    (mounted,) = [source for source, target in mounts(SERVICES["strowger"]) if target == "/opt/strowger/examples"]
    assert (ROOT / mounted).resolve() == ROOT / "examples"


def test_the_image_holds_all_that_runs() -> None:
    sources = copied()
    assert [source for source in sources if not (ROOT / source).exists()] == []
    folders = {package.partition(".")[0] for package in PROJECT["tool"]["setuptools"]["packages"]}
    assert {*folders, "kamailio", "scripts", "pyproject.toml", "constraints.txt"} <= set(sources)


def test_the_build_context_is_what_is_copied() -> None:
    rules = [rule for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n") if rule[:1] not in "#"]
    assert rules[0] == "*"
    allowed = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}
    relay = (ROOT / "docker" / "rtpengine.Dockerfile").read_text(encoding="utf-8")
    assert allowed == set(copied()) | set(re.findall(r"^COPY (\S+)", relay, re.MULTILINE))
    assert not any(fnmatch.fnmatch(".env", rule) for rule in allowed)


def test_what_is_needed_is_installed_as_on_a_bare_machine() -> None:
    script = (ROOT / "tools" / "install").read_text(encoding="utf-8")
    line = re.findall(r'PACKAGES="([^"]+)"', script)[0]
    installed = set(re.findall(r"[\w.-]+", " ".join(rest for name, rest in INSTRUCTIONS if name == "RUN")))
    assert {package for package in line.split() if package.startswith(("kamailio", "flite", "lame"))} <= installed
    assert os.access(ROOT / "tools" / "install", os.X_OK)
