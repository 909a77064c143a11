"""FreeSWITCH's dialplan and phrases, as the embedded switch reads them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from harness.fake_leg import World

from devswitch.apps.phrases import Phrases
from devswitch.dialplan.dialplan import Action, Dialplan, inline
from devswitch.dialplan.xmltree import XmlError
from devswitch.text import expand, number, separate, true

ROOT = Path(__file__).parents[2]


def routed(plan: str, variables: dict[str, str]) -> tuple[list[Action], list[Action]]:
    """The actions found, and those that ran inline."""
    ran: list[Action] = []

    async def call(name: str, arguments: str) -> str:
        return f"<{name} {arguments}>"

    async def run(action: Action) -> None:
        ran.append(action)
        name, _, value = action.data.partition("=")
        variables[name] = value

    dialplan = Dialplan.from_text(f"<include><context name='c'>{plan}</context></include>")
    found = asyncio.run(dialplan.route("c", lambda text: expand(text, variables.get, call), run))
    return found, ran


TWO = """
<extension name="first" continue="true">
  <condition field="destination_number" expression="^0(\\d+)$" break="never">
    <action application="set" data="number=$1" inline="true"/>
    <anti-action application="log" data="no zero"/>
  </condition>
  <condition field="${number}" expression="^7">
    <action application="log" data="seven costs $5"/>
  </condition>
</extension>
<extension name="second">
  <condition field="caller_id_number" expression="^100$"/>
  <condition field="destination_number" expression="^(.)(.*)$">
    <action application="bridge" data="a/$2@${number}"/>
  </condition>
</extension>
<extension name="third"><condition><action application="hangup"><![CDATA[USER_BUSY]]></action></condition></extension>
"""


def test_extensions_conditions_and_groups() -> None:
    found, ran = routed(TWO, {"destination_number": "0789", "caller_id_number": "100"})
    assert ran == [Action("set", "number=789")]
    assert found == [Action("log", "seven costs $5"), Action("bridge", "a/789@${number}")]


def test_anti_actions_and_the_next_extension() -> None:
    found, _ = routed(TWO, {"destination_number": "5", "caller_id_number": "101"})
    assert found == [Action("log", "no zero"), Action("hangup", "USER_BUSY")]


@pytest.mark.parametrize(("names", "found"), [("a|b", 1), ("b", 0), ("", 0), ("(", 0)])
def test_an_expression_may_have_a_variable_in_it(names: str, found: int) -> None:
    plan = """<extension><condition field="${app}" expression="^(?=.)(?:${names})$"><action application="log"/>
        </condition></extension>"""
    assert len(routed(plan, {"app": "a", "names": names})[0]) == found
    assert not routed(plan, {"app": "", "names": names})[0]


def test_an_unknown_context_has_no_extensions() -> None:
    async def nothing(_: object) -> str:
        return ""

    assert asyncio.run(Dialplan().route("c", nothing, nothing)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("plan", "line", "word"),
    [
        ("<extension>\n<condition wday='1'/></extension>", 2, "wday"),
        ("<extension><condition>\n\n<regex/></condition></extension>", 3, "regex"),
        ("<extension>\n<condition field='a' expression='('/></extension>", 2, "expression"),
        ("<extension>\n<condition><action data='x'/></condition></extension>", 2, "application"),
        ("<extension>\n<condition break='maybe'/></extension>", 2, "maybe"),
        ("<wrong/>", 1, "wrong"),
        ("<extension>", 1, "mismatched"),
    ],
)
def test_what_is_not_understood_is_refused(plan: str, line: int, word: str) -> None:
    with pytest.raises(XmlError, match=rf"dialplan.xml:{line}: .*{word}"):
        Dialplan.from_text(f"<include><context name='c'>{plan}</context></include>")


def test_includes_are_refused() -> None:
    with pytest.raises(XmlError, match=r"dialplan.xml:2: .*include"):
        Dialplan.from_text("<include>\n<X-PRE-PROCESS cmd='include' data='x'/></include>")


def test_globals_are_put_in_before(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(
        "<include><X-PRE-PROCESS cmd=\"set\" data=\"b=2\"/>\n<context name='c'><extension><condition>"
        "<action application='log' data='$${a}$${b}$${c}'/></condition></extension></context></include>"
    )
    variables = {"a": "1"}
    dialplan = Dialplan.load(tmp_path, variables)
    assert dialplan.contexts["c"][0].conditions[0].actions[0].action == Action("log", "12")
    assert variables["b"] == "2"


def test_a_folder_without_a_dialplan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(XmlError, match="no dialplan"):
        Dialplan.load(tmp_path, {})


def test_inline() -> None:
    assert inline("set:a=1,hangup") == [Action("set", "a=1"), Action("hangup")]
    assert inline("m:^:set:a=1,2^hangup:16") == [Action("set", "a=1,2"), Action("hangup", "16")]


def test_arguments() -> None:
    assert separate("a  'b c' d\\ e \\d+ '' it's") == ["a", "b c", "d e", "\\d+", "", "it's"]
    assert separate("a b c d", limit=2) == ["a", "b c d"]
    assert separate("a=1,b='x,y',", ",") == ["a=1", "b=x,y", ""]
    assert (number("12abc"), number("x", 7), number(" -3")) == (12, 7, -3)
    assert [true(word) for word in ("YES", "1", "-1", "0", "", "no", "maybe")] == [True] * 3 + [False] * 4


def test_variables_in_texts() -> None:
    async def call(name: str, arguments: str) -> str:
        return f"<{name}|{arguments}>"

    values = {"a": "abcdef", "b": "a", "loop": "${loop}"}
    text = "${a:1:2} ${a:-2} ${${b}} ${nosuch}. \\${a} $5 $${a} ${f(${b} x)} ${g x}"
    assert asyncio.run(expand(text, values.get, call)) == "bc ef abcdef . ${a} $5 abcdef <f|a x> <g|x>"
    assert "${loop}" in asyncio.run(expand("${loop}", values.get, call))


PHRASES = """<include><macro name="count">
<input pattern="^(1)$"><match><action function="play-file" data="silence_stream://$10"/></match>
<nomatch><action function="execute" application="set" data="other=$1"/></nomatch></input>
</macro></include>"""


def test_phrases(tmp_path: Path) -> None:
    (tmp_path / "p.xml").write_text(PHRASES)

    async def scenario() -> list[str]:
        async with World() as world:
            world.switch.phrases = Phrases.load(tmp_path, {})
            await world.run("phrase count,1", "playback phrase:count:1", "phrase nosuch", "phrase count,2")
            return [e.headers["Playback-File-Path"] for e in world.ear.named("PLAYBACK_START")]

    assert asyncio.run(scenario()) == ["silence_stream://10"] * 2


def test_phrases_that_are_not_understood_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.xml").write_text(PHRASES.replace("execute", "dance"))
    with pytest.raises(XmlError, match=r"p.xml:3: .*dance"):
        Phrases.load(tmp_path, {})


def test_the_files_that_we_ship_for_freeswitch_are_understood() -> None:
    folder = ROOT / "media" / "freeswitch"
    if not folder.is_dir():
        pytest.skip("no configuration of FreeSWITCH in this tree")
    assert Dialplan.load(folder / "dialplan", {"workers": "127.0.0.1:8084"}).contexts
    assert Phrases.load(folder / "phrases", {}).macros
