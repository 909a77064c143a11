"""Everything that is measured of the media tier, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import esl
from bench import switch as embedded
from bench.figures import Figure, Goal, paired, percentile, percentile_interval
from bench.media import sessions
from bench.media.callers import Does
from bench.media.cpu import Blocks, Rig, Variant
from bench.media.freeswitch import LUA, FreeSwitch
from bench.media.sessions import Heard
from bench.media.worker import Worker, handover, new_secret
from media.ahead import VARIABLE

ALL = ("tone", "ivr", "replay", "calls", "events", "pacing")
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
    sessions: int = 500
    "Played at once."
    seconds: float = 40.0
    "For which they are."
    calls: int = 100
    "Real ones at once."
    prompts: int = 20
    "Of a second each, in each of them."
    runs: int = 3
    "Of the latter two."
    event_blocks: int = 6
    event_share: float = 1.0
    "Of the events that bench.esl reads in a block."
    pacing_calls: int = 50
    pacing_seconds: float = 10.0


SMOKE = Sizes(2, 3, 12.0, 2, 5.0, 10, 4.0, 3, 2, 1, 2, 0.01, 3, 1.0)


@dataclass(slots=True)
class MediaBench:
    """One run in a directory of its own."""

    directory: Path
    sizes: Sizes
    progress: Callable[[str], None]
    peers: Path | None = None
    "A virtual environment with greenswitch and genesis."

    def run(self, only: Sequence[str]) -> list[Figure]:
        """The figures of the parts ``only``. Raises NoSwitchError, and CallsFailedError."""
        figures = []
        if "tone" in only:
            figures += self._tone()
        if "ivr" in only:
            figures += self._ivr()
        if "replay" in only or "calls" in only:
            figures += self._sessions(only)
        if "events" in only:
            figures += self._events()
        if "pacing" in only:
            figures += self._pacing()
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

    def _sessions(self, only: Sequence[str]) -> list[Figure]:
        directory = self.directory / "sessions"
        directory.mkdir(parents=True)
        secret, sizes = new_secret(directory), self.sizes
        worker = Worker(directory / "worker", secret)
        real = FreeSwitch(directory / "switch", 0, {}, {"talk": worker.address})
        try:
            real.start()
            real.wait()
            worker.start(real.esl_port, real.password_file)
            figures = []
            if "replay" in only:
                name = f"event to command, {sizes.sessions} calls played"
                figures += self._heard(
                    name, lambda: sessions.replayed(worker, secret, sizes.sessions, sizes.seconds)
                )  # fmt: skip
            if "calls" in only:
                name, callers = f"event to command, {sizes.calls} real calls with audio", directory / "callers"
                figures += self._heard(
                    name, lambda: sessions.real(worker, secret, real, callers, sizes.calls, sizes.prompts)
                )
            return figures
        finally:
            worker.stop()
            real.stop()

    def _heard(self, name: str, measure: Callable[[], Heard]) -> list[Figure]:
        runs = []
        for _ in range(self.sizes.runs):
            runs.append(measure())
            sessions.say(name, runs[-1], self.progress)
        return sessions.figures(name, runs)

    def _events(self) -> list[Figure]:
        self.progress("reading events")
        pythons = esl.interpreters(self.peers, self.progress)
        return esl.measure(pythons, self.sizes.event_blocks, self.sizes.event_share, self.progress)

    def _pacing(self) -> list[Figure]:
        self.progress(f"pacing of the embedded switch, {self.sizes.pacing_calls} calls")
        errors = []
        for _ in range(self.sizes.runs):
            found, packets, loud, cpu = embedded.measure(self.sizes.pacing_calls, self.sizes.pacing_seconds)
            errors += [float(one) / 1e6 for one in found]
            self.progress(f"{packets:,} packets, {loud:.1%} of frames heard, {cpu:.0%} of a core")
        name = f"pacing error of the embedded switch, {self.sizes.pacing_calls} calls: p99"
        low, high = percentile_interval(errors, 0.99)
        return [Figure(name, percentile(errors, 0.99), "ms", low=low, high=high, goal=Goal(5))]

    @contextmanager
    def _variants(self, name: str, scripts: Mapping[str, str], ours: Sequence[str], does: Does) -> Iterator[Rig]:
        directory = self.directory / name
        directory.mkdir(parents=True)
        secret = new_secret(directory)
        workers = {one: Worker(directory / one, secret) for one in ours}
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
            # A worker tells one switch what is sent ahead; here any switch may have its calls.
            told = switches[0].api(f"global_getvar {VARIABLE}").strip()
            for switch in switches[1:]:
                switch.api(f"global_setvar {VARIABLE}={told}")
            # Any of the switches records: the folder of the first is there for all.
            folder = str(switches[0].recordings)
            variants = [
                Variant(one, handover(secret, one, folder), does, workers.get(one)) for one in (*scripts, *ours)
            ]
            yield Rig(directory, variants, switches)
        finally:
            for worker in workers.values():
                worker.stop()
            for switch in switches:
                switch.stop()


def cpu_figures(name: str, found: Blocks, goals: Mapping[str, Goal]) -> list[Figure]:
    """Each variant beside mod_lua, without and with what idle processes use; the goal is about the former."""
    figures, peer = [], LUA_NAME
    for one in (key for key in found.busy if key != LUA_NAME):
        what = f"{name}: {one}"
        figures.append(paired(what, "ms", found.busy[one], peer, found.busy[peer], goals.get(one)))
        if one != CONTROL:
            figures.append(paired(f"{what}, with idle use", "ms", found.all[one], peer, found.all[peer], None))
            figures.append(paired(f"{what}, worker's share", "ms", found.worker[one], "all", found.all[one], None))
    return figures
