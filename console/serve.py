"""`strowger serve`: the processes of a node, as systemd, Docker and `strowger up` start them."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import sysconfig
import time
from pathlib import Path
from types import FrameType

from agent.probing import DOWN, PROBED
from console import bytecode
from model.secrets import read_secret
from model.settings import SettingError, Settings
from state import location
from state.store import Store
from telemetry import logs

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "kamailio" / "kamailio.cfg"
MAIN = ROOT / "kemi" / "main.py"
# Not the caller's: another python3 in it would become the prefix of the interpreter inside Kamailio.
CLEAN_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
SECRET_SIZE = 32
# Of the hook process: it gets a third of what a SIP worker does, where both want more than there is.
NICE = 5
# Seconds that requests have to be answered when the web server is stopped.
WEB_PATIENCE = 5


def kamailio_command(settings: Settings) -> list[str]:
    """The command that starts Kamailio in the foreground."""
    # No pid file: one left by a crash may hold the number of some other process, and Kamailio would refuse to start.
    return [
        _find("kamailio"),
        "-DD",
        "-E",
        "-f",
        str(CONFIG),
        "-Y",
        str(settings.run),
        # A call takes some 40 kB for a few seconds; the default of 64 MB is used up at 400 calls a second.
        "-m",
        str(settings.sip_memory),
        # The default walks lists, and a call costs 6 % more with it; this one does each step in constant time, however
        # many dialogs or TLS connections end at once.
        *("-x", "tlsf", "-X", "tlsf"),
        # The message without its line end, and the prefix as fields; the cfg cannot say so (ksr_slog_init, dprint.c).
        *(["--log-engine=json:Mp"] if settings.log_format == "json" else []),
        *(word for name in _switched_on(settings) for word in ("-A", name)),
    ]


def _switched_on(settings: Settings) -> list[str]:
    """What kamailio.cfg has between #!ifdef and #!endif, and no node pays for that does not want it."""
    wanted = {
        "WITH_RTPENGINE": settings.rtpengine, "WITH_HEP": settings.hep, "WITH_FLOOD_GUARD": settings.flood,
        "WITH_JSON_LOG": settings.log_format == "json",
    }  # fmt: skip
    return [name for name, value in wanted.items() if value]


def kamailio_environment(settings: Settings) -> dict[str, str]:
    """The whole environment of Kamailio; nothing is inherited but what is named here."""
    return {
        **settings.to_env(),
        "STROWGER_SIP_LISTENERS": " ".join(settings.sip_listeners),
        "STROWGER_RPC_SOCKET": str(settings.rpc_socket),
        "STROWGER_CTL_SOCKET": f"unixs:{settings.run / 'kamailio_ctl'}",
        "STROWGER_MAIN_SCRIPT": str(settings.main_script),
        "STROWGER_DISPATCHER_LIST": str(settings.dispatcher_list),
        "STROWGER_HEP_URI": settings.hep.replace("udp:", "sip:", 1),
        # Over two seconds.
        "STROWGER_FLOOD_DENSITY": str(2 * settings.flood),
        "STROWGER_LOCATION_URL": f"text://{settings.location_table}",
        "STROWGER_DRAINED": f"drained=i:{drained_until(settings)}",
        "PATH": CLEAN_PATH,
        "PYTHONPATH": os.pathsep.join((str(ROOT), sysconfig.get_path("platlib"))),
        # Those of console.bytecode, and no others.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": str(settings.bytecode),
        "LANG": "C.UTF-8",
    }


def drained_until(settings: Settings) -> int:
    """The Unix time until which this node takes no new calls, as its agent left it; 0: it takes them."""
    try:
        return int(settings.drain_file.read_text())
    except (OSError, ValueError):
        return 0


def prepare(settings: Settings) -> None:
    """Make what Kamailio needs at its start. Raises OSError, and SettingError for a key or password that is none."""
    # Workers ask for it later, when it is too late to say so.
    _ = settings.redis_url
    for directory in (settings.run, settings.spool):
        directory.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(MAIN, settings.main_script)
    bytecode.keep(ROOT, settings.bytecode)
    settings.dispatcher_list.touch()
    # What was known of gateways ended with the Kamailio before: all are up until a probe tells otherwise.
    lines = settings.dispatcher_list.read_text().splitlines(keepends=True)
    known = f" {PROBED | DOWN} "
    settings.dispatcher_list.write_text("".join(line.replace(known, f" {PROBED} ") for line in lines))
    location.restore(settings.location, settings.location_table, time.time())
    _make_secret("STROWGER_SECRET_FILE", settings.secret_file)
    _make_secret("STROWGER_MEDIA_SECRET_FILE", settings.media_secret_file)


