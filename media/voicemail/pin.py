"""PINs: hashed by scrypt (RFC 7914), and refused where they are the first that somebody would try."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from itertools import pairwise

# 16 MB and some 50 ms for each try: who gets hold of a box's file has ten thousand PINs of four digits to go through.
COST, BLOCK, PARALLEL = 1 << 14, 8, 1
_SALT, _SIZE = 16, 32
_COST_MAX = 1 << 20
SHORTEST, LONGEST = 4, 16


def weak(pin: str, box: str) -> str:
    """Why a PIN is refused, or an empty text. ``box``: the box's number."""
    if not pin:
        return "a PIN must not be empty"
    if not (pin.isascii() and pin.isdigit()):
        return "a PIN has digits only"
    if len(pin) < SHORTEST:
        return f"a PIN has {SHORTEST} digits at least"
    if len(pin) > LONGEST:
        return f"a PIN has {LONGEST} digits at most"
    if len(set(pin)) == 1:
        return "a PIN must not be one digit repeated"
    if _is_run(pin):
        return "a PIN must not be digits in their order"
    digits = "".join(char for char in box if char.isdigit())
    if digits and (digits.endswith(pin) or pin.endswith(digits)):
        return "a PIN must not be the box's number, or its end"
    return ""


def _is_run(pin: str) -> bool:
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(pin)}
    # 7890 and 3210 too: the row of keys ends with the 0.
    return steps in ({1}, {9})


def hashed(pin: str) -> str:
    """``scrypt$n$r$p$salt$hash``; takes some 50 ms of one core."""
    salt = secrets.token_bytes(_SALT)
    digest = _scrypt(pin, salt, COST, BLOCK, PARALLEL, _SIZE)
    return "$".join(
        ("scrypt", f"{COST}", f"{BLOCK}", f"{PARALLEL}", b64encode(salt).decode(), b64encode(digest).decode())
    )


def fits(pin: str, pin_hash: str) -> bool:
    """Whether ``pin`` is the one that was hashed; never where none is set. As slow as the hash says."""
    try:
        kind, cost, block, parallel, salt, digest = pin_hash.split("$")
        numbers, wanted = (int(cost), int(block), int(parallel)), b64decode(digest, validate=True)
        if kind != "scrypt" or not pin or not wanted or numbers[0] > _COST_MAX:
            return False
        found = _scrypt(pin, b64decode(salt, validate=True), *numbers, len(wanted))
    except ValueError:
        return False
    return hmac.compare_digest(found, wanted)


def _scrypt(pin: str, salt: bytes, cost: int, block: int, parallel: int, size: int) -> bytes:
    memory = 128 * cost * block * 2 + (1 << 20)
    return hashlib.scrypt(pin.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=memory, dklen=size)
