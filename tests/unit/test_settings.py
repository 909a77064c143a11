from __future__ import annotations

import os
import re
import socket
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console import serve
from model import settings_page
from model.settings import SETTINGS, Address, SettingError, Settings

DOCUMENT = serve.ROOT / "docs" / "settings.md"
NAMES = [setting.name for setting in SETTINGS]
NUMBERS = {
    "STROWGER_SPOOL_HOURS": (1, 87600),
    "STROWGER_CDR_KEEP": (1, 100_000_000),
    "STROWGER_CDR_DAYS": (0, 36500),
    "STROWGER_SIP_PORT": (1, 65535),
    "STROWGER_SIP_WORKERS": (1, 256),
    "STROWGER_RPC_PORT": (1, 65535),
    "STROWGER_SIP_MEMORY": (64, 65536),
    "STROWGER_PROBE_INTERVAL": (1, 3600),
    "STROWGER_NAT_PING": (0, 3600),
    "STROWGER_HEP_ID": (0, 2**31 - 1),
    "STROWGER_FLOOD": (0, 100_000),
    "STROWGER_LOG_LEVEL": (-5, 3),
    "STROWGER_WORKER_DRAIN": (0, 86400),
    "STROWGER_TRANSCRIBE_LIMIT": (1, 86400),
    "STROWGER_TRANSCRIBE_MEMORY": (64, 1_000_000),
    "STROWGER_TRANSCRIPT_WAIT": (0, 86400),
}


def test_the_document_lists_every_setting_as_it_is() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    # To bring it up to date: python -m model.settings_page docs/settings.md
    assert settings_page.updated(page) == page
    assert page.startswith("# ")


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        settings_page.updated("# Settings\n")


def test_the_password_of_redis_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "redis-password"
    file.write_text("p@ss/w:rd\n")
    given = {"STROWGER_REDIS_URL": "redis://127.0.0.1:6379/2", "STROWGER_REDIS_PASSWORD_FILE": str(file)}
    settings = Settings.from_env(given)
    assert settings.redis_url == "redis://:p%40ss%2Fw%3Ard@127.0.0.1:6379/2"
    # What a child process is given has no password in it.
    assert "w:rd" not in " ".join(settings.to_env().values()).replace("%3A", ":")
    named = Settings.from_env({**given, "STROWGER_REDIS_URL": "redis://strowger@127.0.0.1:6379/2"})
    assert named.redis_url == "redis://strowger:p%40ss%2Fw%3Ard@127.0.0.1:6379/2"
    asked = Settings.from_env({**given, "STROWGER_REDIS_URL": "redis-sentinel://10.0.0.1,10.0.0.2/2?master=m"})
    assert asked.redis_url == "redis-sentinel://:p%40ss%2Fw%3Ard@10.0.0.1,10.0.0.2/2?master=m"


def test_an_empty_file_is_a_redis_without_a_password(tmp_path: Path) -> None:
    file = tmp_path / "redis-password"
    file.write_text("\n")
    settings = Settings.from_env({"STROWGER_REDIS_PASSWORD_FILE": str(file)})
    assert settings.redis_url == settings.redis_address


@pytest.mark.parametrize(
    ("url", "there", "message"),
    [
        ("redis://:secret@127.0.0.1/0", True, "a password in STROWGER_REDIS_URL, too"),
        ("redis://127.0.0.1/0", False, "No such file"),
    ],
)
def test_a_password_that_cannot_be_had_is_refused(url: str, there: bool, message: str, tmp_path: Path) -> None:
    file = tmp_path / "redis-password"
    if there:
        file.write_text("other")
    settings = Settings.from_env({"STROWGER_REDIS_URL": url, "STROWGER_REDIS_PASSWORD_FILE": str(file)})
    with pytest.raises(SettingError, match=message) as refused:
        _ = settings.redis_url
    assert "secret" not in str(refused.value)


def test_the_document_names_what_kamailio_is_given_besides() -> None:
    settings = Settings.from_env({})
    derived = set(serve.kamailio_environment(settings)) - set(NAMES)
    text = DOCUMENT.read_text()
    missing = sorted(name for name in derived if f"`{name}`" not in text)
    assert not missing, f"{DOCUMENT.name} does not name {', '.join(missing)}"


def test_the_document_names_nothing_that_is_not_there() -> None:
    known = {*NAMES, *serve.kamailio_environment(Settings.from_env({}))}
    named = set(re.findall(r"\bSTROWGER_[A-Z_]+\b", DOCUMENT.read_text()))
    assert named <= known, f"unknown: {', '.join(sorted(named - known))}"


