"""docs/speech.md shows what works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from media.loader import Scripts
from media.session import load_menus, load_phrases
from media.speech import cache, engines, service, speech
from media.speech.engines import FLITE_VOICES
from media.speech.say import KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "speech.md").read_text(encoding="utf-8")


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_its_files_load(tmp_path: Path) -> None:
    phrases, menus = examples("yaml")
    (tmp_path / "phrases.yaml").write_text(phrases)
    (tmp_path / "menus.yaml").write_text(menus)
    assert load_phrases(tmp_path / "phrases.yaml").parts("new-messages", "7")[1] == ("digits/7",)
    assert "new-messages" in (load_menus(tmp_path / "menus.yaml").phrases or ())


def test_its_scripts_load(tmp_path: Path) -> None:
    (tmp_path / "phrases.yaml").write_text(examples("yaml")[0])
    for number, code in enumerate(examples("python")):
        if "@script" in code:
            (tmp_path / f"example{number}.py").write_text(code)
    scripts = Scripts(tmp_path)
    scripts.load()
    assert scripts.registry.refused == {}
    assert {found.script.name for found in scripts.registry.scripts()} == {"balance", "messages"}


@pytest.mark.parametrize("word", [*FLITE_VOICES, *KINDS])
def test_voices_and_kinds_are_named(word: str) -> None:
    assert f"`{word}`" in PAGE


def test_its_figures_are_those_of_the_code() -> None:
    assert (engines.TIME_LIMIT, service.TIME_LIMIT) == (30, 30)
    assert f"{speech.TEXT_LIMIT} characters" in PAGE
    assert f"holds {cache.SIZE // 10**9} GB" in PAGE
    assert f"last {cache.KEEP / 60:.0f} minutes" in PAGE
    assert f"alone is {cache.FULL * cache.SIZE // 10**9} GB" in PAGE
