"""The tables of moves, and that the SQL takes its moves from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory import states
from dynamo_ops.inventory.states import (
    DeletionObservation,
    DeletionState,
    SubscriptionEvent,
    SubscriptionState,
    TransferObservation,
    TransferState,
    next_state,
)
from dynamo_ops.transfer import observe


@pytest.mark.parametrize(
    ("state", "seen", "after"),
    [
        (TransferState.PLANNED, TransferObservation.QUEUED, TransferState.SUBMITTED),
        (TransferState.PLANNED, TransferObservation.FINISHED, TransferState.DONE),
        (TransferState.SUBMITTED, TransferObservation.STAGING, TransferState.STAGING),
        (TransferState.STAGING, TransferObservation.QUEUED, TransferState.SUBMITTED),
        (TransferState.ACTIVE, TransferObservation.QUEUED, TransferState.SUBMITTED),
        (TransferState.ACTIVE, TransferObservation.WRONG_SIZE, TransferState.FAILED),
        (TransferState.ACTIVE, TransferObservation.LOST, TransferState.FAILED),
        (TransferState.DONE, TransferObservation.FAILED, TransferState.DONE),
        (TransferState.FAILED, TransferObservation.FINISHED, TransferState.FAILED),
        (SubscriptionState.HELD, SubscriptionEvent.RELEASE, SubscriptionState.RETRY),
        (SubscriptionState.INBATCH, SubscriptionEvent.ATTEMPT_FAILED, SubscriptionState.RETRY),
        (SubscriptionState.CANCELLED, SubscriptionEvent.FULFILLED, SubscriptionState.CANCELLED),
        (DeletionState.PLANNED, DeletionObservation.NOT_FOUND, DeletionState.GONE),
    ],
    ids=lambda value: value.value,
)
def test_move(state: TransferState, seen: TransferObservation, after: TransferState) -> None:
    assert next_state(state, seen) == after


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (SubscriptionState.DONE, SubscriptionEvent.BATCHED),
        (SubscriptionState.CANCELLED, SubscriptionEvent.RELEASE),
        (SubscriptionState.HELD, SubscriptionEvent.BATCHED),
        (DeletionState.DONE, DeletionObservation.REFUSED),
    ],
    ids=lambda value: value.value,
)
def test_illegal_move_is_refused(state: SubscriptionState, seen: SubscriptionEvent) -> None:
    with pytest.raises(InventoryError, match=state.value):
        next_state(state, seen)


@given(st.sampled_from(TransferState), st.lists(st.sampled_from(TransferObservation)))
def test_transfers_take_every_observation_twice_without_harm(state: TransferState, seen: list) -> None:
    for observation in seen:
        state = next_state(state, observation)
        assert next_state(state, observation) == state


@given(st.sampled_from(states.ENDED_TRANSFERS), st.sampled_from(TransferObservation))
def test_ended_transfers_stay(state: TransferState, seen: TransferObservation) -> None:
    assert next_state(state, seen) == state


def test_every_end_of_an_attempt_is_told_to_the_subscription() -> None:
    assert set(states.TRANSFER_OUTCOMES) == set(states.ENDED_TRANSFERS)
    assert set(states.DELETION_OUTCOMES) == set(DeletionObservation)


def test_sql_moves_are_the_table() -> None:
    for state, seen, after in observe.moves_frame().iter_rows():
        assert next_state(TransferState(state), TransferObservation(seen)).value == after
    for ended, state, after in observe.subscription_moves_frame().iter_rows():
        event = states.TRANSFER_OUTCOMES[TransferState(ended)]
        assert next_state(SubscriptionState(state), event).value == after


def test_withdrawn_touches_the_active_states() -> None:
    assert set(states.sources_of(SubscriptionEvent.WITHDRAWN)) == set(states.ACTIVE)
