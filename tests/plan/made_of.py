"""Inputs of plans for tests that store one by hand: texts of a line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dynamo_ops.plan.inputs import DealerInputs, DetoxInputs
from dynamo_ops.policy.language.source import SourceText

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def made_of(
    kind: str = "detox", partition: str = "physics", policy: str = "Dismiss", now: datetime = NOW, **changes: Any
) -> DetoxInputs | DealerInputs:
    """What a plan of this kind and partition could have been made of; ``policy``: the text."""
    values: dict[str, Any] = {
        "partition": partition,
        "now": now,
        "policy": SourceText(f"{partition}.txt", policy),
        "partitions": SourceText("partitions.txt", f"{partition}: dataset.name == /*/*/*"),
        "rules": None,
        "attribute_max_age_h": 168,
        **changes,
    }
    if kind == "dealer":
        return DealerInputs(**{"seed": 1, **values})
    return DetoxInputs(**{"deletion_per_iteration": 0.01, "protected_sites": (), **values})
