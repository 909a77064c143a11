"""New routing code takes over while calls come in; broken code never does, and Kamailio survives it.

Each edit keeps the file's time, and where it can its size: what a cache of compiled code would take for no edit.
STROWGER_TEST_RELOADS is how many there are between two looks at a worker's memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.load import (
    CALLEE,
    Caller,
    Deciders,
    MixedLoad,
    Reply,
    assert_flawless,
    block_one_caller,
    workers,
)
from harness.node import Node

from console import serve
from console.stack import Stack
from model.policy import Gateway, Route

PACKAGES = ("agent", "console", "kamailio", "kemi", "model", "policyfile", "state")
RATE = 200
RELOADS = 20
"Under load."
MANY = int(os.environ.get("STROWGER_TEST_RELOADS", "15"))
"To see what each keeps, 4 kB after 15 as after 60: a module that stays takes 500."
WARM = 20
"Before the first look: a worker's allocator takes a last megabyte at one of these."
PATIENCE = 60.0
"Seconds for every worker to follow: on a busy machine each takes the better part of one."
NOWHERE = "9100"
"A callee without a route, whose refusal's phrase tells which code decided."
PHRASE = "No Route"
# Bytes that a worker may keep for each reload. Kamailio itself loses 2 kB; modules that stay would take 500.
KEPT = 32 * 1024


@dataclass(slots=True)
class Code:
    """A private copy of the code, for Kamailio to run and for tests to edit."""

    root: Path
    _before: dict[Path, bytes] = field(default_factory=dict)

    @classmethod
    def copy(cls, root: Path) -> Code:
        """A copy in the directory ``root``."""
        for package in PACKAGES:
            shutil.copytree(serve.ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
        return cls(root)

    def say(self, phrase: str) -> None:
        """Change the phrase with which calls to nowhere are refused; the file keeps its size and its time."""
        assert len(phrase) == len(PHRASE)
        self.restore("kemi/refusals.py")
        self.replace("kemi/refusals.py", f'"{PHRASE}"', f'"{phrase}"')

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace a piece of text, which a file holds once."""
        text = (self.root / name).read_text()
        assert text.count(old) == 1, f"{name} holds {old} {text.count(old)} times"
        self._write(name, text.replace(old, new))

    def append(self, name: str, line: str) -> str:
        """Append a line; returns where it stands, as a log would say it."""
        text = (self.root / name).read_text()
        self._write(name, f"{text}{line}\n")
        return f"{name}:{text.count(chr(10)) + 1}"

    def remove(self, name: str) -> None:
        """Remove a file."""
        path = self.root / name
        self._before.setdefault(path, path.read_bytes())
        path.unlink()

    def restore(self, *names: str) -> None:
        """Undo the edits of some files, or of all."""
        for path in [self.root / name for name in names] or list(self._before):
            if path in self._before:
                _put(path, self._before[path])

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        self._before.setdefault(path, path.read_bytes())
        _put(path, text.encode(), path.stat())


def _put(path: Path, content: bytes, times: os.stat_result | None = None) -> None:
    """Replace a file at once: a worker that follows an earlier reload just then must not read half of it."""
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(content)
    if times:
        os.utime(fresh, ns=(times.st_atime_ns, times.st_mtime_ns))
    fresh.rename(path)


class CopyStack(Stack):
    """A stack whose Kamailio is started by the copied code, with the command that starts it everywhere."""

    code: Path

    def start_kamailio(self) -> None:
        """Start Kamailio and wait until its RPC answers."""
        # -P: the working directory, which holds the original, stays out of sys.path.
        command = [sys.executable, "-P", "-m", "console.cli", "serve", "kamailio"]
        self._start("kamailio", command, {**os.environ, **self.settings.to_env(), "PYTHONPATH": str(self.code)})
        self._until("kamailio", self._kamailio_answers)


