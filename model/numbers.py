"""Telephone numbers as the trunks dial them.

A number is carried in one of two spellings only: E.164 with its plus sign (``+442079460000``), or a literal
(``1001``, ``alice``, ``112``) that belongs to no public plan. Both sides of every comparison go through
:func:`normalise` first, so that ``+44 20 7946 0000``, ``0044 20 7946 0000`` and, on a British trunk,
``020 7946 0000`` are one number.

Plain prefixes are used instead of a numbering library: a trunk says how it dials, and that is both cheaper and
surer than guessing (a library reads ``0442079460000`` as a number of another country).
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, replace

# E.164 section 6.2.1: at most 15 digits, country code included.
E164_MAX_DIGITS = 15
# Longer than any private plan with its routing prefixes; what exceeds it is no number at all.
LITERAL_MAX_LENGTH = 64

# RFC 3261 sections 19.1.4 and 25.1: what need not be escaped in a user part means the same when it is.
_NEVER_ESCAPED = frozenset(string.ascii_letters + string.digits + "-_.!~*'()&=+$,/")
_ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
_SEPARATORS = str.maketrans("", "", " -.()/\t\u00a0")


@dataclass(frozen=True, slots=True)
class Dialling:
    """How one side of a trunk writes numbers."""

    country_code: str = ""
    "Digits without plus, for instance ``44``; empty: national spellings stay literal."
    international_prefixes: tuple[str, ...] = ("00",)
    "What is dialled before a country code."
    national_prefix: str = "0"
    "What is dialled before a national number; empty where there is none."
    national_lengths: tuple[int, ...] = ()
    "Lengths at which bare digits are a national number, for instance 10 in North America."
    e164_without_plus: bool = False
    "Bare digits longer than an extension are E.164 without its plus sign, as many carriers send them."
    extension_digits: int = 6
    "Digit strings up to this length stay literal: extensions and short codes."


# No digits are long enough to be anything else than an extension.
_LITERAL = Dialling(extension_digits=LITERAL_MAX_LENGTH)


def as_dialled(number: str) -> str:
    """The literal ``number`` without visual separators and parameters, whatever plan it was dialled by."""
    return normalise(number, _LITERAL)


def normalise(number: str, dialling: Dialling) -> str:
    """The one spelling of ``number``: ``+`` and digits, or the literal itself.

    ``number`` is the user part of a SIP or tel URI, or what an operator typed. Never raises: what is not a
    dialled number comes back as it is, without visual separators if it consists of digits (RFC 3966 section 5.1.1).
    """
    if number.isascii():
        if number.isdigit():
            # As most numbers come, and nearly all others next.
            return _from_digits(number, dialling)
        if number.startswith("+") and number[1:].isdigit():
            return number
    user = _unescaped(number.partition(";")[0])
    if "(" in user:
        user = _without_bracketed_prefix(user, dialling)
    digits = user.translate(_SEPARATORS)
    if digits.startswith("+"):
        return digits if _is_digits(digits[1:]) else user
    return _from_digits(digits, dialling) if _is_digits(digits) else user


def _from_digits(digits: str, dialling: Dialling) -> str:
    count = len(digits)
    if count <= dialling.extension_digits:
        return digits
    for prefix in dialling.international_prefixes:
        if digits.startswith(prefix):
            return "+" + digits[len(prefix) :]
    if country := dialling.country_code:
        if count in dialling.national_lengths:
            return f"+{country}{digits}"
        prefix = dialling.national_prefix
        if prefix and digits.startswith(prefix):
            return f"+{country}{digits[len(prefix) :]}"
    return "+" + digits if dialling.e164_without_plus else digits


def normalise_beginning(text: str, dialling: Dialling) -> str:
    """How the normalised numbers begin that are dialled with the beginning ``text``.

    A beginning may be as short as an extension and yet be part of a national or international number.
    """
    return normalise(text, replace(dialling, extension_digits=0, national_lengths=(), e164_without_plus=False))


def _without_bracketed_prefix(user: str, dialling: Dialling) -> str:
    # +44 (0)20 7946 0000 is written for two readers: only the one at home dials what stands in brackets.
    country, prefix = f"+{dialling.country_code}", f"({dialling.national_prefix})"
    rest = user.removeprefix(country).lstrip(" .-")
    if len(country) > 1 and len(prefix) > 2 and user.startswith(country) and rest.startswith(prefix):
        return country + rest.removeprefix(prefix)
    return user


def is_dialable(number: str) -> bool:
    """Whether a normalised number can belong to any plan: not empty, and no longer than plans allow."""
    return (1 < len(number) <= E164_MAX_DIGITS + 1) if number.startswith("+") else 0 < len(number) <= LITERAL_MAX_LENGTH


def _unescaped(user: str) -> str:
    def plain(escape: re.Match[str]) -> str:
        char = chr(int(escape[1], 16))
        return char if char in _NEVER_ESCAPED else escape[0].upper()

    return _ESCAPE.sub(plain, user) if "%" in user else user


def _is_digits(text: str) -> bool:
    # str.isdigit alone accepts other scripts' digits, which no gateway would understand.
    return text.isascii() and text.isdigit()
