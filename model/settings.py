"""Settings of every process, from the environment. docs/settings.md is this table."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
    Setting("STROWGER_REDIS_URL", "redis://127.0.0.1:6379/0", "Where the shared state is; may hold a password."),
    Setting("STROWGER_SNAPSHOT", "/var/lib/strowger/snapshot", "Directory of the policy snapshot, on a local disk."),
    Setting("STROWGER_SPOOL", "/var/lib/strowger/spool", "Directory of the call records that workers append to."),
    Setting("STROWGER_SECRET_FILE", "/var/lib/strowger/secret", "Key of this node's routes; made at the first start."),
    Setting(
        "STROWGER_MEDIA_SECRET_FILE",
        "/var/lib/strowger/media-secret",
        "Key of hand-overs to media, the same on all SIP nodes and media workers; made at the first start.",
    ),
    Setting("STROWGER_SPOOL_HOURS", "168", "How long a node keeps its spool once that is in Redis, in hours."),
    Setting("STROWGER_CDR_KEEP", "100000", "How many call records Redis keeps, of all nodes together."),
    Setting("STROWGER_RUN", "/run/strowger", "Directory of sockets and of the main script that Kamailio loads."),
    Setting(
        "STROWGER_SIP_ADDRESS", "127.0.0.1", "What Kamailio listens on: an IPv4 address, an IPv6 address, or both."
    ),
    Setting("STROWGER_SIP_PORT", "5060", "Port that Kamailio listens on, UDP and TCP."),
    Setting("STROWGER_SIP_WORKERS", "4", "SIP worker processes for each transport."),
    Setting("STROWGER_RPC_PORT", "5059", "TCP port of JSON-RPC over HTTP, on 127.0.0.1 only."),
    Setting("STROWGER_SIP_MEMORY", "512", "Megabytes for the calls under way, shared by Kamailio's processes."),
    Setting("STROWGER_PROBE_INTERVAL", "10", "Seconds between two OPTIONS to a gateway that is probed."),
    Setting("STROWGER_LOG_LEVEL", "1", "Kamailio's debug level: -1 errors, 0 warnings, 1 notices, 2 info, 3 debug."),
)
_DEFAULTS = {setting.name: setting.default for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force."""

    node: str
    redis_url: str
    snapshot: Path
    spool: Path
    secret_file: Path
    media_secret_file: Path
    spool_hours: int
    cdr_keep: int
    run: Path
    sip_addresses: tuple[str, ...]
    "One for each family at most, IPv6 without brackets."
    sip_port: int
    sip_workers: int
    rpc_port: int
    sip_memory: int
    probe_interval: int
    log_level: int

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; raises :class:`SettingError`."""
        env = {**_DEFAULTS, "STROWGER_NODE": os.uname().nodename, **(os.environ if environ is None else environ)}
        return cls(
            node=env["STROWGER_NODE"],
            redis_url=env["STROWGER_REDIS_URL"],
            snapshot=Path(env["STROWGER_SNAPSHOT"]),
            spool=Path(env["STROWGER_SPOOL"]),
            secret_file=Path(env["STROWGER_SECRET_FILE"]),
            media_secret_file=Path(env["STROWGER_MEDIA_SECRET_FILE"]),
            spool_hours=_number(env, "STROWGER_SPOOL_HOURS", 1, 87600),
            cdr_keep=_number(env, "STROWGER_CDR_KEEP", 1, 100_000_000),
            run=Path(env["STROWGER_RUN"]),
            sip_addresses=_addresses(env, "STROWGER_SIP_ADDRESS"),
            sip_port=_number(env, "STROWGER_SIP_PORT", 1, 65535),
            sip_workers=_number(env, "STROWGER_SIP_WORKERS", 1, 256),
            rpc_port=_number(env, "STROWGER_RPC_PORT", 1, 65535),
            sip_memory=_number(env, "STROWGER_SIP_MEMORY", 64, 65536),
            probe_interval=_number(env, "STROWGER_PROBE_INTERVAL", 1, 3600),
            log_level=_number(env, "STROWGER_LOG_LEVEL", -5, 3),
        )

    def to_env(self) -> dict[str, str]:
        """As environment variables, each one set, for processes that know no defaults."""
        return {
            "STROWGER_NODE": self.node,
            "STROWGER_REDIS_URL": self.redis_url,
            "STROWGER_SNAPSHOT": str(self.snapshot),
            "STROWGER_SPOOL": str(self.spool),
            "STROWGER_SECRET_FILE": str(self.secret_file),
            "STROWGER_MEDIA_SECRET_FILE": str(self.media_secret_file),
            "STROWGER_SPOOL_HOURS": str(self.spool_hours),
            "STROWGER_CDR_KEEP": str(self.cdr_keep),
            "STROWGER_RUN": str(self.run),
            "STROWGER_SIP_ADDRESS": ",".join(self.sip_addresses),
            "STROWGER_SIP_PORT": str(self.sip_port),
            "STROWGER_SIP_WORKERS": str(self.sip_workers),
            "STROWGER_RPC_PORT": str(self.rpc_port),
            "STROWGER_SIP_MEMORY": str(self.sip_memory),
            "STROWGER_PROBE_INTERVAL": str(self.probe_interval),
            "STROWGER_LOG_LEVEL": str(self.log_level),
        }

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
    def dispatcher_list(self) -> Path:
        """The gateways that Kamailio is to probe, as its dispatcher module reads them."""
        return self.run / "dispatcher.list"

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
