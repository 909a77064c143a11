"""Subscribers: who may register phones, and what becomes of calls to them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from api import files
from api.access import Desk, Here, needs
from api.idempotency import NO_STORE
from api.pages import LIMIT, After, Limit
from api.problems import documented
from api.room import InForce, room
from model.subscriber import ALGORITHMS
from operations import subscriber_import, subscribers
from state.tokens import Role

router = room("/subscribers", "subscribers")

Name = Annotated[str, Path(max_length=64, description="What phones register as: 1001.")]
MISSING = documented(HTTPStatus.NOT_FOUND)
_NUMBER = Field("", max_length=64)


class Fields(BaseModel):
    """What may be set; what is not sent stays as it is."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    do_not_disturb: bool = False
    withhold: bool = Field(False, description="Their number is withheld on all calls.")
    reject_anonymous: bool = False
    numbers: list[str] = Field([], max_length=100, description="Further numbers that they may call from.")
    algorithms: list[str] = Field([], max_length=len(ALGORITHMS), description=f"Of {', '.join(ALGORITHMS)}.")
    calls: int | None = Field(None, ge=0, le=1_000_000, description="At once; 0: any, null: as the policy says.")
    per_second: int | None = Field(None, ge=0, le=1_000_000)
    forward_always: str = _NUMBER
    forward_busy: str = _NUMBER
    forward_no_answer: str = _NUMBER
    forward_unreachable: str = _NUMBER
    password: str = Field("", max_length=128, description="8 or more; empty: one is made, if one is needed.")

    def written(self) -> list[str]:
        """What was sent, as FIELD=VALUE."""
        sent = self.model_dump(include=set(subscribers.FIELDS), exclude_unset=True)
        return subscribers.written(sent)


class NewSubscriber(Fields):
    """Somebody who may register phones."""

    name: str = Field(max_length=64)


class SubscriberChange(Fields):
    """What is to be otherwise."""

    new_password: bool = Field(False, description="Make one, and say it in the answer.")


class Subscriber(BaseModel):
    """A subscriber; no password is known."""

    model_config = ConfigDict(extra="allow")

    name: str
    enabled: bool
    do_not_disturb: bool
    numbers: list[str]
    forwards: dict[str, str]


class SubscriberInList(Subscriber):
    """A subscriber, and how many phones they have at the node that answers."""

    phones: int


class SubscriberShown(Subscriber):
    """A subscriber, and their phones at the node that answers."""

    password_usable: bool = Field(description="Whether it was set for the realm of the policy in force.")
    phones: list[dict[str, Any]]


class SubscriberPut(Subscriber, InForce):
    """A subscriber, and where that is in force."""

    password: str | None = Field(None, description="One that was made; it is said this once.")


class SubscriberRemoved(InForce):
    """A subscriber that is gone."""

    name: str


class SubscribersImported(InForce):
    """What became of an import."""

    added: int
    changed: int


class SubscriberPage(BaseModel):
    """Some subscribers, by name."""

    subscribers: list[SubscriberInList]
    total: int = Field(description="Of all that match, on every page.")
    after: str | None = Field(description="For the next page; null: there is none.")


@router.get("", operation_id="subscribers.page", dependencies=[needs(Role.READ)])
def page(
    desk: Desk, here: Here,
    search: Annotated[str, Query(max_length=100, description="Part of a name, or of any of their numbers.")] = "",
    after: After = "", limit: Limit = LIMIT,
) -> SubscriberPage:  # fmt: skip
    """Subscribers by name, a page at a time."""
    found, total, end = subscribers.rows(desk, here, search=search, after=after, limit=limit)
    return SubscriberPage.model_validate({"subscribers": found, "total": total, "after": end or None})


@router.get("/{name}", operation_id="subscribers.show", dependencies=[needs(Role.READ)], responses=MISSING)
def show(desk: Desk, here: Here, name: Name) -> SubscriberShown:
    """A subscriber, and the phones registered at the node that answers."""
    return SubscriberShown.model_validate(subscribers.row(desk, here.location, name))


@router.post("", operation_id="subscribers.add", status_code=201, dependencies=[needs(Role.ADMIN)])
def add(desk: Desk, response: Response, subscriber: NewSubscriber) -> SubscriberPut:
    """Add a subscriber; a password that is made is in the answer, this once."""
    response.headers.update(NO_STORE)
    done = subscribers.add(desk, subscriber.name, subscriber.written(), subscriber.password)
    return SubscriberPut.model_validate(done)


@router.post(
    "/import",
    operation_id="subscribers.import",
    dependencies=[needs(Role.ADMIN)],
    openapi_extra=files.TAKEN,
    max_body_size=files.FILE_MAX,
)
def import_(desk: Desk, file: files.File) -> SubscribersImported:
    """Add and change subscribers by a CSV file (name,password,…): all of them, or none where a line is wrong."""
    return SubscribersImported.model_validate(subscriber_import.imported(desk, file))


@router.patch("/{name}", operation_id="subscribers.change", dependencies=[needs(Role.ADMIN)], responses=MISSING)
def change(desk: Desk, response: Response, name: Name, change: SubscriberChange) -> SubscriberPut:
    """Change what is sent; all else stays."""
    response.headers.update(NO_STORE)
    done = subscribers.change(
        desk, name, change.written(), password=change.password, new_password=change.new_password
    )  # fmt: skip
    return SubscriberPut.model_validate(done)


@router.delete("/{name}", operation_id="subscribers.remove", dependencies=[needs(Role.ADMIN)], responses=MISSING)
def remove(desk: Desk, name: Name) -> SubscriberRemoved:
    """Remove a subscriber; phones of theirs are not called any more, and cannot register."""
    return SubscriberRemoved.model_validate(subscribers.remove(desk, name))
