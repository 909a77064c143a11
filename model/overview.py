"""How all calls together are counted, in slots of time; plain values."""

from __future__ import annotations

SIZES = {10: 3 * 3600, 300: 26 * 3600}
"Seconds of a slot to the seconds for which such slots are kept: fine ones for what is going on, coarse ones for a day."

BySlot = dict[tuple[int, int], dict[str, int]]
"Size and number of a slot (Unix time divided by the size) to what was counted; see agent/overview.py."
