"""A node under test: Redis, agent and Kamailio as `strowger up` starts them, on ports of this run."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from console.ports import free_port
from console.sipp import CallResult, SippGateway, place_calls, render
from console.stack import Stack
from harness.explain import Explanation, Live, explain, explain_records
from kemi.node_state import live_state
from kemi.rpc import Kamcmd
from model.call import CallFacts
from model.causes import Failure
from model.entries import Entry, Kind
from model.numbers import Dialling
from model.policy import Gateway, Policy, Route, Trunk
from model.record import CallRecord
from model.settings import Settings
from state import records
from state.store import Change, Confirmation, Store

SCENARIOS = Path(__file__).parent.parent / "sipp"
ANSWER = SCENARIOS / "uac-expect-answer.xml"
GB = Dialling(country_code="44")
RECORD_TIMEOUT = 20.0
METRICS = [f"STROWGER_{name}_METRICS" for name in ("AGENT", "HOOK", "MEDIA", "VOICEMAIL", "RECORDS")]
TRUNK = Trunk("lab", ("127.0.0.0/8",), GB)


def at(name: str, player: SippGateway, **options: Any) -> Gateway:
    """A gateway that SIPp plays, waited for patiently, as it may share a busy machine.

    It has no breaker unless the test gives it one: the failures that one test asks for are not the next one's.
    """
    patient = {"no_reply": 15.0, "progress": 15.0, "breaker": None}
    return Gateway(**{"name": name, "address": "127.0.0.1", "port": player.port, **patient, **options})


@dataclass(slots=True)
class Node:
    """A running node, and what a test does to it."""

    stack: Stack
    store: Store
    directory: Path
    _gateways: list[SippGateway] = field(default_factory=list)
    _names: Iterator[int] = field(default_factory=itertools.count)
    _caller_ports: set[int] = field(default_factory=set)
    "Those used so far: a caller's port is part of its Call-ID, which must be new."

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        workers: int = 4,
        name: str = "node-under-test",
        addresses: str = "127.0.0.1",
        web: bool = False,
        **more: str,
    ) -> Node:
        """A node that is not started yet, with ``web`` one that answers HTTP; ``more`` are further settings."""
        redis_port = free_port()
        settings = Settings.from_env(
            {
                "STROWGER_NODE": name,
                "STROWGER_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
                "STROWGER_SNAPSHOT": str(directory / "snapshot"),
                "STROWGER_SPOOL": str(directory / "spool"),
                "STROWGER_SECRET_FILE": str(directory / "secret"),
                "STROWGER_MEDIA_SECRET_FILE": str(directory / "media-secret"),
                "STROWGER_SECRETS": str(directory / "secrets"),
                "STROWGER_VOICEMAIL": str(directory / "voicemail"),
                "STROWGER_RUN": str(directory / "run"),
                "STROWGER_SIP_ADDRESS": addresses,
                "STROWGER_SIP_PORT": str(free_port()),
                "STROWGER_RPC_PORT": str(free_port()),
                "STROWGER_SIP_WORKERS": str(workers),
                "STROWGER_WEB_ADDRESS": f"127.0.0.1:{free_port()}",
                # Many run at once.
                **dict.fromkeys(METRICS, ""),
                **more,
            }
        )
        return cls(Stack(settings, directory, web=web), Store(settings.redis_url), directory)

    @property
    def sip(self) -> tuple[str, int]:
        """Where Kamailio listens."""
        return self.stack.settings.sip_addresses[0], self.stack.settings.sip_port

    def apply(
        self,
        routes: Sequence[Route],
        gateways: Sequence[Gateway] = (),
        *,
        trunks: Sequence[Trunk] = (TRUNK,),
        dialling: Dialling = GB,
    ) -> Confirmation:
        """Put a policy in force and wait until the node has it."""
        by_name = {gateway.name: gateway for gateway in gateways}
        return self.put_in_force(Policy(tuple(trunks), by_name, dialling), routes)

    def put_in_force(self, policy: Policy, routes: Sequence[Route]) -> Confirmation:
        """Put a whole policy in force and wait until the node has it."""
        change = self.store.apply(
            text="", policy=policy, routes=tuple(routes), expected=self.store.policy_version(), author="test"
        )
        return self._confirmed(change.seq)

    def put(self, entry: Entry) -> Confirmation:
        """Add an entry and wait until the node has it."""
        return self._confirmed(self.store.put(entry).seq)

    def delete(self, kind: Kind, value: str) -> Confirmation:
        """Remove an entry and wait until the node has it."""
        change = self.store.delete(kind, value)
        assert change is not None, f"there is no {kind} {value}"
        return self._confirmed(change.seq)

    def clear_entries(self) -> None:
        """Remove every entry; one that has expired may go by itself meanwhile."""
        changes = [self.store.delete(entry.kind, entry.value) for entry in list(self.store.entries())]
        for change in filter(None, changes):
            self._confirmed(change.seq)

    def confirmed(self, change: Change) -> Confirmation:
        """Wait until the node has a change."""
        return self._confirmed(change.seq)

    def _confirmed(self, seq: int) -> Confirmation:
        confirmation = self.store.confirm(seq)
        assert not confirmation.missing, f"{confirmation.missing} did not confirm"
        return confirmation

    def gateway(
        self,
        scenario: str,
        *,
        transport: str = "u1",
        address: str = "127.0.0.1",
        trace: Path | None = None,
        **words: str,
    ) -> SippGateway:
        """Start a gateway with a scenario of tests/sipp; ``words`` replace words in it, such as STATUS.

        All that it sends and receives is written to ``trace``.
        """
        directory = self._directory()
        path = render(SCENARIOS / scenario, directory, **words)
        options = _traced(trace)
        gateway = SippGateway(path, free_port(), directory, transport=transport, address=address, options=options)
        self._gateways.append(gateway)
        gateway.start()
        return gateway

    def answering(self) -> SippGateway:
        """Start a gateway that answers."""
        return self.gateway("uas-answers.xml")

    def refusing(self, status: int) -> SippGateway:
        """Start a gateway that refuses with ``status`` and the header that the call asks for."""
        return self.gateway("uas-replies-STATUS.xml", STATUS=str(status))

    def stop_gateways(self) -> None:
        """Stop all gateways."""
        while self._gateways:
            self._gateways.pop().stop()

    def answered(self, caller: str, callee: str, **options: Any) -> CallResult:
        """Place a call that must be answered."""
        return self.call(ANSWER.name, caller, callee, **options)

    def refused(self, caller: str, callee: str, status: int, reason: str = "", **options: Any) -> CallResult:
        """Place a call that must be refused with ``status``, its text matching the pattern ``reason``."""
        words = {"STATUS": str(status), "REASON": reason or "SIP/2.0"}
        return self.call("uac-expect-STATUS.xml", caller, callee, words=words, **options)

    def call(
        self,
        scenario: str,
        caller: str,
        callee: str,
        *,
        words: Mapping[str, str] | None = None,
        source: str = "127.0.0.1",
        server: str = "",
        transport: str = "u1",
        explained: bool = True,
        trace: Path | None = None,
        **keys: str,
    ) -> CallResult:
        """Place a call that must go as its scenario says, and as the policy explains it, if there is one.

        ``server`` is which of the node's addresses is called; empty: its first.
        """
        directory, live = self._directory(), self.live()
        result = place_calls(
            render(SCENARIOS / scenario, directory, **(words or {})),
            server=(server or self.sip[0], self.sip[1]),
            port=self._caller_port(),
            directory=directory,
            keys={"caller": caller, "callee": callee, **keys},
            source=source,
            transport=transport,
            options=_traced(trace),
        )
        assert result.passed, f"{scenario} {words or ''}: {result.output}\n{self.explained(result.call_id)}"
        if explained:
            self._check_explanation(result.call_id, live)
        return result

    def live(self) -> Live:
        """What the node knows now besides its snapshot."""
        return live_state(self.stack.settings)

    def explain(self, facts: CallFacts, failures: Sequence[Failure] = ()) -> Explanation:
        """What would become of a call now, its attempts failing with ``failures``."""
        now = time.time()
        snapshot = self.stack.settings.snapshot
        return explain(snapshot, facts, [(now, failure) for failure in failures], live=self.live(), now=now)

    def _check_explanation(self, call_id: str, live: Live) -> None:
        found = explain_records(self.stack.settings.snapshot, self.records(call_id), live)
        uris = [attempt.uri for attempt in found.attempts]
        for gateway in self._gateways:
            own = [uri for uri in uris if f":{gateway.port}" in uri]
            # Another process writes it down, and may be behind.
            deadline = time.monotonic() + RECORD_TIMEOUT
            while (seen := gateway.calls(call_id)) != own and time.monotonic() < deadline:
                time.sleep(0.02)
            assert seen == own, f"gateway {gateway.port} saw another call than explained"

    def kamcmd(self) -> Kamcmd:
        """A connection to Kamailio's RPC, to be closed."""
        return Kamcmd(f"unix:{self.stack.settings.rpc_socket}")

    def processes(self) -> dict[int, str]:
        """Kamailio's processes: what each is by its process id."""
        with self.kamcmd() as kamcmd:
            return {int(process["PID"]): str(process["DSC"]) for process in kamcmd.call("core.psx")}

    def attempts(self, call_id: str) -> list[str]:
        """The gateways that failed a call, in order."""
        return [record["gateway"] for record in self.records(call_id) if record["event"] == "failed"]

    def records(self, call_id: str) -> list[dict[str, Any]]:
        """What was decided about a call, in order: its events in the spool, but for its answer and end."""
        return [event for event in self.events(call_id) if event["event"] in ("decided", "failed")]

    def events(self, call_id: str) -> list[dict[str, Any]]:
        """The spooled events of a call, in order."""
        lines = [
            json.loads(line)
            for path in sorted(self.stack.settings.spool.glob("calls-*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        ids = {line["call"] for line in lines if line.get("call_id") == call_id}
        return [line for line in lines if line.get("call") in ids]

    def record(self, call_id: str) -> CallRecord:
        """The one record of a call that is over; waits until it is in Redis."""
        deadline = time.monotonic() + RECORD_TIMEOUT
        while not (found := [record for _, record in records.newest(self.store, call_id)]):
            assert time.monotonic() < deadline, f"no record of {call_id}: {self.events(call_id)}"
            time.sleep(0.02)
        (record,) = found
        return record

    def explained(self, call_id: str) -> str:
        """The records of a call as text, for the message of a failed assertion."""
        return "\n".join(map(str, self.records(call_id)))

    def close(self) -> None:
        """Stop everything."""
        self.stop_gateways()
        self.store.close()
        self.stack.stop()

    def _caller_port(self) -> int:
        while (port := free_port()) in self._caller_ports:
            pass
        self._caller_ports.add(port)
        return port

    def _directory(self) -> Path:
        return self.directory / f"sipp-{next(self._names)}"


def _traced(trace: Path | None) -> tuple[str, ...]:
    return () if trace is None else ("-trace_msg", "-message_file", str(trace))
