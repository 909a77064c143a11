"""The policy: checked, compared, put in force, and its history."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import policyfile
from model.policy import Policy, Route
from model.settings import Settings
from operations.changes import Row, in_force
from operations.errors import ImpossibleError, InvalidError
from policyfile import LoadedPolicy
from policyfile.diff import PartChange, diff
from state import names
from state.store import AppliedPolicy, Store, StoreError

NAME = "policy"
"Of a text that is in no file, in messages."


def read(text: str) -> LoadedPolicy:
    """A policy from its text. Raises PolicyFileError."""
    return policyfile.load(text.removeprefix("\ufeff"), name=NAME)


def validated(loaded: LoadedPolicy, settings: Settings) -> Row:
    """What is in a policy, and what is to be said of its names as seen from here."""
    policy = loaded.policy
    counts = {"trunks": len(policy.trunks), "gateways": len(policy.gateways), "routes": len(loaded.routes)}
    return {"valid": True, **counts, "warnings": unresolved(policy, settings)}


def unresolved(policy: Policy, settings: Settings) -> list[str]:
    """What is to be said of the names of a policy that have no address now, as seen from here."""
    # As long to load as all else that most commands need.
    from agent.dns_lookup import Lookup, LookupFailed

    lookup = Lookup(settings.dns, settings.sip_addresses)

    def trouble(question: names.Question) -> str:
        try:
            lookup.ask(question)
        except LookupFailed as error:
            return f"{question.host}: {error}"
        return ""

    with ThreadPoolExecutor(8) as pool:
        return [found for found in pool.map(trouble, names.questions(policy).values()) if found]


def shown(applied: AppliedPolicy) -> Row:
    """A policy that is or was in force."""
    return {
        "version": applied.version,
        "applied": applied.applied,
        "author": applied.author,
        "message": applied.message,
        "text": applied.text,
    }


def of(store: Store, version: int | None) -> AppliedPolicy:
    """A version of the policy; None: the one in force. Raises NoPolicyAppliedError, NotKeptError."""
    return store.policy() if version is None else store.policy_of(version)


def history(store: Store, limit: int) -> list[Row]:
    """The versions that are kept, newest first: the one in force is at the top."""
    return [asdict(item) for item in store.history(limit)]


def apply(store: Store, loaded: LoadedPolicy, *, expect: int | None, message: str, author: str) -> Row:
    """Put a policy in force in the place of version ``expect``, None: of whichever is, and wait for the nodes.

    Raises ConflictError, ImportedPrefixError.
    """
    expected = store.policy_version() if expect is None else expect
    change = store.apply(
        text=loaded.text, policy=loaded.policy, routes=loaded.routes, expected=expected, author=author, message=message
    )
    return {"version": int(change.value), **in_force(store, change)}


def rollback(store: Store, *, to: int | None, message: str, author: str) -> Row:
    """Put an earlier policy in force again, as a new version, and wait. Raises as :func:`apply`, ImpossibleError."""
    loaded, current, target, said = earlier(store, to, message)
    return {
        **apply(store, loaded, expect=current, message=said, author=author), "rolled_back_to": target
    }  # fmt: skip


def earlier(store: Store, to: int | None, message: str) -> tuple[LoadedPolicy, int, int, str]:
    """What a rollback applies, in the place of which version, its own version, and what the history is to say.

    Raises ImpossibleError, NoPolicyAppliedError, NotKeptError.
    """
    current = store.policy().version
    target = current - 1 if to is None else to
    if target < 1:
        raise ImpossibleError("there is nothing before the first version")
    if target == current:
        raise ImpossibleError(f"version {current} is in force already")
    loaded = _still_valid(store.policy_of(target))
    return loaded, current, target, f"rollback to version {target}" + (f": {message}" if message else "")


def _still_valid(applied: AppliedPolicy) -> LoadedPolicy:
    # A later Strowger may be stricter than the one that took it.
    try:
        return policyfile.load(applied.text, name=f"version {applied.version}")
    except policyfile.PolicyFileError as error:
        raise ImpossibleError(
            f"version {applied.version} is no valid policy any more, and nothing was applied:\n{error}"
        ) from None


def compared(
    store: Store, *, loaded: LoadedPolicy | None, older: int | None, newer: int | None
) -> tuple[PartChange, ...]:
    """What the newer policy, ``loaded`` or a version, decides otherwise than the older; None: the one in force.

    Raises InvalidError, StoreError.
    """
    if loaded is not None and newer is not None:
        raise InvalidError("a policy is the newer side: name it or a version, not both")
    if loaded is None and older is None and newer is None:
        raise InvalidError("name a policy, or versions")
    new = (loaded.policy, loaded.routes) if loaded is not None else _content(store, newer)
    return diff(_content(store, older), new)


def diff_row(changes: tuple[PartChange, ...]) -> Row:
    """Differences as JSON shows them."""
    return {"same": not changes, "changes": [change.as_dict() for change in changes]}


def _content(store: Store, version: int | None) -> tuple[Policy, tuple[Route, ...]]:
    applied = of(store, version)
    try:
        return applied.decode()
    except (KeyError, TypeError, ValueError) as error:
        # A version can be older than the release that reads it.
        raise StoreError(f"version {applied.version} was stored by another release and cannot be compared") from error
