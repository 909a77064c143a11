"""Route hooks: programs of the operator's that are asked over HTTP what becomes of a call; docs/route-hook.md."""

from __future__ import annotations

from dataclasses import dataclass

CONTINUE, REJECT, ROUTE = "continue", "reject", "route"
"What happens to calls whose hook gives no answer."


@dataclass(frozen=True, slots=True)
class Hook:
    """One program that routes may ask."""

    name: str
    url: str
    "``http://`` or ``https://``, asked by POST."
    timeout: float = 1.0
    "Seconds from the question to the whole answer."
    fallback: str = REJECT
    "``continue``: the route goes on as if it had no hook; ``reject``; ``route``: another route takes the call."
    fallback_route: str = ""
    "Name of that route."
    secret: str = ""
    "Name of the secret that questions are signed with; empty: they are not."
    signed_answers: bool = False
    "Whether an answer counts only if it is signed with the secret as well."
    at_most: int = 100
    "Questions of a node that wait for an answer at once."
    failures: int = 5
    "After so many in a row without an answer, nobody is asked for a while."
    pause: float = 10.0
    "Seconds for which that is, before one call asks again on trial."
