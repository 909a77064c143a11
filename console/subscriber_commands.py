"""`strowger subscriber`: who may register phones, and what becomes of calls to them."""

from __future__ import annotations

import csv
import secrets
import string
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from console.output import CommandFailed, Json, out, print_json, print_table, when
from console.waiting import confirmed
from model.numbers import Dialling, is_dialable, normalise
from model.policy import Subscribers
from model.settings import Settings
from model.subscriber import ALGORITHMS, Forwards, Subscriber, SubscriberError, check_name, hashes
from state import location
from state.store import Store

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the subscriber, what phones register as: 1001.")]
Changes = Annotated[list[str] | None, typer.Argument(help="Settings, each FIELD=VALUE.")]
Stdin = Annotated[bool, typer.Option("--stdin", help="Read the password from standard input, one line.")]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for the password, unseen.")]

FLAGS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}
FORWARDS = {
    "forward_always": "always", "forward_busy": "busy", "forward_no_answer": "no_answer",
    "forward_unreachable": "unreachable",
}  # fmt: skip
FLAG_FIELDS = ("enabled", "do_not_disturb", "withhold", "reject_anonymous")
FIELDS = (*FLAG_FIELDS, "numbers", "algorithms", "calls", "per_second", *FORWARDS)
# What people type by hand into a phone: no two that look alike.
_LETTERS = "".join(sorted(set(string.ascii_lowercase + string.digits) - set("l1o0")))
_GENERATED = 16


@app.command()
def add(name: Name, settings: Changes = None, stdin: Stdin = False, ask: Ask = False, json: Json = False) -> None:
    """Add a subscriber. A password is made and printed this once, unless one is given by --ask or --stdin."""
    store = Store(Settings.from_env().redis_url)
    section, dialling = _in_force(store)
    password, shown = _password(check_name(name), stdin=stdin, ask=ask)
    if store.subscriber(name) is not None:
        raise CommandFailed(f"there is a subscriber {name} already: see `strowger subscriber set {name}`")
    made = Subscriber(name=name, realm=section.realm, ha1=hashes(name, section.realm, password), created=time.time())
    made = _changed(made, settings or (), dialling)
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
    section, dialling = _in_force(store)
    if not (settings or stdin or ask or password):
        raise SubscriberError(f"say what to set, as FIELD=VALUE; fields: {', '.join(FIELDS)}")
    before = _known(store, name)
    after, word = _changed(before, settings or (), dialling), ""
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
    nodes = confirmed(store, store.remove_subscriber(_known(store, name))).nodes
    out.print(f"subscriber {name}: removed on {', '.join(nodes) or 'no node yet'}")


