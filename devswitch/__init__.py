"""The embedded switch: a small SIP, RTP and ESL switch for machines without FreeSWITCH."""
