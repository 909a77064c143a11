"""Everything that is measured of the media tier, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Figure, Goal, paired
from bench.media.callers import Does
from bench.media.cpu import Blocks, Rig, Variant
from bench.media.freeswitch import LUA, FreeSwitch
from bench.media.worker import Worker, handover, new_secret

ALL = ("tone", "ivr")
LUA_NAME, CONTROL = "mod_lua", "control"
TONE_GOAL, IVR_GOAL = Goal(1.4), Goal(1.7)
# What a figure of CPU is called.
TONE, IVR = "CPU for answer, 200 ms of tone, hangup", "CPU for a prompt, a digit, a recording"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    blocks: int = 10
    tone_calls: int = 80
    "Of each variant and block."
    tone_rate: float = 12.0
    "Calls a second of each variant."
    ivr_calls: int = 40
    ivr_rate: float = 5.0


SMOKE = Sizes(blocks=2, tone_calls=3, ivr_calls=2)


@dataclass(slots=True)
class MediaBench:
    """One run in a directory of its own."""

    directory: Path
    sizes: Sizes
    progress: Callable[[str], None]

    def run(self, only: Sequence[str]) -> list[Figure]:
        """The figures of the parts ``only``. Raises NoSwitchError, and CallsFailedError."""
        figures = []
        if "tone" in only:
            figures += self._tone()
        if "ivr" in only:
            figures += self._ivr()
        return figures

    def _tone(self) -> list[Figure]:
        scripts = {LUA_NAME: "tone.lua", CONTROL: "tone.lua"}
        with self._variants("tone", scripts, ("ahead", "ordinary"), Does.LISTENS) as rig:
            self.progress(f"{TONE}: {self.sizes.blocks} blocks of {self.sizes.tone_calls} calls each")
            found = rig.blocks(self.sizes.blocks, self.sizes.tone_calls, self.sizes.tone_rate, self.progress)
        return cpu_figures(TONE, found, {"ahead": TONE_GOAL})

    def _ivr(self) -> list[Figure]:
        with self._variants("ivr", {LUA_NAME: "ivr.lua", CONTROL: "ivr.lua"}, ("ivr",), Does.PRESSES) as rig:
            self.progress(f"{IVR}: {self.sizes.blocks} blocks of {self.sizes.ivr_calls} calls each")
            found = rig.blocks(self.sizes.blocks, self.sizes.ivr_calls, self.sizes.ivr_rate, self.progress)
        return cpu_figures(IVR, found, {"ivr": IVR_GOAL})

    @contextmanager
    def _variants(
        self, name: str, scripts: Mapping[str, str], ours: Sequence[str], does: Does
    ) -> Iterator[Rig]:  # fmt: skip
        directory = self.directory / name
        directory.mkdir(parents=True)
        secret, workers = new_secret(directory), {one: Worker(directory / one, self.directory / name / "media-secret") for one in ours}
        switches = [
            FreeSwitch(
                directory / f"switch-{number}", number, {one: LUA / script for one, script in scripts.items()},
                {one: worker.address for one, worker in workers.items()},
            )
            for number in range(len(scripts) + len(ours))
        ]  # fmt: skip
        try:
            for switch in switches:
                switch.start()
            for switch in switches:
                switch.wait()
            for worker in workers.values():
                worker.start(switches[0].esl_port, switches[0].password_file)
            # Any of the switches records: the folder of the first is there for all.
            folder = str(switches[0].recordings)
            variants = [
                Variant(one, handover(secret, one, folder), does, workers.get(one)) for one in (*scripts, *ours)
            ]
            yield Rig(directory, variants, switches)
        finally:
            for one in (*workers.values(), *switches):
                one.stop()


def cpu_figures(name: str, found: Blocks, goals: Mapping[str, Goal]) -> list[Figure]:
    """Each variant beside mod_lua, without and with what an idle process uses; the goal is about the former."""
    figures = []
    for one in found.busy:
        if one == LUA_NAME:
            continue
        what = f"{name}: {one}"
        figures.append(paired(what, "ms", found.busy[one], LUA_NAME, found.busy[LUA_NAME], goals.get(one)))
        if one != CONTROL:
            idle = f"{what}, and its share of what idle processes use"
            figures.append(paired(idle, "ms", found.all[one], LUA_NAME, found.all[LUA_NAME], None))
            figures.append(paired(f"{what}: of that the worker's", "ms", found.worker[one], "all of it", found.all[one], None))
    return figures
