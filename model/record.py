"""The record of a call, as it is kept and exported; docs/records.md describes each field."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

# Of the record's shape; a reader of another version ignores fields that it does not know.
FORMAT = 1


class Outcome(StrEnum):
    """How a call went."""

    ANSWERED = "answered"
    REFUSED = "refused"
    "By policy, before any gateway was tried."
    FAILED = "failed"
    "No gateway got it answered."
    CANCELLED = "cancelled"
    "The caller hung up before anybody answered."
    INTERRUPTED = "interrupted"
    "Kamailio stopped while the call was being set up, or nothing more was heard of it."


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One try at one gateway. Times are Unix times in seconds, None where it did not come to that."""

    gateway: str
    began: float
    rang: float | None = None
    "The first 180 to 183."
    ended: float | None = None
    "When it was answered or had failed."
    status: int | None = None
    "Of the gateway's final reply; 408 or 477 with ``local`` where there was none."
    local: bool = False
    q850: int | None = None
    location: str = ""
    cause: str = ""
    "Class of the failure; empty where there is none."
    why: str = ""
    "Why it was or was not the last attempt."

    @property
    def post_dial_delay(self) -> float | None:
        """Seconds from the INVITE to the first ringing."""
        return None if self.rang is None else max(0.0, round(self.rang - self.began, 3))


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call. Times are Unix times in seconds, None where it did not come to that."""

    call: str
    node: str
    call_id: str
    from_tag: str
    trunk: str
    caller: str
    callee: str
    route: str
    version: int
    "Of the policy; 0 where there was none."
    emergency: bool
    outcome: Outcome
    refusal: str
    status: int | None
    "What the caller was told; None where that is not known."
    began: float
    answered: float | None
    ended: float | None
    duration: float
    "Seconds from answer to end."
    ended_by: str
    "``caller``, ``callee``, ``operator``; ``unknown`` where no end was heard of; empty for one that was not answered."
    attempts: tuple[AttemptRecord, ...]
    steps: tuple[tuple[str, str, str], ...]
    "What the decision read and found, and each that followed upon it where media sent the call on."
    app: str = ""
    "Name of the call script that it was handed to; empty: to none."
    reason: str = ""
    "Why it was, as :class:`model.handover.Handover` has it."
    cost: str = ""
    "What the answered gateway takes for it, a decimal number (:mod:`model.rates`); empty where that is not known."
    currency: str = ""
    "Of the cost."
    limits: tuple[str, ...] = ()
    "Those under which it counted at some time: ``trunk:office``, ``gateway:carrier-a``."
    relay: str = ""
    "Why its sound went through the media relay; empty: it did not."

    fraud: str = ""
    "By which guard it was refused, as :class:`model.fraud.Guard` names what it counts; empty: by none."

    media_node: str = ""
    "The media node that had it last; empty: none had."
    media_seconds: float = 0.0
    "How long media nodes had it, from the hand-over on: ringing, the script and what it bridges."
    message: str = ""
    "What a voicemail caller left, as mailbox/id; empty: nothing that was known when the record was made."

    recordings: tuple[str, ...] = ()
    "What its call scripts recorded: paths below the folder of recordings, whole ones where they are elsewhere."

    @property
    def gateway(self) -> str:
        """The last one tried; empty where none was."""
        return self.attempts[-1].gateway if self.attempts else ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        # Not by asdict, which copies every value: it was a third of what the agent does for a call.
        own = {name: getattr(self, name) for name in self.__slots__}
        own["attempts"] = tuple({name: getattr(one, name) for name in one.__slots__} for one in self.attempts)
        return {"v": FORMAT, **own}

    def encode(self) -> str:
        """As JSON on one line."""
        return json.dumps(self.as_dict(), separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> CallRecord:
        """From what :meth:`encode` made, or a later version of it. Raises ValueError."""
        try:
            data = json.loads(text)
            known = _known(cls, data)
            known["outcome"] = Outcome(known["outcome"])
            known["attempts"] = tuple(AttemptRecord(**_known(AttemptRecord, item)) for item in known["attempts"])
            known["steps"] = tuple((str(what), str(of), str(found)) for what, of, found in known["steps"])
            known["limits"] = tuple(map(str, known.get("limits", ())))
            known["recordings"] = tuple(map(str, known.get("recordings", ())))
            return cls(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no call record: {error}") from None


def _known(kind: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in data.items() if name in names}
