"""What a shell offers for a site, a group or a partition: the installation's names, if they come at once, else none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread

from dynamo_ops.base.settings import Settings

PATIENCE_S = 1.0
"""Who presses Tab waits no longer for a database."""


def complete_sites(incomplete: str) -> list[str]:
    """Names of sites."""
    from dynamo_ops.query.names import site_names

    return _in_time(site_names, incomplete)


def complete_groups(incomplete: str) -> list[str]:
    """Names of groups."""
    from dynamo_ops.query.names import group_names

    return _in_time(group_names, incomplete)


def complete_partitions(incomplete: str) -> list[str]:
    """Names of partitions."""
    from dynamo_ops.query.names import partition_names

    return _in_time(partition_names, incomplete)


def _in_time(ask: Callable[[Settings], list[str]], incomplete: str) -> list[str]:
    """The names that begin so; none when there is no installation, or it does not answer in time.

    A shell has nowhere to show an error: whatever goes wrong, nothing is offered.
    """
    from dynamo_ops.base.settings import settings

    names: list[str] = []

    def fetch() -> None:
        with suppress(Exception):
            names.extend(ask(settings()))

    thread = Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return [name for name in list(names) if name.startswith(incomplete)]
