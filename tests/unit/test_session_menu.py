"""Menus: what is bound to what, menus from files, and a walk on a made-up switch."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.esl_peer import Command, Wire
from harness.session_peer import App, FakeSwitch, with_session

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
     ("menus:", "menus: [", r"menus.yaml:3: the file: not YAML"),
     ("timeout: 200", "timeout: 200\n    timeout: 300", r"menus.yaml:\d+: menus\[0\].timeout: given twice")],
)  # fmt: skip
def test_what_a_file_gets_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(MenuError, match=message) as error:
        loaded(tmp_path, GOOD.replace(old, new, 1))
    assert "menus.yaml" in str(error.value)


def test_a_sound_before_a_transfer_and_a_voice_for_what_is_said() -> None:
    menu = IVRMenu(
        None, "main", "say:hello", None, None, None, "moment.wav", None, "flite", "slt", 0, 0, 1, 200, 1, 1
    )  # fmt: skip
    menu.bind_action("menu-exec-app", "transfer 900", "1")
    menu.bind_action("menu-exec-app", "log INFO 900", "2")
    heard, switch = walk(menu, "1")
    assert heard[:3] == ["say:hello", "moment.wav", "transfer 900"]
    assert (switch.variables["tts_engine"], switch.variables["tts_voice"]) == ("flite", "slt")
    assert walk(menu, "2")[0][:2] == ["say:hello", "log INFO 900"]


@pytest.mark.parametrize(
    ("attempts", "keys", "heard"),
    [(0, "", ["phrase confirm,1"] * 3), (2, "", ["phrase confirm,1"] * 2), (2, "5", ["phrase confirm,1"]),
     (2, "9", ["phrase confirm,1", "log INFO one"])],
)  # fmt: skip
def test_digits_are_confirmed(attempts: int, keys: str, heard: list[str]) -> None:
    menu = IVRMenu(
        None, "main", "hello.wav", confirm_key="9", confirm_attempts=attempts, timeout=100, max_failures=1,
        max_timeouts=1, confirm_macro="confirm",
    )  # fmt: skip
    menu.bind_action("menu-exec-app", "log INFO one", "1")

    async def script(session: Session, switch: FakeSwitch) -> None:
        def pressed(keys: str) -> App:
            def play(wire: Wire, command: Command) -> None:
                switch.press(wire, keys)
                switch.complete(wire, command)
                switch.apps[command.headers["execute-app-name"]] = switch.complete

            return play

        switch.apps |= {"playback": pressed("1"), "phrase": pressed(keys)}
        await menu.execute(session, "main")

    ran = [f"{app} {data}" for app, data in with_session(script).ran if app != "playback"]
    assert ran == heard


def test_the_time_between_two_keys_is_its_own() -> None:
    # A menu that waits a minute for the first key acts on it at once where a second may follow.
    menu = IVRMenu(None, "main", "hello.wav", inter_timeout=20, digit_len=4, timeout=60_000)
    menu.bind_action("menu-exit", None, "1")
    assert walk(menu, "1")[0] == ["hello.wav"]


def test_without_a_time_between_two_keys_it_is_half_the_time() -> None:
    assert IVRMenu(None, "main", timeout=3000).inter_timeout == 1500
