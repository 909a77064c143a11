"""How several processes share the tests: the longest begin first, so that none is left over at the end."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

FOLDER = "tests/integration/test_"
SECONDS = {
    "reload": 150,
    "cli": 90,
    "voicemail_said_and_heard": 90,
    "voicemail_crash": 90,
    "transcriber": 80,
    "redis_away": 50,
    "records_survive": 50,
    "voicemail_delivery": 50,
    "voicemail_jobs": 50,
    "run": 50,
    "demo": 50,
    "voicemail_crashes": 60,
}
"Of files, or where each test may be in another process of the longest test: those of most of a minute, and more."
APART = ("demo", "records_survive", "redis_away", "run", "transcriber", "voicemail_jobs")
"Files of which each test starts all that it needs, so that they need not be in one process."


class LongestFirst(LoadFileScheduling):
    """As ``--dist loadfile``: what the tests of a file share is started once."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if _name(file) in APART else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        longest = max(self.workqueue, key=lambda scope: SECONDS.get(_name(scope), 0))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


def _name(scope: str) -> str:
    return scope.partition("::")[0].removeprefix(FOLDER).removesuffix(".py")
