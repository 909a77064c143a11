"""A stream of events as FreeSWITCH sends it; written after one of its own."""

from __future__ import annotations

from urllib.parse import quote

UUID = "5f2f3d3e-8a25-4bb0-9a26-6f3f6d0f2c11"
CALLER = "1000@192.0.2.20:5060"
CALLEE = "5000@192.0.2.10:5060"
_HEADERS = f"""
Event-Name: CHANNEL_EXECUTE_COMPLETE
Core-UUID: c3f2b5a0-64d1-4d55-9d1e-0a4f1f3b7c10
FreeSWITCH-Hostname: media-1
FreeSWITCH-Switchname: media-1
FreeSWITCH-IPv4: 192.0.2.10
FreeSWITCH-IPv6: ::1
Event-Date-Local: 2025-06-01 10:20:30
Event-Date-GMT: Sun, 01 Jun 2025 10:20:30 GMT
Event-Date-Timestamp: 1748773230123456
Event-Calling-File: switch_core_session.c
Event-Calling-Function: switch_core_session_exec
Event-Calling-Line-Number: 2972
Event-Sequence: 100000
Channel-State: CS_EXECUTE
Channel-Call-State: ACTIVE
Channel-State-Number: 4
Channel-Name: sofia/internal/{CALLER}
Unique-ID: {UUID}
Call-Direction: inbound
Presence-Call-Direction: inbound
Channel-HIT-Dialplan: true
Channel-Call-UUID: {UUID}
Answer-State: answered
Channel-Read-Codec-Name: PCMU
Channel-Read-Codec-Rate: 8000
Channel-Read-Codec-Bit-Rate: 64000
Channel-Write-Codec-Name: PCMU
Channel-Write-Codec-Rate: 8000
Channel-Write-Codec-Bit-Rate: 64000
Caller-Direction: inbound
Caller-Logical-Direction: inbound
Caller-Username: 1000
Caller-Dialplan: XML
Caller-Caller-ID-Name: Alice Example
Caller-Caller-ID-Number: 1000
Caller-Orig-Caller-ID-Name: Alice Example
Caller-Orig-Caller-ID-Number: 1000
Caller-Network-Addr: 192.0.2.20
Caller-ANI: 1000
Caller-Destination-Number: 5000
Caller-Unique-ID: {UUID}
Caller-Source: mod_sofia
Caller-Context: strowger
Caller-Channel-Name: sofia/internal/{CALLER}
Caller-Profile-Index: 1
Caller-Profile-Created-Time: 1748773229000001
Caller-Channel-Created-Time: 1748773229000001
Caller-Channel-Answered-Time: 1748773229100001
Caller-Channel-Progress-Time: 0
Caller-Channel-Progress-Media-Time: 0
Caller-Channel-Hangup-Time: 0
Caller-Channel-Transfer-Time: 0
Caller-Channel-Resurrect-Time: 0
Caller-Channel-Bridged-Time: 0
Caller-Channel-Last-Hold: 0
Caller-Channel-Hold-Accum: 0
Caller-Screen-Bit: true
Caller-Privacy-Hide-Name: false
Caller-Privacy-Hide-Number: false
variable_direction: inbound
variable_uuid: {UUID}
variable_session_id: 17
variable_sip_from_user: 1000
variable_sip_from_port: 5060
variable_sip_from_uri: {CALLER}
variable_sip_from_host: 192.0.2.20
variable_video_media_flow: disabled
variable_text_media_flow: disabled
variable_channel_name: sofia/internal/{CALLER}
variable_ep_codec_string: CORE_PCM_MODULE.PCMU@8000h@20i@64000b
variable_sip_call_id: 1-4711@192.0.2.20
variable_sip_local_network_addr: 192.0.2.10
variable_sip_network_ip: 192.0.2.20
variable_sip_network_port: 5060
variable_sip_invite_stamp: 1748773229000001
variable_sip_received_ip: 192.0.2.20
variable_sip_received_port: 5060
variable_sip_via_protocol: udp
variable_sip_from_user_stripped: 1000
variable_sofia_profile_name: internal
variable_recovery_profile_name: internal
variable_sip_full_via: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK-4711-1-0
variable_sip_req_user: 5000
variable_sip_req_port: 5060
variable_sip_req_uri: {CALLEE}
variable_sip_req_host: 192.0.2.10
variable_sip_to_user: 5000
variable_sip_to_port: 5060
variable_sip_to_uri: {CALLEE}
variable_sip_to_host: 192.0.2.10
variable_sip_contact_user: 1000
variable_sip_contact_port: 5060
variable_sip_contact_uri: {CALLER}
variable_sip_contact_host: 192.0.2.20
variable_rtp_use_codec_string: PCMU,PCMA
variable_sip_via_host: 192.0.2.20
variable_sip_via_port: 5060
variable_max_forwards: 69
variable_call_uuid: {UUID}
variable_current_application: playback
variable_read_codec: PCMU
variable_read_rate: 8000
variable_write_codec: PCMU
variable_write_rate: 8000
variable_endpoint_disposition: ANSWER
variable_dtmf_type: rfc2833
variable_local_media_ip: 192.0.2.10
variable_local_media_port: 17000
variable_advertised_media_ip: 192.0.2.10
variable_rtp_use_pt: 0
variable_rtp_use_ssrc: 3141592653
variable_remote_media_ip: 192.0.2.20
variable_remote_media_port: 6000
variable_playback_last_offset_pos: 0
variable_playback_seconds: 0
variable_playback_ms: 200
Application: playback
Application-Data: tone_stream://%(200,0,440)
Application-Response: FILE PLAYED
"""


def event(number: int) -> bytes:
    """One event of 4 kB and 120 headers, with its frame (read_packet() of mod_event_socket.c)."""
    lines = []
    for line in [*_HEADERS.strip().splitlines(), f"Application-UUID: 00000000-0000-4000-8000-{number:012d}"]:
        name, _, value = line.partition(": ")
        # As switch_url_encode() does.
        lines.append(f"{name}: {quote(value, safe='/!$()*,')}")
    body = "\n".join(lines).encode() + b"\n\n"
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(body) + body


def stream(different: int = 250) -> bytes:
    """Some events, to be sent again and again."""
    return b"".join(map(event, range(different)))
