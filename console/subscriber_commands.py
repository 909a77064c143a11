"""`strowger subscriber`: who may register phones, and what becomes of calls to them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from console.output import CommandFailed, Json, out, print_json, print_table, when
from console.waiting import confirmed
from model.settings import Settings
from model.subscriber import Subscriber, SubscriberError, check_name, hashes
from operations import subscriber_import
from operations import subscribers as operations
from operations.importing import lines_of
from operations.subscribers import FIELDS, FORWARDS, changed, generated, known, section_in_force, text
from state import location
from state.store import Store

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the subscriber, what phones register as: 1001.")]
Changes = Annotated[list[str] | None, typer.Argument(help="Settings, each FIELD=VALUE.")]
Stdin = Annotated[bool, typer.Option("--stdin", help="Read the password from standard input, one line.")]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for the password, unseen.")]

@app.command()
def add(name: Name, settings: Changes = None, stdin: Stdin = False, ask: Ask = False, json: Json = False) -> None:
    """Add a subscriber. A password is made and printed this once, unless one is given by --ask or --stdin."""
    store = Store(Settings.from_env().redis_url)
    section, dialling = section_in_force(store)
    password, shown = _password(check_name(name), stdin=stdin, ask=ask)
    if store.subscriber(name) is not None:
        raise CommandFailed(f"there is a subscriber {name} already: see `strowger subscriber set {name}`")
    made = Subscriber(name=name, realm=section.realm, ha1=hashes(name, section.realm, password), created=time.time())
    made = changed(made, settings or (), dialling)
    nodes = confirmed(store, store.put_subscriber(made, None)).nodes
    _told(made, nodes, password if shown else "", "added", json=json)


@app.command("set")
def change(
    name: Name, settings: Changes = None, stdin: Stdin = False, ask: Ask = False,
    password: Annotated[bool, typer.Option("--password", help="Make a new password and print it.")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Change settings of a subscriber; all others stay."""
    store = Store(Settings.from_env().redis_url)
    section, dialling = section_in_force(store)
    if not (settings or stdin or ask or password):
        raise SubscriberError(f"say what to set, as FIELD=VALUE; fields: {', '.join(FIELDS)}")
    before = known(store, name)
    after, word = changed(before, settings or (), dialling), ""
    if stdin or ask or password:
        given, shown = _password(name, stdin=stdin, ask=ask)
        after = replace(after, realm=section.realm, ha1=hashes(name, section.realm, given))
        word = given if shown else ""
    nodes = confirmed(store, store.put_subscriber(after, before)).nodes
    _told(after, nodes, word, "changed", json=json)


@app.command()
def remove(name: Name) -> None:
    """Remove a subscriber; phones of theirs are not called any more, and cannot register."""
    store = Store(Settings.from_env().redis_url)
    nodes = confirmed(store, store.remove_subscriber(known(store, name))).nodes
    out.print(f"subscriber {name}: removed on {', '.join(nodes) or 'no node yet'}")


@app.command("list")
def list_(
    search: Annotated[str, typer.Option(help="Part of a name, or of any of their numbers.")] = "", json: Json = False
) -> None:
    """List the subscribers, and how many phones each has registered at this node."""
    settings = Settings.from_env()
    store = Store(settings.redis_url)
    if json:
        print_json(operations.rows(store, settings, search=search)[0])
        return
    rows = operations.listed(store, settings, search)
    columns = ("name", "phones", "numbers", "state")
    print_table(
        columns, [(one.name, count, " ".join(one.numbers), _state(one)) for one, count in rows], empty="no subscribers"
    )


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Show a subscriber as `set` takes it, and the phones registered at this node; no password is known."""
    settings = Settings.from_env()
    store = Store(settings.redis_url)
    row = operations.row(store, settings.location, name)
    if json:
        print_json(row)
        return
    found = known(store, name)
    for field in FIELDS:
        out.print(f"{field}={text(_value(found, field))}")
    if not row["password_usable"]:
        out.print(f"the password was set for realm {found.realm!r}, which is not that of the policy: set it anew")
    for one in location.read(settings.location, name, time.time()):
        out.print(f"phone {one.target} until {when(one.expires)} {one.user_agent}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV with the columns name, password, and any that `set` knows.")],
    json: Json = False,
) -> None:
    """Add subscribers from a file, or change those that are there; an empty password stays as it is.

    Nothing is done unless every line is in order.
    """
    store = Store(Settings.from_env().redis_url)
    with file.open("rb") as raw:
        done = subscriber_import.put_all(store, str(file), lines_of(raw))
    nodes = confirmed(store, done.last, subscriber_import.CONFIRM_TIMEOUT).nodes
    if json:
        print_json({"added": done.added, "changed": done.changed, "nodes": nodes})
    else:
        where = ", ".join(nodes) or "no node yet"
        out.print(f"{done.added:,} added, {done.changed:,} changed: in force on {where}")


def _password(name: str, *, stdin: bool, ask: bool) -> tuple[str, bool]:
    """A password, and whether it was made here, so that it has to be told."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n"), False
    if ask:
        prompt = f"Password of subscriber {name}"
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)), False
    return generated(), True


def _value(one: Subscriber, field: str) -> Any:
    return getattr(one.forwards, FORWARDS[field]) if field in FORWARDS else getattr(one, field)


def _state(one: Subscriber) -> str:
    words = [] if one.enabled else ["disabled"]
    words += ["do not disturb"] if one.do_not_disturb else []
    words += ["withholds their number"] if one.withhold else []
    words += ["refuses anonymous callers"] if one.reject_anonymous else []
    words += [f"{field} {_value(one, field)}" for field in FORWARDS if _value(one, field)]
    return ", ".join(words)


def _told(one: Subscriber, nodes: Sequence[str], password: str, done: str, *, json: bool) -> None:
    if json:
        print_json({**one.shown(), "nodes": nodes, **({"password": password} if password else {})})
        return
    out.print(f"subscriber {one.name}: {done} on {', '.join(nodes) or 'no node yet'}")
    if password:
        out.print(f"password: {password}")
