"""API commands that make calls, and tell of them (mod_commands.c)."""

from __future__ import annotations

import time

from devswitch.apps.originate import Identity, originate
from devswitch.channel.causes import named
from devswitch.channel.channel import Channel
from devswitch.dialplan.dialplan import Action
from devswitch.registry import command
from devswitch.switch import VERSION, Switch
from devswitch.text import number, separate

_ORIGINATE = (
    "-USAGE: <call url> <exten>|&<application_name>(<app_args>) "
    "[<dialplan>] [<context>] [<cid_name>] [<cid_num>] [<timeout_sec>]\n"
)
_CHANNELS = (
    "uuid,direction,created,created_epoch,name,state,cid_name,cid_num,ip_addr,dest,application,application_data,"
    "dialplan,context,read_codec,read_rate,read_bit_rate,write_codec,write_rate,write_bit_rate,secure,hostname,"
    "presence_id,presence_data,accountcode,callstate,callee_name,callee_num,callee_direction,call_uuid,"
    "sent_callee_name,sent_callee_num,initial_cid_name,initial_cid_num,initial_ip_addr,initial_dest,"
    "initial_dialplan,initial_context"
)


@command("originate")
async def originate_command(switch: Switch, arguments: str, channel: Channel | None) -> str:
    """``dial-string extension|&app(arguments) [dialplan [context [cid_name [cid_num [timeout]]]]]``."""
    words = separate(arguments.strip())
    if not 2 <= len(words) <= 7:
        return _ORIGINATE
    given = ["" if word.lower() == "undef" else word for word in words] + [""] * (7 - len(words))
    dialled, extension, dialplan, context, name, caller, seconds = given
    channel, cause = await originate(
        switch, dialled, timeout=number(seconds), identity=Identity(number=caller, name=name)
    )
    if channel is None:
        return f"-ERR {cause}\n"
    if extension.startswith("&") and len(extension) > 1:
        app, _, data = extension[1:].partition("(")
        switch.run_actions(channel, [Action(app.rstrip(")"), data.removesuffix(")"))])
    else:
        switch.transfer(channel, extension, dialplan or "XML", context or "default")
    return f"+OK {channel.uuid}\n"


@command("hupall")
async def hupall(switch: Switch, arguments: str, _: Channel | None) -> str:
    """``[cause [variable value]]``."""
    words = separate(arguments.strip(), limit=3)
    cause = named(words[0], "MANAGER_REQUEST") if words else "MANAGER_REQUEST"
    chosen = [c for c in switch.channels.values() if len(words) < 3 or c.get(words[1]) == words[2]]
    for channel in chosen:
        channel.hangup(cause)
    if len(words) > 2:
        return f"+OK hangup all channels matching [{words[1]}]=[{words[2]}] with cause: {cause}\n"
    return f"+OK hangup all channels with cause {cause}\n"


@command("show")
async def show(switch: Switch, arguments: str, _: Channel | None) -> str:
    """``channels|calls [count]``."""
    words = arguments.lower().split()
    if not words or words[0] not in ("channels", "calls"):
        return "-USAGE: calls [count]|channels [count]\n"
    living = [channel for channel in switch.channels.values() if channel.up]
    if words[0] == "calls":
        living = [channel for channel in living if channel.originator or not channel.bridged]
    total = f"\n{len(living)} total.\n"
    if "count" in words or not living:
        return total
    return "\n".join([_CHANNELS, *map(_row, living)]) + "\n" + total


def _row(channel: Channel) -> str:
    profile = channel.profile
    created = profile.times.created // 1_000_000
    who = (profile.caller_id_name, profile.caller_id_number, profile.network_addr, profile.destination_number)
    doing = (channel.get("current_application") or "", channel.get("current_application_data") or "")
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created))
    codec = ("PCMU", "8000", "64000") * 2
    first = (channel.uuid, profile.direction, stamp, str(created), channel.name, channel.running_state.name)
    rest = ("", "", "", "", "", channel.call_state, "", "", "", channel.variables.get("call_uuid", ""), "", "")
    return ",".join((*first, *who, *doing, profile.dialplan, profile.context, *codec, *rest, *who, "XML", ""))


@command("status")
async def status(switch: Switch, _: str, __: Channel | None) -> str:
    seconds = int(time.time() - switch.started)
    up = f"{seconds // 86400} days, {seconds // 3600 % 24} hours, {seconds // 60 % 60} minutes, {seconds % 60} seconds"
    living = sum(channel.up for channel in switch.channels.values())
    return (
        f"UP 0 years, {up}, 0 milliseconds, 0 microseconds\n"
        f"FreeSWITCH (Version {VERSION} embedded) is ready\n"
        f"{switch.sessions} session(s) since startup\n"
        f"{living} session(s) - peak {living}, last 5min {living} \n"
    )


@command("version")
async def version(_: Switch, arguments: str, __: Channel | None) -> str:
    return VERSION if arguments.strip() == "short" else f"FreeSWITCH Version {VERSION}-embedded (Strowger)\n"


@command("sofia")
async def sofia(switch: Switch, arguments: str, _: Channel | None) -> str:
    """``status [profile NAME | gateway]``, and ``profile NAME rescan``, which does nothing."""
    words = arguments.split()
    host, port = switch.endpoint.address[:2] if switch.endpoint else ("", 0)
    name, url, rule = switch.options.profile, f"sip:mod_sofia@{host}:{port}", "=" * 97
    if words[:2] == ["status", "gateway"]:
        return f"{rule}\n0 gateways: Inbound(Failed/Total): 0/0,Outbound(Failed/Total):0/0\n"
    if words[:2] == ["status", "profile"]:
        if words[2:3] != [name]:
            return "Invalid Profile!\n"
        lines = {"Name": name, "Dialplan": "XML", "Context": switch.options.context, "SIP-IP": host, "URL": url}
        return "\n".join([rule, *(f"{key:<17}\t{value}" for key, value in lines.items()), rule, ""])
    if words[:1] == ["status"]:
        living = sum(channel.up for channel in switch.channels.values())
        head = f"{'Name':>25}\t{'Type':>7}\t{'Data':>42}\tState\n{rule}\n"
        return f"{head}{name:>25}\tprofile\t{url:>42}\tRUNNING ({living})\n{rule}\n1 profile 0 aliases\n"
    if words[:1] == ["profile"] and len(words) > 2 and words[1] == name and words[2] == "rescan":
        return "+OK scan complete\n"
    return "-ERR sofia: status, or profile NAME rescan\n"


@command("fsctl")
async def fsctl(switch: Switch, arguments: str, _: Channel | None) -> str:
    """``pause``, ``resume``, ``pause_check``, ``hupall [cause]``, ``shutdown``."""
    words = arguments.lower().split()
    match words[0] if words else "":
        case "pause" | "resume" as word if switch.endpoint:
            switch.endpoint.paused = word == "pause"
            return "+OK\n"
        case "pause_check":
            return "true" if switch.endpoint and switch.endpoint.paused else "false"
        case "hupall":
            return await hupall(switch, " ".join(words[1:]), None)
        case "shutdown":
            switch.stopping.set()
            return "+OK\n"
    return "-ERR Invalid command\nUSAGE: fsctl [hupall|pause|resume|pause_check|shutdown]\n"