@app.command("list")
def list_(json: Json = False) -> None:
    """List all subscribers, and how many phones each has registered at this node."""
    settings = Settings.from_env()
    phones = {name.lower(): len(found) for name, found in location.read_all(settings.location, time.time())}
    rows = [(one, phones.get(one.name.lower(), 0)) for one in Store(settings.redis_url).subscribers()]
    if json:
        print_json([{**one.shown(), "phones": count} for one, count in rows])
        return
    columns = ("name", "phones", "numbers", "state")
    print_table(
        columns, [(one.name, count, " ".join(one.numbers), _state(one)) for one, count in rows], empty="no subscribers"
    )


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Show a subscriber as `set` takes it, and the phones registered at this node; no password is known."""
    settings = Settings.from_env()
    store = Store(settings.redis_url)
    found, section = _known(store, name), store.policy().decode()[0].subscribers
    phones = location.read(settings.location, name, time.time())
    usable = section is not None and section.realm == found.realm
    if json:
        contacts = [
            {"uri": one.uri, "received": one.received, "expires": one.expires, "user_agent": one.user_agent}
            for one in phones
        ]
        print_json({**found.shown(), "password_usable": usable, "phones": contacts})
        return
    for field in FIELDS:
        out.print(f"{field}={_text(_value(found, field))}")
    if not usable:
        out.print(f"the password was set for realm {found.realm!r}, which is not that of the policy: set it anew")
    for one in phones:
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
    section, dialling = _in_force(store)
    known = {one.name: one for one in store.subscribers()}
    made = _read(file, section, dialling, known)
    change = None
    for one in made:
        change = store.put_subscriber(one, known.get(one.name))
    nodes = confirmed(store, change, timeout=60.0).nodes if change is not None else ()
    new = sum(one.name not in known for one in made)
    if json:
        print_json({"added": new, "changed": len(made) - new, "nodes": nodes})
    else:
        out.print(f"{new:,} added, {len(made) - new:,} changed: in force on {', '.join(nodes) or 'no node yet'}")


def _read(file: Path, section: Subscribers, dialling: Dialling, known: dict[str, Subscriber]) -> list[Subscriber]:
    made: dict[str, Subscriber] = {}
    with file.open(newline="", encoding="utf-8-sig") as text:
        rows = csv.DictReader(text, strict=True)
        unknown = set(rows.fieldnames or ()) - {"name", "password", *FIELDS}
        if unknown or "name" not in (rows.fieldnames or ()):
            wanted = ", ".join(("name", "password", *FIELDS))
            raise SubscriberError(f"{file}:1: the columns are not of these: {wanted}")
        for number, row in enumerate(rows, 2):
            try:
                one = _of_row(row, section, dialling, known)
                if one.name in made:
                    raise SubscriberError(f"{one.name} stands in the file twice")
            except SubscriberError as error:
                raise SubscriberError(f"{file}:{number}: {error}") from None
            made[one.name] = one
    return list(made.values())


def _of_row(
    row: dict[str, Any], section: Subscribers, dialling: Dialling, known: dict[str, Subscriber]
) -> Subscriber:  # fmt: skip
    if None in row or None in row.values():
        raise SubscriberError("has not as many fields as the first line")
    name, password = check_name(row["name"].strip()), row.get("password", "")
    before = known.get(name)
    if before is None and not password:
        raise SubscriberError(f"{name} is new and needs a password")
    one = before or Subscriber(name=name, realm="", ha1={}, created=time.time())
    if password:
        one = replace(one, realm=section.realm, ha1=hashes(name, section.realm, password))
    return _changed(one, [f"{field}={row[field]}" for field in FIELDS if row.get(field)], dialling)


def _in_force(store: Store) -> tuple[Subscribers, Dialling]:
    policy = store.policy().decode()[0]
    if policy.subscribers is None:
        raise CommandFailed("the policy in force has no 'subscribers', so that nobody may register: see docs/policy.md")
    return policy.subscribers, policy.dialling


def _known(store: Store, name: str) -> Subscriber:
    found = store.subscriber(name)
    if found is None:
        raise CommandFailed(f"there is no subscriber {name}")
    return found


def _password(name: str, *, stdin: bool, ask: bool) -> tuple[str, bool]:
    """A password, and whether it was made here, so that it has to be told."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n"), False
    if ask:
        prompt = f"Password of subscriber {name}"
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True)), False
    return "".join(secrets.choice(_LETTERS) for _ in range(_GENERATED)), True


def _changed(one: Subscriber, settings: Sequence[str], dialling: Dialling) -> Subscriber:
    for word in settings:
        name, equals, text = word.partition("=")
        if not equals or name not in FIELDS:
            raise SubscriberError(f"{word!r} is not FIELD=VALUE; fields: {', '.join(FIELDS)}")
        one = _with(one, name, text.strip(), dialling)
    return one


def _with(one: Subscriber, name: str, text: str, dialling: Dialling) -> Subscriber:
    if name in FORWARDS:
        forwards: Forwards = replace(one.forwards, **{FORWARDS[name]: _number(name, text, dialling) if text else ""})
        return replace(one, forwards=forwards)
    if name == "numbers":
        return replace(one, numbers=tuple(_number(name, word, dialling) for word in text.replace(",", " ").split()))
    if name == "algorithms":
        words = tuple(text.upper().replace(",", " ").split())
        if unknown := [word for word in words if word not in ALGORITHMS]:
            raise SubscriberError(f"{name}: {unknown[0]!r} is none of {', '.join(ALGORITHMS)}")
        return replace(one, algorithms=words)
    if name == "calls":
        return replace(one, calls=_limit(name, text))
    if name == "per_second":
        return replace(one, per_second=_limit(name, text))
    if text.lower() not in FLAGS:
        raise SubscriberError(f"{name}: {text!r} is neither yes nor no")
    flags: dict[str, Any] = {name: FLAGS[text.lower()]}
    return replace(one, **flags)


def _number(field: str, text: str, dialling: Dialling) -> str:
    number = normalise(text, dialling)
    if not is_dialable(number) or not number.isascii() or not number.isprintable() or " " in number:
        raise SubscriberError(f"{field}: {text[:40]!r} is no number")
    return number


def _limit(field: str, text: str) -> int | None:
    """How many; None: as the policy says."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > 1_000_000:
        raise SubscriberError(f"{field}: {text[:40]!r} is no number from 0, as many as they like, to 1000000")
    return int(text)


def _value(one: Subscriber, field: str) -> Any:
    return getattr(one.forwards, FORWARDS[field]) if field in FORWARDS else getattr(one, field)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else " ".join(value) if isinstance(value, tuple) else str(value)


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
