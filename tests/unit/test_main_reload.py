"""The code of a worker is replaced as a whole or not at all: kemi/main.py in an interpreter of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from console import serve
from kemi.route_token import call_of, parameter

PRELUDE = """
import importlib, os, sys, types
from pathlib import Path

class Kamailio(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Kamailio(name)

sys.modules["KSR"] = Kamailio("KSR")
from kemi import main

def ours():
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in main.PACKAGES}

def attributes():
    packages = {name: sys.modules[name] for name in main.PACKAGES}
    return {
        (name, key): value
        for name, package in packages.items()
        for key, value in vars(package).items()
        if isinstance(value, types.ModuleType)
    }

def same(one, other):
    return one.keys() == other.keys() and all(one[key] is other[key] for key in one)

def replace(path, old, new):
    text = Path(path).read_text()
    assert old in text, (path, old)
    Path(path).write_text(text.replace(old, new))

handler = main.load()
"""


@dataclass(slots=True)
class Code:
    """A private copy of what a worker loads."""

    root: Path

    def run(self, script: str) -> str:
        """Run ``script`` where the code was loaded once; what it printed."""
        done = subprocess.run(
            # Without what an editable installation adds, which would find here what is not in the copy.
            [sys.executable, "-S", "-c", PRELUDE + script],
            cwd=self.root,
            env={
                "PYTHONPATH": f"{self.root}:{sysconfig.get_path('platlib')}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "STROWGER_SPOOL": str(self.root / "spool"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def code(tmp_path: Path) -> Code:
    for package in ("kemi", "model", "state"):
        shutil.copytree(serve.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return Code(tmp_path)


BREAKAGES = {
    "syntax": ('replace("kemi/policy.py", "def decide(", "def decide((")', "SyntaxError", "kemi/policy.py"),
    "name-of-an-import": ('replace("kemi/view.py", "from state import codec", "from state import kodec")',
                          "ImportError", "kemi/view.py"),
    "module-gone": ('os.remove("kemi/refusals.py")', "ImportError", "kemi/"),
    "raises-when-imported": ('replace("model/numbers.py", "E164_MAX_DIGITS = 15", "E164_MAX_DIGITS = 15 / 0")',
                             "ZeroDivisionError", "model/numbers.py"),
    "exits-when-imported": ('replace("kemi/plan.py", "import msgspec", "import msgspec; raise SystemExit")',
                            "SystemExit", "kemi/plan.py"),
    "interrupted": ('replace("kemi/plan.py", "import msgspec", "import msgspec; raise KeyboardInterrupt")',
                    "KeyboardInterrupt", "kemi/plan.py"),
    "callback-gone": ('replace("kemi/routing.py", "def on_failure(", "def on_fail(")',
                      "AttributeError", "on_failure"),
    "decides-wrongly": ('replace("kemi/failure.py", "if failure.status == 503", "if failure.status == 486")',
                        "SelfCheckError", "busy is final"),
    "knows-no-cause": ('replace("model/causes.py", "5: Cause.SERVER_FAULT", "5: Cause.FINAL")',
                       "SelfCheckError", "503"),
    "handler-cannot-be-made": ('replace("kemi/routing.py", "def child_init", '
                               '"def __init__(self) -> None:\\n        raise OSError(9)\\n\\n    def child_init")',
                               "OSError", "kemi/routing.py"),
    "breaks-after-a-new-module": (
        'Path("model/fresh.py").write_text("X = 1\\n"); '
        'replace("kemi/policy.py", "limits, refusals\\nfrom kemi.caller", '
        '"limits, refusals, nothing\\nimport model.fresh\\nfrom kemi.caller")', "ImportError", "kemi/policy.py",
    ),
    "new-module-breaks": (
        'Path("model/fresh.py").write_text("X = 1 / 0\\n"); '
        'replace("kemi/selfcheck.py", "from state import layout", "from state import layout\\nimport model.fresh")',
        "ZeroDivisionError", "model/fresh.py",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKAGES)
def test_broken_code_leaves_every_module_as_it_was(code: Code, name: str) -> None:
    breakage, error, where = BREAKAGES[name]
    said = code.run(f"""
modules, named, path = ours(), attributes(), list(sys.path)
{breakage}
for _ in range(2):
    try:
        main.load()
    except BaseException as error:
        assert {error!r} in [kind.__name__ for kind in type(error).__mro__], error
        print(main.describe(error))
    else:
        raise AssertionError("loaded")
    assert same(ours(), modules), ours().keys() ^ modules.keys()
    assert same(attributes(), named), attributes().keys() ^ named.keys()
    assert sys.path == path
from kemi import policy, routing
assert policy is modules["kemi.policy"]
assert type(handler) is routing.Handler
assert handler.child_init(0) == 1
""")
    assert [where in line for line in said.splitlines()] == [True, True]


def test_sound_code_is_new_in_every_module_but_those_that_stay(code: Code) -> None:
    code.run("""
