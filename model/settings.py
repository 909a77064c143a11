"""Settings of every process, from the environment. docs/settings.md is this table."""

from __future__ import annotations

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
    Setting("STROWGER_SPOOL_HOURS", "168", "How long call records are kept on this node, in hours."),
    Setting("STROWGER_RUN", "/run/strowger", "Directory of sockets and of the main script that Kamailio loads."),
    Setting("STROWGER_SIP_ADDRESS", "127.0.0.1", "IP address that Kamailio listens on, UDP and TCP."),
    Setting("STROWGER_SIP_PORT", "5060", "Port that Kamailio listens on, UDP and TCP."),
    Setting("STROWGER_SIP_WORKERS", "4", "SIP worker processes for each transport."),
    Setting("STROWGER_RPC_PORT", "5059", "TCP port of JSON-RPC over HTTP, on 127.0.0.1 only."),
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
    spool_hours: int
    run: Path
    sip_address: str
    sip_port: int
    sip_workers: int
    rpc_port: int
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
            spool_hours=_number(env, "STROWGER_SPOOL_HOURS", 1, 87600),
            run=Path(env["STROWGER_RUN"]),
            sip_address=env["STROWGER_SIP_ADDRESS"],
            sip_port=_number(env, "STROWGER_SIP_PORT", 1, 65535),
            sip_workers=_number(env, "STROWGER_SIP_WORKERS", 1, 256),
            rpc_port=_number(env, "STROWGER_RPC_PORT", 1, 65535),
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
            "STROWGER_SPOOL_HOURS": str(self.spool_hours),
            "STROWGER_RUN": str(self.run),
            "STROWGER_SIP_ADDRESS": self.sip_address,
            "STROWGER_SIP_PORT": str(self.sip_port),
            "STROWGER_SIP_WORKERS": str(self.sip_workers),
            "STROWGER_RPC_PORT": str(self.rpc_port),
            "STROWGER_PROBE_INTERVAL": str(self.probe_interval),
            "STROWGER_LOG_LEVEL": str(self.log_level),
        }

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
