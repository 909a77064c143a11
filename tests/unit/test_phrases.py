"""Phrases and menus in YAML: what they say, what is refused, and what a check finds."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from media import yamlfile
from media.session import PhraseError, Phrases, load_menus, load_phrases
from media.session.ivrcheck import candidates, check, script_names
from media.speech.say import SayError
from media.speech.speaker import Text
from media.yamlfile import YamlError

GOOD = """\
phrases:
  new-messages:
    - match: "^0$"
      do:
        - play: vm-youhave
        - play: vm-no
        - {play: vm-messages}
    - match: "^(\\\\d+),(\\\\w*)$"
      do:
        - {say: number, of: "$1"}
        - {sleep: 200}
        - {speak: "for $2, at $1 pounds"}
        - play: own/$2.wav
        - play: tone_stream://%(100,0,500)
  when:
    - do: [{say: datetime, of: "2026-11-21T17:07:00+00:00", zone: Europe/Berlin}]
"""


def loaded(folder: Path, text: str) -> Phrases:
    path = folder / "phrases.yaml"
    path.write_text(text)
    return load_phrases(path)


def test_the_first_pattern_that_fits_counts(tmp_path: Path) -> None:
    phrases = loaded(tmp_path, GOOD)
    assert phrases.parts("new-messages", "0") == ("vm-youhave", "vm-no", "vm-messages")
    assert phrases.parts("new-messages", "21,Bob") == (
        ("digits/20", "digits/1"), "silence_stream://200", Text("for Bob, at 21 pounds"), Path("own/Bob.wav"),
        "tone_stream://%(100,0,500)",
    )  # fmt: skip
    assert phrases.parts("new-messages", "many") == ()
    assert "new-messages" in phrases
    assert "old" not in phrases


@pytest.mark.parametrize(
    "data", ["../../../etc/passwd", "/etc/passwd", "shell_stream://reboot", "a!b", "a@@b", "..", "a\nb", "a,b"]
)
def test_what_a_phrase_is_given_is_no_way_to_another_file(tmp_path: Path, data: str) -> None:
    phrases = loaded(tmp_path, 'phrases: {any: [{match: "(?s)^(.*)$", do: [{play: "$1"}]}]}')
    with pytest.raises(SayError, match="play"):
        phrases.parts("any", data)
    assert phrases.parts("any", "vm-goodbye") == ("vm-goodbye",)
    assert phrases.parts("any", "+44_b.wav") == (Path("+44_b.wav"),)
    # What a pattern leaves out is nothing.
    assert loaded(tmp_path, 'phrases: {any: [{match: "(b)?", do: [{play: "a$1.wav"}]}]}').parts("any") == (
        Path("a.wav"),
    )


def test_moments_are_said_in_their_zone(tmp_path: Path) -> None:
    now = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
    assert loaded(tmp_path, GOOD).parts("when", now=now) == (
        ("digits/today", "digits/at", "digits/6", "digits/oh", "digits/7", "digits/p-m"),
    )


def test_what_is_not_there_cannot_be_said(tmp_path: Path) -> None:
    with pytest.raises(PhraseError, match="there is no phrase 'old'"):
        loaded(tmp_path, GOOD).parts("old")
    spelled = GOOD.replace("say: number", "say: money")
    with pytest.raises(SayError):
        loaded(tmp_path, spelled.replace('of: "$1"', 'of: "$2"')).parts("new-messages", "21,Bob")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sleep: 200", "sleep: soon", r":11: phrases.new-messages\[1\].do\[1\].sleep: "),
        ("say: number", "say: colour", r":10: phrases.new-messages\[1\].do\[0\]: 'colour' is not said; number, "),
        ('of: "$1"', 'from: "$1"', r":10: phrases.new-messages\[1\].do\[0\].from: "),
        (', of: "$1"', "", r":10: .*say and of belong together"),
        ("play: vm-no\n", "play: vm-no\n          sleep: 5\n", r":6: .*one of play, say, speak and sleep"),
        ("^0$", "^(0$", r":3: phrases.new-messages\[0\]: match is no pattern: "),
        ("of: \"$1\"", "of: \"$3\"", r":8: phrases.new-messages\[1\]: \$3 stands for nothing: match has 2 brackets"),
        ("new-messages", "new messages", r":2: phrases.new messages"),
        ("  when:", "  new-messages:", r":15: phrases.new-messages: given twice"),
        ("phrases:", "phrase:", r":1: phrases: Field required"),
        ("- play: vm-no", "- play: 5", r":6: .*in quotes"),
        ("do: [{", "do: [[{", r"not YAML"),
    ],
)  # fmt: skip
def test_what_a_file_gets_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(PhraseError, match=message) as error:
        loaded(tmp_path, GOOD.replace(old, new, 1))
    assert str(error.value).startswith(f"{tmp_path}/phrases.yaml:")


# YAML

LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in pairwise("abcdefghi")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [" * 20, "nested more than"),
        (LAUGHS, "aliases counted"),
        ("a: &a [*a]", "aliases counted"),
        ("a: !!python/object/apply:os.system [id]", "YAML tag .* is not supported"),
        ("a: \x01", "not YAML"),
        ("{1: 2}", "the key 1 is no text"),
        ("a: 1\na: 2", ":2: a: given twice"),
        ("a: " + "x" * 1_000_001, "larger than"),
        ("a: 9999-99-99", "not YAML"),
    ],
)  # fmt: skip
def test_hostile_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(YamlError, match=message):
        yamlfile.read(path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff")
    with pytest.raises(YamlError, match="not UTF-8"):
        yamlfile.read(tmp_path / "a.yaml")


# Checks

MENU = """\
phrases: phrases.yaml
menus:
  - name: main
    greeting_sound: vm-goodbye
    invalid_sound: ivr/invalid.wav
    exit_sound: "say:Good bye"
    confirm_macro: new-messages
    confirm_key: "1"
    actions:
      - {press: "1", do: menu-say-phrase, with: "new-messages,0"}
      - {press: "2", do: menu-exec-app, with: "set strowger_script=welcome"}
      - {press: "3", do: menu-play-sound, with: "%s"}
