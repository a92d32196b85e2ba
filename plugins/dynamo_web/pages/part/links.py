"""Addresses of pages, below /ui, of what a row is about. None: there is no page of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

Row = Mapping[str, Any]


def address(path: str, params: Mapping[str, object] | Iterable[tuple[str, object]] = ()) -> str:
    """A path with the parameters that are given."""
    pairs = params.items() if isinstance(params, Mapping) else params
    given = [(name, value) for name, value in pairs if value not in (None, "", [])]
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def segment(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def to_dataset(row: Row) -> str:
    """A dataset, by its id."""
    return f"data/{row['id']}"


def to_named(row: Row) -> str | None:
    """A dataset, by its name."""
    return address("data/named", {"name": row["dataset"]}) if row["dataset"] else None


def to_file(row: Row) -> str:
    """A file, by its LFN."""
    return address("data/file", {"lfn": row["lfn"]})


def to_site(row: Row) -> str | None:
    """A site."""
    return f"sites/{segment(row['site'])}" if row["site"] else None


def to_source(row: Row) -> str | None:
    """The site that something came from."""
    return f"sites/{segment(row['source'])}" if row["source"] else None


def to_group(row: Row) -> str | None:
    """A group; ``none`` is nobody, who has no page."""
    return f"groups/{segment(row['group'])}" if row["group"] not in (None, "none") else None


def to_plan(row: Row) -> str | None:
    """A plan."""
    number = row.get("plan_id", row.get("id"))
    return None if number is None else f"plans/{number}"


def to_request(row: Row) -> str:
    """A request."""
    return f"requests/{row['id']}"


def to_subscription(row: Row) -> str | None:
    """Where it says why a subscription stands where it stands."""
    number = row.get("subscription_id", row.get("id"))
    return None if number is None else f"transfers/why/{number}"


def to_run(row: Row) -> str | None:
    """What a run did, by its name in our tables."""
    dag, _, run = (row["run_key"] or "").partition("/")
    return address("runs", {"dag": dag, "run": run}) if run else None
