"""M13: menus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from harness.audio import frequencies
from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.session import IVRMenu, MenuError, Session, load_menus

LONG, SHORT, INVALID, BYE = (f"tone_stream://%({ms},0,{pitch})" for ms, pitch in
                             ((400, 500), (400, 700), (300, 1500), (300, 2000)))  # fmt: skip


def menu(main: IVRMenu | None = None, name: str = "main", **more: Any) -> IVRMenu:
    """A menu whose sounds are tones."""
    fields: dict[str, Any] = {
        "greeting_sound": LONG, "short_greeting_sound": SHORT, "invalid_sound": INVALID, "exit_sound": BYE,
        "inter_timeout": 2000, "digit_len": 1, "timeout": 5000, "max_failures": 3, "max_timeouts": 3,
    }  # fmt: skip
    return IVRMenu(main, name, **{**fields, **more})


def heard_in(switch: Switch, built: IVRMenu, *presses: tuple[int, str]) -> list[int]:
    """What a caller hears who presses each key once they heard a tone, anew each time."""
    calls: list[Call] = []

    async def script(session: Session) -> None:
        await session.answer()
        await built.execute(session, built.name)

    async def caller(call: Call) -> None:
        calls.append(call)
        since = 0.0
        for pitch, key in presses:
            since = (await call.hears(pitch, since=since)).start + 0.1
            await call.hears_silence(0.1)
            await call.dial(key)
        await call.ended()

    talk(switch, script, caller)
    return frequencies(calls[0].ear.tones())


def test_a_sound_is_played_and_the_menu_comes_again(switch: Switch) -> None:
    built = menu()
    built.bind_action("menu-play-sound", "tone_stream://%(300,0,900)", "1")
    built.bind_action("menu-exit", None, "*")
    assert heard_in(switch, built, (500, "1"), (700, "*")) == [500, 900, 700, 2000]


def test_what_is_not_bound_is_invalid(switch: Switch) -> None:
    built = menu()
    built.bind_action("menu-exit", None, "*")
    assert heard_in(switch, built, (500, "7"), (700, "*")) == [500, 1500, 700, 2000]


def test_too_many_failures_end_the_menu(switch: Switch) -> None:
    built = menu(max_failures=2)
    built.bind_action("menu-exit", None, "*")
    heard = heard_in(switch, built, (500, "7"), (700, "7"))
    assert heard[:4] == [500, 1500, 700, 1500]


def test_who_presses_nothing_ends_the_menu_in_the_end(switch: Switch) -> None:
    built = menu(timeout=500, max_timeouts=2)
    built.bind_action("menu-exit", None, "*")
    heard = heard_in(switch, built)
    assert heard.count(500) + heard.count(700) == 2


def test_a_menu_within_a_menu_and_back(switch: Switch) -> None:
    top = menu()
    sub = menu(
        top, "sub", greeting_sound="tone_stream://%(400,0,1100)", short_greeting_sound="tone_stream://%(400,0,1300)"
    )
    top.bind_action("menu-sub", "sub", "2")
    top.bind_action("menu-exit", None, "*")
    sub.bind_action("menu-back", None, "9")
    heard = heard_in(switch, top, (500, "2"), (1100, "9"), (500, "*"))
    assert heard == [500, 1100, 500, 2000]


def test_top_leads_to_the_first_menu(switch: Switch) -> None:
    top = menu()
    sub = menu(top, "sub", greeting_sound="tone_stream://%(400,0,1100)")
    top.bind_action("menu-sub", "sub", "2")
    top.bind_action("menu-exit", None, "*")
    sub.bind_action("menu-top", None, "0")
    heard = heard_in(switch, top, (500, "2"), (1100, "0"), (500, "*"))
    assert heard == [500, 1100, 500, 2000]


def test_an_application_is_executed(switch: Switch) -> None:
    built = menu()
    built.bind_action("menu-exec-app", "transfer 900 XML contract", "7")
    assert heard_in(switch, built, (500, "7")) == [500, 900]


def test_a_sound_comes_before_a_transfer(switch: Switch) -> None:
    built = menu(transfer_sound="tone_stream://%(300,0,1700)")
    built.bind_action("menu-exec-app", "transfer 900 XML contract", "7")
    assert heard_in(switch, built, (500, "7")) == [500, 1700, 900]


def test_a_key_is_waited_for_as_long_as_is_said(switch: Switch) -> None:
    built = menu(digit_len=4, timeout=60_000, inter_timeout=300)
    built.bind_action("menu-exit", None, "1")
    assert heard_in(switch, built, (500, "1")) == [500, 2000]


def test_a_phrase_is_said(switch: Switch) -> None:
    built = menu()
    built.bind_action("menu-say-phrase", "spell,a", "4")
    built.bind_action("menu-exit", None, "*")
    heard = heard_in(switch, built, (500, "4"), (700, "*"))
    assert len(heard) == 4


def test_a_pattern_takes_several_digits(switch: Switch) -> None:
    built = menu(digit_len=4)
    built.bind_action("menu-exec-app", "playback tone_stream://%(300,0,900)", "/^(10[01][0-9])$/")
    built.bind_action("menu-exit", None, "*")
    assert heard_in(switch, built, (500, "1012"), (700, "*")) == [500, 900, 700, 2000]


def test_a_menu_of_a_file_and_its_edit(switch: Switch, tmp_path: Path) -> None:
    path = tmp_path / "menus.yaml"
    path.write_text(
        f"""
menus:
  - name: main
    greeting_sound: "{LONG}"
    short_greeting_sound: "{SHORT}"
    exit_sound: "{BYE}"
    timeout: 5000
    digit_len: 1
    actions:
      - {{press: "1", do: menu-play-sound, with: "tone_stream://%(300,0,900)"}}
      - {{press: "*", do: menu-exit}}
"""
    )
    assert heard_in(switch, load_menus(path), (500, "1"), (700, "*")) == [500, 900, 700, 2000]
    path.write_text(path.read_text().replace("0,900)", "0,1100)"))
    assert heard_in(switch, load_menus(path), (500, "1"), (700, "*")) == [500, 1100, 700, 2000]
    path.write_text(path.read_text().replace("menu-exit", "menu-nothing"))
    with pytest.raises(MenuError, match=r"menus\.yaml.*menus.*0.*actions"):
        load_menus(path)


def test_a_number_is_confirmed_by_a_key(switch: Switch) -> None:
    built = menu(digit_len=4, confirm_key="#", inter_timeout=4000)
    built.bind_action("menu-exec-app", "playback tone_stream://%(300,0,900)", "/^(\\d\\d)$/")
    built.bind_action("menu-exit", None, "*")
    heard = heard_in(switch, built, (500, "12#"), (700, "*#"))
    assert heard == [500, 900, 700, 2000]
