"""How several processes share the tests: the longest begin first, so that none is left over at the end."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

FOLDER = "tests/integration/test_"
FIRST = (
    "reload",
    "cli",
    "transcriber",
    "voicemail_delivery",
    "voicemail_said_and_heard",
    "voicemail_jobs",
    "voicemail_crash",
    "run",
    "redis_away",
    "voicemail_crashes",
    "records_survive",
    "demo",
    "documents",
)
"Those that take most of a minute, and more. One that has calls under load is beside others that wait for something."
APART = ("demo", "records_survive", "redis_away", "run", "transcriber", "voicemail_jobs")
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
    return scope.partition("::")[0].removeprefix(FOLDER).removesuffix(".py")