@dataclass(slots=True)
class Bench:
    """A node that runs copied code, and what is observed of it.

    A worker follows a reload at its next call, but lets it wait while another worker is in its Python code: Kamailio
    has one lock for both, and nobody waits for it. So it takes a few calls until all have followed.
    """

    node: Node
    code: Code
    deciders: Deciders
    _logged: int = 0

    def reload(self) -> None:
        """Ask for a reload, without any check beforehand."""
        with self.node.kamcmd() as kamcmd:
            kamcmd.call("app_python.reload")

    def ask_every_worker(self, transport: str = "UDP") -> Iterator[Reply]:
        """Calls to nowhere until each worker has decided one; their replies."""
        waiting = workers(self.node, transport)
        for reply in self._calls(transport):
            yield reply
            waiting.discard(self.deciders.pid(reply.call_id))
            if not waiting:
                return

    def until_every_worker_says(self, phrase: str, transport: str = "UDP") -> int:
        """Call until each worker has decided with the code that says ``phrase``; none goes back. How many calls."""
        waiting = workers(self.node, transport)
        for count, reply in enumerate(self._calls(transport), start=1):
            pid = self.deciders.pid(reply.call_id)
            if reply.phrase == phrase:
                waiting.discard(pid)
            else:
                assert pid in waiting, f"worker {pid} said {phrase}, then {reply.phrase}"
            if not waiting:
                return count
        raise AssertionError(f"{waiting} never said {phrase}")

    def until_every_worker_refuses(self, why: str, phrase: str) -> None:
        """Call until each worker has logged that it refused a reload, and ``why``; all decide on with the old code."""
        log, everyone = "", len(workers(self.node))
        for reply in self._calls("UDP"):
            assert reply.phrase == phrase
            log += self.logged()
            if log.count(why) >= everyone:
                assert log.count("reload refused") == log.count(why), log
                return
        raise AssertionError(f"not every worker logged {why}: {log}")

    def _calls(self, transport: str) -> Iterator[Reply]:
        # Not so many calls, but so long: workers reload one after the other, and others go on with calls meanwhile.
        end = time.monotonic() + PATIENCE
        if transport == "UDP":
            with Caller(self.node.sip) as caller:
                while time.monotonic() < end:
                    yield caller.call("7001", NOWHERE)
        # A connection stays with the worker that it was given to.
        while time.monotonic() < end:
            with Caller(self.node.sip, transport) as caller:
                yield caller.call("7001", NOWHERE)

    def logged(self) -> str:
        """What Kamailio has logged since this was last asked."""
        text = self.node.stack.log("kamailio")
        new, self._logged = text[self._logged :], len(text)
        return new


@pytest.fixture(scope="module")
def _bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    directory = tmp_path_factory.mktemp("reload")
    node = Node.create(directory, name="reloaded-node")
    stack = CopyStack(node.stack.settings, directory)
    code = Code.copy(directory / "code")
    stack.code = code.root
    node.stack = stack
    try:
        stack.start()
        yield Bench(node, code, Deciders(stack.settings.spool))
    finally:
        node.close()


@pytest.fixture
def bench(_bench: Bench) -> Iterator[Bench]:
    """The node with the code as it is in the tree, and a route on which each call takes two attempts."""
    node = _bench.node
    node.clear_entries()
    down, up = node.refusing(503), node.answering()
    gateways = [Gateway("down", "127.0.0.1", down.port), Gateway("up", "127.0.0.1", up.port)]
    node.apply([Route("load", (CALLEE,), ("down", "up"))], gateways)
    processes = node.processes()
    _bench.logged()
    yield _bench
    assert node.processes() == processes, "a process of Kamailio has died"
    _bench.code.restore()
    # A worker that still owes an earlier reload says PHRASE without having followed the last, and would load whatever
    # the next test has on disk when it gets to it. By two phrases, each has followed.
    for phrase in ("At First", PHRASE):
        _bench.code.say(phrase)
        _bench.reload()
        _bench.until_every_worker_says(phrase)
    _bench.code.restore()
    node.stop_gateways()


@pytest.mark.parametrize("transport", ["UDP", "TCP"])
def test_every_worker_decides_with_the_new_code(bench: Bench, transport: str) -> None:
    # A worker may still owe an earlier reload, and would load whatever is on disk when it gets to it.
    bench.code.say("At First")
    bench.reload()
    bench.until_every_worker_says("At First", transport)
    for phrase in ("One Path", "Two Path", "One Path"):
        bench.code.say(phrase)
        unasked = {reply.phrase for reply in bench.ask_every_worker(transport)}
        assert phrase not in unasked, "nobody has asked for a reload yet"
        bench.reload()
        bench.until_every_worker_says(phrase, transport)
    assert "reload refused" not in bench.logged()


def test_a_module_that_only_another_package_imports_is_loaded_anew(bench: Bench) -> None:
    bench.code.append("model/numbers.py", "def is_dialable(number: str) -> bool: return number != '9100'")
    bench.reload()
    bench.until_every_worker_says("Invalid Number")


Breakage = Callable[[Code], str]


def syntax_error(code: Code) -> str:
    return code.append("kemi/routing.py", "def broken(:")


def error_at_import(code: Code) -> str:
    return code.append("model/numbers.py", "1 / 0")


def exit_at_import(code: Code) -> str:
    return code.append("model/causes.py", "raise SystemExit(1)")


def missing_module(code: Code) -> str:
    code.remove("kemi/plan.py")
    return "plan"


