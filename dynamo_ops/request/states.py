"""What a request and its actions can be, and which moves are legal.

Each machine is a table: (state, event) → state. A pair that is not in the table is not legal. Events that change
nothing are written out, so that a repeated event is harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from dynamo_ops.database.words import Words
from dynamo_ops.inventory.states import moved, moved_by


class RequestKind(StrEnum):
    """What is asked for."""

    COPY = "copy"
    DELETION = "deletion"


class RequestState(StrEnum):
    """Open: new (nobody has looked at it), activated (something is done for it). The others are for good."""

    NEW = "new"
    ACTIVATED = "activated"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class RequestEvent(StrEnum):
    """What can happen to a request. ``ACTED``: a Dealer plan makes copies, or a deletion was accepted."""

    ASKED_AGAIN = "asked_again"
    ACTED = "acted"
    FULFILLED = "fulfilled"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class ActionState(StrEnum):
    """What is done for a request at one site. ``failed``: undone by others, ``refused``: never begun; with a reason."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"


class ActionEvent(StrEnum):
    """What can happen to an action. ``PLANNED``: a later plan, or the request asked again, takes it up once more."""

    PLANNED = "planned"
    FOUND = "found"
    UNDONE = "undone"
    WITHDRAWN = "withdrawn"


_R, _E = RequestState, RequestEvent
_A, _F = ActionState, ActionEvent

REQUEST_MOVES: Mapping[tuple[RequestState, RequestEvent], RequestState] = {
    (_R.NEW, _E.ASKED_AGAIN): _R.NEW,
    (_R.ACTIVATED, _E.ASKED_AGAIN): _R.ACTIVATED,
    (_R.NEW, _E.ACTED): _R.ACTIVATED,
    (_R.ACTIVATED, _E.ACTED): _R.ACTIVATED,
    (_R.NEW, _E.FULFILLED): _R.COMPLETED,
    (_R.ACTIVATED, _E.FULFILLED): _R.COMPLETED,
    (_R.NEW, _E.REFUSED): _R.REJECTED,
    (_R.ACTIVATED, _E.REFUSED): _R.REJECTED,
    (_R.NEW, _E.WITHDRAWN): _R.CANCELLED,
    (_R.ACTIVATED, _E.WITHDRAWN): _R.CANCELLED,
    # A plan made before the request was closed may be committed after; it opens nothing again.
    (_R.COMPLETED, _E.ACTED): _R.COMPLETED,
    (_R.REJECTED, _E.ACTED): _R.REJECTED,
    (_R.CANCELLED, _E.ACTED): _R.CANCELLED,
    (_R.COMPLETED, _E.REFUSED): _R.COMPLETED,
    (_R.REJECTED, _E.REFUSED): _R.REJECTED,
    (_R.CANCELLED, _E.REFUSED): _R.CANCELLED,
}

ACTION_MOVES: Mapping[tuple[ActionState, ActionEvent], ActionState] = {
    (_A.QUEUED, _F.PLANNED): _A.QUEUED,
    (_A.QUEUED, _F.FOUND): _A.DONE,
    (_A.QUEUED, _F.UNDONE): _A.FAILED,
    (_A.QUEUED, _F.WITHDRAWN): _A.CANCELLED,
    # What a later plan, or asking again, takes up: it was lost since, or the reason is gone.
    (_A.DONE, _F.PLANNED): _A.QUEUED,
    (_A.FAILED, _F.PLANNED): _A.QUEUED,
    (_A.REFUSED, _F.PLANNED): _A.QUEUED,
    (_A.DONE, _F.WITHDRAWN): _A.DONE,
    (_A.FAILED, _F.WITHDRAWN): _A.FAILED,
    (_A.REFUSED, _F.WITHDRAWN): _A.REFUSED,
}

State = TypeVar("State", RequestState, ActionState)

_MACHINES: Mapping[type[StrEnum], Mapping[Any, Any]] = {RequestState: REQUEST_MOVES, ActionState: ACTION_MOVES}


def next_state(state: State, event: StrEnum) -> State:
    """The state after ``event``; ``InventoryError`` when the move is not in the table of this kind of state."""
    new_state: State = moved(_MACHINES[type(state)], state, event)
    return new_state


def sources_of(event: RequestEvent | ActionEvent) -> Words[StrEnum]:
    """The states that ``event`` moves to another state: what an UPDATE for this event may touch."""
    return moved_by(REQUEST_MOVES if isinstance(event, RequestEvent) else ACTION_MOVES, event)


OPEN_REQUESTS = Words((_R.NEW, _R.ACTIVATED))
KEPT_ACTIONS = Words((_A.QUEUED, _A.DONE))
