"""Scripts of a folder that is edited while calls run."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from media import folder, loader
from media.folder import Folder
from media.loader import Scripts
from media.registry import Registry

WELCOME = """
    from media.script import script

    @script("welcome", numbers=("5000",))
    async def welcome(session):
        return {answer!r}
"""


class Desk:
    """A folder of scripts, and somebody who edits it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scripts = Scripts(root)

    def write(self, file: str, text: str) -> Path:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def welcome(self, answer: object, file: str = "welcome.py") -> Path:
        return self.write(file, WELCOME.format(answer=answer))

    def now(self) -> Registry:
        """What the next call gets."""
        return asyncio.run(self.scripts.current())

    def say(self, key: str = "welcome", **given: Any) -> object:
        """What the next call to ``key`` hears."""
        return answer(self.now(), key, **given)


def answer(registry: Registry, key: str = "welcome", **given: Any) -> object:
    found = registry.find(key)
    assert found is not None, f"{key} is not in force; refused: {registry.refused}"

    async def run() -> object:
        return await found.script.run(**{"session": None, "env": {}, "stream": None, "args": "", **given})

    return asyncio.run(run())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_script_is_found_by_its_name_and_by_its_numbers(desk: Desk) -> None:
    desk.welcome("hello")
    assert desk.say("welcome") == desk.say("5000") == "hello"
    assert desk.now().find("5001") is None
    [found] = desk.now().scripts()
    assert (found.place, found.script.attached, found.script.http) == ("welcome.py:4", True, False)


def test_an_edit_serves_the_next_call_and_a_live_call_stays(desk: Desk) -> None:
    desk.welcome(1)
    live = desk.now()
    desk.welcome(2)
    assert desk.say() == 2
    assert answer(live) == 1
    assert live.scripts()[0].version != desk.now().scripts()[0].version


def test_edits_within_one_tick_of_the_clock_are_told_apart(desk: Desk) -> None:
    path = desk.welcome(0)
    desk.now()
    for number in range(1, 10):
        before = path.stat()
        with path.open("r+") as file:
            file.write(textwrap.dedent(WELCOME.format(answer=number)))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size
        assert desk.say() == number


def test_a_file_whose_times_all_stayed_is_compared_by_its_bytes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("a.py", "x = 1\n")
    folder = Folder(desk.root)
    stamps = folder._scan({})
    monkeypatch.setattr(folder, "_scan", lambda folders: dict(stamps))
    folder.read()
    assert not folder.changed()
    desk.write("a.py", "x = 2\n")
    assert folder.changed()


def test_an_old_file_is_judged_by_its_stamp_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.write("a.py", "x = 1\n")
    monkeypatch.setattr("media.folder.time.time", lambda: path.stat().st_ctime + 3)
    folder = Folder(desk.root)
    folder.read()
    monkeypatch.setattr("media.folder._bytes", lambda path: pytest.fail("read without need"))
    assert not folder.changed()


