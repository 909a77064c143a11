"""Settings of every process, from the environment. docs/settings.md is made of this table (settings_page.py)."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit


class SettingError(ValueError):
    """A setting has a value that cannot be; the message names it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable."""

    name: str
    default: str
    meaning: str


SETTINGS: tuple[Setting, ...] = (
    Setting("STROWGER_NODE", "(host name)", "Name of this node, one for each Kamailio with its agent."),
    Setting(
        "STROWGER_REDIS_URL",
        "redis://127.0.0.1:6379/0",
        "Where the shared state is, or which sentinels know; may hold a password.",
    ),
    Setting("STROWGER_REDIS_PASSWORD_FILE", "", "File with the password of Redis, where the address has none."),
    Setting("STROWGER_SNAPSHOT", "/var/lib/strowger/snapshot", "Directory of the policy snapshot, on a local disk."),
    Setting("STROWGER_SPOOL", "/var/lib/strowger/spool", "Directory of the call records that workers append to."),
    Setting("STROWGER_SECRET_FILE", "/var/lib/strowger/secret", "Key of this node's routes; made at the first start."),
    Setting(
        "STROWGER_MEDIA_SECRET_FILE",
        "/var/lib/strowger/media-secret",
        "Key of hand-overs to media, the same on all SIP nodes and media workers; made at the first start.",
    ),
    Setting("STROWGER_SECRETS", "/var/lib/strowger/secrets", "Directory of secrets that a policy names, a file each."),
    Setting("STROWGER_SPOOL_HOURS", "168", "How long a node keeps its spool once that is in Redis, in hours."),
    Setting("STROWGER_CDR_KEEP", "100000", "How many call records Redis keeps, of all nodes together."),
    Setting("STROWGER_CDR_DAYS", "0", "How many days Redis keeps them at most; 0: only their number counts."),
    Setting("STROWGER_CDR_WEBHOOK", "", "URL that `strowger serve records` tells of call records; empty: none."),
    Setting("STROWGER_CDR_WEBHOOK_SECRET", "", "Name of the secret that signs them; empty: they are not signed."),
    Setting("STROWGER_RUN", "/run/strowger", "Directory of sockets and of the main script that Kamailio loads."),
    Setting(
        "STROWGER_SIP_ADDRESS", "127.0.0.1", "What Kamailio listens on: an IPv4 address, an IPv6 address, or both."
    ),
    Setting("STROWGER_SIP_PORT", "5060", "Port that Kamailio listens on, UDP and TCP."),
    Setting(
        "STROWGER_DNS",
        "",
        "DNS servers that the agent asks for names in the policy, as IP or IP:PORT, divided by commas; empty: those of "
        "/etc/resolv.conf.",
    ),
    Setting("STROWGER_SIP_WORKERS", "4", "SIP worker processes for each transport."),
    Setting("STROWGER_RPC_PORT", "5059", "TCP port of JSON-RPC over HTTP, on 127.0.0.1 only."),
    Setting("STROWGER_SIP_MEMORY", "512", "Megabytes for the calls under way, shared by Kamailio's processes."),
    Setting("STROWGER_PROBE_INTERVAL", "10", "Seconds between two OPTIONS to a gateway that is probed."),
    Setting("STROWGER_NAT_PING", "30", "Seconds between two OPTIONS to a phone behind NAT; 0: none."),
    Setting("STROWGER_RTPENGINE", "", "Control address of the media relay, `udp:127.0.0.1:2223`; empty: none."),
    Setting("STROWGER_HEP", "", "Where all SIP is copied to, `udp:192.0.2.9:9060`; empty: nowhere."),
    Setting("STROWGER_HEP_ID", "1", "Number by which that collector tells this node from others."),
    Setting("STROWGER_FLOOD", "0", "Requests a second from an address of no trunk above which it is dropped; 0: none."),
    Setting("STROWGER_LOG_LEVEL", "1", "Kamailio's debug level: -1 errors, 0 warnings, 1 notices, 2 info, 3 debug."),
    Setting("STROWGER_LOG_FORMAT", "text", "How processes log: text, or json, an object a line."),
    Setting("STROWGER_LOGS", "", "Directory of the log files (*.log) that commands read; empty: the journal."),
    Setting("STROWGER_AGENT_METRICS", "127.0.0.1:9101", "Where the agent tells metrics and health; empty: nowhere."),
    Setting("STROWGER_HOOK_METRICS", "127.0.0.1:9102", "The same of the hook process."),
    Setting("STROWGER_MEDIA_METRICS", "127.0.0.1:9103", "The same of a media worker; each of a host has its own."),
    Setting("STROWGER_VOICEMAIL_METRICS", "127.0.0.1:9104", "The same of a voicemail service; each has its own."),
    Setting("STROWGER_RECORDS_METRICS", "127.0.0.1:9105", "The same of `strowger serve records`."),
    Setting("STROWGER_SCRIPTS", "(scripts/ of this checkout)", "Folder of the call scripts."),
    Setting("STROWGER_WORKER_ADDRESS", "127.0.0.1:8084", "Where a media worker takes calls from FreeSWITCH; private."),
    Setting("STROWGER_WORKER_HTTP", "127.0.0.1:8085", "Where a media worker runs scripts over HTTP; loopback only."),
    Setting("STROWGER_WORKER_DRAIN", "600", "Seconds that calls have to end when a media worker is stopped."),
    Setting(
        "STROWGER_ORIGINATE_SIP",
        "",
        "Kamailio, HOST:PORT, for calls that operators have media workers place; empty: that of this machine.",
    ),
    Setting("STROWGER_EVENT_DIGITS", "no", "Whether events of pressed keys say which key it was: yes or no."),
    Setting("STROWGER_ESL_ADDRESS", "127.0.0.1:8021", "Event socket of the FreeSWITCH that the worker belongs to."),
    Setting(
        "STROWGER_ESL_PASSWORD_FILE",
        "/var/lib/strowger/esl-password",
        "Password of that event socket; made at the first start.",
    ),
    Setting("STROWGER_MEDIA_STATE", "/var/lib/strowger/media", "Directory of what must outlive a media worker."),
    Setting("STROWGER_SMTP", "localhost:25", "Mail server that scripts and mailboxes send e-mail by."),
    Setting("STROWGER_SMTP_TLS", "none", "How it is spoken to: none, starttls, or tls from the first byte."),
    Setting("STROWGER_SMTP_USER", "", "Login at the mail server; empty: none."),
    Setting("STROWGER_SMTP_PASSWORD_FILE", "", "File with the password of that login."),
    Setting("STROWGER_MAIL_FROM", "", "Sender of e-mail from mailboxes; empty: voicemail@ and the host's name."),
    Setting(
        "STROWGER_VOICEMAIL",
        "/var/lib/strowger/voicemail",
        "Directory of mailboxes, messages and recordings, under the same path for FreeSWITCH and every media process.",
    ),
    Setting(
        "STROWGER_SPEECH_CACHE",
        "/var/cache/strowger/speech",
        "Directory of what was spoken by machine, under the same path for FreeSWITCH and the media workers.",
    ),
    Setting(
        "STROWGER_SPEECH_ENGINE",
        "flite:slt",
        "What speaks: flite:VOICE, espeak-ng:VOICE, a service's URL or module:Class.",
    ),
    Setting("STROWGER_SOUNDS", "", "Directory of recorded prompts; what is not in it is spoken by machine."),
    Setting(
        "STROWGER_TRANSCRIBER",
        "pocketsphinx",
        "What writes speech down: pocketsphinx, vosk:MODEL, faster-whisper:MODEL, a service's URL, module:Class.",
    ),
    Setting("STROWGER_TRANSCRIBE_LIMIT", "600", "Seconds that the transcription of one message may take."),
    Setting("STROWGER_TRANSCRIBE_MEMORY", "2048", "Megabytes that a process that transcribes may take."),
    Setting("STROWGER_TRANSCRIPT_WAIT", "600", "Seconds that e-mail and webhook wait for a transcript."),
    Setting("STROWGER_WEB_ADDRESS", "127.0.0.1:8088", "Where `strowger serve web` answers: the console, the HTTP API."),
)
_DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
"The call scripts that come with Strowger."


class Address(NamedTuple):
    """A TCP address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force."""

    node: str
    redis_address: str
    redis_password_file: Path | None
    snapshot: Path
    spool: Path
    secret_file: Path
    media_secret_file: Path
    secrets: Path
    spool_hours: int
    cdr_keep: int
    cdr_days: int
    cdr_webhook: str
    cdr_webhook_secret: str
    "Name of a secret; empty: none."
    run: Path
    sip_addresses: tuple[str, ...]
    "One for each family at most, IPv6 without brackets."
    sip_port: int
    dns: tuple[Address, ...]
    "Empty: those of /etc/resolv.conf."
    sip_workers: int
    rpc_port: int
    sip_memory: int
    probe_interval: int
    nat_ping: int
    rtpengine: str
    "``udp:HOST:PORT``; empty: none. So is the following."
    hep: str
    hep_id: int
    flood: int
    "Requests a second; 0: no guard."
    log_level: int
    log_format: str
    "text or json."
    logs: Path | None
    agent_metrics: Address | None
    hook_metrics: Address | None
    media_metrics: Address | None
    voicemail_metrics: Address | None
    records_metrics: Address | None
    scripts: Path
    worker_address: Address
    worker_http: Address
    worker_drain: int
    originate_sip: Address | None
    event_digits: bool
    esl_address: Address
    esl_password_file: Path
    media_state: Path
    smtp: Address
    smtp_tls: str
    "none, starttls or tls."
    smtp_user: str
    smtp_password_file: Path | None
    mail_from: str
    voicemail: Path
    speech_cache: Path
    speech_engine: str
    sounds: Path | None
    transcriber: str
    transcribe_limit: int
    "Seconds."
    transcribe_memory: int
    "Megabytes."
    transcript_wait: int
    "Seconds."
    web_address: Address

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; raises :class:`SettingError`."""
        computed = {"STROWGER_NODE": os.uname().nodename, "STROWGER_SCRIPTS": str(SCRIPTS)}
        env = {**_DEFAULTS, **computed, **(os.environ if environ is None else environ)}
        return cls(
            node=env["STROWGER_NODE"],
            redis_address=env["STROWGER_REDIS_URL"],
            redis_password_file=_path(env, "STROWGER_REDIS_PASSWORD_FILE"),
            snapshot=Path(env["STROWGER_SNAPSHOT"]),
            spool=Path(env["STROWGER_SPOOL"]),
            secret_file=Path(env["STROWGER_SECRET_FILE"]),
            media_secret_file=Path(env["STROWGER_MEDIA_SECRET_FILE"]),
            secrets=Path(env["STROWGER_SECRETS"]),
            spool_hours=_number(env, "STROWGER_SPOOL_HOURS", 1, 87600),
            cdr_keep=_number(env, "STROWGER_CDR_KEEP", 1, 100_000_000),
            cdr_days=_number(env, "STROWGER_CDR_DAYS", 0, 36500),
            cdr_webhook=_url(env, "STROWGER_CDR_WEBHOOK"),
            cdr_webhook_secret=env["STROWGER_CDR_WEBHOOK_SECRET"],
            run=Path(env["STROWGER_RUN"]),
            sip_addresses=_addresses(env, "STROWGER_SIP_ADDRESS"),
            sip_port=_number(env, "STROWGER_SIP_PORT", 1, 65535),
            dns=_dns_servers(env, "STROWGER_DNS"),
            sip_workers=_number(env, "STROWGER_SIP_WORKERS", 1, 256),
            rpc_port=_number(env, "STROWGER_RPC_PORT", 1, 65535),
            sip_memory=_number(env, "STROWGER_SIP_MEMORY", 64, 65536),
            probe_interval=_number(env, "STROWGER_PROBE_INTERVAL", 1, 3600),
            nat_ping=_number(env, "STROWGER_NAT_PING", 0, 3600),
            rtpengine=_datagrams(env, "STROWGER_RTPENGINE"),
            hep=_datagrams(env, "STROWGER_HEP"),
            hep_id=_number(env, "STROWGER_HEP_ID", 0, 2**31 - 1),
            flood=_number(env, "STROWGER_FLOOD", 0, 100_000),
            log_level=_number(env, "STROWGER_LOG_LEVEL", -5, 3),
            log_format=_one_of(env, "STROWGER_LOG_FORMAT", ("text", "json")),
            logs=_path(env, "STROWGER_LOGS"),
            agent_metrics=_address_or_none(env, "STROWGER_AGENT_METRICS"),
            hook_metrics=_address_or_none(env, "STROWGER_HOOK_METRICS"),
            media_metrics=_address_or_none(env, "STROWGER_MEDIA_METRICS"),
            voicemail_metrics=_address_or_none(env, "STROWGER_VOICEMAIL_METRICS"),
            records_metrics=_address_or_none(env, "STROWGER_RECORDS_METRICS"),
            scripts=Path(env["STROWGER_SCRIPTS"]),
            worker_address=_address(env, "STROWGER_WORKER_ADDRESS"),
            worker_http=_loopback(env, "STROWGER_WORKER_HTTP"),
            worker_drain=_number(env, "STROWGER_WORKER_DRAIN", 0, 86400),
            originate_sip=_address(env, "STROWGER_ORIGINATE_SIP") if env["STROWGER_ORIGINATE_SIP"] else None,
            event_digits=_one_of(env, "STROWGER_EVENT_DIGITS", ("yes", "no")) == "yes",
            esl_address=_address(env, "STROWGER_ESL_ADDRESS"),
            esl_password_file=Path(env["STROWGER_ESL_PASSWORD_FILE"]),
            media_state=Path(env["STROWGER_MEDIA_STATE"]),
            smtp=_address(env, "STROWGER_SMTP"),
            smtp_tls=_one_of(env, "STROWGER_SMTP_TLS", ("none", "starttls", "tls")),
            smtp_user=env["STROWGER_SMTP_USER"],
            smtp_password_file=_path(env, "STROWGER_SMTP_PASSWORD_FILE"),
            mail_from=env["STROWGER_MAIL_FROM"],
            voicemail=_recordable(env, "STROWGER_VOICEMAIL"),
            speech_cache=Path(env["STROWGER_SPEECH_CACHE"]),
            speech_engine=env["STROWGER_SPEECH_ENGINE"],
            sounds=_path(env, "STROWGER_SOUNDS"),
            transcriber=env["STROWGER_TRANSCRIBER"],
            transcribe_limit=_number(env, "STROWGER_TRANSCRIBE_LIMIT", 1, 86400),
            transcribe_memory=_number(env, "STROWGER_TRANSCRIBE_MEMORY", 64, 1_000_000),
            transcript_wait=_number(env, "STROWGER_TRANSCRIPT_WAIT", 0, 86400),
            web_address=_address(env, "STROWGER_WEB_ADDRESS"),
        )

    @property
    def recordings(self) -> Path:
        """Folder of what call scripts record: where mailboxes are, so the switch, workers and console share it."""
        return self.voicemail / "recordings"

    def to_env(self) -> dict[str, str]:
        """As environment variables, each one set, for processes that know no defaults."""
        return {
            "STROWGER_NODE": self.node,
            "STROWGER_REDIS_URL": self.redis_address,
            "STROWGER_REDIS_PASSWORD_FILE": str(self.redis_password_file or ""),
            "STROWGER_SNAPSHOT": str(self.snapshot),
            "STROWGER_SPOOL": str(self.spool),
            "STROWGER_SECRET_FILE": str(self.secret_file),
            "STROWGER_MEDIA_SECRET_FILE": str(self.media_secret_file),
            "STROWGER_SECRETS": str(self.secrets),
            "STROWGER_SPOOL_HOURS": str(self.spool_hours),
            "STROWGER_CDR_KEEP": str(self.cdr_keep),
            "STROWGER_CDR_DAYS": str(self.cdr_days),
            "STROWGER_CDR_WEBHOOK": self.cdr_webhook,
            "STROWGER_CDR_WEBHOOK_SECRET": self.cdr_webhook_secret,
            "STROWGER_RUN": str(self.run),
            "STROWGER_SIP_ADDRESS": ",".join(self.sip_addresses),
            "STROWGER_SIP_PORT": str(self.sip_port),
            "STROWGER_DNS": ",".join(map(str, self.dns)),
            "STROWGER_SIP_WORKERS": str(self.sip_workers),
            "STROWGER_RPC_PORT": str(self.rpc_port),
            "STROWGER_SIP_MEMORY": str(self.sip_memory),
            "STROWGER_PROBE_INTERVAL": str(self.probe_interval),
            "STROWGER_NAT_PING": str(self.nat_ping),
            "STROWGER_RTPENGINE": self.rtpengine,
            "STROWGER_HEP": self.hep,
            "STROWGER_HEP_ID": str(self.hep_id),
            "STROWGER_FLOOD": str(self.flood),
            "STROWGER_LOG_LEVEL": str(self.log_level),
            "STROWGER_LOG_FORMAT": self.log_format,
            "STROWGER_LOGS": str(self.logs or ""),
            "STROWGER_AGENT_METRICS": str(self.agent_metrics or ""),
            "STROWGER_HOOK_METRICS": str(self.hook_metrics or ""),
            "STROWGER_MEDIA_METRICS": str(self.media_metrics or ""),
            "STROWGER_VOICEMAIL_METRICS": str(self.voicemail_metrics or ""),
            "STROWGER_RECORDS_METRICS": str(self.records_metrics or ""),
            "STROWGER_SCRIPTS": str(self.scripts),
            "STROWGER_WORKER_ADDRESS": str(self.worker_address),
            "STROWGER_WORKER_HTTP": str(self.worker_http),
            "STROWGER_WORKER_DRAIN": str(self.worker_drain),
            "STROWGER_ORIGINATE_SIP": str(self.originate_sip or ""),
            "STROWGER_EVENT_DIGITS": "yes" if self.event_digits else "no",
            "STROWGER_ESL_ADDRESS": str(self.esl_address),
            "STROWGER_ESL_PASSWORD_FILE": str(self.esl_password_file),
            "STROWGER_MEDIA_STATE": str(self.media_state),
            "STROWGER_SMTP": str(self.smtp),
            "STROWGER_SMTP_TLS": self.smtp_tls,
            "STROWGER_SMTP_USER": self.smtp_user,
            "STROWGER_SMTP_PASSWORD_FILE": str(self.smtp_password_file or ""),
            "STROWGER_MAIL_FROM": self.mail_from,
            "STROWGER_VOICEMAIL": str(self.voicemail),
            "STROWGER_SPEECH_CACHE": str(self.speech_cache),
            "STROWGER_SPEECH_ENGINE": self.speech_engine,
            "STROWGER_SOUNDS": str(self.sounds or ""),
            "STROWGER_TRANSCRIBER": self.transcriber,
            "STROWGER_TRANSCRIBE_LIMIT": str(self.transcribe_limit),
            "STROWGER_TRANSCRIBE_MEMORY": str(self.transcribe_memory),
            "STROWGER_TRANSCRIPT_WAIT": str(self.transcript_wait),
            "STROWGER_WEB_ADDRESS": str(self.web_address),
        }

    @property
    def redis_url(self) -> str:
        """The address of Redis with its password, which is read now. Raises :class:`SettingError`."""
        if self.redis_password_file is None:
            return self.redis_address
        scheme, mark, rest = self.redis_address.partition("://")
        user, at, host = rest.rpartition("@")
        if mark and ":" in user:
            raise SettingError("STROWGER_REDIS_PASSWORD_FILE: there is a password in STROWGER_REDIS_URL, too")
        try:
            password = self.redis_password_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"STROWGER_REDIS_PASSWORD_FILE: {self.redis_password_file}: {error}") from None
        # An empty file is a Redis without a password.
        return f"{scheme}://{user}:{quote(password, safe='')}@{host}" if password else self.redis_address

    @property
    def sip_listeners(self) -> tuple[str, ...]:
        """Where Kamailio listens for SIP, as it writes its sockets: ``udp:[::1]:5060``."""
        hosts = [f"[{address}]" if ":" in address else address for address in self.sip_addresses]
        return tuple(f"{transport}:{host}:{self.sip_port}" for host in hosts for transport in ("udp", "tcp"))

    @property
    def rpc_socket(self) -> Path:
        """Unix datagram socket of Kamailio's JSON-RPC."""
        return self.run / "kamailio.sock"

    @property
    def bytecode(self) -> Path:
        """Directory of the compiled files that Kamailio's workers read."""
        return self.run / "bytecode"

    @property
    def agent_pipe(self) -> Path:
        """Pipe by which Kamailio's workers hand over what the agent answers."""
        return self.run / "agent.pipe"

    @property
    def hook_pipe(self) -> Path:
        """Pipe by which Kamailio's workers hand questions over to the hook process."""
        return self.run / "hook.pipe"

    @property
    def hook_report(self) -> Path:
        """What the hook process says of itself, each second, as JSON."""
        return self.run / "hook.json"

    @property
    def watchers(self) -> Path:
        """Who is told of which mailbox: the agent's file, on a local disk, so beside the snapshot."""
        return self.snapshot / "watchers.sqlite"

    @property
    def location(self) -> Path:
        """Where phones are registered, a file for each subscriber: must outlive Kamailio, so beside the snapshot."""
        return self.snapshot / "location"

    @property
    def location_table(self) -> Path:
        """The same as Kamailio reads it at its start."""
        return self.run / "location"

    @property
    def drain_file(self) -> Path:
        """Until when this node is drained: what Kamailio begins with, so it must outlive both, beside the snapshot."""
        return self.snapshot / "drained"

    @property
    def dispatcher_list(self) -> Path:
        """The gateways that Kamailio is to probe, as its dispatcher module reads them."""
        return self.run / "dispatcher.list"

    @property
    def worker_socket(self) -> Path:
        """Unix socket by which commands speak to this media worker; each worker of a node has its own port."""
        return self.run / f"worker-{self.worker_address.port}.sock"

    @property
    def main_script(self) -> Path:
        """The main script as Kamailio loads it: a copy, so that no edit of the source can break a reload."""
        return self.run / "main.py"


