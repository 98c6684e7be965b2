"""Lengths of time as `schedule`, `watch` and `notify` write them: `90s`, `10m`, `6h`, `7d`, `2w`."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

PATTERN = r"^([0-9]{1,5}w)?([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$"
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_ADVICE = "write a number with a unit, as in 90s, 10m, 6h, 7d or 2w (`m` is minutes here; months are only in `keep`)"


def parsed(text: str) -> timedelta:
    """A length of time from its spelling.

    Args:
        text: one or more numbers with units, the largest first: `w` weeks, `d` days, `h` hours, `m` minutes, `s` seconds.

    Raises:
        ValueError: it is none; the message is "problem; advice".
    """
    if not text or not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is no length of time; {_ADVICE}")
    found = re.findall(r"([0-9]+)([wdhms])", text)
    return timedelta(seconds=sum(int(number) * _SECONDS[unit] for number, unit in found))


def spelled(length: timedelta) -> str:
    """A length of time as a person would write it: `1d12h`, `90s` becomes `1m30s`. Parts of a second are left out."""
    rest, words = int(length.total_seconds()), ""
    for unit, seconds in _SECONDS.items():
        number, rest = divmod(rest, seconds)
        words += f"{number}{unit}" if number else ""
    return words or "0s"


def _taken(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else parsed(str(value))


Duration = Annotated[
    timedelta,
    BeforeValidator(_taken),
    PlainSerializer(spelled, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN}),
]
"""A length of time, in settings that run by the clock: `m` is minutes. In `Span`, that of `keep`, it is months.

A default is written as a text, `Field("24h", validate_default=True)`: so it stands in the schema and the reference.
"""
