"""One question to a route hook: signed, limited in time and size, and the answer checked. docs/route-hook.md.

``X-Strowger-Signature`` is ``sha256=`` and HMAC-SHA256 in hex over ``X-Strowger-Timestamp``, a dot, and the body.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from pathlib import Path

import msgspec

from agent.http_client import Client, HttpError, Response
from kemi.hook import Answer, Heard, Question, parse_answer
from media.posting import signature
from model.secrets import SecretError, read_secret

SKEW = 60.0
"Seconds that the time of a signed answer may be away from ours."
DETAIL = 200
"Characters that are told of what went wrong."


class _Failed(Exception):
    def __init__(self, failed: str, detail: str = "") -> None:
        super().__init__(failed)
        self.failed, self.detail = failed, detail


async def ask(question: Question, client: Client, secrets: Path) -> Heard:
    """What came of a question, by its deadline; nothing is raised."""
    hook, left = question.hook, question.deadline - time.time()
    try:
        async with asyncio.timeout(max(0.0, left)):
            answer = await _asked(question, client, secrets)
            return Heard(hook.name, answer=msgspec.Raw(msgspec.json.encode(answer)))
    except TimeoutError:
        failed = _Failed("time-out", f"no answer within {hook.timeout:g} s")
    except _Failed as error:
        failed = error
    except HttpError as error:
        failed = _Failed("invalid", str(error))
    except (OSError, UnicodeError) as error:
        failed = _Failed("connection", f"{type(error).__name__}: {error}")
    return Heard(hook.name, failed.failed, failed.detail[:DETAIL])


async def _asked(question: Question, client: Client, secrets: Path) -> Answer:
    hook, body = question.hook, bytes(question.body)
    headers, secret = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "strowger"}, ""
    if hook.secret:
        try:
            secret = read_secret(secrets, hook.secret)
        except SecretError as error:
            raise _Failed("secret", str(error)) from None
        timestamp = str(int(time.time()))
        headers["X-Strowger-Timestamp"] = timestamp
        headers["X-Strowger-Signature"] = signature(secret, timestamp, body)
    response = await client.post(hook.url, body, headers)
    # Redirects are not followed: whoever answers so could have calls told to anybody.
    if response.status != 200:
        raise _Failed("status", f"answered {response.status}")
    if hook.signed_answers and not _is_signed(response, secret):
        raise _Failed("signature", "the answer is not signed with the secret, or not now")
    try:
        return parse_answer(response.body)
    except ValueError as error:
        raise _Failed("invalid", str(error)) from None


def _is_signed(response: Response, secret: str) -> bool:
    stamp = response.headers.get("x-strowger-timestamp", "")
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12 or abs(int(stamp) - time.time()) > SKEW:
        return False
    given = response.headers.get("x-strowger-signature", "")
    return hmac.compare_digest(signature(secret, stamp, response.body).encode(), given.encode("latin-1"))