def _number(env: Mapping[str, str], name: str, low: int, high: int) -> int:
    try:
        value = int(env[name])
    except ValueError:
        raise SettingError(f"{name}: {env[name]!r} is not a whole number") from None
    if not low <= value <= high:
        raise SettingError(f"{name}: {value} is not between {low} and {high}")
    return value


def _one_of(env: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    if env[name] not in words:
        raise SettingError(f"{name}: {env[name]!r} is none of {', '.join(words)}")
    return env[name]


def _recordable(env: Mapping[str, str], name: str) -> Path:
    # The application record divides its arguments at blanks (record_function of mod_dptools.c).
    if " " in env[name]:
        raise SettingError(f"{name}: {env[name]!r} has a blank in it, so that nothing can be recorded there")
    return Path(env[name])


def _url(env: Mapping[str, str], name: str) -> str:
    """A URL of HTTP, or nothing."""
    try:
        parts = urlsplit(env[name])
        usable = not env[name] or (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        usable = False
    if not usable:
        # Not what it is: there may be a password in it.
        raise SettingError(f"{name}: not a URL such as https://HOST/PATH")
    return env[name]


def _path(env: Mapping[str, str], name: str) -> Path | None:
    """A path, or None where the setting is empty."""
    return Path(env[name]) if env[name] else None


def _address(env: Mapping[str, str], name: str) -> Address:
    """``HOST:PORT``, an IPv6 address in brackets."""
    host, _, port = env[name].rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or (":" in bare) != host.startswith("[") or not port.isascii() or not port.isdigit():
        raise SettingError(f"{name}: {env[name]!r} is not HOST:PORT")
    if not 1 <= int(port) <= 65535:
        raise SettingError(f"{name}: {port} is not between 1 and 65535")
    return Address(bare, int(port))


def _address_or_none(env: Mapping[str, str], name: str) -> Address | None:
    return _address(env, name) if env[name] else None


def _datagrams(env: Mapping[str, str], name: str) -> str:
    """``udp:IP:PORT``, an IPv6 address in brackets; or empty."""
    if not env[name]:
        return ""
    transport, _, rest = env[name].partition(":")
    address = _address({name: rest}, name)
    try:
        # A name would be looked up by SIP workers.
        ipaddress.ip_address(address.host)
    except ValueError:
        raise SettingError(f"{name}: {address.host!r} is not an IP address") from None
    if transport != "udp":
        raise SettingError(f"{name}: {env[name]!r} does not begin with udp:")
    return f"udp:{address}"


def _dns_servers(env: Mapping[str, str], name: str) -> tuple[Address, ...]:
    found = []
    for word in env[name].replace(",", " ").split():
        bare = word.removeprefix("[").removesuffix("]")
        address = Address(bare, 53) if _is_ip(bare) else _address({name: word}, name)
        if not _is_ip(address.host):
            raise SettingError(f"{name}: {word!r} is not the IP address of a server")
        found.append(address)
    return tuple(found)


def _is_ip(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _loopback(env: Mapping[str, str], name: str) -> Address:
    address = _address(env, name)
    try:
        if ipaddress.ip_address(address.host).is_loopback:
            return address
    except ValueError:
        pass
    # Who reaches it may run scripts, and nothing asks who that is.
    raise SettingError(f"{name}: {address.host!r} is not a loopback address")


def _addresses(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Addresses, divided by commas or spaces."""
    found: dict[int, str] = {}
    for word in env[name].replace(",", " ").split():
        try:
            address = ipaddress.ip_address(word.removeprefix("[").removesuffix("]") if word[0] == "[" else word)
        except ValueError:
            raise SettingError(f"{name}: {word!r} is not an IP address") from None
        if getattr(address, "scope_id", None):
            raise SettingError(f"{name}: {word!r} has a zone, which a SIP message cannot name")
        if address.version in found:
            # Kamailio sends from the first of a family, whichever a peer knows.
            raise SettingError(f"{name}: {word!r} is a second IPv{address.version} address")
        found[address.version] = str(address)
    if not found:
        raise SettingError(f"{name}: {env[name]!r} names no address")
    return tuple(found.values())
