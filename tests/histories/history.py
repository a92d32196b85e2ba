"""A history: drawn from a seed, run step by step, shrunk when something went wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from dynamo_ops.base.errors import DynamoError
from tests.histories.kills import KilledError
from tests.histories.steps import STEPS, WEIGHTS, heal
from tests.histories.witness import WitnessError
from tests.histories.world import NothingToDoError, World

MOST = 1_000
DEATHS = 0.15
"""How many steps die."""
LATEST_DEATH = 60
"""At which of its points a step dies, at the latest."""


class Event(NamedTuple):
    """A step, the numbers that say what it is about, and at which point it dies (None: it does not)."""

    step: str
    a: int
    b: int
    c: int
    dies_at: int | None = None


@dataclass(frozen=True)
class History:
    """``layout``: the number that the world is made by."""

    layout: int
    events: tuple[Event, ...]

    def __str__(self) -> str:
        return "\n".join([f"World {self.layout}", *map(str, self.events)])


@dataclass(frozen=True)
class Violation:
    """What went wrong, at which event (of those from 0)."""

    history: History
    place: int
    error: BaseException

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}\nafter\n{self.history}"


def draw(seed: int, num_steps: int) -> History:
    """The history of a seed."""
    dice = random.Random(seed)
    names = [step.__name__ for step in WEIGHTS]
    events = [
        Event(
            name,
            *(dice.randrange(MOST) for _ in range(3)),
            dies_at=dice.randrange(LATEST_DEATH) if dice.random() < DEATHS else None,
        )
        for name in dice.choices(names, list(WEIGHTS.values()), k=num_steps)
    ]
    return History(dice.randrange(MOST), tuple(events))


def happen(world: World, event: Event) -> bool:
    """One event; whether it came about. ``WitnessError`` when something is wrong then; other errors than
    ``DynamoError`` are wrong by themselves."""
    is_done = False
    try:
        with world.killer.death_after(event.dies_at):
            STEPS[event.step](world, event.a, event.b, event.c)
        is_done = True
    except (KilledError, NothingToDoError, DynamoError):
        pass
    world.witness.look()
    return is_done


def run(world: World, history: History) -> Violation | None:
    """The first thing that goes wrong in a history, or in what follows from it when everybody is well again."""
    world.begin(history.layout)
    for place, event in enumerate(history.events):
        try:
            happen(world, event)
        except Exception as error:
            return Violation(History(history.layout, history.events[: place + 1]), place, error)
    try:
        settle(world)
    except Exception as error:
        return Violation(history, len(history.events), error)
    return None


def settle(world: World) -> None:
    """Storages, sites and FTS are well, nobody locks or pauses anything, and the runs go on: every subscription comes
    to an end, or is held for a person. ``WitnessError`` else."""
    heal(world)
    for _ in range(MOST_ROUNDS):
        for step in ROUND:
            STEPS[step](world, 0, 0, 0)
            world.witness.look()
        moving = world.select(MOVING)
        if not moving:
            return
        world.grow_older(timedelta(days=1))
    raise WitnessError(f"after {MOST_ROUNDS} days in which all was well {len(moving)} move still: {moving[0]}")


MOST_ROUNDS = 25
ROUND = ("begin_transfers", "end_transfers", "look_at_leftovers", "run_deletions", "take_back")
MOVING = """
    SELECT wish.action, wish.state, wish.hold_reason, file.lfn, site.name, wish.last_error
    FROM subscriptions AS wish JOIN files AS file ON file.id = wish.file_id JOIN sites AS site ON site.id = wish.site_id
    WHERE wish.state IN ('new', 'inbatch', 'retry') OR wish.hold_reason = 'site_unavailable'"""


def shrink(world: World, violation: Violation, tell: Callable[[str], None] = lambda _: None) -> Violation:
    """The same kind of violation by fewer events, none of which can be left out."""
    shortest = violation
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for candidate in _shorter(shortest.history):
            again = run(world, candidate)
            if again and type(again.error) is type(violation.error):
                shortest, is_shorter = again, True
                tell(f"{len(again.history.events)} events")
                break
    return shortest


def _shorter(history: History) -> Iterator[History]:
    events = history.events
    for size in (16, 8, 4, 2, 1):
        for start in range(0, len(events) - 1, size):
            if size < len(events):
                yield History(history.layout, events[:start] + events[start + size :])
    for place, event in enumerate(events):
        if event.dies_at is not None:
            yield History(history.layout, _with(events, place, event._replace(dies_at=None)))


def _with(events: Sequence[Event], place: int, event: Event) -> tuple[Event, ...]:
    return (*events[:place], event, *events[place + 1 :])
