"""Words for people."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.text import counts_text


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({"num_done": 43_600, "bytes_done": 4_670_080, "num_failed": 0}, "done 43,600, bytes done 4.67 MB"),
        ({"size_bytes": 900, "outcome": "submitted"}, "size bytes 900 B, outcome submitted"),
        ({"num_open": 1, "requests": {"num_completed": 2, "num_rejected": 0}}, "open 1, requests: completed 2"),
        ({"unsubmitted": [4, 7], "held": {}, "observed": None, "is_changed": True}, "unsubmitted 2"),
        ({"num_done": 0, "reasons": ()}, "nothing"),
        ({}, "nothing"),
    ],
)
def test_counts_in_a_line(counts: dict[str, Any], text: str) -> None:
    assert counts_text(counts) == text
