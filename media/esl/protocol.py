"""Bytes in, messages out: the framing of the event socket, without any I/O."""
