"""Words for people."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.text import close_names, counts_text


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


def test_a_slip_is_found_among_many_names_wherever_it_is() -> None:
    names = [f"/Primary{number:05}/Run2026{letter}-v1/AOD" for number in range(2_000) for letter in "AB"]
    for slip in ("/Pimary01234/Run2026A-v1/AOD", "/primary01234/Run2026A-v1/AO", "/Primary01234/Run206A-v1/AOD"):
        assert close_names(slip, names)[0] == "/Primary01234/Run2026A-v1/AOD"
    assert close_names("zzz", names) == []
