"""Plans of the database, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.detox.report.decisions_file import write_rows
from dynamo_ops.plan import verdict
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.plan.story import load_story
from dynamo_ops.query.decision import cycle, frame
from dynamo_ops.query.decision.plan import PLANS, PlanFilter, plan_card, plan_sites, plan_story, plan_texts
from dynamo_ops.query.decision.why import explain_by


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
    asked = PlanFilter(
        [kind] if kind else [],
        [partition] if partition else [],
        [state] if state else [],
        since=since.isoformat() if since else None,
        before=before,
    )
    return Here(database(), PLANS, asked).rows(fields, limit)


def story(plan_id: int, kind: str | None = None) -> Record:
    """What became of one (of this kind), without its files; ``summary`` has the figures that were stored with it."""
    return plan_story(database(), plan_id, kind)


def card(plan_id: int, kind: str) -> Record:
    """All about one of this kind but its rows. ``etag``: what ``commit`` takes as seen."""
    return plan_card(database(), plan_id, kind)


def inputs(plan_id: int) -> Record | None:
    """What one was made of; None for one that was stored without."""
    made_of: Record | None = plan_texts(database(), plan_id)["inputs"]
    return made_of


def sites(plan_id: int) -> Records:
    """Its sites before and after."""
    return plan_sites(database(), plan_id)


def order(plan_id: int, limit: int) -> Records:
    """The first deletions of a plan of Detox, as they follow one another."""
    return frame.first(frame.order(database(), plan_id), limit)


def decisions(
    plan_id: int, *, site: str | None, dataset: str | None, decision: str | None, line: int | None, limit: int
) -> Record:
    """What a plan of Detox decides: the first ``rows``; of all ``num_rows``, ``size_bytes``, and what their ``lines``
    say. ``site``, ``dataset``: a name or glob."""
    wanted = {"site": site, "dataset": dataset, "decision": decision}
    return frame.decisions_in_all(database(), plan_id, **wanted, line=line, limit=limit)


def proposals(
    plan_id: int, *, site: str | None, dataset: str | None, plugin: str | None, rejected: bool, limit: int
) -> Record:
    """What a plan of the Dealer copies, or what it has ``rejected``: the first ``rows``, and ``num_rows`` of all."""
    wanted = {"site": site, "dataset": dataset, "plugin": plugin}
    return frame.proposals_in_all(database(), plan_id, **wanted, rejected=rejected, limit=limit)


def explained(dataset: str, site: str | None, *, engine: str, plan_id: int | None, partition: str | None) -> Record:
    """Why an engine decided so of a dataset at a site: of a plan, or of the newest that knows it (of a partition).
    Of the Dealer: at sites that a glob matches, or at all."""
    return explain_by(database(), engine, dataset, site, plan_id=plan_id, partition=partition)


def difference(old: str, new: str, decisions: Path | None) -> Record:
    """What is decided otherwise in another plan of Detox, whole; ``decisions``: the file that each such decision is
    written to. ``old``, ``new``: numbers."""
    found, rows = frame.whole_difference(database(), int(old), int(new))
    if decisions:
        write_rows(rows.lazy(), decisions)
    return found


def acts(dataset: str, *, since: datetime, site: str | None) -> Records:
    """What plans of both engines did to datasets, newest first. ``dataset``, ``site``: a name or glob."""
    return cycle.of_datasets(database(), dataset, since=since, site=site)


def cycles(partition: str, *, kind: str, since: datetime) -> Records:
    """The cycles of an engine, refused ones too, newest first."""
    return cycle.of_partition(database(), partition, kind=kind, since=since)


def site_states(site: str, *, since: datetime, partition: str | None) -> Records:
    """Sites (a name or glob) before and after each cycle of Detox, newest first."""
    return cycle.of_sites(database(), site, since=since, partition=partition)


def refuse(plan_id: int, kind: str, *, reason: str, by: str | None) -> Record:
    """It can never be committed: ``id``, ``partition``, ``state``, ``reason``."""
    db = database()
    partition = load_story(db, plan_id, kind).stored.partition
    verdict.refuse(db, plan_id, reason, by=who(by))
    return {"id": plan_id, "partition": partition, "state": str(PlanState.REFUSED), "reason": reason}


def ready(plan_id: int, kind: str, *, by: str | None) -> Record:
    """Its story once its gate has looked at it, which is for good. ``needs_yes``: a person must approve it, which is
    ``person``, who commits it."""
    from dynamo_ops.dealer import tasks as dealer  # slow to import, as gates are
    from dynamo_ops.detox import tasks as detox

    db = database()
    plan = load_story(db, plan_id, kind).stored
    if plan.state == PlanState.PLANNED:
        (detox if kind == PlanKind.DETOX else dealer).gate_plan(db, settings(), plan_id, run_key=plan.run_key)
    seen = plan_story(db, plan_id, kind)
    return {**seen, "needs_yes": seen["state"] == PlanState.PLANNED, "person": who(by).name}


def commit(plan_id: int, *, seen: str, by: str | None) -> Record:
    """Commit it as it was seen (its ``etag``): ``id``, ``was_committed_before``, ``commit``: what was done."""
    from dynamo_ops.dealer import tasks as dealer  # as in ready
    from dynamo_ops.detox import tasks as detox

    db, person = database(), who(by)
    with db.begin() as connection:
        plan = verdict.as_seen(connection, plan_id, seen)
    if plan.kind == PlanKind.DETOX:
        approved_by = person if plan.state == PlanState.PLANNED else None
        summary = detox.commit_plan(db, settings(), plan_id, by=person, approved_by=approved_by)
    else:
        summary = dealer.commit_plan(db, plan_id, by=person)
    return {"id": plan_id, "was_committed_before": plan.state == PlanState.COMMITTED, "commit": summary}
