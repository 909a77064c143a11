"""``python -m bench.media``: the media tier, beside mod_lua on the same FreeSWITCH."""
