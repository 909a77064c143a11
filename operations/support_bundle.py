"""What whoever helps wants to see of a node, without what they must not: a tar of text."""

from __future__ import annotations

import io
import json
import platform
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import IO, Any

from model.settings import Settings
from operations import gateways, health, nodes
from operations.backup import secret_files
from operations.redaction import Redactor, shown_url
from state import keys, schema
from state.store import Store

LINES = 2000
"Of each log, the last."
WINDOW = 3600.0
"Seconds of gateways' figures."
TIMEOUT = 6.0
_URLS = ("STROWGER_REDIS_URL", "STROWGER_CDR_WEBHOOK", "STROWGER_TRANSCRIBER", "STROWGER_SPEECH_ENGINE")
Progress = Callable[[str], None]
"Is told the name of each part before it is made."


def write(store: Store, settings: Settings, target: IO[bytes], *, status: Any, progress: Progress) -> list[str]:
    """Write a bundle; the names in it. ``status`` goes into it as it is shown elsewhere. Raises OSError.

    A part that cannot be made holds the reason instead: a bundle is for when things do not work.
    """
    redactor, names = Redactor(_secrets(settings)), []
    with tarfile.open(fileobj=target, mode="w|gz") as tar:
        for name, make in _parts(store, settings, status):
            progress(name)
            try:
                content = make()
            except Exception as error:  # Whatever is wrong is what it is for.
                content = f"not to be had: {type(error).__name__}: {error}"
            shown = redactor.text(content) if isinstance(content, str) else _json(redactor.data(content))
            data = shown.encode(errors="replace")
            info = tarfile.TarInfo(f"strowger-support/{name}")
            info.size, info.mtime, info.mode = len(data), int(time.time()), 0o600
            tar.addfile(info, io.BytesIO(data))
            names.append(name)
    return names


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, default=str)


def _parts(store: Store, settings: Settings, status: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "settings.json", lambda: _settings(settings)
    yield "versions.json", lambda: _versions(store)
    yield "status.json", lambda: status
    yield "health.json", lambda: health.processes(settings)
    yield "nodes.json", lambda: nodes.rows(store)
    yield "gateways.json", lambda: gateways.rows(store, settings, window=WINDOW, now=time.time())
    # The document, not the text: nobody knows what stands in comments.
    yield "policy.json", lambda: json.loads(store.policy().document)
    yield "history.json", lambda: [{"version": one.version, "applied": one.applied} for one in store.history()]
    yield "counts.json", lambda: {
        name: store.count(key)
        for name, key in (
            ("entries", keys.ENTRIES), ("prefixes", keys.PREFIXES), ("subscribers", keys.SUBSCRIBERS),
            ("drains", keys.DRAINS), ("trips", keys.TRIPS), ("mailboxes", keys.MWI),
        )
    }  # fmt: skip
    for process, url in _scraped(settings).items():
        yield f"metrics/{process}.txt", lambda url=url: _fetched(url)  # type: ignore[misc]
    for path in sorted(settings.logs.glob("*.log")) if settings.logs else ():
        yield f"logs/{path.name}", lambda path=path: _tail(path)  # type: ignore[misc]
    if settings.logs is None:
        yield "logs/journal.txt", _journal


def _settings(settings: Settings) -> dict[str, str]:
    given = settings.to_env()
    shown = {name: shown_url(value) if name in _URLS and "://" in value else value for name, value in given.items()}
    # By names that hide nothing: which file it is, is no secret.
    return {name.replace("PASSWORD", "PASS_WORD").replace("SECRET", "SEC_RET"): value for name, value in shown.items()}


def _versions(store: Store) -> dict[str, Any]:
    return {
        "schema": keys.SCHEMA, "schema of Redis": schema.schema(store),
        "nodes": {name: str(one) for name, one in schema.announced(store).items()},
        "python": platform.python_version(), "system": platform.platform(),
        "kamailio": _output("/usr/sbin/kamailio", "-v").partition("\n")[0],
        "packages": {one.name: one.version for one in sorted(distributions(), key=lambda one: one.name.lower())},
    }  # fmt: skip


def _scraped(settings: Settings) -> dict[str, str]:
    addresses = {
        "agent": settings.agent_metrics, "hook": settings.hook_metrics, "media": settings.media_metrics,
        "voicemail": settings.voicemail_metrics, "records": settings.records_metrics, "web": settings.web_address,
    }  # fmt: skip
    found = {name: f"http://{address}/metrics" for name, address in addresses.items() if address is not None}
    return {**found, "kamailio": f"http://127.0.0.1:{settings.rpc_port}/metrics"}


def _fetched(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # Only of ours, by the settings.
            text: str = answer.read().decode(errors="replace")
            return text
    except urllib.error.URLError as error:
        return f"not to be had: {error.reason}"


def _tail(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return "".join(file.readlines()[-LINES:])


def _journal() -> str:
    return _output("journalctl", "-u", "strowger-*", "-n", str(LINES), "--no-pager", "-o", "short-iso")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except OSError as error:
        return f"not to be had: {error}"


def _secrets(settings: Settings) -> Iterator[str]:
    """What must stand nowhere, as far as this user may read it."""
    paths = [*secret_files(settings).values(), settings.secret_file, settings.redis_password_file]
    for path in paths:
        try:
            yield from path.read_text(errors="replace").split() if path else ()
        except OSError:
            continue
    if password := urlsplit_password(settings.redis_url):
        yield password


def urlsplit_password(url: str) -> str:
    """The password in a URL, as it is written there."""
    return url.partition("://")[2].rpartition("@")[0].partition(":")[2]
