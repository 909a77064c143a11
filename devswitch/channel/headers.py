"""What every event of a channel says (switch_channel_event_set_data)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devswitch.channel.channel import Channel

_CODEC = {
    f"Channel-{way}-Codec-{field}": value
    for way in ("Read", "Write")
    for field, value in (("Name", "PCMU"), ("Rate", "8000"), ("Bit-Rate", "64000"))
}


def event_headers(channel: Channel) -> dict[str, str]:
    """Its state, its caller profile and that of the other leg, and its variables."""
    headers = {
        "Channel-State": channel.running_state.name,
        "Channel-Call-State": channel.call_state,
        "Channel-State-Number": str(int(channel.state)),
        "Channel-Name": channel.name,
        "Unique-ID": channel.uuid,
        "Call-Direction": channel.profile.direction,
        "Presence-Call-Direction": channel.profile.direction,
        "Channel-HIT-Dialplan": "true" if channel.in_dialplan else "false",
        "Channel-Call-UUID": channel.variables.get("call_uuid", channel.uuid),
        "Answer-State": channel.answer_state,
    }
    if channel.hangup_cause:
        headers["Hangup-Cause"] = channel.hangup_cause
    headers.update(_CODEC)
    headers.update(channel.profile.headers("Caller"))
    if channel.other:
        headers["Other-Type"] = "originatee" if channel.originator else "originator"
        headers.update(channel.other.headers("Other-Leg"))
    for scope in channel.scopes:
        headers.update((f"scope_variable_{name}", value) for name, value in scope.items())
    headers.update((f"variable_{name}", value) for name, value in channel.variables.items())
    return headers
