"""Calling out: one leg, several at once, one group after the other (switch_ivr_originate.c)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devswitch.apps.playing import Playing, resolve
from devswitch.audio.paths import open_source
from devswitch.audio.wav import AudioError
from devswitch.channel.channel import Channel
from devswitch.channel.execute import execution, executions
from devswitch.channel.profile import Profile
from devswitch.channel.sipvars import header_variables
from devswitch.channel.state import State
from devswitch.dialplan.dialstring import DialError, DialString, Target, parse
from devswitch.leg import Leg
from devswitch.text import number, true

if TYPE_CHECKING:
    from devswitch.switch import Switch

log = logging.getLogger("devswitch")

_TIMEOUT = 60  # seconds, where nothing else is said
_STATUS = {
    "ORIGINATOR_CANCEL": "CANCEL",
    "USER_BUSY": "BUSY",
    "NO_ANSWER": "NOANSWER",
    "NO_USER_RESPONSE": "NOANSWER",
    "CALL_REJECTED": "DONTCALL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who calls, where the dial string and the caller's leg do not say it."""

    number: str = ""
    name: str = ""


async def originate(
    switch: Switch,
    text: str,
    *,
    caller: Channel | None = None,
    timeout: int = 0,
    identity: Identity | None = None,
) -> tuple[Channel | None, str]:
    """The leg that answered, or let early media flow, and SUCCESS; else None and the cause of the failure."""
    try:
        dialled = parse(await switch.expand(text, caller))
    except DialError as error:
        log.error("cannot call: %s", error)
        return None, error.cause
    cause = "DESTINATION_OUT_OF_ORDER"
    for group in dialled.groups:
        attempt = Attempt(switch, dialled, group, caller, identity or Identity(), timeout)
        winner, cause = await attempt.run()
        if caller:
            _tell(caller, attempt, winner, cause)
        if winner or cause == "ORIGINATOR_CANCEL":
            return winner, cause
    return None, cause


def _tell(caller: Channel, attempt: Attempt, winner: Channel | None, cause: str) -> None:
    """Note on the caller's leg how it went."""
    if winner:
        caller.set("originate_disposition", "SUCCESS")
        caller.set("DIALSTATUS", "ANSWER" if winner.answered else "EARLY")
        return
    caller.set("originate_disposition", cause)
    caller.set("DIALSTATUS", _STATUS.get(cause, cause))
    caller.set("last_bridge_hangup_cause", cause)
    for leg in attempt.legs:
        caller.set("last_bridge_proto_specific_hangup_cause", leg.get("proto_specific_hangup_cause"))
        if status := leg.get("sip_invite_failure_status"):
            caller.set("sip_invite_failure_status", status)


