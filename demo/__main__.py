"""``python -m demo up|run|down``: what ``make up``, ``make demo`` and ``make down`` call.

``bad-metadata`` shows, on an instance that is up, what happens when DBS answers nonsense; ``alerts``, what people are
told of failures and late runs; ``approval``, on one where the demo has run, how a person refuses and approves a large
deletion; ``physicist``, how somebody elsewhere finds data, asks for a copy and is told; ``pictures``, how the pages
look: it takes the README's, in ``docs/images``. ``bulk`` moves 50,000 files through the DAGs, on an instance of its
own. ``backfill`` lives a month twice on one of its own, once with a lost week that is backfilled, and compares.
``configure`` only writes the configuration that points at a pocket grid which is up (docker-compose.yaml uses it).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

from demo.alerts import show_alerts
from demo.approval import show_approval
from demo.bad_metadata import show_bad_metadata
from demo.instance import ROOT, DemoError, Instance
from demo.physicist import show_day
from demo.pictures import show_pictures
from demo.up import down, up, write_configuration
from dynamo_ops.base.errors import DynamoError

BEGAN = time.monotonic()
COMMANDS = (
    "up",
    "run",
    "down",
    "bad-metadata",
    "alerts",
    "approval",
    "physicist",
    "pictures",
    "bulk",
    "backfill",
    "configure",
)

SHOWS = {
    "bad-metadata": show_bad_metadata,
    "alerts": show_alerts,
    "approval": show_approval,
    "physicist": show_day,
    "pictures": show_pictures,
}
"""What can be seen on an instance that is up."""
SCENARIOS = {"bulk": "bulk.yaml", "backfill": "month.yaml"}
"""Commands with a grid of their own."""
COMMANDS = ("up", "run", "down", *SHOWS, *SCENARIOS, "configure")


def say(text: str) -> None:
    """A line of progress with the seconds since the start."""
    print(f"[{time.monotonic() - BEGAN:5.0f} s] {text}", flush=True)


def main(command: str) -> int:
    """Run one command; returns the exit code."""
    instance = Instance()
    if command in SCENARIOS and "DEMO_SCENARIO" not in os.environ:
        instance = replace(instance, scenario=ROOT / "include" / "scenarios" / SCENARIOS[command])
    if command == "down":
        say(f"{down(instance)} processes ended; files stay in {instance.home}")
        return 0
    if command == "configure":
        write_configuration(instance)
        say(f"configuration written: {instance.config_folder}")
        return 0
    if command in SHOWS:
        return SHOWS[command](instance, say)
    if command == "up":
        up(instance, say)
        return 0
    from demo.bulk import move_in_bulk
    from demo.run import run

    keep = os.environ.get("DEMO_KEEP", "1") != "0"
    try:
        if command == "backfill":
            from demo.month import show_backfill

            return show_backfill(instance, say)
        return move_in_bulk(instance, say) if command == "bulk" else run(instance, say, keep=keep)
    finally:
        if not keep:
            say(f"{down(instance)} processes ended")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        sys.exit(f"usage: python -m demo {'|'.join(COMMANDS)}")
    try:
        sys.exit(main(sys.argv[1]))
    except (DemoError, DynamoError) as error:
        sys.exit(f"demo: {error}")
