"""Which gates there are, and what can come of a check. Light to load: who only talks of it needs no database."""

from __future__ import annotations

from enum import StrEnum

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.text import near

GATES = ("metadata", "sites", "accesses", "demand", "freshness", "detox", "dealer")
"""Every gate by the name under which its results are kept."""


class Verdict(StrEnum):
    """What came of a check. ``warned``: it failed, and its gate lets that through."""

    PASSED = "passed"
    REFUSED = "refused"
    WARNED = "warned"


def check_gate(name: str) -> None:
    """Raises InventoryError, with near names, for a gate that there is not."""
    if name not in GATES:
        raise InventoryError(f"there is no gate {name!r}, only {', '.join(GATES)}.{near(name, GATES)}", gate=name)