"""


def folder(tmp_path: Path) -> Path:
    (tmp_path / "phrases.yaml").write_text(GOOD)
    (tmp_path / "menu.yaml").write_text(MENU % (tmp_path / "menu.yaml"))
    (tmp_path / "other.yaml").write_text("a: 1")
    (tmp_path / "ivr" / "8000").mkdir(parents=True)
    (tmp_path / "ivr" / "8000" / "invalid.wav").write_text("")
    (tmp_path / "one.py").write_text(
        textwrap.dedent("""
        @script("welcome", numbers=("5000", "5001"))
        async def welcome(session): ...
    """)
    )
    (tmp_path / "broken.py").write_text("def")
    return tmp_path


def test_what_is_in_order(tmp_path: Path) -> None:
    folder(tmp_path)
    assert [path.name for path in candidates(tmp_path)] == ["menu.yaml", "other.yaml", "phrases.yaml"]
    names = script_names(tmp_path)
    assert names == {"welcome", "5000", "5001"}
    found = check(tmp_path / "menu.yaml", [tmp_path], names)
    assert (found.kind, found.problems, found.unchecked) == ("menus", [], [])
    assert check(tmp_path / "phrases.yaml", [tmp_path], names).problems == []
    assert check(tmp_path / "other.yaml", [], None).kind == "neither"
    assert load_menus(tmp_path / "menu.yaml").phrases


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("vm-goodbye", "vm-godbye", r":4: menus\[0\].greeting_sound: there is no prompt 'vm-godbye', and no such "),
        ("ivr/invalid.wav", "ivr/nope.wav", r":5: menus\[0\].invalid_sound: there is no prompt"),
        ("=welcome", "=nothing", r":11: menus\[0\].actions\[1\].with: there is no script 'nothing'"),
        ("menu.yaml", "gone.wav", r":12: menus\[0\].actions\[2\].with: there is no /"),
        ("phrases: phrases.yaml", "phrases: gone.yaml", r"gone.yaml:1: the file: No such file"),
        ("menu-exec-app", "menu-exec", r":11: menus\[0\].actions\[1\].do: "),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = folder(tmp_path) / "menu.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = check(path, [tmp_path], script_names(tmp_path))
    assert len(found.problems) == 1
    assert re.search(problem, found.problems[0]), found.problems


def test_what_only_the_switch_knows_is_said(tmp_path: Path) -> None:
    path = folder(tmp_path) / "menu.yaml"
    path.write_text(path.read_text().replace("phrases: phrases.yaml\n", ""))
    found = check(path, [], None)
    assert found.problems == []
    assert [line.partition(": ")[2].partition(": ")[0] for line in found.unchecked] == [
        "menus[0].invalid_sound", "menus[0].confirm_macro", "menus[0].actions[0].with",
    ]  # fmt: skip
