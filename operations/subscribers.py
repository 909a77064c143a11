"""Subscribers: who may register phones, and what becomes of calls to them."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from model.numbers import Dialling, is_dialable, normalise
from model.policy import Subscribers
from model.settings import Settings
from model.subscriber import ALGORITHMS, Forwards, Subscriber, SubscriberError, check_name, hashes
from operations.changes import Row, in_force
from operations.errors import ImpossibleError, MissingError
from state import location
from state.store import Store

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


def rows(
    store: Store, settings: Settings, *, search: str = "", after: str = "", limit: int = 0
) -> tuple[list[Row], int, str]:
    """Subscribers by name, and how many phones each has at this node; how many there are; where the next page begins.

    ``search``: part of a name or number. ``limit`` 0: all.
    """
    found = listed(store, settings, search)
    behind = [(one, phones) for one, phones in found if one.name > after]
    page = behind[:limit] if limit else behind
    shown = [{**one.shown(), "phones": phones} for one, phones in page]
    return shown, len(found), page[-1][0].name if len(page) < len(behind) else ""


def listed(store: Store, settings: Settings, search: str = "") -> list[tuple[Subscriber, int]]:
    """Subscribers by name whose name or number has ``search`` in it, and how many phones each has at this node."""
    phones = {name.lower(): len(known) for name, known in location.read_all(settings.location, time.time())}
    wanted = _spellings(store, search.strip())
    return [(one, phones.get(one.name.lower(), 0)) for one in store.subscribers() if _holds(one, wanted)]


def _spellings(store: Store, search: str) -> tuple[str, ...]:
    """Text that is searched for: as it was typed, and as a number is kept."""
    if not search:
        return ()
    return search.lower(), normalise(search, store.policy().decode()[0].dialling)


def _holds(one: Subscriber, wanted: tuple[str, ...]) -> bool:
    texts = (one.name.lower(), *one.numbers, *asdict(one.forwards).values())
    return not wanted or any(part in text for part in wanted for text in texts)


def row(store: Store, location_file: Path, name: str) -> Row:
    """A subscriber, and the phones that are registered at this node. Raises MissingError."""
    found, section = known(store, name), store.policy().decode()[0].subscribers
    contacts = [
        {"uri": one.uri, "received": one.received, "expires": one.expires, "user_agent": one.user_agent}
        for one in location.read(location_file, name, time.time())
    ]
    usable = section is not None and section.realm == found.realm
    return {**found.shown(), "password_usable": usable, "phones": contacts}


def add(store: Store, name: str, settings: Sequence[str], password: str) -> Row:
    """Add a subscriber, a password being made where none is given, and wait. Raises SubscriberError, ImpossibleError.

    ``settings`` are ``FIELD=VALUE``. A password that was made is in what comes back.
    """
    section, dialling = section_in_force(store)
    made, word = new(store, check_name(name), section, password)
    made = changed(made, settings, dialling)
    return {**made.shown(), **word, **in_force(store, store.put_subscriber(made, None))}


def new(store: Store, name: str, section: Subscribers, password: str) -> tuple[Subscriber, Row]:
    """Somebody who is not there yet, and the password if it was made here. Raises SubscriberError, ImpossibleError."""
    if store.subscriber(name) is not None:
        raise ImpossibleError(f"there is a subscriber {name} already: see `strowger subscriber set {name}`")
    word = password or generated()
    made = Subscriber(name=name, realm=section.realm, ha1=hashes(name, section.realm, word), created=time.time())
    return made, {} if password else {"password": word}


def change(store: Store, name: str, settings: Sequence[str], *, password: str, new_password: bool) -> Row:
    """Change what is named, and wait; all else stays. ``new_password``: one is made where none is given.

    Raises SubscriberError, ImpossibleError, MissingError, ConflictError.
    """
    section, dialling = section_in_force(store)
    before = known(store, name)
    after = changed(before, settings, dialling)
    word = password or (generated() if new_password else "")
    if word:
        after = replace(after, realm=section.realm, ha1=hashes(before.name, section.realm, word))
    told = {"password": word} if word and not password else {}
    return {**after.shown(), **told, **in_force(store, store.put_subscriber(after, before))}


def remove(store: Store, name: str) -> Row:
    """Remove a subscriber, and wait. Raises MissingError, ConflictError."""
    return {"name": name, **in_force(store, store.remove_subscriber(known(store, name)))}


def known(store: Store, name: str) -> Subscriber:
    """A subscriber. Raises MissingError."""
    found = store.subscriber(name)
    if found is None:
        raise MissingError(f"there is no subscriber {name}")
    return found


def section_in_force(store: Store) -> tuple[Subscribers, Dialling]:
    """What the policy says of subscribers, and how it reads numbers. Raises ImpossibleError."""
    policy = store.policy().decode()[0]
    if policy.subscribers is None:
        raise ImpossibleError(
            "the policy in force has no 'subscribers', so that nobody may register: see docs/policy.md"
        )
    return policy.subscribers, policy.dialling


def generated() -> str:
    """A password."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_GENERATED))


def written(fields: Mapping[str, Any]) -> list[str]:
    """Fields as ``FIELD=VALUE``."""
    return [f"{field}={text(value)}" for field, value in fields.items()]


def text(value: Any) -> str:
    """A field's value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else " ".join(value) if isinstance(value, tuple | list) else str(value)


def changed(one: Subscriber, settings: Sequence[str], dialling: Dialling) -> Subscriber:
    """A subscriber with these settings, ``FIELD=VALUE``. Raises SubscriberError."""
    for word in settings:
        name, equals, value = word.partition("=")
        if not equals or name not in FIELDS:
            raise SubscriberError(f"{word!r} is not FIELD=VALUE; fields: {', '.join(FIELDS)}")
        one = _with(one, name, value.strip(), dialling)
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