def test_every_variable_in_the_code_is_a_setting_or_derived_from_one() -> None:
    known = {*NAMES, *serve.kamailio_environment(Settings.from_env({}))}
    # FreeSWITCH's own; test_freeswitch_config.py compares them with what it reads.
    known |= {
        "STROWGER_FS_STATE", "STROWGER_FS_RECORDINGS", "STROWGER_FS_SOUNDS", "STROWGER_FS_SIP_PORT",
        "STROWGER_FS_RTP_FIRST_PORT", "STROWGER_FS_RTP_LAST_PORT",
    }  # fmt: skip
    packages = ("agent", "console", "kemi", "media", "model", "policyfile", "state", "telemetry")
    sources = [path for package in packages for path in (serve.ROOT / package).rglob("*.py")]
    used = {name for path in (*sources, serve.CONFIG) for name in re.findall(r"\bSTROWGER_[A-Z_]+\b", path.read_text())}
    assert used <= known


def test_every_number_is_tested_here() -> None:
    whole = [field.name for field in fields(Settings) if field.type == "int"]
    assert len(NUMBERS) == len(whole)


def test_every_setting_is_read_and_given_on() -> None:
    settings = Settings.from_env({})
    assert list(settings.to_env()) == NAMES
    assert len(fields(Settings)) == len(SETTINGS)


def test_defaults_stand_where_nothing_is_set() -> None:
    settings = Settings.from_env({})
    given = settings.to_env()
    assert given.pop("STROWGER_NODE") == socket.gethostname()
    assert given.pop("STROWGER_SCRIPTS") == str(serve.ROOT / "scripts")
    assert given == {setting.name: setting.default for setting in SETTINGS if setting.name in given}


def test_the_environment_is_read_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert Settings.from_env() == Settings.from_env({})
    monkeypatch.setitem(os.environ, "STROWGER_SIP_PORT", "5070")
    assert Settings.from_env().sip_port == 5070


addresses = st.builds(Address, st.sampled_from(["192.0.2.1", "2001:db8::1", "switch"]), st.integers(1, 65535))
APART = ("smtp_tls", "rtpengine", "hep", "cdr_webhook", "log_format")
TEXTS = [field.name for field in fields(Settings) if field.type == "str" and field.name not in APART]
paths = st.text("abc/-", min_size=1, max_size=9).map(Path)


@settings(deadline=None)
@given(
    st.builds(
        Settings,
        **{name: st.text(max_size=9) for name in TEXTS},
        **{field.name: paths for field in fields(Settings) if field.type == "Path"},
        sip_addresses=st.sampled_from([("192.0.2.1",), ("2001:db8::1",), ("::1", "127.0.0.1")]),
        spool_hours=st.integers(1, 87600),
        cdr_keep=st.integers(1, 100_000_000),
        cdr_days=st.integers(0, 36500),
        cdr_webhook=st.sampled_from(["", "http://127.0.0.1:8080/", "https://u:p@[2001:db8::1]/told?by=us"]),
        dns=st.lists(st.builds(Address, st.sampled_from(["192.0.2.1", "::1"]), st.integers(1, 65535))).map(tuple),
        sip_port=st.integers(1, 65535),
        sip_workers=st.integers(1, 256),
        rpc_port=st.integers(1, 65535),
        sip_memory=st.integers(64, 65536),
        probe_interval=st.integers(1, 3600),
        nat_ping=st.integers(0, 3600),
        rtpengine=st.sampled_from(["", "udp:127.0.0.1:2223"]),
        hep=st.sampled_from(["", "udp:[::1]:9060"]),
        hep_id=st.integers(0, 2**31 - 1),
        flood=st.integers(0, 100_000),
        log_level=st.integers(-5, 3),
        log_format=st.sampled_from(["text", "json"]),
        logs=st.none() | paths,
        **{f"{name}_metrics": st.none() | addresses for name in ("agent", "hook", "media", "voicemail", "records")},
        worker_address=addresses,
        worker_http=st.builds(Address, st.sampled_from(["127.0.0.1", "127.9.9.9", "::1"]), st.integers(1, 65535)),
        worker_drain=st.integers(0, 86400),
        originate_sip=st.none() | addresses,
        web_address=addresses,
        esl_address=addresses,
        smtp=addresses,
        smtp_tls=st.sampled_from(["none", "starttls", "tls"]),
        smtp_password_file=st.none() | paths,
        redis_password_file=st.none() | paths,
        sounds=st.none() | paths,
        transcribe_limit=st.integers(1, 86400),
        transcribe_memory=st.integers(64, 1_000_000),
        transcript_wait=st.integers(0, 86400),
    )
)
def test_settings_come_back_from_their_variables(settings: Settings) -> None:
    assert Settings.from_env(settings.to_env()) == settings


def test_a_word_that_is_none_of_those_that_may_stand_is_refused() -> None:
    with pytest.raises(SettingError, match="STROWGER_SMTP_TLS: 'ssl' is none of none, starttls, tls"):
        Settings.from_env({"STROWGER_SMTP_TLS": "ssl"})


def test_mailboxes_in_a_directory_with_a_blank() -> None:
    with pytest.raises(SettingError, match="STROWGER_VOICEMAIL: '/var/my boxes' has a blank in it"):
        Settings.from_env({"STROWGER_VOICEMAIL": "/var/my boxes"})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["", "many", "1.5", "0x10", "five thousand"])
