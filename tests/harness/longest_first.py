"""How several processes share the tests: the longest begin first, so that none is left over at the end."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

FIRST = (
    "integration/reload",
    "integration/bench",
    "integration/transcriber",
    "integration/voicemail_crash",
    "integration/run",
    "integration/cli",
    "integration/voicemail_delivery",
    "integration/redis_away",
    "integration/demo",
    "contract/voicemail_deposit",
    "integration/voicemail_said_and_heard",
    "integration/voicemail_jobs",
    "integration/records_survive",
    "integration/documents",
    "sipp/metrics",
    "sipp/limits",
    "integration/calls_in_media",
    "integration/import",
    "integration/rates",
    "sipp/subscribers",
    "browser/console",
    "integration/transcribe_command",
    "integration/agent",
    "sipp/hook",
    "integration/voicemail_crashes",
    "integration/backup",
    "contract/voicemail_retrieval",
    "sipp/media",
    "integration/cli_speech",
    "browser/operating",
    "sipp/fraud",
    "integration/worker",
    "browser/voicemail_page",
    "integration/api_schema",
)
"Those that take most of a minute, and more. One that has calls under load is beside others that wait for something."
APART = tuple(f"integration/{name}" for name in (
    "backup", "demo", "records_survive", "redis_away", "run", "transcribe_command", "transcriber", "voicemail_jobs",
))  # fmt: skip
"Those of which each test starts all that it needs, so that not all of a file need be in one process."


class LongestFirst(LoadFileScheduling):
    """As ``--dist loadfile``: what the tests of a file share is started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if _name(file) in APART else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_place), last=False)
        super()._assign_work_unit(node)


def _place(scope: str) -> int:
    name = _name(scope)
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _name(scope: str) -> str:
    """``sipp/limits`` of ``tests/sipp/test_limits.py::test_one``."""
    return scope.partition("::")[0].removeprefix("tests/").removesuffix(".py").replace("/test_", "/")
