"""`strowger block` and `strowger allow`: who may not call, and who may in spite of it."""

from __future__ import annotations

import ipaddress
import shlex
import time
from typing import Annotated

import typer

from console import list_files
from console.output import CommandFailed, Json, err, out, print_json, print_table, when
from console.waiting import confirmed
from model.entries import Action, Entry, EntryError, Kind, parse_entry_value, parse_pair, parse_ttl
from model.numbers import Dialling
from model.settings import Settings
from operations import lists
from state import search as searching
from state.store import Store

Caller = Annotated[str | None, typer.Option(help="Number or user of the caller; with --callee, the pair.")]
Callee = Annotated[str | None, typer.Option(help="Number or user that is called.")]
CallerPrefix = Annotated[str | None, typer.Option(help="How the caller's number begins.")]
CalleePrefix = Annotated[str | None, typer.Option(help="How the called number begins.")]
Source = Annotated[str | None, typer.Option(help="IP address or network (CIDR) that the call comes from.")]
UserAgent = Annotated[str | None, typer.Option(help="Part of the User-Agent header, whatever the case.")]
Ttl = Annotated[str | None, typer.Option(help="How long it is in force: 90, 45s, 30m, 12h or 7d. Default: for good.")]
Reason = Annotated[str, typer.Option(help="Why, for those who read it later.")]

# Entries that are listed at once unless another number is asked for.
PAGE = 100


def commands(action: Action) -> typer.Typer:
    """The commands for entries that ``action`` calls."""
    app = typer.Typer(no_args_is_help=True)

    @app.command(help=f"Add an entry; returns when every live node {action}s by it.")
    def add(
        caller: Caller = None,
        callee: Callee = None,
        caller_prefix: CallerPrefix = None,
        callee_prefix: CalleePrefix = None,
        source: Source = None,
        user_agent: UserAgent = None,
        ttl: Ttl = None,
        reason: Reason = "",
        json: Json = False,
    ) -> None:
        store = Store(Settings.from_env().redis_url)
        dialling = store.policy().decode()[0].dialling
        kind, value = subject(dialling, caller, callee, caller_prefix, callee_prefix, source, user_agent)
        now = time.time()
        expires = now + parse_option(ttl, "--ttl") if ttl is not None else 0.0
        entry = Entry(kind, value, action, expires=expires, reason=reason, created=now)
        nodes = confirmed(store, store.put(entry)).nodes
        if json:
            print_json({**lists.row(entry), "nodes": nodes})
        else:
            until = f" until {when(expires)}" if expires else ""
            out.print(f"{action} {kind} {value}{until}: in force on {', '.join(nodes) or 'no node yet'}")

    @app.command(help="Remove an entry; returns when no live node goes by it any more.")
    def rm(
        caller: Caller = None,
        callee: Callee = None,
        caller_prefix: CallerPrefix = None,
        callee_prefix: CalleePrefix = None,
        source: Source = None,
        user_agent: UserAgent = None,
        json: Json = False,
    ) -> None:
        store = Store(Settings.from_env().redis_url)
        dialling = store.policy().decode()[0].dialling
        kind, value = subject(dialling, caller, callee, caller_prefix, callee_prefix, source, user_agent)
        change = store.delete(kind, value)
        if change is None:
            raise CommandFailed(f"there is no entry for {kind} {value}")
        nodes = confirmed(store, change).nodes
        if json:
            print_json({"kind": kind, "value": value, "nodes": nodes})
        else:
            out.print(f"{kind} {value}: removed on {', '.join(nodes) or 'no node yet'}")

    @app.command("list", help="List the entries in force, a page at a time.")
    def list_(
        kind: Annotated[Kind | None, typer.Option(help="Only these.")] = None,
        search: Annotated[str, typer.Option(help="Only those whose value or reason holds this text or number.")] = "",
        limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = PAGE,
        offset: Annotated[int, typer.Option(min=0, help="Leave out the first so many.")] = 0,
        after: Annotated[str, typer.Option(help="Begin after this one, KIND:VALUE, as the page before says.")] = "",
        count: Annotated[bool, typer.Option("--count", help="Only say how many there are.")] = False,
        expired: Annotated[bool, typer.Option("--expired", help="Those that have expired too.")] = False,
        json: Json = False,
    ) -> None:
        store, live_at = Store(Settings.from_env().redis_url), None if expired else time.time()
        texts = lists.spellings(store, search)
        if count:
            number = searching.count(store, action=action, kind=kind, texts=texts, live_at=live_at)
            print_json({"count": number}) if json else out.print(f"{number:,}")
            return
        page = searching.search(
            store, action=action, kind=kind, texts=texts, live_at=live_at, after=after, offset=offset, limit=limit
        )
        if json:
            print_json([lists.row(entry) for entry in page.entries])
        else:
            rows = [(entry.kind, entry.value, when(entry.expires), entry.reason) for entry in page.entries]
            print_table(("kind", "value", "expires", "reason"), rows, empty="no entries")
        if page.after:
            err.print(f"{len(page.entries):,} of {page.total:,}; the next: --after {shlex.quote(page.after)}")

    @app.command(help="Show the entries of either list that a call would meet, those of the allow list first.")
    def check(
        caller: Annotated[str, typer.Option(help="Number or user of the caller.")] = "",
        callee: Annotated[str, typer.Option(help="Number or user that is called.")] = "",
        source: Annotated[str, typer.Option(help="IP address that the call comes from.")] = "",
        user_agent: Annotated[str, typer.Option(help="User-Agent header.")] = "",
        json: Json = False,
    ) -> None:
        store, now = Store(Settings.from_env().redis_url), time.time()
        if not (caller or callee or source or user_agent):
            raise EntryError("name what a call has: --caller, --callee, --source or --user-agent")
        dialling = store.policy().decode()[0].dialling
        found = searching.matching(
            store,
            caller=parse_entry_value(Kind.CALLER, caller, dialling) if caller else "",
            callee=parse_entry_value(Kind.CALLEE, callee, dialling) if callee else "",
            source=_address(source) if source else "",
            user_agent=user_agent,
        )
        found = sorted((entry for entry in found if entry.live(now)), key=lambda entry: entry.action)
        if json:
            print_json([lists.row(entry) for entry in found])
        else:
            rows = [(entry.action, entry.kind, entry.value, when(entry.expires), entry.reason) for entry in found]
            print_table(("list", "kind", "value", "expires", "reason"), rows, empty="no entry matches")

    list_files.add_commands(app, action)
    return app


