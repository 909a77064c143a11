"""What is found wrong with routing code before any worker sees it."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from console import serve
from kemi import main
from kemi.check import api_names, callbacks

CODE = "".join(path.read_text() for path in sorted((serve.ROOT / "kemi").glob("*.py")))
CONFIG = serve.CONFIG.read_text()
Check = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A private copy of what a worker loads."""
    for package in ("kemi", "model", "state"):
        shutil.copytree(serve.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def check(root: Path) -> Check:
    """Check the copy, as `strowger reload` does, against the text of a kamailio.cfg."""

    def run(config: str) -> subprocess.CompletedProcess[str]:
        (root / "kamailio.cfg").write_text(config)
        return subprocess.run(
            [sys.executable, "-S", "-m", "kemi.check", "kamailio.cfg"],
            cwd=root,
            env={"PYTHONPATH": f"{root}:{sysconfig.get_path('platlib')}", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_code_and_the_cfg_fit_each_other(check: Check) -> None:
    done = check(CONFIG)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_callback_that_is_not_there_is_found(check: Check) -> None:
    done = check(CONFIG.replace('python_exec("on_call")', 'python_exec("on_cal")'))
    assert done.returncode == 1
    assert done.stdout == "kamailio.cfg calls on_cal, which kemi.routing.Handler does not have\n"


def test_every_callback_that_is_not_there_is_found(check: Check) -> None:
    done = check('route { python_exec("one"); }\nroute[X] { python_exec("two", "x"); python_exec("on_call"); }\n')
    assert [line.split()[2] for line in done.stdout.splitlines()] == ["one,", "two,"]


def test_an_attribute_that_cannot_be_called_is_no_callback(root: Path, check: Check) -> None:
    edit(root / "kemi" / "routing.py", "class Handler:\n", "class Handler:\n    limit = 3\n\n")
    assert "calls limit" in check('python_exec("limit")').stdout


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("kemi/policy.py", "def decide(", "def decide((", "policy.py:"),
        (
            "kemi/policy.py",
            "refusals\nfrom kemi.caller",
            "refusal\nfrom kemi.caller",
            "ImportError",
        ),
        ("kemi/routing.py", "def on_failure(", "def on_fail(", "lacks on_failure"),
        ("kemi/failure.py", "if failure.status == 503", "if failure.status == 486", "busy is final"),
        ("kemi/plan.py", "import msgspec", "import msgspec; raise SystemExit('bye')", "SystemExit: bye"),
    ],
)
def test_code_that_a_worker_would_refuse_is_refused(
    root: Path, check: Check, file: str, old: str, new: str, said: str
) -> None:
    edit(root / file, old, new)
    done = check(CONFIG)
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = done.stdout.splitlines()
    assert said in line


def test_kamailio_is_not_needed_to_check(check: Check) -> None:
    assert "KSR" not in sys.modules
    assert check(CONFIG).returncode == 0


def test_the_callbacks_of_the_cfg_are_those_that_every_reload_asks_for() -> None:
    assert {*callbacks(CONFIG), "child_init"} == set(main.CALLBACKS)


def test_what_is_commented_out_is_not_called() -> None:
    assert callbacks('# python_exec("old")\n    #python_exec("older")\n  if (!python_exec("on_call")) {\n') == [
        "on_call"
    ]


def test_a_callback_is_named_once() -> None:
    assert callbacks('python_exec("b")\npython_exec("a")\npython_exec("b", "x")') == ["a", "b"]


def test_functions_of_kamailio_are_found_in_code() -> None:
    source = 'KSR.tm.t_relay()\nx = KSR.pv.get("$si") + KSR.err("x")\nKSR.hdr.append("KSR is here")\nmy.KSRX.y()\n'
    source += "self._ksr.rr.is_direction()\nself._ksrs.y()\nksr.z()\n"
    assert api_names(source) == ["err", "hdr.append", "pv.get", "rr.is_direction", "tm.t_relay"]


def test_every_call_of_kamailio_in_the_routing_code_is_found() -> None:
    called = {_dotted(node.func) for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.Call)}
    given = ("KSR.", "self._ksr.")
    of_kamailio = {name.removeprefix(word) for name in called for word in given if name.startswith(word)}
    assert len(of_kamailio) > 40
    assert api_names(CODE) == sorted(of_kamailio)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_kamailio_is_named_nowhere_but_in_the_routing_code() -> None:
    sources = [path for package in ("kemi", "model", "state") for path in (serve.ROOT / package).rglob("*.py")]
    importing = {
        os.path.relpath(path, serve.ROOT)
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import) and any(alias.name == "KSR" for alias in node.names)
    }
    assert importing == {"kemi/routing.py"}
