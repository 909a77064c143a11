"""What a call script works with: FreeSWITCH's Lua API, in asyncio."""
