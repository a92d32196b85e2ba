"""Plans of Detox and Dealer: what became of them, and all that they hold."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from dynamo_ops.access.actions import Action
from dynamo_ops.query.decision import frame
from dynamo_ops.query.decision.left_out import LEFT_OUT_BY_COMMIT, LeftOutFilter
from dynamo_ops.query.decision.plan import PLANS, PlanFilter, plan_card, plan_sites, plan_story, plan_texts, story_of
from dynamo_ops.query.decision.why import explain_by
from dynamo_ops.query.paging.listing import LARGEST_LIMIT
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import Id, ListerDep, ListQuery, Names, json_answer, rows_answer
from dynamo_web.lists import Query as Parameters

router = APIRouter(dependencies=[needs(Action.READ)])


class PlanQuery(ListQuery):
    """``partition``, ``run``: names or globs. ``since``: a date, a time, or how long ago it was made. ``before``: only
    plans older than this one."""

    kind: Names
    partition: Names
    state: Names
    run: Names
    since: str | None = None
    before: int | None = Field(None, ge=1, le=2**63 - 1)


class ExplainQuery(Parameters):
    """``dataset``: a name. ``engine``: ``detox`` or ``dealer``. ``site``: a name; of the Dealer also a glob, or none:
    all. ``plan``: the number of one; else the newest that knows it, of the ``partition``."""

    dataset: str
    engine: str
    site: str | None = None
    plan: int | None = Field(None, ge=1, le=2**63 - 1)
    partition: str | None = None


class DecisionQuery(ListQuery):
    """``site``, ``dataset``: a name or glob. ``line``: of the policy; 0: the default."""

    site: str | None = None
    dataset: str | None = None
    decision: str | None = None
    line: int | None = Field(None, ge=0, le=2**31 - 1)


class ProposalQuery(ListQuery):
    """``site``, ``dataset``: a name or glob. ``rejected``: those that were, not those that were accepted."""

    site: str | None = None
    dataset: str | None = None
    plugin: str | None = None
    rejected: bool = False


class DecisionSumQuery(Parameters):
    """As of decisions. ``limit``: rows that are shown."""

    site: str | None = None
    dataset: str | None = None
    decision: str | None = None
    line: int | None = Field(None, ge=0, le=2**31 - 1)
    limit: int = Field(0, ge=0, le=LARGEST_LIMIT)


class ProposalSumQuery(Parameters):
    """As of proposals. ``limit``: rows that are shown."""

    site: str | None = None
    dataset: str | None = None
    plugin: str | None = None
    rejected: bool = False
    limit: int = Field(0, ge=0, le=LARGEST_LIMIT)


class LeftOutQuery(ListQuery):
    """``site``, ``dataset``: names or globs."""

    site: Names
    dataset: Names


class DifferingQuery(ListQuery):
    """``against``: the number of the plan that it is compared with."""

    against: int = Field(ge=1, le=2**63 - 1)


class DifferenceQuery(Parameters):
    """``against``: the number of the plan that it is compared with. ``limit``: rows of each table."""

    against: int = Field(ge=1, le=2**63 - 1)
    limit: int = Field(100, ge=1, le=LARGEST_LIMIT)


@router.get("/plans")
def list_plans(query: Annotated[PlanQuery, Query()], lister: ListerDep) -> Response:
    """Plans of both engines, newest first."""
    asked = PlanFilter(query.kind, query.partition, query.state, query.run, query.since, query.before)
    return lister.answer(PLANS, asked, query)


@router.get("/plans/{plan_id}")
def show_plan(plan_id: Id) -> Response:
    """One: who stored, approved or refused it, its figures, its sites, and what decided. ``ETag``: for who decides."""
    return _with_etag(plan_card(reading(), plan_id))


@router.get("/plans/{plan_id}/story")
def show_story(plan_id: Id) -> Response:
    """What became of it: the same without what is in its files."""
    return _with_etag(plan_story(reading(), plan_id))


@router.get("/plans/{plan_id}/sites")
def list_sites(plan_id: Id) -> Response:
    """Its sites before and after, with all that was known of them."""
    return rows_answer(plan_sites(reading(), plan_id))


@router.get("/plans/{plan_id}/policy")
def show_texts(plan_id: Id) -> Response:
    """What it was made by: policy or configuration, partitions and rules, as they were then."""
    return json_answer(plan_texts(reading(), plan_id))


@router.get("/plans/{plan_id}/decisions")
def list_decisions(plan_id: Id, query: Annotated[DecisionQuery, Query()], lister: ListerDep) -> Response:
    """What a plan of Detox decides, by dataset, site and block."""
    narrowed = {"site": query.site, "dataset": query.dataset, "decision": query.decision}
    return lister.answer_frame(lambda: frame.decisions(reading(), plan_id, **narrowed, line=query.line), query)


@router.get("/plans/{plan_id}/decisions/sum")
def add_decisions_up(plan_id: Id, query: Annotated[DecisionSumQuery, Query()], lister: ListerDep) -> Response:
    """How many they are, their bytes, and what the lines say that decided them."""
    with lister.heavy():
        return json_answer(frame.decisions_in_all(reading(), plan_id, **dict(query)))


@router.get("/plans/{plan_id}/order")
def list_order(plan_id: Id, query: Annotated[ListQuery, Query()], lister: ListerDep) -> Response:
    """The deletions of a plan of Detox as they follow one another."""
    return lister.answer_frame(lambda: frame.order(reading(), plan_id), query)


@router.get("/plans/{plan_id}/proposals")
def list_proposals(plan_id: Id, query: Annotated[ProposalQuery, Query()], lister: ListerDep) -> Response:
    """What the plugins wanted of a plan of the Dealer: what was accepted, or what was rejected and why."""
    narrowed = {"site": query.site, "dataset": query.dataset, "plugin": query.plugin}
    return lister.answer_frame(lambda: frame.proposals(reading(), plan_id, **narrowed, rejected=query.rejected), query)


@router.get("/plans/{plan_id}/proposals/sum")
def add_proposals_up(plan_id: Id, query: Annotated[ProposalSumQuery, Query()], lister: ListerDep) -> Response:
    """How many they are, and their bytes."""
    with lister.heavy():
        return json_answer(frame.proposals_in_all(reading(), plan_id, **dict(query)))


@router.get("/plans/{plan_id}/left-out")
def list_left_out(plan_id: Id, query: Annotated[LeftOutQuery, Query()], lister: ListerDep) -> Response:
    """What it deletes and its commit kept after all, with the reason."""
    story_of(reading(), plan_id)
    return lister.answer(LEFT_OUT_BY_COMMIT, LeftOutFilter(plan_id, query.site, query.dataset), query)


@router.get("/plans/{plan_id}/diff")
def compare_plans(plan_id: Id, query: Annotated[DifferenceQuery, Query()], lister: ListerDep) -> Response:
    """What a plan of Detox decides otherwise than another one, by line, site and dataset; how their policies differ."""
    with lister.heavy():
        return json_answer(frame.plan_difference(reading(), query.against, plan_id, query.limit))


@router.get("/plans/{plan_id}/diff/{table}")
def list_differing(plan_id: Id, table: str, query: Annotated[DifferingQuery, Query()], lister: ListerDep) -> Response:
    """One of its tables, whole; or each decision that is another one."""
    return lister.answer_frame(lambda: frame.difference_table(reading(), query.against, plan_id, table), query)


@router.get("/explain")
def explain_dataset(query: Annotated[ExplainQuery, Query()], lister: ListerDep) -> Response:
    """Why an engine decided so of a dataset, as a plan of its has kept it."""
    with lister.heavy():
        asked = {"plan_id": query.plan, "partition": query.partition}
        return json_answer(explain_by(reading(), query.engine, query.dataset, query.site, **asked))


def _with_etag(plan: dict[str, Any]) -> Response:
    answer = json_answer(plan)
    answer.headers["ETag"] = f'"{plan["etag"]}"'
    return answer
