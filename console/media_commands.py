"""Commands about the media workers of this node, and the call scripts that they run.

A worker takes calls from one FreeSWITCH. The FreeSWITCHes that Kamailio picks from are drained as gateways are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from console.output import CommandFailed, Json, err, out, print_json, print_table, when
from media.control import ControlError, ask
from model.settings import Settings
from operations import workers

app = typer.Typer(no_args_is_help=True)

WholeSwitch = Annotated[bool, typer.Option("--switch", help="The switch, instead of its workers.")]
Worker = Annotated[int, typer.Option(help="Port of the one worker that is meant; default: all of this node.")]


@app.command()
def status(worker: Worker = 0, json: Json = False) -> None:
    """This node's media workers, their calls and scripts; exit status 1 if one is not well or a script is refused."""
    answers = _each(worker, "status")
    if json:
        print_json(answers)
    else:
        for number, answer in enumerate(answers):
            if number:
                out.print()
            _show(answer)
    if not all(map(_well, answers)):
        raise typer.Exit(1)


def node_status(settings: Settings) -> dict[str, dict[str, Any]]:
    """Each media worker of this node and its switch: ``ok``, ``text`` for people, and figures; nothing without one."""
    return {path.stem: _worker_status(path) for path in sorted(settings.run.glob("worker-*.sock"))}


def _worker_status(path: Path) -> dict[str, Any]:
    try:
        answer = ask(path, "status")
    except ControlError as error:
        return {"ok": False, "text": str(error)}
    switch, refused = answer["switch"], len(answer["refused"])
    text = f"{answer['calls']} calls, {len(answer['scripts'])} scripts"
    text += f", {refused} files refused" if refused else ""
    text += ", drained" if answer["draining"] else ""
    text += f"; switch {switch['address']} " + ("connected" if switch["connected"] else switch["error"])
    return {
        "ok": _well(answer), "text": text, "calls": answer["calls"], "draining": answer["draining"], "switch": switch,
        "refused": refused,
    }  # fmt: skip


def _well(answer: dict[str, Any]) -> bool:
    return bool(answer["switch"]["connected"]) and not answer["refused"] and not answer["trouble"]


def _show(answer: dict[str, Any]) -> None:
    switch = answer["switch"]
    state = "drained" if answer["draining"] else "takes calls"
    out.print(f"worker {answer['address']}  {state}, {answer['calls']} calls, up since {when(answer['since'])}")
    connected = "connected" if switch["connected"] else switch["error"]
    out.print(f"switch {switch['address']}  {connected}")
    for run in answer["running"]:
        call = f"call {run['call']}" if run["call"] else "no call"
        out.print(f"runs   {run['script']} {run['version']} for {time.time() - run['since']:.0f} s, {call}")
    if answer["blocked"]:
        out.print(f"a script held up all calls {answer['blocked']} times; see the log", style="red")
    if answer["trouble"]:
        out.print(answer["trouble"], style="red")
    for owed in answer["interrupted"]:
        out.print(
            f"call {owed['call']} of {when(owed['since'])} was interrupted: hangup hook of {owed['script']} not run"
        )
    rows = [
        (found["name"], ", ".join(found["numbers"]), found["place"], found["version"], when(found["loaded"]))
        for found in answer["scripts"]
    ]
    print_table(("script", "numbers", "place", "version", "loaded"), rows, empty="no scripts")
    _show_refused(answer)


def _show_refused(answer: dict[str, Any]) -> None:
    for file, why in answer["refused"].items():
        kept = [found["name"] for found in answer.get("scripts", ()) if found["error"] == why]
        stays = f"; in force stays what it was: {', '.join(kept)}" if kept else ""
        out.print(f"refused {file}: {why}{stays}", style="red")


@app.command()
def drain(worker: Worker = 0, switch: WholeSwitch = False, json: Json = False) -> None:
    """Let media workers take no new calls; calls under way go on. FreeSWITCH tries the next worker of its dialplan.

    With --switch it is the switch: it answers new calls and OPTIONS with 503, so that Kamailio's dispatcher takes it
    for down. To keep calls away from it by policy there is `strowger gateway drain`.
    """
    answers = _each(worker, "drain", switch=switch)
    what = "the switch of worker" if switch else "worker"
    _report(answers, json, lambda answer: f"{what} {answer['worker']} is drained; {answer['calls']} calls under way")


@app.command()
def resume(worker: Worker = 0, switch: WholeSwitch = False, json: Json = False) -> None:
    """Let drained media workers, or with --switch their switch, take calls again."""
    answers = _each(worker, "resume", switch=switch)
    what = "the switch of worker" if switch else "worker"
    _report(answers, json, lambda answer: f"{what} {answer['worker']} takes calls again")


@app.command()
def reload(worker: Worker = 0, json: Json = False) -> None:
    """Load all call scripts anew. Edited ones need no reload: they serve the next call by themselves."""
    answers = _each(worker, "reload")
    _report(
        answers, json, lambda answer: f"worker {answer['worker']} has {', '.join(answer['scripts']) or 'no scripts'}"
    )
    for answer in answers:
        for file, why in answer["refused"].items():
            err.print(f"refused {file}: {why}", style="red")
    if any(answer["refused"] or answer["trouble"] for answer in answers):
        raise CommandFailed(
            "\n".join(answer["trouble"] for answer in answers if answer["trouble"]) or "not all in force"
        )


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="Name or number of a call script that needs no call.")],
    args: Annotated[list[str] | None, typer.Argument(help="What it gets as args.")] = None,
    detach: Annotated[bool, typer.Option(help="Do not wait for it.")] = False,
    worker: Worker = 0,
    json: Json = False,
) -> None:
    """Run a call script on a media worker, without a call, and print what it writes; `strowger up` starts a node."""
    request = {"name": name, "args": " ".join(args or ()), "detach": detach}
    answer = ask(workers.ready(Settings.from_env(), worker), "run", timeout=None, **request)
    if json:
        print_json(answer)
    elif answer["output"]:
        typer.echo(answer["output"], nl=not answer["output"].endswith("\n"))


def _each(worker: int, name: str, **arguments: object) -> list[dict[str, Any]]:
    return list(workers.command(Settings.from_env(), worker, name, **arguments))


def _report(answers: list[dict[str, Any]], json: bool, line: Callable[[dict[str, Any]], str]) -> None:
    if json:
        print_json(answers)
        return
    for answer in answers:
        out.print(line(answer))