@pytest.fixture
def settled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A folder whose files are all old, by the clock: it is not listed any more."""
    desk.write("a.py", "x = 1\n")
    desk.write("deep/er/b.yaml", "x: 1\n")
    (desk.root / "later.py").symlink_to("there.txt")
    (desk.root / "link.py").symlink_to("a.py")
    monkeypatch.setattr("media.folder.time.time", lambda: time.time_ns() / 1e9 + 3)
    folder = Folder(desk.root)
    folder.read()
    assert not folder.changed()
    with monkeypatch.context() as patch:
        patch.setattr("media.folder.os.scandir", lambda path: pytest.fail("listed without need"))
        assert not folder.changed()
    return folder


@pytest.mark.parametrize(
    "edit",
    [
        lambda root: (root / "a.py").write_text("x = 2\n"),
        lambda root: (root / "a.py").unlink(),
        lambda root: (root / "a.py").rename(root / "c.py"),
        lambda root: (root / "deep" / "er" / "b.yaml").write_text("x: 2\n"),
        lambda root: (root / "deep" / "er" / "c.yaml").write_text("x: 1\n"),
        lambda root: (root / "deep" / "er").rename(root / "deep" / "est"),
        lambda root: (root / "there.txt").write_text("x = 1\n"),
        lambda root: (root / "new.py").write_text(""),
    ],
)
def test_a_folder_that_is_not_listed_any_more_tells_of_each_change(
    desk: Desk, settled: Folder, edit: Callable[[Path], object]
) -> None:
    edit(desk.root)
    assert settled.changed()
    settled.read()
    assert not settled.changed()


def test_a_file_that_takes_the_place_of_another_is_a_change(desk: Desk, settled: Folder) -> None:
    new = desk.write("a.new", "x = 2\n")
    assert not settled.changed()
    new.replace(desk.root / "a.py")
    assert settled.changed()


def test_a_folder_that_changed_a_moment_ago_is_listed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tick of the clock its stamp may stay as it is."""
    desk.write("a.py", "x = 1\n")
    watch = Folder(desk.root)
    watch.read()
    assert not watch.changed()
    stamp, before = folder._stamp, folder._stamp(str(desk.root))
    monkeypatch.setattr("media.folder._stamp", lambda path: before if path == str(desk.root) else stamp(path))
    desk.write("b.py", "")
    assert watch.changed()


