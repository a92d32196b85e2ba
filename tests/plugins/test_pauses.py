"""A pause makes a skipped task of an act; anything else stays what it is."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError, PausedError


def test_what_is_stopped_is_skipped_and_says_why(airflow: None) -> None:
    from airflow.sdk.exceptions import AirflowSkipException
    from dynamo_airflow.pauses import skipped_when_stopped

    @skipped_when_stopped
    def act(error: Exception | None) -> int:
        if error:
            raise error
        return 7

    with pytest.raises(AirflowSkipException, match="nothing is done: everything stopped by ada"):
        act(PausedError("nothing is done: everything stopped by ada"))
    with pytest.raises(InventoryError, match="unknown"):
        act(InventoryError("unknown"))
    assert act(None) == 7
    assert act.__name__ == "act"
