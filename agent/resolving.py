"""Keeps the addresses of the policy's host names in the node's snapshot, so that no SIP worker ever waits for DNS.

A thread beside replication, which needs no Redis: it reads the policy from the snapshot, asks for each name when its
answer's time to live is over, and writes what has changed. What was known last stays in force while DNS is away, for
as long as that takes, and over restarts. An answer that says that a name does not exist is an answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from agent.dns_lookup import Away, Lookup, NoSuchName, Outcome
from model.settings import Settings
from state import layout, names
from state.names import Answer, Question
from state.snapshot import SnapshotWriter

log = logging.getLogger("strowger.agent")

# Seconds between two looks at what there is to do.
TICK = 0.25
# Seconds for which an answer is good at least and at most, whatever its time to live says.
SHORTEST, LONGEST = 2.0, 3600.0
# Seconds before the next try while DNS does not answer, doubled each time; and after an answer that there is no such
# name.
FIRST_WAIT, LONGEST_WAIT = 2.0, 60.0
NOTHING_WAIT = 15.0
# Names that are asked for at once.
AT_ONCE = 8


@dataclass(slots=True)
class _Asked:
    question: Question
    next_at: float = 0.0
    wait: float = FIRST_WAIT
    under_way: Future[Outcome] | None = None


@dataclass(slots=True)
class Resolving:
    """Follows the policy of this node's snapshot until told to stop."""

    settings: Settings
    writer: SnapshotWriter
    stopped: Callable[[], bool]
    _policy: bytes | None = None
    _asked: dict[str, _Asked] = field(default_factory=dict)
    _answers: dict[str, Answer] = field(default_factory=dict)
    _written: bytes | None = None
    _looked: float = 0.0

    def run(self) -> None:
        """Returns once ``stopped`` says so, within some seconds."""
        lookup = Lookup(self.settings.dns, self.settings.sip_addresses)
        self._written = self.writer.get(names.NAMES)
        self._answers, said = names.decode(self._written), ""
        with ThreadPoolExecutor(AT_ONCE, "dns") as pool:
            while not self.stopped():
                try:
                    self.step(lambda question: pool.submit(lookup.ask, question), time.time())
                except Exception as error:
                    # A full disk, for one: what was answered is written with the next try.
                    if said != str(error):
                        log.exception("addresses of names are not written")
                    said = str(error)
                else:
                    said = ""
                time.sleep(TICK)

    def step(self, submit: Callable[[Question], Future[Outcome]], now: float) -> None:
        """Ask what is due at Unix time ``now``, and take in what was answered."""
        self._follow(self.writer.get(layout.POLICY))
        if now < self._looked:
            # The clock was set back, and each answer is as old as it was.
            for asked in self._asked.values():
                asked.next_at = min(asked.next_at, now)
        self._looked = now
        for key, asked in self._asked.items():
            if asked.under_way is not None and asked.under_way.done():
                self._take(key, asked, now)
            if asked.under_way is None and asked.next_at <= now:
                asked.under_way = submit(asked.question)
        self._write()

    def _follow(self, policy: bytes | None) -> None:
        if policy is None or policy == self._policy:
            return
        self._policy = policy
        wanted = names.questions(layout.decode_policy_record(policy)[1])
        self._asked = {key: self._asked.get(key) or _Asked(question) for key, question in wanted.items()}
        self._answers = {key: answer for key, answer in self._answers.items() if key in wanted}

    def _take(self, key: str, asked: _Asked, now: float) -> None:
        assert asked.under_way is not None
        before = self._answers.get(key, Answer())
        host = asked.question.host
        try:
            outcome = asked.under_way.result()
        except Away as error:
            after = troubled(before, str(error), now)
            asked.next_at, asked.wait = now + asked.wait, min(asked.wait * 2, LONGEST_WAIT)
            if not before.trouble:
                log.warning("%s: %s; %d addresses stay in force", host, error, len(before.found))
        except NoSuchName as error:
            after = troubled(before._replace(found=(), since=0.0), str(error), now)
            asked.next_at = now + NOTHING_WAIT
            if before.found or before.trouble != str(error):
                log.warning("%s: %s", host, error)
        else:
            after = Answer(outcome.found, before.since if before.found == outcome.found else now)
            asked.next_at, asked.wait = now + min(max(outcome.ttl, SHORTEST), LONGEST), FIRST_WAIT
            if after != before:
                log.info("%s: %s", host, ", ".join(f"{one.address}:{one.port}" for one in outcome.found))
        asked.under_way = None
        self._answers[key] = after

    def _write(self) -> None:
        text = names.encode(self._answers)
        if text == self._written or (self._written is None and not self._answers):
            return
        with self.writer.begin() as txn:
            txn.put(names.NAMES, text)
        self._written = text


def troubled(before: Answer, why: str, now: float) -> Answer:
    """An answer that may be out of date since Unix time ``now``."""
    since = before.trouble_since if before.trouble == why else now
    return before._replace(trouble=why, trouble_since=since)
