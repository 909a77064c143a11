"""FreeSWITCH as Strowger ships it, with mod_lua beside."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from console import serve
from console.ports import free_port
from console.process import Process

CONFIGURATION = serve.ROOT / "media" / "freeswitch"
LUA = Path(__file__).parent / "lua"
READY_TIMEOUT = 30.0
# Ports of RTP for one FreeSWITCH; 100 calls need 200.
RTP_FIRST, RTP_PORTS = 33_000, 600
_CONTEXT = '<context name="strowger">'
_CALLED = '<condition field="destination_number" expression="^{}$"/>'
_WORKERS = "$${workers}"


class NoSwitchError(Exception):
    """There is no FreeSWITCH here, or it does not start; the message says which."""


def program() -> str:
    """FreeSWITCH. Raises :class:`NoSwitchError`."""
    found = os.environ.get("FREESWITCH_BIN") or shutil.which("freeswitch")
    if not found:
        raise NoSwitchError("no FreeSWITCH")
    return found


def dialplan(shipped: str, scripts: Mapping[str, Path], workers: Mapping[str, str]) -> str:
    """The dialplan with an extension more for each number: of mod_lua, and of a worker by its address.

    What a worker's extension does is what the shipped one does. Raises :class:`NoSwitchError` where that has changed.
    """
    extensions = re.findall(r"<extension name=[^>]*>(.*?)</extension>", shipped, re.DOTALL)
    if not extensions or _CONTEXT not in shipped or not all(_WORKERS in body for body in extensions):
        raise NoSwitchError("dialplan/strowger.xml is not what the benchmark knows")
    own = []
    for number, script in scripts.items():
        own.append(_extension(number, f'<condition><action application="lua" data="{script}"/></condition>'))
    for number, address in workers.items():
        own += [_extension(number, body.replace(_WORKERS, address)) for body in extensions]
    return shipped.replace(_CONTEXT, _CONTEXT + "\n" + "\n".join(own))


def _extension(number: str, body: str) -> str:
    return f'<extension name="{number}">{_CALLED.format(number)}{body}</extension>'


def profile(shipped: str) -> str:
    """The SIP profile, for callers of SIPp: digits by INFO, and prompts for who sends no audio."""
    if "rtp-timer-name" not in shipped:
        # Else a playback waits for the caller's packets.
        shipped = _put("<settings>", '<settings>\n      <param name="rtp-timer-name" value="soft"/>')(shipped)
    return _put('"dtmf-type" value="rfc2833"', '"dtmf-type" value="info"')(shipped)


class FreeSwitch:
    """One FreeSWITCH with ports and folders of its own."""

    def __init__(self, directory: Path, number: int, scripts: Mapping[str, Path], workers: Mapping[str, str]) -> None:
        """``number``: of those that run at once; ``scripts`` and ``workers``: see :func:`dialplan`."""
        self.directory = directory
        self.sip_port, self.esl_port = free_port(), free_port()
        self.password_file = directory / "esl-password"
        self._configure(directory / "conf", scripts, workers)
        self.password_file.write_text(secrets.token_hex(16))
        first = RTP_FIRST + RTP_PORTS * number
        environment = {
            **os.environ,
            "FREESWITCH_BIN": program(),
            "STROWGER_FS_STATE": str(directory / "state"),
            "STROWGER_FS_SIP_PORT": str(self.sip_port),
            "STROWGER_FS_RTP_FIRST_PORT": str(first),
            "STROWGER_FS_RTP_LAST_PORT": str(first + RTP_PORTS - 1),
            "STROWGER_ESL_ADDRESS": f"127.0.0.1:{self.esl_port}",
            "STROWGER_ESL_PASSWORD_FILE": str(self.password_file),
        }
        # By its own wish it would be before everybody else, in real time.
        command = [str(directory / "conf" / "start"), "-np", "-nocal"]
        self._process = Process("freeswitch", command, environment, directory / "freeswitch.log")

    def _configure(self, folder: Path, scripts: Mapping[str, Path], workers: Mapping[str, str]) -> None:
        shutil.copytree(CONFIGURATION, folder)
        _edit(folder / "dialplan" / "strowger.xml", lambda text: dialplan(text, scripts, workers))
        modules = '<load module="mod_lua"/>\n    <load module="mod_sofia"'
        _edit(folder / "autoload_configs" / "modules.conf.xml", _put('<load module="mod_sofia"', modules))
        _edit(folder / "sip_profiles" / "private.xml", profile)
        (folder / "autoload_configs" / "lua.conf.xml").write_text(
            '<configuration name="lua.conf"><settings/></configuration>\n'
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process.popen is not None
        return self._process.popen.pid

    @property
    def recordings(self) -> Path:
        """Folder for recordings."""
        return self.directory / "state" / "recordings"

    def start(self) -> None:
        """Begin to start; see :meth:`wait`."""
        self._process.start()

    def wait(self) -> None:
        """Until it takes calls. Raises :class:`NoSwitchError`."""
        deadline = time.monotonic() + READY_TIMEOUT
        while not (_listens(self.esl_port) and self.api("sofia status profile private").count("sip:")):
            if not self._process.running or time.monotonic() > deadline:
                raise NoSwitchError(f"FreeSWITCH does not start: {self._process.log.read_text()[-1000:]}")
            time.sleep(0.1)

    def api(self, command: str) -> str:
        """What fs_cli, beside the program, says to a command."""
        client = Path(program()).with_name("fs_cli")
        password = self.password_file.read_text()
        done = subprocess.run(
            [str(client), "-H", "127.0.0.1", "-P", str(self.esl_port), "-p", password, "-x", command],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout

    def stop(self) -> None:
        """End it."""
        self._process.stop()


def _edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text()))


def _put(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        if old not in text:
            raise NoSwitchError(f"the configuration has no {old}")
        return text.replace(old, new)

    return change


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
