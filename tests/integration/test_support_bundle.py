"""A bundle for whoever helps holds what they need, and no secret and no number that was used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.redis_server import RedisServer, redis_server

from console import serve
from model.entries import Action, Entry, Kind
from model.settings import Settings
from operations.redaction import Redactor, shown_url
from policyfile import load
from state.store import Store

PASSWORD = "p4ss-of-redis-0123456789"
SECRET = "s3cret-of-the-carrier"
NUMBERS = ("+442079460123", "442079460123", "07700900999", "020 7946 0456", "02079460456")
POLICY = """
strowger: 1
trunks: {lab: {sources: [192.0.2.0/24]}}
dialling_plans: {gb: {country_code: "44", international_prefixes: ["00"], national_prefix: "0"}}
default_dialling: gb
gateways: {solid: {address: "198.51.100.7:5060", auth: {user: "07700900999", secret: carrier}}}
hooks: {crm: {url: "https://crm.example.net/calls?key=k3y-of-the-hook"}}
routes:
  - {name: office, prefixes: ["+442079460123"], gateways: [solid]}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path, PASSWORD) as server:
        yield server


def test_a_bundle_holds_no_secret_and_no_number(server: RedisServer, tmp_path: Path) -> None:
    for name, text in (("redis-password", PASSWORD), ("secrets/carrier", SECRET), ("esl-password", "e" * 20)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "media.log").write_text(
        f"2026-03-02 09:14:07,123 call from {NUMBERS[0]} to {NUMBERS[3]} by 192.0.2.7:5060, password {SECRET}\n"
        f"2026-03-02 09:14:08,456 again {NUMBERS[1]}\n"
    )
    settings = Settings.from_env(
        {
            "STROWGER_NODE": "edge-1", "STROWGER_REDIS_URL": f"redis://127.0.0.1:{server.port}/0",
            "STROWGER_REDIS_PASSWORD_FILE": str(tmp_path / "redis-password"), "STROWGER_LOGS": str(logs),
            "STROWGER_SECRETS": str(tmp_path / "secrets"), "STROWGER_ESL_PASSWORD_FILE": str(tmp_path / "esl-password"),
            "STROWGER_CDR_WEBHOOK": f"https://user:{SECRET}@example.net/told?key={SECRET}",
            **{f"STROWGER_{name}": str(tmp_path / name.lower()) for name in ("SNAPSHOT", "SPOOL", "RUN", "VOICEMAIL")},
        }
    )  # fmt: skip
    store, loaded = Store(settings.redis_url), load(POLICY, name="policy")
    store.apply(text=POLICY, policy=loaded.policy, routes=loaded.routes, expected=0, author="test")
    store.put(Entry(kind=Kind.CALLER, value=NUMBERS[0], action=Action.BLOCK, reason=f"like {NUMBERS[4]}", created=1.0))
    store.close()
    file = tmp_path / "bundle.tar.gz"
    done = subprocess.run(
        [sys.executable, "-P", "-m", "console.main", "support-bundle", str(file)], capture_output=True, text=True,
        env={**os.environ, **settings.to_env(), "PYTHONPATH": str(serve.ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as tar:
        found = {info.name.removeprefix("strowger-support/"): tar.extractfile(info).read().decode() for info in tar}  # type: ignore[union-attr]
    for name, text in found.items():
        for hidden in (PASSWORD, SECRET, "k3y-of-the-hook", *NUMBERS):
            assert hidden not in text, f"{name}: {hidden}"
    shown = json.loads(found["settings.json"])
    assert shown["STROWGER_CDR_WEBHOOK"] == "https://example.net"
    policy = json.loads(found["policy.json"])
    assert policy["policy"]["gateways"]["solid"]["auth"] == "(removed)"
    assert policy["policy"]["hooks"]["crm"]["url"] == "https://crm.example.net"
    assert policy["policy"]["gateways"]["solid"]["address"] == "198.51.100.7"
    # A number is one and the same wherever it stands.
    first, second = found["logs/media.log"].splitlines()
    assert "192.0.2.7:5060" in first
    assert first.startswith("2026-03-02 09:14:07,123 call from number-")
    assert first.split()[4] == second.split()[3] == policy["routes"][0]["prefixes"][0]
    assert json.loads(found["versions.json"])["packages"]["redis"]
    assert json.loads(found["counts.json"])["entries"] == 1
    assert "Connection refused" in found["metrics/agent.txt"] or "# HELP" in found["metrics/agent.txt"]
    # It is not written over another.
    again = subprocess.run(
        [sys.executable, "-P", "-m", "console.main", "support-bundle", str(file)], capture_output=True, check=False,
        env={**os.environ, **settings.to_env(), "PYTHONPATH": str(serve.ROOT)},
    )  # fmt: skip
    assert again.returncode == 1


def test_two_bundles_name_a_number_differently() -> None:
    assert Redactor([]).text("+442079460123") != Redactor([]).text("+442079460123")


@pytest.mark.parametrize("kept", ["192.0.2.10:5060", "2026-03-02T09:14:07Z", "20260302T091407Z", "0.0312", "200 OK"])
def test_what_is_no_number_stays(kept: str) -> None:
    assert Redactor([]).text(kept) == kept


@pytest.mark.parametrize("number", ["0301-23-45678", "+44 20 7946 0123", "(0301) 234-567"])
def test_a_number_is_hidden_however_it_is_written(number: str) -> None:
    assert re.fullmatch(r"\(?number-[0-9a-f]{6}", Redactor([]).text(number))


def test_a_url_shows_its_host_alone() -> None:
    assert shown_url("redis://:secret@redis.example.net:6379/0") == "redis://redis.example.net:6379"
    many = "redis-sentinel://:secret@one.example.net,two.example.net:26380/0?master=m"
    assert shown_url(many) == "redis-sentinel://one.example.net:26379,two.example.net:26380"
