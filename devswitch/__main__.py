"""``python -m devswitch``: the embedded switch as a process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from devswitch import catalogue
from devswitch.apps.phrases import Phrases
from devswitch.esl.server import EslServer
from devswitch.sip.endpoint import Endpoint
from devswitch.switch import VERSION, Options, Switch

log = logging.getLogger("devswitch")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 where the settings cannot be used."""
    settings = _parse(arguments)
    level = logging.DEBUG if settings.verbose else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(settings))
    except (OSError, ValueError) as error:
        print(f"devswitch: {error}", file=sys.stderr)
        return 2
    return 0


async def serve(settings: argparse.Namespace) -> None:
    """Print ``ready`` once everything listens."""
    switch = build(settings)
    password = settings.esl_password_file.read_text().strip()
    if not password:
        raise ValueError(f"{settings.esl_password_file} is empty")
    host, port = settings.sip
    endpoint = Endpoint(
        host, port, on_invite=switch.on_invite, rtp_ports=settings.rtp, user_agent=f"Strowger-embedded/{VERSION}"
    )
    endpoint.on_request = switch.on_message
    await endpoint.start()
    switch.endpoint = endpoint
    esl = EslServer(switch, settings.esl[0], settings.esl[1], password)
    await esl.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, switch.stopping.set)
    log.info("%d applications, %d commands", len(catalogue.APPLICATIONS), len(catalogue.API_COMMANDS))
    log.info("SIP on %s:%d, ESL on %s:%d", *endpoint.address[:2], esl.host, esl.port)
    print("ready", flush=True)
    await switch.stopping.wait()
    await switch.stop()
    await esl.stop()
    await endpoint.stop()


def build(settings: argparse.Namespace) -> Switch:
    """The switch, with its dialplan and phrases; raises XmlError."""
    variables = dict(settings.var)
    options = Options(
        profile=settings.profile,
        context=settings.context,
        dialplan=settings.dialplan,
        sounds=settings.sounds,
        recordings=settings.recordings,
        phrases=settings.phrases,
        variables=variables,
    )
    switch = Switch(options)
    switch.load_dialplan()
    if options.phrases:
        switch.phrases = Phrases.load(options.phrases, switch.globals)
    return switch


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devswitch", description=__doc__)
    parser.add_argument("--sip", type=_address, default=("127.0.0.1", 5080), metavar="HOST:PORT")
    parser.add_argument("--rtp", type=_ports, default=range(20000, 21000), metavar="FIRST-LAST")
    parser.add_argument("--esl", type=_address, default=("127.0.0.1", 8021), metavar="HOST:PORT")
    parser.add_argument("--esl-password-file", type=Path, required=True, metavar="FILE")
    parser.add_argument("--dialplan", type=Path, required=True, metavar="FOLDER", help="FreeSWITCH's XML dialplan")
    parser.add_argument("--phrases", type=Path, metavar="FOLDER", help="phrase macros")
    parser.add_argument("--sounds", type=Path, default=Path("sounds"), metavar="FOLDER")
    parser.add_argument("--recordings", type=Path, default=Path("recordings"), metavar="FOLDER")
    parser.add_argument("--profile", default="internal", help="name of the SIP profile")
    parser.add_argument("--context", default="strowger", help="the dialplan's context for calls that come in")
    parser.add_argument("--var", type=_pair, action="append", default=[], metavar="NAME=VALUE", help="global variable")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(arguments)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text}: HOST:PORT is expected")
    return host.strip("[]"), int(port)


def _ports(text: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdigit() or not last.isdigit() or int(first) >= int(last):
        raise argparse.ArgumentTypeError(f"{text}: FIRST-LAST is expected")
    return range(int(first), int(last) + 1)


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not name or not found:
        raise argparse.ArgumentTypeError(f"{text}: NAME=VALUE is expected")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
