"""What the dialplan asks a web server (mod_curl.c)."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

from devswitch.channel.channel import Channel
from devswitch.registry import app

_TIMEOUT = 10.0
_LIMIT = 64 * 1024


@app("curl", after_hangup=True)
async def curl(channel: Channel, data: str) -> None:
    """``url [get|post [form]]``: what came is in ``curl_response_data``, its status in ``curl_response_code``."""
    url, _, rest = data.partition(" ")
    method, _, form = rest.strip().partition(" ")
    body = form.encode() if method.lower() == "post" else None
    status, text = await asyncio.to_thread(_fetch, url, body)
    channel.set("curl_response_code", str(status))
    channel.set("curl_response_data", text)


def _fetch(url: str, body: bytes | None) -> tuple[int, str]:
    if not url.startswith(("http://", "https://")):
        return 0, ""
    try:
        with urllib.request.urlopen(url, body, timeout=_TIMEOUT) as answer:
            return answer.status, answer.read(_LIMIT).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(_LIMIT).decode(errors="replace")
    except OSError:
        return 0, ""
