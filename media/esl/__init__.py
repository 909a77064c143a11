"""The event socket of FreeSWITCH (ESL): protocol, connections, inbound client and outbound server."""
