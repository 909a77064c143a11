"""The media tier: FreeSWITCH driven from Python over its event socket."""
