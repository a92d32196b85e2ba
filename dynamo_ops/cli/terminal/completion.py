"""What a shell offers for a site, a group or a partition: the installation's names, if they come at once, else none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from dynamo_ops.cli.terminal.way import Way

PATIENCE_S = 1.0
"""Who presses Tab waits no longer for a database or a server."""


def complete_sites(incomplete: str) -> list[str]:
    """Names of sites."""
    return _in_time("site", "names", incomplete)


def complete_groups(incomplete: str) -> list[str]:
    """Names of groups."""
    return _in_time("group", "names", incomplete)


def complete_partitions(incomplete: str) -> list[str]:
    """Names of partitions."""
    return _in_time("quota", "partitions", incomplete)


def _in_time(noun: str, what: str, incomplete: str) -> list[str]:
    """The names that begin so; none when there is no installation, or it does not answer in time.

    A shell has nowhere to show an error: whatever goes wrong, nothing is offered.
    """
    names: list[str] = []
    with suppress(Exception):
        ask: Callable[[], list[str]] = getattr(Way(noun), what)  # imported here: that takes no time of the answer

        def fetch() -> None:
            with suppress(Exception):
                names.extend(ask())

        thread = Thread(target=fetch, daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
    return [name for name in list(names) if name.startswith(incomplete)]
