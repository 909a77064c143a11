"""Messages told to a URL: JSON by POST, signed with the box's secret.

``X-Strowger-Signature`` is ``sha256=`` and HMAC-SHA256 in hex over the timestamp, a dot, and the body; the timestamp is
``X-Strowger-Timestamp``, Unix time of this try. ``X-Strowger-Delivery`` is the same in every try.
"""

from __future__ import annotations

import asyncio
import json
import time

import h11

from media import posting
from media.voicemail.box import Box
from media.voicemail.mail import LaterError, RefusedError
from media.voicemail.message import Stored

LIMIT = 20.0
"Seconds that a delivery may take, from the look-up of the name to the answer."


async def tell(stored: Stored, box: Box) -> None:
    """Tell a box's URL of a message. Raises :class:`media.voicemail.mail.DeliveryError`."""
    content = body(stored)
    fields = posting.headers(stored.message.id, box.webhook_secret, content, int(time.time()))
    try:
        async with asyncio.timeout(LIMIT):
            status = await posting.post(box.webhook, content, fields)
    except TimeoutError:
        raise LaterError(f"no answer within {LIMIT:g} s") from None
    except posting.BadUrlError:
        raise RefusedError("the box's webhook is no URL") from None
    except UnicodeError:
        raise RefusedError("the box's webhook names a host that cannot be") from None
    except (OSError, h11.ProtocolError) as error:
        raise LaterError(f"no answer: {type(error).__name__}: {error}") from None
    # Redirects are not followed: whoever answers so could have messages sent anywhere.
    if not 200 <= status <= 299:
        raise LaterError(f"answered {status}")


def body(stored: Stored) -> bytes:
    """What is told."""
    message, transcript = stored.message, stored.transcript
    told = {
        "event": "message.left",
        "id": message.id,
        "box": message.box,
        "caller": message.caller,
        "caller_name": message.caller_name,
        "callee": message.callee,
        "reason": message.reason,
        "call": message.call,
        "received": message.received,
        "seconds": message.seconds,
        "urgent": message.urgent,
        "forwarded_from": message.forwarded_from,
        "transcript": transcript,
    }
    return json.dumps(told, ensure_ascii=False).encode(errors="replace")
