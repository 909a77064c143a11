"""Many clients follow calls at once, one of them reads nothing, and neither calls nor other clients are the worse.

``STROWGER_TEST_CLIENTS`` is how many; ``python -m bench.events`` says how late events come.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.events import EACH, run

CLIENTS = int(os.environ.get("STROWGER_TEST_CLIENTS", "60"))
SECONDS = 10.0 if CLIENTS <= 60 else 30.0


@pytest.mark.timeout(240)
def test_nobody_is_the_worse_for_a_client_that_reads_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, clients=CLIENTS, rate=100, seconds=SECONDS)
    print(result)
    assert result.failed == 0, result.errors
    assert result.got == result.expected == EACH * result.calls == EACH * 100 * SECONDS
    assert (result.missing, result.twice, result.disordered, result.lost) == (0, 0, 0, 0)