def subject(
    dialling: Dialling,
    caller: str | None,
    callee: str | None,
    caller_prefix: str | None,
    callee_prefix: str | None,
    source: str | None,
    user_agent: str | None,
) -> tuple[Kind, str]:
    """Kind and normalised value of the one thing that the options name. Raises :class:`EntryError`."""
    single = {
        Kind.CALLER_PREFIX: caller_prefix,
        Kind.CALLEE_PREFIX: callee_prefix,
        Kind.SOURCE: source,
        Kind.USER_AGENT: user_agent,
        Kind.CALLER: caller,
        Kind.CALLEE: callee,
    }
    named = {kind: text for kind, text in single.items() if text is not None}
    values = {kind: parse_entry_value(kind, text, dialling) for kind, text in named.items()}
    if set(values) == {Kind.CALLER, Kind.CALLEE}:
        return Kind.PAIR, parse_pair(values[Kind.CALLER], values[Kind.CALLEE])
    if len(values) != 1:
        raise EntryError(
            "name one of --caller, --callee, --caller-prefix, --callee-prefix, --source, --user-agent, "
            "or --caller and --callee together"
        )
    return values.popitem()


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise EntryError(f"--source {text!r} is no IP address") from None


def parse_option(text: str, option: str) -> float:
    """Seconds. Raises :class:`EntryError`, which names the option."""
    try:
        return parse_ttl(text)
    except EntryError as error:
        raise EntryError(f"{option} {error}") from None


block, allow = commands(Action.BLOCK), commands(Action.ALLOW)
