"""``python -m tests.histories``: as many histories as asked for, from seeds; each that goes wrong is shrunk and shown.

Ends with 1 when something went wrong: with ``--fault`` that is what is hoped for.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.histories.old_faults import OLD_FAULTS

if TYPE_CHECKING:
    from tests.histories.world import World

PROGRESS_EVERY = 100


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.disable(logging.WARNING)
    if options.fault:
        OLD_FAULTS[options.fault]()
    from tests.histories.installation import world_of  # only now: a fault is in before all else

    with tempfile.TemporaryDirectory() as folder, world_of(Path(folder) / "world") as world:
        return _profile(world, options) if options.profile else _run(world, options)


def _run(world: World, options: argparse.Namespace) -> int:
    from tests.histories.history import draw, run, shrink

    began, num_wrong, number = time.monotonic(), 0, 0
    for number, seed in enumerate(range(options.first, options.first + options.number), 1):
        violation = run(world, draw(seed, options.steps))
        if violation:
            num_wrong += 1
            print(f"seed {seed}: {type(violation.error).__name__}: {violation.error}", flush=True)
            if not options.no_shrink:
                print(shrink(world, violation), flush=True)
        if number % PROGRESS_EVERY == 0:
            print(f"{number} histories, {num_wrong} wrong, {time.monotonic() - began:.0f} s", flush=True)
        if num_wrong >= options.most:
            break
    cpu_s = time.process_time() + world.witness.server_cpu_s()
    print(
        f"{number} histories of {options.steps} steps from seed {options.first}, {num_wrong} wrong; "
        f"{time.monotonic() - began:.0f} s, {cpu_s:.0f} CPU s: {number / cpu_s * 3600:.0f} histories a CPU hour"
    )
    return int(num_wrong > 0)


def _profile(world: World, options: argparse.Namespace) -> int:
    """What each step costs, and how often it comes about."""
    from tests.histories.history import draw, happen

    spent_s: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    done: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.number):
        history = draw(seed, options.steps)
        world.begin(history.layout)
        for event in history.events:
            began = time.monotonic()
            done[event.step] += happen(world, event)
            tried[event.step] += 1
            spent_s[event.step] += time.monotonic() - began
    for name, seconds in spent_s.most_common():
        print(
            f"{name:24} {seconds:8.1f} s {1000 * seconds / tried[name]:8.1f} ms, came about {done[name]}/{tried[name]}"
        )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.histories", description=__doc__)
    parser.add_argument("--first", type=int, default=1, metavar="SEED")
    parser.add_argument("--number", type=int, default=1000, metavar="HISTORIES")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--most", type=int, default=5, metavar="VIOLATIONS", help="stop after so many")
    parser.add_argument("--fault", choices=list(OLD_FAULTS), help="put an old fault back")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--profile", action="store_true", help="say what each step costs instead")
    return parser


if __name__ == "__main__":
    sys.exit(main())
