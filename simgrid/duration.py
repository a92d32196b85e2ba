"""Lengths of time as scenario authors write them: `40 days`, `90 s`, `2h`, or plain seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "w": 604800.0,
    "week": 604800.0,
}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def seconds(value: object) -> float:
    """Seconds in `value`: a number, or a number with a unit. Raises ValueError on anything else or if negative."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        number, unit = float(value), "s"
    else:
        match = _FORM.fullmatch(str(value))
        if match is None:
            raise ValueError(f"{value!r} is not a length of time; write for example '40 days', '90 s' or '2 h'")
        number, unit = float(match[1]), match[2].lower() or "s"
    factor = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
    if factor is None:
        raise ValueError(f"unknown unit of time {unit!r} in {value!r}; known: s, min, h, days, weeks")
    if number < 0:
        raise ValueError(f"a length of time cannot be negative: {value!r}")
    return number * factor


Duration = Annotated[float, BeforeValidator(seconds)]
