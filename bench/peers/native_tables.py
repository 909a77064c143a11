"""Fills the htables of native.cfg when Kamailio starts; the calls themselves never come here."""

from __future__ import annotations

import os
from typing import Any

import KSR

BLOCK = 1
# prefixes.txt names routes; native.cfg and dispatcher.list know them by the number of their set.
SETS = {"main": 1, "detour": 2}


class Handler:
    """What app_python3 wants to see."""

    def child_init(self, rank: int) -> int:
        """The main process (rank 0) fills the tables, which all processes share."""
        if rank == 0:
            fill(os.environ["BENCH_ENTRIES"], os.environ["BENCH_PREFIXES"])
        return 1


def fill(entries: str, prefixes: str) -> None:
    """Both files hold a record a line: ``kind,value`` and ``prefix,route``, after a first line of names."""
    put = KSR.htable.sht_seti
    with open(entries) as lines:
        next(lines)
        for line in lines:
            kind, _, value = line.rstrip("\n").partition(",")
            put("entries", f"{kind}:{value}", BLOCK)
    with open(prefixes) as lines:
        next(lines)
        for line in lines:
            prefix, _, route = line.rstrip("\n").partition(",")
            put("prefixes", prefix, SETS[route])


def mod_init() -> Any:
    """The object whose methods Kamailio calls."""
    return Handler()
