"""Plans over REST."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dynamo_ops.base.errors import PlanError
from dynamo_ops.cli.afar.server import ROWS_A_PAGE, errand, get, nobody_else, plain, post, rows, server, whole
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.plan.states import PlanState, check_kind

DIFFERING = ("dataset", "site", "block", "old_decision", "old_line", "new_decision", "new_line", "size_bytes")
"""Columns of decisions that differ."""


def listed(
    fields: Sequence[str],
    *,
    partition: str | None,
    state: str | None,
    kind: str | None,
    since: datetime | None,
    before: int | None,
    limit: int,
) -> Records:
    """Plans of both engines, newest first. ``before``: of lower numbers."""
    asked = {"partition": partition, "state": state, "kind": kind, "since": since, "before": before}
    return rows("/plans", limit, **asked, fields=",".join(fields))


def story(plan_id: int, kind: str | None = None) -> Record:
    """What became of one (of this kind), without its files; ``summary`` has the figures that were stored with it."""
    return _of_kind(get(f"/plans/{plan_id}/story"), kind)


def card(plan_id: int, kind: str) -> Record:
    """All about one of this kind but its rows. ``etag``: what ``commit`` takes as seen."""
    return _of_kind(get(f"/plans/{plan_id}"), kind)


def inputs(plan_id: int) -> Record | None:
    """What one was made of; None for one that was stored without."""
    made_of: Record | None = server().get(f"/plans/{plan_id}/policy")["inputs"]  # its times are texts here, too
    return made_of


def sites(plan_id: int) -> Records:
    """Its sites before and after."""
    return whole(f"/plans/{plan_id}/sites")


def order(plan_id: int, limit: int) -> Records:
    """The first deletions of a plan of Detox, as they follow one another."""
    return _first(f"/plans/{plan_id}/order", limit)


def decisions(
    plan_id: int, *, site: str | None, dataset: str | None, decision: str | None, line: int | None, limit: int
) -> Record:
    """What a plan of Detox decides: the first ``rows``; of all ``num_rows``, ``size_bytes``, and what their ``lines``
    say. ``site``, ``dataset``: a name or glob."""
    return _in_all(f"/plans/{plan_id}/decisions", limit, site=site, dataset=dataset, decision=decision, line=line)


def proposals(
    plan_id: int, *, site: str | None, dataset: str | None, plugin: str | None, rejected: bool, limit: int
) -> Record:
    """What a plan of the Dealer copies, or what it has ``rejected``: the first ``rows``, and ``num_rows`` of all."""
    return _in_all(f"/plans/{plan_id}/proposals", limit, site=site, dataset=dataset, plugin=plugin, rejected=rejected)


def explained(dataset: str, site: str | None, *, engine: str, plan_id: int | None, partition: str | None) -> Record:
    """Why an engine decided so of a dataset at a site: of a plan, or of the newest that knows it (of a partition).
    Of the Dealer: at sites that a glob matches, or at all."""
    asked = {"dataset": dataset, "site": site, "engine": engine, "plan": plan_id, "partition": partition}
    return get("/explain", **asked)


def difference(old: str, new: str, decisions: Path | None) -> Record:
    """What is decided otherwise in another plan of Detox, whole; ``decisions``: the file that each such decision is
    written to. ``old``, ``new``: numbers."""
    path = f"/plans/{int(new)}/diff"
    found = get(path, against=int(old), limit=ROWS_A_PAGE)
    numbers = found["num_rows_of"]
    longer = {name: number for name, number in numbers.items() if number > ROWS_A_PAGE}
    rest = {name: _streamed(f"{path}/{name}", against=int(old)) for name in longer}
    if decisions:
        _write(_streamed(f"{path}/decisions", against=int(old)), decisions)
    return {name: field for name, field in {**found, **rest}.items() if name != "num_rows_of"}


def acts(dataset: str, *, since: datetime, site: str | None) -> Records:
    """What plans of both engines did to datasets, newest first. ``dataset``, ``site``: a name or glob."""
    return whole("/history/datasets", dataset=dataset, since=since, site=site)


def cycles(partition: str, *, kind: str, since: datetime) -> Records:
    """The cycles of an engine, refused ones too, newest first."""
    return whole("/history/cycles", partition=partition, kind=kind, since=since)


def site_states(site: str, *, since: datetime, partition: str | None) -> Records:
    """Sites (a name or glob) before and after each cycle of Detox, newest first."""
    return whole("/history/sites", site=site, since=since, partition=partition)


def refuse(plan_id: int, kind: str, *, reason: str, by: str | None) -> Record:
    """It can never be committed: ``id``, ``partition``, ``state``, ``reason``."""
    nobody_else(by)
    seen = story(plan_id, kind)
    refused = post(f"/plans/{plan_id}/refuse", {"reason": reason}, by=by, seen=seen["etag"])
    return {"id": plan_id, "partition": refused["partition"], "state": refused["state"], "reason": reason}


def ready(plan_id: int, kind: str, *, by: str | None) -> Record:
    """Its story, if its commit may be asked for; its gate looks at it when that is done. ``needs_yes``: a person must
    approve it, which is ``person``, who commits it."""
    nobody_else(by)
    seen = story(plan_id, kind)
    if seen["state"] in (PlanState.COMMITTED, PlanState.REFUSED):
        return {**seen, "needs_yes": False, "person": None}
    tried = post(f"/plans/{plan_id}/commit", by=by, dry_run=True, seen=seen["etag"])
    return {**seen, "needs_yes": tried["needs_yes"], "person": get("/me")["name"]}


def commit(plan_id: int, *, seen: str, by: str | None) -> Record:
    """Commit it as it was seen (its ``etag``): ``id``, ``was_committed_before``, ``commit``: what was done. A run of
    the server does it, which is waited for."""
    asked = post(f"/plans/{plan_id}/commit", by=by, seen=seen)
    done = errand(asked, f"the commit of plan {plan_id}")
    return {name: done[name] for name in ("id", "was_committed_before", "commit")}


def _of_kind(plan: Record, kind: str | None) -> Record:
    """Raises PlanError where it is one of the other kind."""
    if kind is not None:
        check_kind(plan["id"], plan["kind"], plan["state"], kind)
    return plan


def _first(path: str, limit: int, **params: Any) -> Records:
    """The first rows of a plan's files: of many a stream, for which they are read once."""
    return rows(path, limit, **params) if limit <= ROWS_A_PAGE else _streamed(path, limit=limit, **params)


def _in_all(path: str, limit: int, **params: Any) -> Record:
    found = get(f"{path}/sum", limit=min(limit, ROWS_A_PAGE), **params)
    if len(found["rows"]) < min(limit, found["num_rows"]):
        return {**found, "rows": _first(path, limit, **params)}
    return found


def _streamed(path: str, **params: Any) -> Records:
    return [plain(row) for row in server().stream(path, **params)]


def _write(found: Records, file: Path) -> None:
    """As ``write_rows`` does at the installation."""
    names = {name: "size" if name == "size_bytes" else name for name in DIFFERING}
    try:
        with file.open("w", newline="", encoding="utf-8") as lines:
            written = csv.writer(lines, lineterminator="\n")
            written.writerow(names.values())
            written.writerows([row[name] for name in names] for row in found)
    except OSError as error:
        raise PlanError(f"{file}: cannot be written: {error.strerror or error}", state=None) from error