before = ours()
replace("kemi/refusals.py", '"No Route"', '"Nowhere"')
replace("model/numbers.py", "E164_MAX_DIGITS = 15", "E164_MAX_DIGITS = 16")
fresh = main.load()
after = ours()
assert before.keys() == after.keys()
kept = {name for name in after if after[name] is before[name]}
assert kept == main.RESIDENT | set(main.PACKAGES), kept
assert type(fresh) is after["kemi.routing"].Handler is not type(handler)
assert after["kemi.refusals"].NO_ROUTE.phrase == "Nowhere"
assert before["kemi.refusals"].NO_ROUTE.phrase == "No Route"
assert after["kemi.policy"].refusals is after["kemi.refusals"]
assert after["kemi.caller"].is_dialable.__globals__["E164_MAX_DIGITS"] == 16
""")


def test_new_modules_refer_to_new_modules_only(code: Code) -> None:
    code.run("""
for _ in range(3):
    main.load()
current = ours()
for name, module in current.items():
    if name in main.RESIDENT:
        continue
    for key, value in vars(module).items():
        home = getattr(value, "__module__", None) if isinstance(value, type) else None
        if isinstance(value, types.ModuleType) and value.__name__ in current:
            assert value is current[value.__name__], (name, key)
        elif home in current:
            assert value is getattr(current[home], value.__name__), (name, key)
for (package, key), value in attributes().items():
    assert value is sys.modules.get(f"{package}.{key}", value), (package, key)
""")


def test_broken_code_that_is_mended_is_loaded(code: Code) -> None:
    code.run("""
text = Path("kemi/policy.py").read_text()
Path("kemi/policy.py").write_text("(")
try:
    main.load()
except SyntaxError:
    pass
Path("kemi/policy.py").write_text(text + "MENDED = 1\\n")
main.load()
from kemi import policy
assert policy.MENDED == 1
assert sys.modules["kemi.routing"].policy is policy
""")


def test_a_module_that_nobody_imports_any_more_is_gone(code: Code) -> None:
    code.run("""
Path("model/fresh.py").write_text("X = 1\\n")
replace("kemi/policy.py", "from kemi.caller", "import model.fresh\\nfrom kemi.caller")
main.load()
assert sys.modules["model"].fresh is sys.modules["model.fresh"]
replace("kemi/policy.py", "import model.fresh\\n", "")
main.load()
assert "model.fresh" not in sys.modules
assert not hasattr(sys.modules["model"], "fresh")
""")


def test_what_holds_files_and_maps_is_the_same_after_a_reload(code: Code) -> None:
    code.run("""
from kemi.spool import shared_spool
from state.snapshot import shared_reader
old = sys.modules["kemi.routing"]
main.load()
new = sys.modules["kemi.routing"]
assert new is not old
assert new._spool is old._spool is shared_spool(new._settings.spool)
assert new._snapshot is old._snapshot is shared_reader(new._settings.snapshot)
""")


def test_two_nodes_that_are_alike_give_their_calls_different_ids(code: Code) -> None:
    """As in containers: the same process ids, and the same number of calls so far in the same millisecond."""
    script = "os.getpid = lambda: 7\nprint(sys.modules['kemi.routing']._new_id(1_770_000_000.0))"
    ids = {code.run(script).strip() for _ in range(2)}
    assert len(ids) == 2
    for one in ids:
        assert call_of(b"key", parameter(b"key", one, "call-id"), "call-id") == one


def test_kamailio_does_not_start_with_broken_code(code: Code) -> None:
    code.run("""
Path("kemi/policy.py").write_text("(")
try:
    main.mod_init()
except SyntaxError:
    pass
else:
    raise AssertionError("started")
""")


def test_a_reload_of_broken_code_keeps_the_handler_and_says_why_in_one_line(code: Code) -> None:
    said = code.run("""
first = main.mod_init()
# As app_python3 does: the script is executed again in the module that it made.
importlib.reload(main)
second = main.mod_init()
assert type(second) is not type(first)
replace("kemi/policy.py", "def decide(", "def decide((")
importlib.reload(main)
assert main.mod_init() is second
""")
    (line,) = said.splitlines()
    assert line.startswith("reload refused, the code in force stays: ")
    assert "policy.py:" in line


def test_a_reload_that_is_asked_for_while_the_code_is_loaded_is_not_lost(code: Code) -> None:
    said = code.run("""
main._handler = handler
asked = iter((1, 2, 2))
main._asked = lambda: next(asked)
loaded = []
main.load = lambda: loaded.append(handler) or handler
main.mod_init()
print(len(loaded), list(asked))
""")
    assert said == "2 []\n"


def test_code_that_was_replaced_leaves_nothing_behind(code: Code) -> None:
    """A single reference to one of its classes keeps all its modules."""
    said = code.run("""
import collections, gc
for _ in range(8):
    handler = main.load()
    gc.collect()
alive = collections.Counter(
    f"{kind.__module__}.{kind.__qualname__}" for kind in gc.get_objects()
    if isinstance(kind, type) and kind.__module__.partition(".")[0] in main.PACKAGES
)
# A dataclass with slots is made of two classes, and the code before is given up with the next.
print([name for name, count in alive.items() if count > 4])
""")
    assert said == "[]\n"
