"""`strowger token`: who may use the HTTP API and the console, and for what."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from console.list_commands import parse_option
from console.output import Json, err, out, print_json, print_table, when
from model.settings import Settings
from state import tokens
from state.store import Store
from state.tokens import Role

app = typer.Typer(no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will bear it, as the audit says it: a person, a program.")],
    role: Annotated[Role, typer.Option(help="read: look; operate: and block, drain, hang up; admin: everything.")],
    ttl: Annotated[str | None, typer.Option(help="How long it is good: 12h or 90d. Default: until revoked.")] = None,
    json: Json = False,
) -> None:
    """Make a token and show it, this once."""
    store = Store(Settings.from_env().redis_url)
    token, text = tokens.make(store, name, role, time.time() + parse_option(ttl, "--ttl") if ttl is not None else 0.0)
    if json:
        print_json({**token.shown(), "token": text})
        return
    err.print(f"token {token.id} of {name}: {role}, {_until(token.expires)}; nobody can show it again")
    out.print(text)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the tokens, the oldest first; never what they are."""
    found = tokens.tokens(Store(Settings.from_env().redis_url))
    if json:
        print_json([token.shown() for token in found])
        return
    now = time.time()
    rows = [
        (token.id, token.name, token.role, when(token.created), when(token.expires), "" if token.live(now) else "over")
        for token in found
    ]
    print_table(("id", "name", "role", "created", "expires", ""), rows, empty="no tokens")


@app.command()
def revoke(id: Annotated[str, typer.Argument(help="The id of the token, as `list` shows it.")]) -> None:
    """Take a token out of use at once, and end the sessions of whoever logged in with it."""
    token = tokens.revoke(Store(Settings.from_env().redis_url), id)
    out.print(f"token {token.id} of {token.name} is revoked")


def _until(expires: float) -> str:
    return f"good until {when(expires)}" if expires else "good until it is revoked"
