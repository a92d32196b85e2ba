"""Plans: what Detox and the Dealer decided, by which line of which policy, who approved it, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.base.errors import UnknownPlanError
from dynamo_ops.base.settings import settings
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.notice import check_policy
from dynamo_ops.query.decision import cycle, frame
from dynamo_ops.query.decision.plan import PLANS, PlanFilter, plan_card, plan_texts
from dynamo_ops.query.names import partition_names
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.lists import PATIENCE_S, Id, ListerDep
from dynamo_web.pages.part.act import REASON, Act, offered
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, to_named, to_plan, to_site
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.plot import Plot, PlotKind, Unit
from dynamo_web.pages.part.table import Choice, Column, Row, Table, globs
from dynamo_web.run.start import page_of

router = APIRouter(dependencies=[needs(Action.READ)])
MOST_SHOWN = 10
"""Of the largest deletions."""
SHOWN_DAYS = 90
"""Of cycles."""


def _asked(chosen: Chosen) -> PlanFilter:
    kinds, partitions, states = (globs(chosen[name]) for name in ("kind", "partition", "state"))
    return PlanFilter(kinds, partitions, states, (), chosen["since"] or None)


LIST = Listed(
    tab="plans",
    path="plans",
    title="Plans",
    noun="plans",
    listing=PLANS,
    columns=(
        Column("id", "plan", link=to_plan),
        Column("kind", "of"),
        Column("partition", "partition", link=lambda row: cycles_of(row["kind"], row["partition"])),
        Column("state", "state", "state"),
        Column("planned_for_at", "decides for", "moment"),
        Column("approved_by", "approved by"),
        Column("refused_by", "refused by"),
        Column("refused_because", "because", "long"),
        Column("committed_at", "committed", "moment"),
    ),
    asked=_asked,
    choices=(
        Choice("kind", "Of", tuple(PlanKind)),
        Choice("partition", "Partition", hint="physics, or a glob"),
        Choice("state", "State", tuple(PlanState)),
        Choice("since", "Made since", hint="2026-01-31, or 7d"),
    ),
    template="plans.html",
)
OF_QUOTA = ("occupancy_before", "protected_fraction", "occupancy_after")
DETOX_SITES = (
    Column("site", "site", link=to_site),
    Column("quota_bytes", "quota", "quota"),
    Column("bytes_before", "before", "size"),
    Column("occupancy_before", "full before", "share"),
    Column("protected_fraction", "protected", "share", note="of the quota: what the policy lets nobody delete"),
    Column("deleted_bytes", "deleted", "size", link=lambda row: row["deletions"]),
    Column("set_aside_bytes", "set aside", "size", note="last copies, locked, enforced: kept though its turn had come"),
    Column("bytes_after", "after", "size"),
    Column("occupancy_after", "full after", "share"),
    Column("is_triggered", "above its mark", "yes"),
)
LINES = (
    Column("decision", "decided", "state"),
    Column("line", "line", "line"),
    Column("text", "policy", "long"),
    Column("num_dataset_replicas", "dataset replicas", "number", link=lambda row: row["decisions"]),
    Column("num_block_replicas", "block replicas", "number"),
    Column("size_bytes", "size", "size"),
)
LARGEST = (
    Column("dataset", "dataset", link=to_named),
    Column("site", "site", link=to_site),
    Column("line", "line", "line"),
    Column("num_block_replicas", "block replicas", "number"),
    Column("size_bytes", "size", "size"),
)
DEALER_SITES = (
    Column("site", "site", link=to_site),
    Column("status", "status", "state"),
    Column("is_target", "target", "yes", note="whether copies may be placed there"),
    Column("quota_bytes", "quota", "quota"),
    Column("physical_bytes", "on disk", "size"),
    Column("projected_bytes_before", "projected before", "size", note="once all has come that was on its way"),
    Column("added_bytes", "added", "size", link=lambda row: row["copies"]),
    Column("projected_bytes_after", "projected after", "size"),
    Column("projected_occupancy_after", "full after", "share"),
)
PLUGINS = (
    Column("plugin", "plugin"),
    Column("priority", "priority", "number"),
    Column("num_proposals", "proposals", "number"),
    Column("num_copies", "copies", "number", link=lambda row: row["copies"]),
    Column("copied_bytes", "copied", "size"),
)
REJECTED = (
    Column("outcome", "rejected because"),
    Column("plugin", "plugin"),
    Column("num_proposals", "proposals", "number", link=lambda row: row["proposals"]),
    Column("size_bytes", "size", "size"),
)
POLICY = (
    Column("number", "line"),
    Column("text", "policy", "long"),
    Column("decided", "decided", note="dataset replicas; empty: nothing"),
    Column("num_block_replicas", "block replicas", "number"),
    Column("size_bytes", "size", "size"),
)
DETOX_CYCLES = (
    Column("plan_id", "plan", link=to_plan),
    Column("planned_for_at", "decides for", "moment"),
    Column("state", "state", "state"),
    Column("deleted_bytes", "deleted", "size"),
    Column("num_block_replicas", "block replicas", "number"),
    Column("num_left_out", "left out", "number", note="by the commit: what had to stay after all"),
    Column("num_triggered_sites", "sites above their mark", "number"),
    Column("approved_by", "approved by"),
    Column("refused_because", "refused because", "long"),
)
DEALER_CYCLES = (
    Column("plan_id", "plan", link=to_plan),
    Column("planned_for_at", "decides for", "moment"),
    Column("state", "state", "state"),
    Column("copied_bytes", "copied", "size"),
    Column("num_copies", "copies", "number"),
    Column("num_rejected", "rejected", "number"),
    Column("num_left_out", "left out", "number", note="by the commit: what was not copied after all"),
    Column("by", "by"),
    Column("refused_because", "refused because", "long"),
)


def cycles_of(kind: str, partition: str) -> str:
    """The address of the cycles of a partition."""
    return address("plans/cycles", {"kind": kind, "partition": partition})


@router.get("/plans")
def list_plans(request: Request, person: Who, lister: ListerDep) -> Response:
    """Of both engines, newest first."""
    partitions = [(name, kind, cycles_of(kind, name)) for name in _partitions() for kind in PlanKind]
    return LIST.answer(request, person, lister, partitions=partitions)


@router.get("/plans/cycles")
def show_cycles(request: Request, person: Who, partition: str, kind: PlanKind = PlanKind.DETOX) -> Response:
    """What an engine did for a partition, cycle by cycle."""
    since = datetime.now(UTC) - timedelta(days=SHOWN_DAYS)
    known = _partitions()
    try:
        rows = cycle.of_partition(reading(), partition, kind=kind, since=since, most=cycle.MOST)
    except UnknownPlanError:  # one that is defined, and of which there is no plan yet
        if partition not in known:
            raise
        rows = []
    is_detox = kind == PlanKind.DETOX
    volume = "deleted_bytes" if is_detox else "copied_bytes"
    title = f"{'Deleted' if is_detox else 'Copied'} by cycle"
    return page(
        request,
        person,
        "plans",
        "cycles.html",
        partition=partition,
        kind=kind,
        partitions=[(name, one, cycles_of(one, name)) for name in known for one in PlanKind],
        days=SHOWN_DAYS,
        cycles=Table(DETOX_CYCLES if is_detox else DEALER_CYCLES, rows, nothing=f"No cycle in {SHOWN_DAYS} days."),
        plots=[Plot(PlotKind.BARS, title, "cycles", "planned_for_at", (volume,))],
    )


@router.get("/plans/{plan_id}")
def show_plan(request: Request, person: Who, lister: ListerDep, plan_id: Id) -> Response:
    """One: who stored, approved or refused it, by policy line and site."""
    with lister.heavy(PATIENCE_S):
        card = plan_card(reading(), plan_id)
        texts = plan_texts(reading(), plan_id)
        largest = _largest(plan_id) if card["kind"] == PlanKind.DETOX else []
    shown = _detoxed(card, texts["policy_text"]) if card["kind"] == PlanKind.DETOX else _dealt(card)
    is_open = card["state"] in (PlanState.PLANNED, PlanState.APPROVED)
    acts = offered(person, *(_acts(card) if is_open else ()))
    run = page_of(card["run_key"])
    return page(
        request,
        person,
        "plans",
        "plan.html",
        card=card,
        texts=texts,
        run=run,
        acts=acts,
        largest=Table(LARGEST, largest),
        **shown,
    )


def _detoxed(card: dict[str, Any], policy_text: str) -> dict[str, Any]:
    here = f"plans/{card['id']}"
    sites = [
        {
            **site,
            **({} if (site["quota_bytes"] or -1) > 0 else dict.fromkeys(OF_QUOTA)),  # of no limit nothing is full
            "deletions": address(f"{here}/decisions", {"site": site["site"], "decision": "delete"}),
        }
        for site in card["sites"]
    ]
    lines = [
        {**line, "decisions": address(f"{here}/decisions", {"decision": line["decision"], "line": line["line"]})}
        for line in card["lines"]
    ]
    return {
        "sites": Table(DETOX_SITES, sites),
        "lines": Table(LINES, lines),
        "policy": Table(POLICY, _annotated(policy_text, lines), most=1_000),
        "plots": [
            Plot(PlotKind.BARS, "Sites before and after", "sites", "site", ("bytes_before", "bytes_after")),
            Plot(PlotKind.BARS, "The same, of their quotas", "sites", "site", OF_QUOTA, Unit.SHARE),
        ],
    }


def _dealt(card: dict[str, Any]) -> dict[str, Any]:
    here = f"plans/{card['id']}/proposals"
    sites = [{**site, "copies": address(here, {"site": site["site"]})} for site in card["sites"]]
    plugins = [{**one, "copies": address(here, {"plugin": one["plugin"]})} for one in card["plugins"]]
    rejected = [
        {**one, "proposals": address(here, {"plugin": one["plugin"], "which": "rejected"})} for one in card["rejected"]
    ]
    occupied = ("projected_bytes_before", "projected_bytes_after")
    return {
        "sites": Table(DEALER_SITES, sites),
        "plugins": Table(PLUGINS, plugins),
        "rejected": Table(REJECTED, rejected, nothing="Nothing was rejected."),
        "plots": [Plot(PlotKind.BARS, "Sites before and after", "sites", "site", occupied)],
    }


def _largest(plan_id: int) -> list[Row]:
    """What it deletes most of: nobody approves without having seen that."""
    deletions = frame.order(reading(), plan_id).rows.sort("size_bytes", descending=True, maintain_order=True)
    return deletions.head(MOST_SHOWN).collect().to_dicts()


def _annotated(text: str, lines: list[dict[str, Any]]) -> list[Row]:
    """The policy line by line, each with what it decided. Nothing where it is no policy any more."""
    policy, _ = check_policy(SourceText("policy", text), datetime.now(UTC))
    if policy is None:
        return []
    decided: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        decided.setdefault(line["line"], []).append(line)
    numbered = [*((number, line.text) for number, line in enumerate(policy.lines, start=1)), (0, policy.default.text)]
    return [
        {
            "number": number or "default",
            "text": text,
            "decided": ", ".join(
                f"{one['decision']} {one['num_dataset_replicas']:,}" for one in decided.get(number, ())
            ),
            "num_block_replicas": sum(one["num_block_replicas"] for one in decided.get(number, ())),
            "size_bytes": sum(one["size_bytes"] for one in decided.get(number, ())),
        }
        for number, text in numbered
    ]


def _acts(card: dict[str, Any]) -> list[Act]:
    of = Target(partitions=(card["partition"],), owner=card["stored_by"])
    rest, name = f"/plans/{card['id']}", f"plan {card['id']}"
    common: dict[str, Any] = {"action": Action.DECIDE_PLAN, "method": "POST", "seen": card["etag"], "of": of}
    then = f"plans/{card['id']}"
    approve = Act(
        title="Approve",
        about="A plan that its gate let pass, and that waits for a person. Its run goes on and commits it.",
        path=f"{rest}/approve",
        confirm=name,
        then=then,
        **common,
    )
    refuse = Act(
        title="Refuse", about="It can never be committed.", path=f"{rest}/refuse", fields=(REASON,), then=then, **common
    )
    commit = Act(
        title="Commit",
        about="A run commits it: a plan that was stored by hand, or that was approved and whose run is gone.",
        path=f"{rest}/commit",
        confirm=name,
        then="errands/{errand}",
        **common,
    )
    return [approve, refuse, commit] if card["state"] == PlanState.PLANNED else [commit, refuse]


def _partitions() -> list[str]:
    return partition_names(reading(), settings())
