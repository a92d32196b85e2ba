"""Why a dataset is at a site or not, as the plans that decided it have kept it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamo_ops.base.errors import InventoryError, PlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import record as dealer_record
from dynamo_ops.dealer.report.describe import explain_document
from dynamo_ops.dealer.report.explain import explain_dataset
from dynamo_ops.detox.report import stored
from dynamo_ops.detox.report.describe import explanation_document
from dynamo_ops.detox.report.explain import explain_record
from dynamo_ops.inventory.site.lookup import find_site
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.plan.story import load_story
from dynamo_ops.query.decision.plan import story_of
from dynamo_ops.query.paging.condition import check_words


def explain(
    database: Database, dataset: str, site: str, *, plan_id: int | None = None, partition: str | None = None
) -> dict[str, Any]:
    """Of a dataset (a name) at a site (a name), as a document: ``detox``: why a plan keeps or deletes it, each line
    tried with each value; ``dealer``: who wanted a copy, and why it came there or not. Null where no plan says
    anything of it, and then ``detox_because``, ``dealer_because`` say why.

    Of the plan, if one is named; else of the newest that knows it (of the partition). Raises UnknownNameError for the
    site, UnknownPlanError for the plan.
    """
    with database.begin() as connection:
        find_site(connection, site)
    if plan_id is not None:
        story_of(database, plan_id)

    def by(engine: PlanKind) -> Callable[[], dict[str, Any]]:
        return lambda: explain_by(database, engine, dataset, site, plan_id=plan_id, partition=partition)

    told = (_told(engine, by(engine)) for engine in PlanKind)
    return {"dataset": dataset, "site": site, **{name: field for each in told for name, field in each.items()}}


def explain_by(
    database: Database, engine: str, dataset: str, site: str | None, *, plan_id: int | None, partition: str | None
) -> dict[str, Any]:
    """What one engine says of it. Of the Dealer ``site`` may be a glob, or None: all. Raises InventoryError and
    PlanError, also where no plan says anything of it."""
    check_words([engine], PlanKind, "engine")
    if engine == PlanKind.DETOX:
        if site is None:
            raise InventoryError("site: Detox decides site by site: name one", parameter="site")
        if plan_id is None:
            record = stored.newest_with(database, dataset, site, partition)
        else:
            record = stored.read_record(database, load_story(database, plan_id, PlanKind.DETOX))
        return explanation_document(record, explain_record(record, dataset=dataset, site=site))
    if plan_id is None:
        asked = dealer_record.newest_about(database, dataset, partition)
    else:
        asked = dealer_record.read_record(database, load_story(database, plan_id, PlanKind.DEALER))
    return explain_document(asked, explain_dataset(asked, dataset, site))


def _told(engine: str, explanation: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return {engine: explanation(), f"{engine}_because": None}
    except PlanError as error:
        return {engine: None, f"{engine}_because": error.message}
