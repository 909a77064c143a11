"""The leases of this node's calls: taken from Redis in one round trip, released, renewed while Kamailio has the call.

What the node holds stands in Kamailio's shared memory, so a call's leases live exactly as long as its dialog is known
here: whatever kills the node, nobody renews them and they end by themselves. ``table`` is Kamailio's htable module.

Only calls that have a limit come here. Each waits for Redis at most :data:`TIMEOUT`, and not at all once Redis is
known to be away, which the timer's process alone decides to be over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from kemi import limits
from kemi.limits import AWAY, CALLS, RATE, Admission, Claim, Verdict
from kemi.plan import Limit, Plan
from model.limits import CLOSED, OPEN
from state import limits as leases
from state.wire import LateError, Link, LinkError, Target, bulk, packed, shared_link

LEASES, HELD, STARTS, ANSWERED, ENDED, REDIS = "leases", "held", "starts", "answered", "ended", "limits"
"""Tables in shared memory: call to the time of its first lease and the limits' names; limit to number of calls; limit
and second to number of calls, and how many answers of Redis were late; calls that were answered; calls that are over
and still have leases; and what is known of Redis: where it is (only while it counts), and how many nodes there are."""

TIMEOUT = 0.05
"Seconds that a call waits for Redis."
LATE = 3
"So many answers in a row that come too late mean that Redis is away."
TIMER_TIMEOUT = 1.0
"Seconds that the timer's process waits."
BATCH = 2000
"Leases that are renewed by one script."
SETUP = 3060.0
"Seconds after which a call that was never answered is over, longer than tm keeps one (max_inv_lifetime)."
OWED = 100
"Commands at most that a worker repeats after late answers; what they would end, ends by itself within seconds."
CLAIMS = 4096
"So many different claims are kept, in some 5 MB."
FIRST, TAKEN = b"+1", Verdict(0, {})
"What Redis answers nearly always: the first group was taken; and what that means."


class Leasing:
    """The leases of the calls of ``node``, at the Redis at ``url``."""

    def __init__(
        self, table: Any, rows: Callable[[str], Iterator[tuple[str, str]]], waiting: Callable[[], object], node: str,
        url: str, log: Callable[[str], object],
    ) -> None:  # fmt: skip
        """``rows`` goes through a table; ``waiting`` says whether there is a row in :data:`ENDED`."""
        self._table, self._rows, self._waiting, self._node, self._log = table, rows, waiting, node, log
        self._url = url
        self._renewed = 0.0
        self._run, self._host = "", ""
        self._away = False
        self._owed: list[bytes] = []
        self._known = ""
        self._calls: Link | None = None
        self._minute = 0
        self._refusals = b""
        self._claims: dict[tuple[tuple[Limit, ...], tuple[tuple[Limit, ...], ...]], tuple[Claim, bytes, bytes]] = {}

    def admit(self, call: str, plan: Plan, candidates: Sequence[int], now: float, *, fresh: bool = False) -> Admission:
        """Take the leases that an attempt of ``plan`` needs, and give back those of the one before.

        ``candidates`` are indices of the attempts that may be next, in order; ``fresh``: the call has no leases yet.
        """
        groups = tuple([plan.attempts[index].limits for index in candidates])
        since, base = int(now), plan.limits
        held: list[str] = []
        dropped: list[str] = []
        if not fresh:
            since, before = self._held(call)
            own = {limit.name for limit in base}
            held, dropped = [name for name in before if name in own], [name for name in before if name not in own]
            base = tuple([limit for limit in base if limit.name not in before])
            self._count(dropped, -1)
        claim = self._claims.get((base, groups)) or self._claim(base, groups)
        found = limits.admission(plan, candidates, claim[0], self._asked(call, claim, dropped, now))
        if found.grant.names or held or dropped:
            self._table.sht_sets(LEASES, call, " ".join((f"{since or int(now)} {found.grant.text}", *held)))
        return found

    def release(self, *calls: str) -> None:
        """These calls are over."""
        commands = self._over(calls)
        link = self._link() if commands else None
        if link is not None:
            try:
                link.lines(b"".join(commands), len(commands), TIMEOUT)
            except LateError:
                # Redis has been told all the same, or else they end by themselves.
                return
            except LinkError as error:
                self._lost(error)

    def release_ended(self) -> None:
        """Kamailio has noted calls that are over."""
        if self._waiting():
            self.release(*self._ended())

    def _ended(self) -> list[str]:
        # The timer takes them, or sooner a call that would be refused.
        return [call for call, _ in self._rows(ENDED)]

    def _over(self, calls: Iterable[str]) -> list[bytes]:
        """Forget calls; what Redis is to be told of that."""
        commands: list[bytes] = []
        for call in calls:
            self._table.sht_rm(ENDED, call)
            self._table.sht_rm(ANSWERED, call)
            names = self._forget(call)
            self._count(names, -1)
            commands += leases.release(self._member(call), names)
        return commands

    def _held(self, call: str) -> tuple[int, list[str]]:
        since, *names = (self._table.sht_get(LEASES, call) or "0").split()
        return int(since), names

    def _forget(self, call: str) -> list[str]:
        # Under the lock, as another process may find the same call over.
        self._table.sht_lock(LEASES, call)
        try:
            _, names = self._held(call)
            self._table.sht_rm(LEASES, call)
            return names
        finally:
            self._table.sht_unlock(LEASES, call)

    def _member(self, call: str) -> str:
        return f"{self._node}/{call}"

    def _count(self, names: Sequence[str], by: int) -> None:
        change = self._table.sht_inc if by > 0 else self._table.sht_dec
        for name in names:
            change(HELD, name)

    def _claim(self, base: tuple[Limit, ...], groups: tuple[tuple[Limit, ...], ...]) -> tuple[Claim, bytes, bytes]:
        """The claim of these limits and how Redis is asked for it, kept for calls that have the same."""
        if len(self._claims) >= CLAIMS:
            self._claims.clear()
        found = self._claims[base, groups] = (limits.claim(base, groups), *leases.request(base, groups))
        return found

    # With Redis.

    def _link(self) -> Link | None:
        known = self._table.sht_get(REDIS, "redis")
        if known is None:
            return None
        if known != self._known:
            run, host, port = known.split(" ")
            # By address: no worker waits for a name.
            self._calls = shared_link("calls", _at(Target.parse(self._url), run, host, int(port)))
            self._known = known
        return self._calls

    def _asked(self, call: str, claim: tuple[Claim, bytes, bytes], dropped: Sequence[str], now: float) -> Verdict:
        asked, first, second = claim
        link = self._link()
        if link is None:
            return self._alone(asked, now, late=False)
        member = f"{self._node}/{call}"
        before = leases.release(member, dropped) if dropped else []
        if self._owed:
            before, self._owed = self._owed + before, []
        if (minute := int(now) // 60) != self._minute:
            self._minute, self._refusals = minute, leases.refusals(minute)
        request = (first, self._refusals, second, bulk(member))
        try:
            reply = link.lines(b"".join((*before, *request)), len(before) + 1, TIMEOUT)[-1]
            if reply == FIRST:
                # As nearly always.
                for name in asked.grants[0].names:
                    self._table.sht_inc(HELD, name)
                return TAKEN
            if reply.startswith(b"-NOSCRIPT"):
                first, second = leases.request(asked.base, asked.groups, whole=True)
                request = (first, self._refusals, second, bulk(member))
                (reply,) = link.lines(b"".join(request), 1, TIMEOUT)
            answer = leases.taken(reply, asked.base, asked.groups)
            if answer.chosen is None and self._waiting():
                before += (ended := self._over(self._ended()))
                commands = [*ended, *leases.forgiven(answer.full, minute)]
                reply = link.lines(b"".join((*commands, *request)), len(commands) + 1, TIMEOUT)[-1]
                answer = leases.taken(reply, asked.base, asked.groups)
        except LateError:
            if self._table.sht_inc(STARTS, "late") >= LATE:
                self._lost("answers come too late")
            verdict = self._alone(asked, now, late=True)
            # Redis may yet take them, for a call that does not have them.
            self._owed = [*before, *leases.release(member, _untaken(asked, verdict))][-OWED:]
            return verdict
        except (LinkError, ValueError) as error:
            self._lost(error)
            return self._alone(asked, now, late=False)
        if answer.chosen is not None:
            self._count(asked.grants[answer.chosen].names, 1)
        return Verdict(answer.chosen, {full.name: full.kind for full in answer.full}, answer.refused)

    def _lost(self, error: object) -> None:
        if self._table.sht_get(REDIS, "redis") is not None:
            self._table.sht_rm(REDIS, "redis")
            self._log(f"limits are judged without Redis: {error}\n")

    # Without.

    def _alone(self, asked: Claim, now: float, *, late: bool) -> Verdict:
        """What this node makes of a claim by itself; ``late``: Redis is there, but did not answer this time."""
        away = tuple(limit.name for limit in asked.base)
        if (full := self._take_alone(asked.base, now, late=late)) is not None:
            return Verdict(None, dict([full]), refused=True)
        passed: dict[str, str] = {}
        for chosen, group in enumerate(asked.groups):
            if (full := self._take_alone(group, now, late=late)) is None:
                return Verdict(chosen, passed, away=(*away, *(limit.name for limit in group)))
            passed.update([full])
        self._count(away, -1)
        return Verdict(None, passed)

    def _take_alone(self, wanted: Sequence[Limit], now: float, *, late: bool) -> tuple[str, str] | None:
        """Count a call under all of these; the limit that has no room and why, and then under none."""
        for done, limit in enumerate(wanted, 1):
            count = self._table.sht_inc(HELD, limit.name)
            if why := self._full_alone(limit, count, now, late=late):
                self._count([limit.name for limit in wanted[:done]], -1)
                return limit.name, why
        return None

    def _full_alone(self, limit: Limit, count: int, now: float, *, late: bool) -> str:
        if limit.when_away == OPEN:
            return ""
        if limit.when_away == CLOSED or late:
            return AWAY
        nodes = int(self._table.sht_get(REDIS, "nodes") or 1)
        if limit.calls and count > limit.calls // nodes:
            return CALLS
        if limit.per_second:
            begun = self._table.sht_inc(STARTS, f"{limit.name}@{int(now)}")
            return RATE if begun > limit.per_second // nodes else ""
        return ""

    # The timer's process, where waiting costs no call.

    def tick(self, now: float) -> None:
        """Tell Redis that this node is live, bring it all leases where that is due, and say whether it counts."""
        try:
            self._report(now, self._over(self._ended()) if self._waiting() else [])
            self._away = False
        except (LinkError, ValueError, OSError) as error:
            self._table.sht_rm(REDIS, "redis")
            if not self._away:
                self._log(f"limits are judged without Redis: {error}\n")
            self._away = True

    def _report(self, now: float, over: Sequence[bytes]) -> None:
        """``over`` is what Redis is to be told of calls that have ended."""
        target, link = self._reached(b"".join((packed("PING"), *over)), 1 + len(over))
        run = link.run
        due = run != self._run or not 0 <= now - self._renewed < leases.RENEW_EVERY
        rows = self._live(list(self._rows(LEASES)), now) if due else []
        for begin in range(0, max(1, len(rows)), BATCH):
            batch = rows[begin : begin + BATCH]
            (reply,) = link.ask([leases.report(self._node, run, batch)], TIMER_TIMEOUT)
        if not isinstance(reply, list) or link.run != run:
            raise LinkError(str(reply))
        self._take_back(link, rows)
        if due:
            self._renewed, self._run = now, run
        known, nodes = reply
        self._table.sht_seti(REDIS, "nodes", nodes)
        self._table.sht_seti(STARTS, "late", 0)
        # Until then a Redis that was restarted may lack leases of other nodes.
        if known >= leases.SETTLING * 1000:
            self._table.sht_sets(REDIS, "redis", f"{run} {target.host or '-'} {target.port}")
        else:
            self._table.sht_rm(REDIS, "redis")

    def _reached(self, commands: bytes, count: int) -> tuple[Target, Link]:
        """Where Redis has answered so many commands: at the address where it last did, or another of its name."""
        targets = Target.parse(self._url).resolved()
        targets.sort(key=lambda target: target.host != self._host)
        for place, target in enumerate(targets, 1):
            link = shared_link("timer", target)
            try:
                link.lines(commands, count, TIMER_TIMEOUT)
            except LinkError:
                if place == len(targets):
                    raise
            else:
                self._host = target.host
                return target, link
        raise LinkError("the name has no address")

    def _live(self, rows: Iterable[tuple[str, str]], now: float) -> list[tuple[str, str]]:
        """Member and limit of each lease; calls that were never answered and cannot be there any more are released."""
        found = []
        for call, value in rows:
            since, *names = value.split()
            if now - int(since) > SETUP and self._table.sht_get(ANSWERED, call) is None:
                self.release(call)
            else:
                found += [(self._member(call), name) for name in names]
        return found

    def _take_back(self, link: Link, rows: Iterable[tuple[str, str]]) -> None:
        """End leases that were renewed although they had ended meanwhile."""
        gone = [(member, name) for member, name in rows if name not in self._held(member.partition("/")[2])[1]]
        if gone:
            link.ask([command for member, name in gone for command in leases.release(member, [name])], TIMER_TIMEOUT)


def _untaken(asked: Claim, verdict: Verdict) -> list[str]:
    """Names of limits that were asked for and not taken."""
    wanted = {limit.name for limits in (asked.base, *asked.groups) for limit in limits}
    taken = () if verdict.chosen is None else (*asked.base, *asked.groups[verdict.chosen])
    return sorted(wanted - {limit.name for limit in taken})


def _at(target: Target, run: str, host: str, port: int) -> Target:
    if target.path:
        return replace(target, run=run)
    return Target(host, port, "", target.database, target.username, target.password, run)
