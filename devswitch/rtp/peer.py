"""Whose packets belong to a stream."""

from __future__ import annotations

Address = tuple[str, int]

# autoadj_threshold of switch_rtp.c.
THRESHOLD = 10


class Peer:
    """Who is at the address of the session description, or behind NAT and sends from elsewhere (symmetric RTP).

    As in FreeSWITCH (rtp_common_read of switch_rtp.c), packets of others are no longer taken once one came from the
    described address, or ten came from elsewhere: callers whom a killed switch has forgotten go on sending to ports
    that its successor gives to others. Unlike there, the described address counts also when it comes late.
    """

    def __init__(self, described: Address) -> None:
        self.address = self._described = described
        "Where packets go."
        self._others = 0

    def takes(self, source: Address) -> bool:
        """Whether a packet that came from there is the peer's."""
        if source == self._described:
            self.address, self._others = source, THRESHOLD
        elif self._others < THRESHOLD:
            self.address, self._others = source, self._others + 1
        return source == self.address
