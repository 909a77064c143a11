"""What the tests of crashes say of audio."""

from __future__ import annotations

import numpy as np
from harness.audio import FRAME, silence
from harness.leaving import babble
from harness.matching import Match, found_of

SENT = babble(1.0, seed=1)


def test_all_of_it_after_silence() -> None:
    assert found_of(SENT, np.concatenate((silence(0.3), SENT, silence(0.1)))) == Match(0, 49, 0, 0)


def test_the_beginning_is_missing() -> None:
    assert found_of(SENT, SENT[10 * FRAME :]) == Match(10, 49, 0, 0)


def test_frames_are_missing_in_the_midst_and_at_the_end() -> None:
    assert found_of(SENT, np.concatenate((SENT[: 10 * FRAME], SENT[12 * FRAME : 40 * FRAME]))) == Match(0, 39, 12, 0)


def test_a_frame_late_moves_all_that_follow() -> None:
    late = np.concatenate((SENT[: 10 * FRAME + 7], silence(0.02), SENT[10 * FRAME + 7 :]))
    assert found_of(SENT, late).missing == 1


def test_what_another_one_said() -> None:
    assert found_of(SENT, babble(1.0, seed=2)) == Match(50, 0, 0, 50)
    assert found_of(SENT, np.concatenate((SENT, babble(0.2, seed=2)))) == Match(0, 49, 0, 10)


def test_what_was_said_twice_is_there_once() -> None:
    assert found_of(SENT, np.concatenate((SENT, SENT))).foreign == 50
