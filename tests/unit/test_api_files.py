"""Files that somebody writes while they are sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from api.files import Growing

SIZE = 200_000


@pytest.mark.parametrize(("method", "headers", "length"), [
    ("GET", [], SIZE), ("HEAD", [], 0), ("GET", [(b"range", b"bytes=100000-")], SIZE - 100_000),
])  # fmt: skip
def test_a_recording_that_goes_on_is_sent_as_long_as_it_was(
    tmp_path: Path, method: str, headers: list[tuple[bytes, bytes]], length: int
) -> None:
    path, sent = tmp_path / "a.wav", list[dict[str, Any]]()
    path.write_bytes(b"1" * SIZE)

    async def receive() -> dict[str, Any]:
        await asyncio.Future()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)
        with path.open("ab") as file:
            file.write(b"2" * 50_000)

    scope = {"type": "http", "method": method, "headers": headers, "asgi": {"spec_version": "2.4"}}
    asyncio.run(Growing(path)(scope, receive, send))
    start, *bodies = sent
    assert b"".join(one["body"] for one in bodies) == b"1" * length
    assert [one["more_body"] for one in bodies] == [True] * (len(bodies) - 1) + [False]
    if method == "GET":
        assert dict(start["headers"])[b"content-length"] == str(length).encode()
