"""The tables of legal moves."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.request.states import (
    ACTION_MOVES,
    OPEN_REQUESTS,
    REQUEST_MOVES,
    ActionEvent,
    ActionState,
    RequestEvent,
    RequestState,
    next_state,
    sources_of,
)

CLOSED = set(RequestState) - set(OPEN_REQUESTS)


def test_what_is_closed_stays_closed() -> None:
    assert all(after == before for (before, _), after in REQUEST_MOVES.items() if before in CLOSED)


@pytest.mark.parametrize("event", [RequestEvent.FULFILLED, RequestEvent.REFUSED, RequestEvent.WITHDRAWN])
def test_only_open_requests_are_closed(event: RequestEvent) -> None:
    assert set(sources_of(event)) == set(OPEN_REQUESTS)


@pytest.mark.parametrize("state", sorted(CLOSED))
def test_a_closed_request_cannot_be_cancelled(state: RequestState) -> None:
    with pytest.raises(InventoryError, match=f"'{state}' does not allow 'withdrawn'"):
        next_state(state, RequestEvent.WITHDRAWN)


@pytest.mark.parametrize(
    ("state", "event", "after"),
    [
        (ActionState.QUEUED, ActionEvent.FOUND, ActionState.DONE),
        (ActionState.QUEUED, ActionEvent.UNDONE, ActionState.FAILED),
        (ActionState.FAILED, ActionEvent.PLANNED, ActionState.QUEUED),
        (ActionState.DONE, ActionEvent.WITHDRAWN, ActionState.DONE),
    ],
)
def test_actions_follow_what_is_found(state: ActionState, event: ActionEvent, after: ActionState) -> None:
    assert next_state(state, event) is after


def test_nothing_leaves_a_cancelled_action() -> None:
    assert not [move for move in ACTION_MOVES if move[0] is ActionState.CANCELLED]
