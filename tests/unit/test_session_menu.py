"""Menus: what is bound to what, menus from files, and a walk on a made-up switch."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.esl_peer import Command, Wire
from harness.session_peer import FakeSwitch, with_session

from media.session import IVRMenu, MenuError, Session, load_menus

GOOD = """
menus:
  - name: main
    greeting_sound: hello.wav
    short_greeting_sound: again.wav
    exit_sound: bye.wav
    timeout: 200
    max_timeouts: 2
    actions:
      - {press: "1", do: menu-sub, with: sales}
      - {press: "/^5([0-9])$/", do: menu-exec-app, with: "log INFO $1"}
      - {press: "*", do: menu-exit}
  - name: sales
    greeting_sound: sales.wav
    timeout: 200
    actions:
      - {press: "9", do: menu-back}
      - {press: "0", do: menu-top}
"""


def walk(menu: IVRMenu, *presses: str) -> tuple[list[str], FakeSwitch]:
    """What is run on a call whose caller presses something at each sound."""
    keys = iter(presses)

    async def script(session: Session, switch: FakeSwitch) -> None:
        def playing(wire: Wire, command: Command) -> None:
            switch.press(wire, next(keys, ""))
            switch.complete(wire, command)

        switch.apps["playback"] = playing
        await menu.execute(session)

    switch = with_session(script)
    return [f"{app} {data}" if app != "playback" else data for app, data in switch.ran], switch


def loaded(tmp_path: Path, text: str) -> IVRMenu:
    path = tmp_path / "menus.yaml"
    path.write_text(text)
    return load_menus(path)


def test_down_and_back_and_out(tmp_path: Path) -> None:
    heard, _ = walk(loaded(tmp_path, GOOD), "1", "9", "*")
    assert heard == ["hello.wav", "sales.wav", "hello.wav", "bye.wav"]


def test_to_the_top(tmp_path: Path) -> None:
    heard, _ = walk(loaded(tmp_path, GOOD), "1", "0", "*")
    assert heard == ["hello.wav", "sales.wav", "hello.wav", "bye.wav"]


def test_a_pattern_gives_its_groups_to_the_action(tmp_path: Path) -> None:
    menu = loaded(tmp_path, GOOD)
    menu.digit_len = 2
    heard, _ = walk(menu, "54", "*")
    assert heard == ["hello.wav", "log INFO 4", "again.wav", "bye.wav"]


def test_who_presses_nothing(tmp_path: Path) -> None:
    heard, switch = walk(loaded(tmp_path, GOOD))
    assert heard == ["hello.wav", "again.wav", "bye.wav"]
    assert switch.variables["ivr_menu_status"] == "timeout"


def test_who_presses_wrongly(tmp_path: Path) -> None:
    menu = loaded(tmp_path, GOOD)
    menu.invalid_sound = "wrong.wav"
    heard, switch = walk(menu, "7", "", "7", "", "7")
    assert heard == ["hello.wav", "wrong.wav", "again.wav", "wrong.wav", "again.wav", "wrong.wav", "bye.wav"]
    assert switch.variables["ivr_menu_status"] == "failure"


def test_defaults_are_those_of_freeswitch() -> None:
    menu = IVRMenu(None, "main", timeout=0)
    assert (menu.timeout, menu.inter_timeout, menu.max_failures, menu.max_timeouts) == (10000, 5000, 3, 3)
    assert menu.confirm_attempts == 3
    menu.bind_action("menu-exit", None, "123")
    assert menu.digit_len == 3


@pytest.mark.parametrize(
    ("action", "argument", "keys", "message"),
    [("menu-leave", None, "1", "is no action"), ("menu-sub", None, "1", "needs an argument"),
     ("menu-exit", None, "", "no keys"), ("menu-exit", None, "/(/", "not a pattern"),
     ("menu-exit", None, "/1", "between slashes")],
)  # fmt: skip
def test_what_cannot_be_bound(action: str, argument: str | None, keys: str, message: str) -> None:
    with pytest.raises(MenuError, match=message):
        IVRMenu(None, "main").bind_action(action, argument, keys)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [('press: "1"', "press: 1", r"menus\[0\].actions\[0\].press: .*in quotes"),
     ("with: sales", "with: sale", r"menus\[0\].actions\[0\].with: there is no menu 'sale'"),
     ("do: menu-back", "do: back", r"menus\[1\].actions\[0\].do"),
     ("name: sales", "name: main", r"menus\[1\].name: there are two menus"),
     ("timeout: 200", "time_out: 200", r"menus\[0\].time_out"),
     ("timeout: 200", "timeout: soon", r"menus\[0\].timeout"),
     ("menus:", "menu:", "menus: Field required"),
     ("menus:", "menus: [", "menus.yaml: ")],
)  # fmt: skip
def test_what_a_file_gets_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(MenuError, match=message) as error:
        loaded(tmp_path, GOOD.replace(old, new, 1))
    assert "menus.yaml" in str(error.value)
