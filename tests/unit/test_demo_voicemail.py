"""What the demonstration says of its message: that it is the one that was said, and nothing else."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from console.lamp import Lamp
from console.ports import free_port
from console.voicemail_call import ALIKE, WORDS, _words_alike, alike
from devswitch.audio import g711
from devswitch.sip.endpoint import Endpoint

RATE = 8000
SAID = (np.random.default_rng(1).normal(0, 3000, 2 * RATE)).astype(np.int16)
OTHER = (np.random.default_rng(2).normal(0, 3000, 4 * RATE)).astype(np.int16)
SILENCE = np.zeros(RATE, dtype=np.int16)


def test_what_was_said_is_found_wherever_it_is() -> None:
    sent = g711.decode(g711.encode(SAID, 0), 0)
    assert alike(SAID, np.concatenate([OTHER, sent, SILENCE])) > 0.99


def test_a_frame_too_many_does_not_hide_it() -> None:
    assert alike(SAID, np.concatenate([SAID[:5000], SILENCE[:160], SAID[5000:]])) > ALIKE


@pytest.mark.parametrize("heard", [OTHER, SILENCE, SILENCE[:0], SAID[:6000]], ids=["other", "silence", "none", "part"])
def test_something_else_is_not_alike(heard: np.typing.NDArray[np.int16]) -> None:
    assert alike(SAID, heard) < ALIKE


def test_a_text_may_have_few_words_wrong() -> None:
    assert _words_alike("Please call me back.", "please call me back") == 1.0
    assert _words_alike("Please call me back when you can.", "please call my back when you can") > WORDS
    assert _words_alike("Please call me back.", "these are other words") < WORDS
    assert _words_alike("Please call me back.", "") < WORDS


def test_a_lamp_answers_and_shows_what_it_is_told() -> None:
    async def tell(uri: str, body: str) -> int:
        sender = Endpoint("127.0.0.1", 0, on_invite=lambda _: None, rtp_ports=range(0), user_agent="test")
        await sender.start()
        try:
            return await sender.send_request("NOTIFY", uri, {"Event": "message-summary"}, body)
        finally:
            await sender.stop()

    with Lamp(free_port()) as lamp:
        assert lamp.shows is None
        body = "Messages-Waiting: yes\r\nMessage-Account: sip:2001@192.0.2.1\r\nVoice-Message: 2/8 (1/0)\r\n"
        assert asyncio.run(asyncio.wait_for(tell(lamp.uri, body), 30)) == 200
        assert lamp.shows == ("yes", 2, 8)
