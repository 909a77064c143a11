"""The switch of a node on this machine: the embedded one, or FreeSWITCH, both with the configuration of FreeSWITCH."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from console import serve
from console.ports import free_range
from model.settings import Address, Settings

CONFIGURATION = serve.ROOT / "media" / "freeswitch"
RTP_PORTS = 90
"Two for each call."
ANSWER_TIMEOUT = 1.0


class Kind(StrEnum):
    """Which switch."""

    EMBEDDED = "embedded"
    FREESWITCH = "freeswitch"


class NoSwitchError(Exception):
    """The switch that was asked for is not installed; the message says how it is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Where a switch on 127.0.0.1 listens and keeps its files; the event socket is that of the settings."""

    kind: Kind = Kind.EMBEDDED
    sip_port: int
    directory: Path
    "Holds prompts in ``sounds``, ``recordings``, and what FreeSWITCH writes besides."
    rtp: range = field(default_factory=lambda: free_range(RTP_PORTS))

    @property
    def sounds(self) -> Path:
        """Folder of prompts."""
        return self.directory / "sounds"

    @property
    def recordings(self) -> Path:
        """Where scripts record to: the global variable ``recordings_dir``."""
        return self.directory / "recordings"

    def prepare(self) -> None:
        """Make its folders. Raises OSError."""
        for folder in (self.sounds, self.recordings):
            folder.mkdir(parents=True, exist_ok=True)

    def command(self, settings: Settings) -> Sequence[str]:
        """What starts it in the foreground."""
        if self.kind is Kind.FREESWITCH:
            # -np: at its usual priority it would take the processor from all others on this machine.
            return [str(CONFIGURATION / "start"), "-np"]
        return [
            sys.executable, "-P", "-m", "devswitch",
            "--sip", f"127.0.0.1:{self.sip_port}",
            "--rtp", f"{self.rtp[0]}-{self.rtp[-1]}",
            "--esl", str(settings.esl_address),
            "--esl-password-file", str(settings.esl_password_file),
            "--profile", "private",
            "--dialplan", str(CONFIGURATION / "dialplan"),
            "--phrases", str(CONFIGURATION / "phrases"),
            "--sounds", str(self.sounds),
            "--recordings", str(self.recordings),
            "--var", f"workers={settings.worker_address}",
            "--var", "call_seconds_max=14400",
        ]  # fmt: skip

    def environment(self, settings: Settings) -> Mapping[str, str]:
        """What it reads."""
        if self.kind is Kind.EMBEDDED:
            return {**os.environ, "PYTHONPATH": str(serve.ROOT)}
        return {
            **os.environ,
            **settings.to_env(),
            "FREESWITCH_BIN": freeswitch(),
            "STROWGER_FS_STATE": str(self.directory),
            "STROWGER_FS_RECORDINGS": str(self.recordings),
            "STROWGER_FS_SOUNDS": str(self.sounds),
            "STROWGER_FS_SIP_PORT": str(self.sip_port),
            "STROWGER_FS_RTP_FIRST_PORT": str(self.rtp[0]),
            "STROWGER_FS_RTP_LAST_PORT": str(self.rtp[-1]),
        }

    def answers(self, esl: Address) -> bool:
        """Whether it is there, for SIP and on its event socket."""
        try:
            socket.create_connection(esl, timeout=ANSWER_TIMEOUT).close()
        except OSError:
            return False
        return asyncio.run(_answers_options(self.sip_port))


def freeswitch() -> str:
    """The program. Raises :class:`NoSwitchError`."""
    found = os.environ.get("FREESWITCH_BIN") or shutil.which("freeswitch")
    if not found:
        raise NoSwitchError("no FreeSWITCH is found: put it on PATH, or name the program in FREESWITCH_BIN")
    return found


async def _answers_options(port: int) -> bool:
    # Not for every command: numpy takes longer to load than most of them to run.
    from devswitch.sip.endpoint import Endpoint

    asker = Endpoint("127.0.0.1", 0, on_invite=lambda _: None, rtp_ports=range(0), user_agent="strowger")
    await asker.start()
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await asker.send_request("OPTIONS", f"sip:127.0.0.1:{port}") == 200
    except TimeoutError:
        return False
    finally:
        await asker.stop()
