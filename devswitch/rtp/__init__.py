"""RTP (RFC 3550) and the digits in it (RFC 4733): streams, ports, the jitter buffer. It knows of no SIP."""
