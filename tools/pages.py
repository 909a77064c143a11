"""Hooks of mkdocs: what pages link to outside of docs/ is on the site as well, under ``repository/``.

So one link works in both: ``../examples/limits.yaml`` in a view of the repository, and on the site.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")
PICTURES = (".svg", ".png")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".cfg": "c", ".json": "json", ".toml": "toml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked to."""
    waiting, known = list(DOCS.rglob("*.md")), set()
    while waiting:
        for target in _outside(waiting.pop()):
            if target in known:
                continue
            known.add(target)
            files.append(_file(target, config))
            if target.suffix == ".md" or target.is_dir():
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of docs/ to where their targets are on the site."""
    source = _source(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def moved(link: re.Match[str]) -> str:
        target = (source.parent / link[1]).resolve()
        if source.is_relative_to(DOCS) and target.is_relative_to(DOCS):
            return link[1]
        return posixpath.relpath(_uri(target), here) if target.exists() else link[1]

    return LINK.sub(moved, markdown)


def _outside(path: Path) -> Iterator[Path]:
    """What a page links to outside of docs/, and the files of a folder."""
    if path.is_dir():
        yield from (one for one in sorted(path.iterdir()) if one.is_file())
        return
    for link in LINK.findall(path.read_text(encoding="utf-8")):
        target = (path.parent / link).resolve()
        if target.exists() and target.is_relative_to(ROOT) and not target.is_relative_to(DOCS):
            yield target


def _uri(target: Path) -> str:
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    path = "repository/" + target.relative_to(ROOT).as_posix()
    if target.is_dir():
        return path + "/index.md"
    return path if target.suffix in (".md", *PICTURES) else path + ".md"


def _source(uri: str) -> Path:
    """The file that a page is made of."""
    if not uri.startswith("repository/"):
        return DOCS / uri
    path = ROOT / uri.removeprefix("repository/")
    return path if path.exists() else path.with_suffix("")


def _file(target: Path, config: MkDocsConfig) -> File:
    uri = _uri(target)
    if target.suffix in PICTURES:
        return File.generated(config, uri, abs_src_path=str(target), inclusion=InclusionLevel.NOT_IN_NAV)
    return File.generated(config, uri, content=_content(target), inclusion=InclusionLevel.NOT_IN_NAV)


def _content(target: Path) -> str:
    name = target.relative_to(ROOT).as_posix()
    if target.is_dir():
        names = [one.name for one in _outside(target)]
        return f"# {name}\n\n" + "".join(f"- [{one}]({one})\n" for one in names)
    text = target.read_text(encoding="utf-8")
    if target.suffix == ".md":
        return text
    fence = "`" * 4
    return f"# {name}\n\n{fence}{LANGUAGES.get(target.suffix, 'text')}\n{text}\n{fence}\n"