def _make_secret(setting: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_whole(path, secrets.token_bytes(SECRET_SIZE))
    # Workers read it at their first call, which is no time to find out. With an empty key anybody could forge a route.
    if (size := len(path.read_bytes())) < SECRET_SIZE:
        raise SettingError(f"{setting}: {path} has {size} bytes, and a key has {SECRET_SIZE} at least")


def _write_whole(path: Path, data: bytes) -> None:
    # Half a key would last as long as a whole one.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_bytes(data)
    fresh.rename(path)


def serve_kamailio(settings: Settings) -> None:
    """Become Kamailio."""
    prepare(settings)
    command = kamailio_command(settings)
    os.execve(command[0], command, kamailio_environment(settings))


def serve_agent(settings: Settings) -> None:
    """Be the node agent until SIGTERM or SIGINT."""
    # Not for other commands: what makes metrics costs more to load than all of these.
    from agent.node import NodeAgent

    logs.configure(settings, "agent")
    stop = _on_signals()
    NodeAgent(settings, lambda: bool(stop)).run()


def serve_hook(settings: Settings) -> None:
    """Be the hook process until SIGTERM or SIGINT."""
    # Not for other commands, as above.
    from agent.hook_service import HookService

    logs.configure(settings, "hook")
    # Where there is too little of the processor, calls that ask nobody come first.
    os.nice(NICE)
    asyncio.run(HookService(settings).run())


def serve_media(settings: Settings, *, debug: bool = False) -> None:
    """Be a media worker until SIGTERM or SIGINT."""
    # Not for other commands: what scripts are given costs more to load than all of these.
    import uvloop

    from media.worker import work

    level = logging.DEBUG if debug else logging.INFO
    logs.configure(settings, "media", level)
    password = prepare_media(settings)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work(settings, settings.media_secret_file.read_bytes(), password))


def serve_voicemail(settings: Settings) -> None:
    """Be a voicemail service until SIGTERM or SIGINT."""
    # Not for other commands: engines and mail cost more to load than all of these.
    from media.voicemail.service import work

    logs.configure(settings, "voicemail")
    asyncio.run(work(settings))


def serve_records(settings: Settings) -> None:
    """Tell the webhook of call records until SIGTERM or SIGINT. Raises SettingError, SecretError."""
    # Not for other commands.
    from agent.record_webhook import RecordWebhook
    from telemetry.listener import Listener, Told

    logs.configure(settings, "records")
    if not settings.cdr_webhook:
        raise SettingError("STROWGER_CDR_WEBHOOK: there is no URL to tell of call records")
    name = settings.cdr_webhook_secret
    secret = read_secret(settings.secrets, name) if name else ""
    stop = _on_signals()
    logging.getLogger("strowger.records").info("is at work")
    telling = RecordWebhook(Store(settings.redis_url), settings.cdr_webhook, secret, lambda: bool(stop))
    Listener(settings.records_metrics, Told(sample=telling.sample, ready=telling.check)).start()
    telling.run()


def serve_web(settings: Settings) -> None:
    """Answer the HTTP API and show the console until SIGTERM or SIGINT."""
    # Not for other commands: what speaks HTTP costs more to load than all of these.
    import uvicorn

    from api.protocols import options
    from web.app import make_site

    logs.configure(settings, "web")
    host, port = settings.web_address
    uvicorn.run(
        make_site(settings), host=host, port=port, log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=WEB_PATIENCE, **options(),
    )  # fmt: skip


def _on_signals() -> list[int]:
    """A list that SIGTERM and SIGINT are added to."""
    stop: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.append(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def prepare_media(settings: Settings) -> str:
    """Make the keys of the media tier where there are none; the password of the event socket.

    Raises OSError, and SettingError for what is none.
    """
    _make_secret("STROWGER_MEDIA_SECRET_FILE", settings.media_secret_file)
    return _esl_password(settings.esl_password_file)


def _esl_password(path: Path) -> str:
    """The password of the event socket, made where there is none: FreeSWITCH is started with the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_whole(path, secrets.token_urlsafe(SECRET_SIZE).encode())
    password = path.read_text().strip()
    if not password or not password.isascii() or not password.isprintable():
        raise SettingError(f"STROWGER_ESL_PASSWORD_FILE: {path} holds no password of printable ASCII")
    return password


def _find(program: str) -> str:
    found = shutil.which(program, path=CLEAN_PATH)
    if found is None:
        raise FileNotFoundError(f"{program} is not installed")
    return found
