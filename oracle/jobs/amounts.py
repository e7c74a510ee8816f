"""Amounts of money: text people write, integers the chain counts."""

from __future__ import annotations

import re

from oracle.jobs.errors import InputError

MAX_AMOUNT = 2**96 - 1
_UNITS = {"wei": 0, "gwei": 9, "ether": 18, "eth": 18}
_AMOUNT = re.compile(r"([0-9]{1,30}(?:\.[0-9]{1,18})?)\s*([a-zA-Z]*)")


def parse_amount(text: str | int, field: str = "amount") -> int:
    """Smallest units (wei) meant by ``text``: ``"0.01 ether"``, ``"25 gwei"``, ``"1000"`` or an int.

    A bare number is in wei. Raises :class:`InputError` for anything negative, fractional in wei, or above the
    contract's 96 bits.
    """
    if isinstance(text, bool) or not isinstance(text, (str, int)):
        raise InputError("is not an amount", field=field, remedy='write for example "0.01 ether"')
    if isinstance(text, int):  # a very long one cannot even be printed
        text = str(text) if abs(text) <= MAX_AMOUNT else hex(text)
    match = _AMOUNT.fullmatch(text.strip())
    if not match or (match[2] and match[2].lower() not in _UNITS):
        raise InputError(f"{text[:40]!r} is not an amount", field=field, remedy='write for example "0.01 ether"')
    whole, _, fraction = match[1].partition(".")
    places = _UNITS[match[2].lower() or "wei"]
    fraction = fraction.rstrip("0")
    if len(fraction) > places:
        raise InputError(f"{text!r} is a fraction of a wei", field=field, remedy="use a unit, such as ether")
    value = int(whole + fraction.ljust(places, "0"))
    if value > MAX_AMOUNT:
        raise InputError(f"{text!r} is more than fits 96 bits", field=field, remedy="use a smaller amount")
    return value


def format_wei(value: int) -> str:
    """``value`` wei as people read it, exact: ``0.01 ether``, ``25 gwei``, ``7 wei``."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    if value == 0:
        return "0"
    if value >= 10**14:
        return f"{sign}{_scaled(value, 18)} ether"
    if value >= 10**5:
        return f"{sign}{_scaled(value, 9)} gwei"
    return f"{sign}{value} wei"


def _scaled(value: int, places: int) -> str:
    whole, fraction = divmod(value, 10**places)
    text = f"{whole}.{fraction:0{places}d}".rstrip("0").rstrip(".")
    return text
