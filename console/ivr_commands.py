"""`strowger ivr`: menus and phrases in YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.output import BAD_INPUT, CommandFailed, Json, err, out, print_json
from model.settings import Settings

app = typer.Typer(no_args_is_help=True)


@app.callback()
def ivr() -> None:
    """Menus and phrases in YAML."""


@app.command()
def check(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files of menus or phrases; without: all in STROWGER_SCRIPTS.")
    ] = None,
    sounds: Annotated[
        Path | None,
        typer.Option(envvar="STROWGER_FS_SOUNDS", help="The switch's prompts; those in STROWGER_SOUNDS count, too."),
    ] = None,
    json: Json = False,
) -> None:
    """Check menus and phrases: their form, and that menus, phrases, prompts and scripts that they name are there."""
    # Not for other commands: it costs more to load than all of these.
    from media.session import ivrcheck

    settings = Settings.from_env()
    scripts = ivrcheck.script_names(settings.scripts) if settings.scripts.is_dir() else None
    folders = [folder for folder in (sounds, settings.sounds) if folder]
    found = [ivrcheck.check(path, folders, scripts) for path in files or ivrcheck.candidates(settings.scripts)]
    for one in found:
        if files and one.kind == "neither" and not one.problems:
            one.problems.append(f"{one.path}:1: the file: has neither menus nor phrases")
    found = [one for one in found if one.problems or one.kind != "neither"]
    if json:
        keys = ("kind", "problems", "unchecked")
        print_json([{"file": str(one.path)} | {key: getattr(one, key) for key in keys} for one in found])
    else:
        _show(found)
    if any(one.problems for one in found):
        raise CommandFailed("" if json else "not all is in order", BAD_INPUT)


def _show(found: list[ivrcheck.Findings]) -> None:  # type: ignore[name-defined]  # noqa: F821
    for one in found:
        for problem in one.problems:
            err.print(problem, style="red")
        for what in one.unchecked:
            out.print(f"not checked: {what}")
        if not one.problems:
            out.print(f"{one.path}: {one.kind} in order")
    if not found:
        out.print("there are no files of menus or phrases")