def missing_callback(code: Code) -> str:
    code.replace("kemi/routing.py", "def on_failure(", "def on_faliure(")
    return "kemi.routing.Handler lacks on_failure"


def policy_that_refuses_everything(code: Code) -> str:
    code.append("kemi/policy.py", "def decide(*_): return Decision(outcome=Reject(refusals.NO_ROUTE), steps=())")
    return "self-check failed: a plain call is routed"


BREAKAGES = (
    syntax_error,
    error_at_import,
    exit_at_import,
    missing_module,
    missing_callback,
    policy_that_refuses_everything,
)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_broken_code_is_refused_and_the_code_in_force_decides_on(bench: Bench, breakage: Breakage) -> None:
    bench.code.say("Half New")
    where = breakage(bench.code)
    for _ in range(3):
        bench.reload()
        bench.until_every_worker_refuses(where, PHRASE)
    bench.node.answered("7001", CALLEE)

    bench.code.restore()
    bench.code.say("Repaired")
    bench.reload()
    bench.until_every_worker_says("Repaired")
    bench.node.answered("7001", CALLEE)


def misspelled_function_of_kamailio(code: Code) -> str:
    code.replace("kemi/routing.py", "KSR.tm.t_relay() >= 0", "KSR.tm.t_rely() >= 0")
    return "Kamailio has no tm.t_rely"


def misspelled_callback_in_the_configuration(code: Code) -> str:
    code.replace("kamailio/kamailio.cfg", 'python_exec("on_call")', 'python_exec("on_cal")')
    return "kamailio.cfg calls on_cal,"


def strowger_reload(bench: Bench) -> subprocess.CompletedProcess[str]:
    """The command, as the copied code has it."""
    settings = {**bench.node.stack.settings.to_env(), "PYTHONPATH": str(bench.code.root)}
    command = [sys.executable, "-P", "-m", "console.main", "reload"]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)


def reloads_so_far(bench: Bench) -> int:
    """Kamailio's own count, to which the question adds one."""
    with bench.node.kamcmd() as kamcmd:
        return kamcmd.reload().old


@pytest.mark.parametrize(
    "breakage", [*BREAKAGES, misspelled_function_of_kamailio, misspelled_callback_in_the_configuration]
)
def test_the_command_refuses_broken_code_before_any_worker_sees_it(bench: Bench, breakage: Breakage) -> None:
    before = reloads_so_far(bench)
    where = breakage(bench.code)
    done = strowger_reload(bench)
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused, the code in force stays" in done.stderr
    assert where in done.stderr
    assert "Traceback" not in done.stderr
    bench.code.restore()
    assert reloads_so_far(bench) == before + 1


def test_the_command_puts_sound_code_in_force(bench: Bench) -> None:
    bench.code.say("Commands")
    done = strowger_reload(bench)
    assert done.returncode == 0, done.stderr
    assert "within its next calls" in done.stdout
    bench.until_every_worker_says("Commands")


@pytest.mark.timeout(240)
def test_no_call_fails_through_reloads_under_load(bench: Bench, tmp_path: Path) -> None:
    block_one_caller(bench.node)
    with MixedLoad.create(bench.node, tmp_path, RATE) as load:
        for number in range(RELOADS):
            bench.code.say(f"Code {number:03d}")
            bench.reload()
            bench.until_every_worker_says(f"Code {number:03d}")
        for breakage in (syntax_error, error_at_import, missing_callback):
            bench.code.say("Half New")
            why = breakage(bench.code)
            bench.reload()
            bench.until_every_worker_refuses(why, f"Code {RELOADS - 1:03d}")
            bench.code.restore()
        load.until_replied(2 * RATE)
        result = load.stop()
    print(f"\n{RELOADS} good and 3 broken reloads: {result}")
    assert_flawless(result, calls=2 * RATE)


@pytest.mark.timeout(240)
def test_many_reloads_keep_little_memory(bench: Bench) -> None:
    pids = workers(bench.node)
    reload_often(bench, WARM)
    before = {pid: resident(pid) for pid in pids}
    reload_often(bench, MANY)
    kept = {pid: (resident(pid) - before[pid]) / MANY for pid in pids}
    print(f"\n{MANY} reloads: {max(before.values()) >> 20} MB before; kept, by worker, in bytes for each:", kept)
    assert max(kept.values()) < KEPT


def reload_often(bench: Bench, times: int) -> None:
    """Reload, each time in every worker."""
    for number in range(times):
        bench.code.say(f"Code {number:03d}")
        bench.reload()
        bench.until_every_worker_says(f"Code {number:03d}")


def resident(pid: int) -> int:
    """Bytes of memory that a process has to itself."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