def test_what_is_no_number_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"{name}: {re.escape(repr(value))} is not a whole number"):
        Settings.from_env({name: value})


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_bounds_is_refused(name: str) -> None:
    low, high = NUMBERS[name]
    for value in (low, high):
        assert Settings.from_env({name: str(value)}).to_env()[name] == str(value)
    for value in (low - 1, high + 1):
        with pytest.raises(SettingError, match=f"{name}: {value} is not between {low} and {high}"):
            Settings.from_env({name: str(value)})


@pytest.mark.parametrize(
    ("value", "listeners"),
    [
        ("192.0.2.1", ["udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"]),
        ("[2001:DB8:0::1]", ["udp:[2001:db8::1]:5060", "tcp:[2001:db8::1]:5060"]),
        ("::1, 127.0.0.1", ["udp:[::1]:5060", "tcp:[::1]:5060", "udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]),
    ],
)
def test_a_node_listens_on_each_address(value: str, listeners: list[str]) -> None:
    assert list(Settings.from_env({"STROWGER_SIP_ADDRESS": value}).sip_listeners) == listeners


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "'' names no address"),
        (" , ", "' , ' names no address"),
        ("sip.example.net", "'sip.example.net' is not an IP address"),
        ("192.0.2.1:5060", "'192.0.2.1:5060' is not an IP address"),
        ("[::1]:5060", "'[::1]:5060' is not an IP address"),
        ("fe80::1%eth0", "'fe80::1%eth0' has a zone, which a SIP message cannot name"),
        ("192.0.2.1 192.0.2.2", "'192.0.2.2' is a second IPv4 address"),
        ("::1,::2", "'::2' is a second IPv6 address"),
    ],
)
def test_what_kamailio_cannot_listen_on_is_refused(value: str, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(f"STROWGER_SIP_ADDRESS: {message}") + "$"):
        Settings.from_env({"STROWGER_SIP_ADDRESS": value})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "'' is not HOST:PORT"),
        ("8021", "'8021' is not HOST:PORT"),
        (":8021", "':8021' is not HOST:PORT"),
        ("switch", "'switch' is not HOST:PORT"),
        ("switch:", "'switch:' is not HOST:PORT"),
        ("::1:8021", "'::1:8021' is not HOST:PORT"),
        ("[switch]:8021", "'[switch]:8021' is not HOST:PORT"),
        ("switch:-1", "'switch:-1' is not HOST:PORT"),
        ("switch:0", "0 is not between 1 and 65535"),
        ("switch:65536", "65536 is not between 1 and 65535"),
    ],
)
def test_what_is_no_address_is_refused(value: str, message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(f"STROWGER_ESL_ADDRESS: {message}") + "$"):
        Settings.from_env({"STROWGER_ESL_ADDRESS": value})


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "localhost", "[::]"])
def test_scripts_are_run_over_http_from_this_machine_only(host: str) -> None:
    with pytest.raises(SettingError, match="STROWGER_WORKER_HTTP: '.*' is not a loopback address"):
        Settings.from_env({"STROWGER_WORKER_HTTP": f"{host}:8085"})


@pytest.mark.parametrize("url", ["ftp://host/", "host/path", "http://", "http://host:0/", "http://[::1/", "http://h:x/"])
def test_a_webhook_is_a_url_that_is_not_repeated(url: str) -> None:
    with pytest.raises(SettingError, match=r"^STROWGER_CDR_WEBHOOK: not a URL such as https://HOST/PATH$"):
        Settings.from_env({"STROWGER_CDR_WEBHOOK": url})


@pytest.mark.parametrize("name", ["STROWGER_RTPENGINE", "STROWGER_HEP"])
@pytest.mark.parametrize("value", ["127.0.0.1:2223", "tcp:127.0.0.1:2223", "udp:relay.example:2223", "udp:127.0.0.1"])
def test_where_datagrams_go_is_an_address(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=name):
        Settings.from_env({name: value})


def test_kamailio_manages_its_memory_in_constant_time() -> None:
    words = serve.kamailio_command(Settings.from_env({}))
    assert (words[words.index("-x") + 1], words[words.index("-X") + 1]) == ("tlsf", "tlsf")


def test_kamailio_loads_what_is_switched_on_only() -> None:
    assert "-A" not in serve.kamailio_command(Settings.from_env({}))
    wanted = {"STROWGER_RTPENGINE": "udp:127.0.0.1:2223", "STROWGER_HEP": "udp:[::1]:9060", "STROWGER_FLOOD": "50"}
    words = serve.kamailio_command(Settings.from_env(wanted))
    assert [words[n + 1] for n, word in enumerate(words) if word == "-A"] == [
        "WITH_RTPENGINE", "WITH_HEP", "WITH_FLOOD_GUARD",
    ]  # fmt: skip
    environment = serve.kamailio_environment(Settings.from_env(wanted))
    assert (environment["STROWGER_HEP_URI"], environment["STROWGER_FLOOD_DENSITY"]) == ("sip:[::1]:9060", "100")
