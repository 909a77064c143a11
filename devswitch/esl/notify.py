"""NOTIFY requests that a client asks for by an event of that name (sofia_glue.c, notify_event_handler)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from devswitch.switch import Switch

log = logging.getLogger("devswitch")


async def notify(switch: Switch, headers: Mapping[str, str], body: str) -> None:
    """Send the NOTIFY that an event describes: to-uri, event-string, content-type, and the body."""
    fields = {name.lower(): value for name, value in headers.items()}
    uri = fields.get("to-uri", "")
    if not uri or switch.endpoint is None:
        log.warning("a NOTIFY without to-uri was not sent")
        return
    sent = {"Event": fields.get("event-string", "message-summary")}
    if body:
        sent["Content-Type"] = fields.get("content-type", "application/simple-message-summary")
    if fields.get("from-uri"):
        sent["From"] = fields["from-uri"]
    status = await switch.endpoint.send_request("NOTIFY", uri, sent, body)
    if status >= 300:
        log.warning("NOTIFY was answered %d", status)