class Attempt:
    """The legs of one group, until one of them wins or all have failed."""

    def __init__(
        self,
        switch: Switch,
        dialled: DialString,
        targets: list[Target],
        caller: Channel | None,
        identity: Identity,
        timeout: int,
    ) -> None:
        self.legs: list[Channel] = []
        self._switch = switch
        self._targets = targets
        self._common = dialled.variables
        self._caller = caller
        self._identity = identity
        self._changed = asyncio.Event()
        self._ringback: Playing | None = None
        own = caller.get("call_timeout") if caller else None
        seconds = timeout or number(self._get("originate_timeout") or own) or _TIMEOUT
        self._deadline = time.monotonic() + seconds

    def _get(self, name: str) -> str | None:
        if name in self._common:
            return self._common[name]
        return self._caller.variables.get(name) if self._caller else None

    async def run(self) -> tuple[Channel | None, str]:
        errors = [target.error for target in self._targets if target.error]
        for target in self._targets:
            if not target.error and (leg := self._call(target)):
                self.legs.append(leg)
        if not self.legs:
            return None, errors[0] if errors else "DESTINATION_OUT_OF_ORDER"
        if self._caller:
            self._caller.watchers.append(self._changed.set)
            if self._caller.answered:
                self._caller.calling("RING_WAIT")
        try:
            return await self._wait()
        finally:
            self._finish()

    async def _wait(self) -> tuple[Channel | None, str]:
        while True:
            self._changed.clear()
            if self._caller and self._caller.hangup_cause:
                return self._lose("ORIGINATOR_CANCEL")
            if winner := next((leg for leg in self.legs if self._wins(leg)), None):
                self._lose("LOSE_RACE", winner)
                return winner, "SUCCESS"
            living = [leg for leg in self.legs if leg.up]
            if not living:
                return None, self.legs[-1].hangup_cause
            left = self._deadline - time.monotonic()
            if left <= 0:
                return self._lose("NO_ANSWER")
            await self._relay_progress(living)
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    def _wins(self, leg: Channel) -> bool:
        if not leg.up or leg.commands or leg.parsing:
            return False
        if leg.answered:
            return True
        ignores = (self._get("ignore_early_media") or leg.get("ignore_early_media") or "").lower()
        if leg.early and not true(ignores):
            return True
        return bool(leg.profile.times.progress) and true(self._get("return_ring_ready"))

    def _lose(self, cause: str, winner: Channel | None = None) -> tuple[None, str]:
        for leg in self.legs:
            if leg is not winner:
                leg.hangup(cause)
        return None, cause

    async def _relay_progress(self, living: list[Channel]) -> None:
        caller = self._caller
        if not caller or caller.answered or not any(leg.profile.times.progress for leg in living):
            return
        tone = self._get("ringback")
        if not tone:
            await caller.ring()
        elif self._ringback is None and await caller.pre_answer():
            try:
                source = await open_source(await resolve(caller, tone.removeprefix("%")))
            except AudioError as error:
                log.warning("%s: ringback: %s", caller.uuid, error)
                return
            self._ringback = Playing(caller, source)
            caller.leg.source = self._ringback

    def _finish(self) -> None:
        if self._caller and self._changed.set in self._caller.watchers:
            self._caller.watchers.remove(self._changed.set)
        for leg in self.legs:
            leg.watchers.remove(self._changed.set)
        if self._caller and self._caller.up and self._caller.answered:
            self._caller.calling("ACTIVE")
        if self._ringback and self._caller and self._caller.up:
            self._ringback.done = True
            self._caller.leg.source = None

    def _call(self, target: Target) -> Channel | None:
        """Begin to call one leg; None where that cannot be."""
        variables = {**self._exported(), **self._common, **target.variables}
        shown = self._shown(variables)
        endpoint = self._switch.endpoint
        assert endpoint
        try:
            leg = endpoint.originate(
                target.uri,
                caller=shown.number,
                caller_name=shown.name,
                headers=_headers(variables),
                proxy=target.proxy or _bare(variables.get("sip_route_uri")),
            )
        except (OSError, ValueError) as error:
            log.error("cannot call at %s: %s", target.text.rpartition("@")[2], type(error).__name__)
            return None
        if wanted := variables.pop("origination_uuid", ""):
            leg.uuid = wanted
        channel = self._channel(leg, target, shown)
        channel.variables |= {name: value for name, value in variables.items() if value}
        channel.watchers.append(self._changed.set)
        channel.running_state = State.CS_NONE
        channel.fire("CHANNEL_OUTGOING")
        self._switch.begin(channel)
        return channel

    def _channel(self, leg: Leg, target: Target, shown: Identity) -> Channel:
        switch, caller = self._switch, self._caller
        profile = Profile(
            unique_id=leg.uuid,
            channel_name=f"sofia/{switch.options.profile}/{target.uri.removeprefix('sip:')}",
            direction="outbound",
            destination_number=target.user,
            caller_id_number=shown.number,
            caller_id_name=shown.name,
            callee_id_number=target.user,
            callee_id_name=target.user,
            context=caller.profile.context if caller else "default",
        )
        channel = Channel(switch, leg, profile)
        channel.variables |= {"sip_call_id": leg.call_id, "is_outbound": "true", "sip_to_user": target.user}
        channel.variables |= {"sip_destination_url": target.uri, "sip_req_uri": target.uri.removeprefix("sip:")}
        if caller:
            channel.other = caller.profile
            channel.set("originator", caller.uuid)
            channel.set("call_uuid", caller.variables.get("call_uuid", caller.uuid))
        leg.on_progress = lambda status: _progressed(channel, status)
        leg.on_answer = lambda _: _answered(channel)
        return channel

    def _exported(self) -> dict[str, str]:
        """What the caller's leg gives to those it calls: export_vars, and the headers for SIP."""
        caller = self._caller
        if not caller:
            return {}
        names = [name for name in (caller.get("export_vars") or "").split(",") if name]
        given = {name: caller.variables.get(f"nolocal:{name}") or caller.get(name) or "" for name in names}
        if (caller.get("sip_copy_custom_headers") or "true") != "false":
            given |= {name: value for name, value in caller.variables.items() if name.startswith("sip_h_")}
        return given

    def _shown(self, variables: Mapping[str, str]) -> Identity:
        caller = self._caller
        own = caller.profile if caller else None
        effective = caller.get("effective_caller_id_number") if caller else None
        effective_name = caller.get("effective_caller_id_name") if caller else None
        number_ = variables.get("origination_caller_id_number") or self._identity.number or effective
        name = variables.get("origination_caller_id_name") or self._identity.name or effective_name
        default = own.caller_id_number if own else "0000000000"
        return Identity(number=number_ or default, name=name or (own.caller_id_name if own else "") or "")


def _headers(variables: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix("sip_h_"): value for name, value in variables.items() if name.startswith("sip_h_")}


def _bare(uri: str | None) -> str | None:
    return uri.strip("<>") if uri else None


def _progressed(channel: Channel, status: int) -> None:
    if status == 183:
        channel.note_early_media()
    else:
        channel.note_ringing()
    _do(channel, "execute_on_media" if status == 183 else "execute_on_ring")


def _answered(channel: Channel) -> None:
    channel.variables |= header_variables(channel.leg, "sip_rh_")
    channel.set("sip_term_status", "200")
    channel.note_answer()
    _do(channel, "execute_on_answer")


def _do(channel: Channel, prefix: str) -> None:
    """The channel's own task executes it, and only then does the leg count as answered."""
    for name, data in executions(channel, prefix):
        channel.send(execution(name, data))
    channel.wake()
