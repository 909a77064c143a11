"""A service that writes down what it is sent, by either of two forms:

- ``https://host/path``: ``POST`` of ``audio/wav``, its language in ``Content-Language``. The answer is
  ``{"text": …, "words": [{"word", "start", "end", "confidence"}], "confidence": …, "language": …}``, of which only
  ``text`` is needed.
- a path that ends in ``/v1/audio/transcriptions``: OpenAI's form, ``multipart/form-data`` with ``file``, ``model``,
  ``language`` and ``response_format=verbose_json``.

Behind ``#`` stands what is for us: ``token=/file/with/it`` (sent as ``Authorization: Bearer``), ``model=NAME`` and
``seconds=60``, which the service may be silent. A user and password in the address are sent as ``Basic``. No redirect
is followed, and no proxy used.
"""

from __future__ import annotations

import io
import json
import secrets
import wave
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from media.transcription.checking import GarbageError, checked
from media.transcription.engine import Missing, Refused, Transcript

ANSWER = 16 << 20
"Bytes of an answer."
_OPENAI = "/v1/audio/transcriptions"


class Http:
    """``http://…`` or ``https://…``. Each audio is one request, sent at its end; there is no live text."""

    def __init__(self, options: str) -> None:
        self._url = urlsplit(options)
        given = dict(parse_qsl(self._url.fragment))
        if unknown := given.keys() - {"token", "model", "seconds"}:
            raise Refused(
                f"behind # of the service's address: {', '.join(sorted(unknown))} is not token, model, seconds"
            )
        if not self._url.hostname:
            raise Refused("the service's address names no host")
        self._model = given.get("model", "whisper-1")
        self._seconds = _positive(given.get("seconds", "60"))
        self._login = _login(self._url.username, self._url.password, given.get("token"))

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin an audio."""
        self._language = language
        self._data = io.BytesIO()
        self._wav = wave.open(self._data, "wb")  # noqa: SIM115 closed by finish
        self._wav.setnchannels(1)
        self._wav.setsampwidth(2)
        self._wav.setframerate(rate)

    def feed(self, pcm: bytes) -> str:
        """Take the next samples."""
        self._wav.writeframes(pcm)
        return ""

    def finish(self) -> Transcript:
        """Ask, and check what is answered."""
        self._wav.close()
        audio = self._data.getvalue()
        if self._url.path.endswith(_OPENAI):
            headers, body = _form(audio, self._model, self._language)
        else:
            headers, body = {"Content-Type": "audio/wav", "Content-Language": self._language}, audio
        return _transcript(self._ask(headers | self._login, body), self._language)

    def _ask(self, headers: dict[str, str], body: bytes) -> bytes:
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=self._seconds)
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        try:
            connection.request("POST", target, body, {"Accept": "application/json", **headers})
            answer = connection.getresponse()
            data = answer.read(ANSWER + 1)
        except TimeoutError:
            raise
        except (OSError, HTTPException) as error:
            raise Missing(f"the service does not answer: {type(error).__name__}") from None
        finally:
            connection.close()
        _judge(answer.status, data)
        return data


def _judge(status: int, data: bytes) -> None:
    if status == 429 or status >= 500:
        raise Missing(f"the service answered with status {status}")
    if status != 200:
        raise Refused(f"the service answered with status {status}")
    if len(data) > ANSWER:
        raise GarbageError(f"the service answered with more than {ANSWER} bytes")


def _transcript(data: bytes, language: str) -> Transcript:
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        raise GarbageError("the service's answer is no JSON") from None
    if not isinstance(answer, dict):
        raise GarbageError("the service's answer is no object")
    words = answer.get("words") or []
    if not isinstance(words, list) or not all(isinstance(word, dict) for word in words):
        raise GarbageError("words: want a list of objects")
    given = [{"confidence": 1.0, **word} for word in words]
    # OpenAI's form names languages in English ("english"), and nobody says what else stands there.
    return checked({"confidence": 1.0, **answer, "words": given, "language": language})


def _form(audio: bytes, model: str, language: str) -> tuple[dict[str, str], bytes]:
    boundary = secrets.token_hex(16)
    fields = {
        "model": model, "language": language.partition("-")[0], "response_format": "verbose_json",
        "timestamp_granularities[]": "word",
    }  # fmt: skip
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="audio.wav"\r\n'
    parts += [file.encode(), b"Content-Type: audio/wav\r\n\r\n", audio, f"\r\n--{boundary}--\r\n".encode()]
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}, b"".join(parts)


def _login(user: str | None, password: str | None, token: str | None) -> dict[str, Any]:
    if token:
        try:
            return {"Authorization": f"Bearer {Path(token).read_text().strip()}"}
        except OSError as error:
            raise Missing(f"the file of the service's token cannot be read: {error.strerror}") from None
    if user is None:
        return {}
    both = f"{unquote(user)}:{unquote(password or '')}"
    return {"Authorization": f"Basic {b64encode(both.encode()).decode()}"}


def _positive(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86400:
        raise Refused("seconds of the service's address: want a number above 0")
    return seconds
