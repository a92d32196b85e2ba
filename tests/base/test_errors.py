"""The tree of errors: drawn, complete, and of use to its reader."""

from __future__ import annotations

import pickle
import re

import pytest

from dynamo_ops.base import errors
from dynamo_ops.base.errors import DynamoError


def classes(of: type[DynamoError]) -> list[type[DynamoError]]:
    return [of, *(each for child in of.__subclasses__() for each in classes(child))]


OURS = [each for each in classes(DynamoError) if each.__module__ == errors.__name__]


def test_the_drawing_shows_every_class_below_its_parent() -> None:
    drawn: dict[str, str | None] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"([│├└─ ]*)([A-Z]\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            drawn[found[2]] = above[depth - 1] if depth else None
    real = {each.__name__: each.__base__.__name__ if each is not DynamoError else None for each in OURS}  # type: ignore[union-attr]
    assert drawn == real


@pytest.mark.parametrize("kind", OURS, ids=lambda kind: kind.__name__)
def test_every_class_says_what_it_means_and_what_to_do_next(kind: type[DynamoError]) -> None:
    assert kind.__doc__
    assert kind.next_step.endswith(".")
    branches = {errors.RemoteError, errors.SourceDataError}  # told apart below, or as their parent
    assert kind in {DynamoError, *branches} or kind.next_step != DynamoError.next_step


def test_only_what_may_pass_is_tried_again() -> None:
    assert [kind.__name__ for kind in OURS if kind.retryable] == ["RetryableRemoteError", "ServiceIllError"]


def test_facts_are_attributes() -> None:
    error = errors.InventoryError("unknown site 'T9_X'", site="T9_X")
    assert (str(error), error.message, error.site, error.facts) == (
        "unknown site 'T9_X'",
        "unknown site 'T9_X'",
        "T9_X",
        {"site": "T9_X"},
    )
    with pytest.raises(AttributeError, match="InventoryError has no attribute 'dataset'"):
        _ = error.dataset


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.GateError("refused", gate="metadata", failures=["block_size"])))
    assert (type(error), str(error), error.gate, error.failures) == (
        errors.GateError,
        "refused",
        "metadata",
        ["block_size"],
    )