def test_nothing_is_loaded_where_nothing_changed(desk: Desk) -> None:
    desk.welcome(1)
    assert desk.now() is desk.now()
    desk.write("notes.md", "not a script")
    desk.write(".welcome.py.swp", "half a")
    desk.write("welcome.py~", "an older")
    (desk.root / ".#welcome.py").symlink_to("somebody@elsewhere.1")
    registry = desk.now()
    assert registry is desk.now()
    assert not registry.refused


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = 1\ndef (:\n", "welcome.py:2: invalid syntax"),
        ("x = 1\ny = x +\n", "welcome.py:2: invalid syntax"),
        ("x = 1\n\n1 / 0\n", "welcome.py:3: ZeroDivisionError: division by zero"),
        ("import nowhere_to_be_found\n", "welcome.py:1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("import sys\nsys.exit('no')\n", "welcome.py:2: SystemExit: no"),
        ("x = '\0'\n", "welcome.py:0: source code string cannot contain null bytes"),
        ("from media.script import script\n@script('a')\ndef a(session): ...\n", "'a' is not declared with async def"),
        (
            "from media.script import script\n@script('a')\nasync def a(call): ...\n",
            "welcome.py:2: .* 'a' takes 'call'",
        ),
        ("from media.script import script\n@script('a b')\nasync def a(): ...\n", "welcome.py:2: .*not 'a b'"),
        ("from media.script import script\n@script('a', numbers='50')\nasync def a(): ...\n", "texts in a tuple.*'50'"),
        (
            "from media.script import script\n@script('a', ahead=True)\nasync def a(args): ...\n",
            "'a' is to be sent ahead, and has no session",
        ),
        ("", "the file is empty"),
    ],
)
def test_what_does_not_load_is_refused_and_the_old_stays(
    desk: Desk, text: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk.welcome("old")
    desk.welcome("other", "zzz.py").write_text("from media.script import script\n@script('z')\nasync def z(): ...\n")
    desk.now()
    (desk.root / "welcome.py").write_text(text)
    registry = desk.now()
    assert answer(registry) == "old"
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(registry.refused["welcome.py"])
    assert list(registry.refused) == ["welcome.py"]
    assert registry.refused["welcome.py"] in caplog.text
    assert "in force stays welcome" in caplog.text
    caplog.clear()
    asyncio.run(desk.scripts.reload())
    assert "refused" not in caplog.text, "told twice"
    desk.welcome("new")
    assert desk.say() == "new"
    assert not desk.now().refused


def test_bytes_that_are_no_text_are_refused(desk: Desk) -> None:
    (desk.root / "latin.py").write_bytes(b"x = '\xe9'\n")
    assert "latin.py" in desk.now().refused


def test_a_broken_script_at_the_start_brings_nothing_and_harms_no_other(desk: Desk) -> None:
    desk.write("broken.py", "def (\n")
    desk.welcome("hello")
    assert desk.say() == "hello"
    assert list(desk.now().refused) == ["broken.py"]


def test_a_deleted_script_is_gone(desk: Desk) -> None:
    path = desk.welcome(1)
    live = desk.now()
    path.unlink()
    assert desk.now().find("welcome") is desk.now().find("5000") is None
    assert answer(live) == 1


def test_a_script_that_left_its_file_is_gone(desk: Desk) -> None:
    desk.welcome(1)
    desk.now()
    desk.write("welcome.py", "from media.script import script\n@script('other')\nasync def other(): ...\n")
    assert list(desk.now().by_key) == ["other"]


def test_two_files_with_one_number_are_both_refused_and_named(desk: Desk) -> None:
    desk.welcome("old")
    desk.now()
    desk.welcome("new")
    desk.write("late.py", "from media.script import script\n@script('late', numbers=('5000',))\nasync def f(): ...\n")
    registry = desk.now()
    assert answer(registry) == "old"
    assert registry.find("late") is None
    why = "late.py:2 and welcome.py:4 are both '5000'"
    assert registry.refused == {"welcome.py": why, "late.py": why}
    (desk.root / "late.py").unlink()
    assert desk.say() == "new"


def test_two_scripts_of_one_file_with_one_name_are_refused(desk: Desk) -> None:
    line = "@script('a')\nasync def a(): ...\n"
    desk.write("a.py", f"from media.script import script\n{line}{line}")
    assert "the scripts of lines 2 and 4 are both 'a'" in desk.now().refused["a.py"]


def test_a_script_may_move_to_another_file(desk: Desk) -> None:
    path = desk.welcome(1)
    desk.now()
    desk.welcome(2, "moved.py")
    path.write_text("")
    path.unlink()
    assert desk.say() == 2


def test_what_comes_back_may_not_be_anothers_by_now(desk: Desk) -> None:
    """a.py gives its name to c.py, but is refused for a number that b.py has: so c.py is refused, too."""
    line = "from media.script import script\n@script({!r}, numbers=({!r},))\nasync def f(): return {!r}\n"
    desk.write("a.py", line.format("one", "1", "old a"))
    desk.now()
    desk.write("a.py", line.format("two", "2", "new a"))
    desk.write("b.py", line.format("three", "2", "b"))
    desk.write("c.py", line.format("one", "4", "c"))
    registry = desk.now()
    assert {key: answer(registry, key) for key in registry.by_key} == {"one": "old a", "1": "old a"}
    assert sorted(registry.refused) == ["a.py", "b.py", "c.py"]


def test_an_imported_script_is_its_own_files(desk: Desk) -> None:
    desk.welcome(1)
    desk.write("again.py", "from welcome import welcome\nimport welcome as module\n")
    assert desk.say() == 1
    assert not desk.now().refused


IMPORTS = """
    {how}
    from media.script import script

    @script("welcome")
    async def welcome(session):
        {late}
        return {what}
"""


@pytest.mark.parametrize(
    ("how", "late", "what", "file"),
    [
        ("import prompts", "", "prompts.TEXT", "prompts.py"),
        ("from prompts import TEXT", "", "TEXT", "prompts.py"),
        ("from .prompts import TEXT", "", "TEXT", "prompts.py"),
        ("from . import prompts", "", "prompts.TEXT", "prompts.py"),
        ("", "import prompts", "prompts.TEXT", "prompts.py"),
        ("", "from prompts import TEXT", "TEXT", "prompts.py"),
        ("", "from .prompts import TEXT", "TEXT", "prompts.py"),
        ("", "from . import prompts", "prompts.TEXT", "prompts.py"),
        ("", "from lib import more", "more.prompts.TEXT", "lib/prompts.py"),
        ("import lib.prompts", "", "lib.prompts.TEXT", "lib/prompts.py"),
        ("from lib import prompts", "", "prompts.TEXT", "lib/prompts.py"),
        ("from lib.prompts import TEXT", "", "TEXT", "lib/prompts.py"),
        ("from lib import TEXT", "", "TEXT", "lib/__init__.py"),
        ("", "from lib.prompts import TEXT", "TEXT", "lib/prompts.py"),
        ("import json", "", "json.TEXT", "json.py"),
    ],
)
def test_modules_that_scripts_import_are_as_new_as_they_are(
    desk: Desk, how: str, late: str, what: str, file: str
) -> None:
    desk.write(file, "TEXT = 'one'\n")
    desk.write("lib/more.py", "from . import prompts\n" if file == "lib/prompts.py" else "")
    desk.write("welcome.py", IMPORTS.format(how=how, late=late, what=what))
    live = desk.now()
    desk.write(file, "TEXT = 'two'\n")
    assert desk.say() == "two"
    assert answer(live) == "one", "a live call got half of an edit"
    desk.write(file, "TEXT = \n")
    registry = desk.now()
    assert answer(registry) == "two"
    assert f"{file}:1: invalid syntax" in registry.refused["welcome.py"]
    assert answer(live) == "one"


def test_the_folder_hides_no_module_from_anybody_else(desk: Desk) -> None:
    desk.write("colorsys.py", "TEXT = 1\n")
    desk.write("welcome.py", IMPORTS.format(how="import colorsys", late="", what="colorsys.TEXT"))
    assert desk.say() == 1
    import colorsys

    assert not hasattr(colorsys, "TEXT")


def test_a_broken_module_keeps_old_what_imports_it_and_nothing_else(desk: Desk) -> None:
    desk.write("prompts.py", "TEXT = 'one'\n")
    desk.write("welcome.py", IMPORTS.format(how="import prompts", late="", what="(prompts.TEXT, 'first')"))
    desk.write("a.py", "from media.script import script\n@script('a')\nasync def a(): return 1\n")
    desk.now()
    desk.write("prompts.py", "1 / 0\n")
    desk.write("welcome.py", IMPORTS.format(how="import prompts", late="", what="(prompts.TEXT, 'second')"))
    desk.write("a.py", "from media.script import script\n@script('a')\nasync def a(): return 2\n")
    registry = desk.now()
    assert answer(registry) == ("one", "first")
    assert answer(registry, "a") == 2
    assert "prompts.py:1: ZeroDivisionError" in registry.refused["welcome.py"]
    assert sorted(registry.refused) == ["prompts.py", "welcome.py"]


def test_a_menu_that_a_script_reads_is_renewed_with_it(desk: Desk) -> None:
    desk.write("menu.yaml", "greeting: one\n")
    how = "import yaml, pathlib\n    MENU = yaml.safe_load(pathlib.Path(__file__).with_name('menu.yaml').read_text())"
    desk.write("welcome.py", IMPORTS.format(how=how, late="", what="MENU['greeting']"))
    live = desk.now()
    desk.write("menu.yaml", "greeting: two\n")
    assert desk.say() == "two"
    assert answer(live) == "one"
    desk.write("menu.yaml", "greeting: [\n")
    assert desk.say() == "two"
    assert "line 2" in desk.now().refused["welcome.py"]


def test_an_edit_while_the_folder_is_read_is_not_half_seen(desk: Desk) -> None:
    """a.py is read before b.py is; both are edited between."""
    desk.write("b.py", "TEXT = 'one'\n")
    desk.write(
        "a.py",
        """
        import pathlib, b
        from media.script import script
        folder = pathlib.Path(__file__).parent
        if not (folder / "done").exists():
            (folder / "done").touch()
            (folder / "b.py").write_text("TEXT = 'two'\\n")

        @script("welcome")
        async def welcome(session):
            return b.TEXT
        """,
    )
    assert desk.say() == "two"


def test_what_needs_its_module_in_sys_modules_works(desk: Desk) -> None:
    desk.write(
        "welcome.py",
        """
        from __future__ import annotations
        import pickle, typing
        from dataclasses import dataclass
        from media.script import script

        @dataclass
        class Order:
            size: int
            kind: ClassVar = 1

        @script("welcome")
        async def welcome(session):
            assert typing.get_type_hints(Order, localns={"ClassVar": typing.ClassVar})["size"] is int
            return pickle.loads(pickle.dumps(Order(2))).size
        """,
    )
    live = desk.now()
    desk.welcome("new")
    assert desk.say() == "new"
    assert answer(live) == 2


def test_former_readings_are_freed(desk: Desk) -> None:
    desk.write("prompts.py", "import logging\nlogging.getLogger(__name__)\nTEXT = 1\n")
    desk.write("welcome.py", IMPORTS.format(how="import prompts", late="", what="prompts"))
    gc.collect()
    paths, logs = len(sys.meta_path), len(logging.Logger.manager.loggerDict)
    modules = [weakref.ref(desk.say())]
    live = desk.now()
    for number in range(5):
        desk.write("prompts.py", f"import logging\nlogging.getLogger(__name__)\nTEXT = {number}\n")
        modules.append(weakref.ref(desk.say()))
    gc.collect()
    assert [module() is not None for module in modules] == [True, False, False, False, False, True]
    assert answer(live) is modules[0](), "a live call lost what it began with"
    assert len(sys.meta_path) == paths + 2
    del live
    gc.collect()
    assert modules[0]() is None
    assert len(sys.meta_path) == paths + 1
    assert len([name for name in sys.modules if name.startswith("strowger_scripts_") and "prompts" in name]) == 1
    # The package, its placeholder for loggers, and one logger.
    assert len(logging.Logger.manager.loggerDict) <= logs + 2


def test_a_file_that_stays_broken_keeps_one_reading_not_more(desk: Desk) -> None:
    desk.welcome(1)
    desk.now()
    gc.collect()
    paths = len(sys.meta_path)
    for number in range(4):
        desk.write("welcome.py", f"1 / 0  # {number}\n")
        assert desk.say() == 1
    gc.collect()
    assert len(sys.meta_path) <= paths + 1


def test_without_the_folder_everything_stays(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.welcome(1)
    desk.now()
    away = desk.root.with_name("away")
    desk.root.rename(away)
    assert desk.say() == 1
    desk.now()
    assert caplog.text.count("the scripts in force stay: ") == 1
    assert "No such file" in desk.scripts.trouble
    away.rename(desk.root)
    desk.welcome(2)
    assert desk.say() == 2
    assert not desk.scripts.trouble


def test_a_reload_is_had_for_the_asking(desk: Desk) -> None:
    desk.write("welcome.py", IMPORTS.format(how="import os", late="", what="os.environ['STROWGER_TEST']"))
    before = desk.now()
    assert asyncio.run(desk.scripts.reload()) is not before


def test_a_script_that_does_not_end_loading_holds_calls_up_for_a_while_only(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "LOAD_LIMIT", 0.05)
    gate = threading.Event()
    monkeypatch.setattr("media.script.gate", gate, raising=False)
    desk.welcome(1)
    desk.scripts.load()

    async def calls() -> None:
        desk.write("slow.py", "from media.script import gate\nassert gate.wait(20)\n")
        desk.welcome(2)
        assert (await desk.scripts.current()).scripts()[0].file == "welcome.py"
        assert "takes longer than 0.05 s" in desk.scripts.trouble
        before = (await desk.scripts.current()).find("welcome")
        gate.set()
        monkeypatch.setattr(loader, "LOAD_LIMIT", 20.0)
        after = (await desk.scripts.current()).find("welcome")
        assert before is not None
        assert after is not None
        assert before.version != after.version

    asyncio.run(calls())
    assert not desk.scripts.trouble


def test_calls_that_come_together_share_one_loading(desk: Desk) -> None:
    desk.welcome(1)

    async def calls() -> set[int]:
        return {id(await found) for found in [asyncio.ensure_future(desk.scripts.current()) for _ in range(9)]}

    assert len(asyncio.run(calls())) == 1
