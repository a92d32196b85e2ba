"""How far enforcer rules are met: for people, for alerts, and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dynamo_ops.dealer.engine.plugin import ProposalContext
from dynamo_ops.dealer.plugins.enforcer import drawn_datasets, first_owner_changes
from dynamo_ops.dealer.plugins.enforcer_state import EN_ROUTE, ENOUGH, MISSING, OWNER_CHANGE, RuleState, rule_states
from dynamo_ops.inventory.frames import InventoryFrames, Schema
from dynamo_ops.policy.language.enforcement import EnforcerRule

RULES: Schema = {
    "rule": pl.String,
    "num_copies": pl.Int64,
    "num_destinations": pl.Int64,
    "num_datasets": pl.Int64,
    "num_enough": pl.Int64,
    "num_en_route": pl.Int64,
    "num_missing": pl.Int64,
    "copies_missing": pl.Int64,
    "missing_bytes": pl.Int64,
}
DATASETS: Schema = {
    "rule": pl.String,
    "dataset": pl.String,
    "state": pl.String,
    "num_complete": pl.Int64,
    "num_en_route": pl.Int64,
    "num_missing": pl.Int64,
    "missing_bytes": pl.Int64,
    "sites": pl.List(pl.String),
}
TABLE: Schema = {
    "rule": pl.String,
    "dataset": pl.String,
    "state": pl.String,
    "n_requests": pl.Int64,
    "sites_in_every_draw": pl.String,
    "random_candidates": pl.String,
    "draws_with_same_site_twice": pl.Int64,
}
POSSIBLE: Schema = {"rule": pl.String, "dataset_id": pl.Int64, "site_id": pl.Int64, "group_id": pl.Int64}


@dataclass(frozen=True)
class EnforcerReport:
    """How far rules are met.

    ``rules``: one row (``RULES``) a rule, by name: ``num_copies`` as written; of its datasets the number in each state;
    ``copies_missing``: to be asked for, changes of owner included; ``missing_bytes``: their full sizes.
    ``datasets``: one row (``DATASETS``) per rule and dataset of it, by names. ``state``: ``enough complete``,
    ``en route`` (enough once all has arrived) or ``missing``; ``num_missing``: copies; ``sites``: where they could be
    asked for, by name; empty unless missing.
    """

    rules: pl.DataFrame
    datasets: pl.DataFrame


def enforcer_report(frames: InventoryFrames, context: ProposalContext, rules: Sequence[EnforcerRule]) -> EnforcerReport:
    """How far ``rules`` are met now. Errors as of ``enforcer_state.rule_states``."""
    states = rule_states(frames, context, rules)
    datasets = [pl.DataFrame(schema=dict(DATASETS)), *(_datasets(state) for state in states)]
    summaries = [pl.DataFrame(schema=dict(RULES)), *(_summary(state) for state in states)]
    return EnforcerReport(pl.concat(summaries), pl.concat(datasets))


def enforcer_table(frames: InventoryFrames, context: ProposalContext, rules: Sequence[EnforcerRule]) -> pl.DataFrame:
    """What ``requests_enforcer.csv`` lists: ``TABLE``, one row per rule and dataset, by names.

    Sites are joined by ``;``, by name. ``sites_in_every_draw``: asked for whatever is drawn: the first changes of
    owner, and all other candidates where all are needed. ``random_candidates``: destinations that are neither complete
    nor en route, changes of owner included; empty unless copies are missing.
    """
    tables = [pl.DataFrame(schema=dict(TABLE))]
    for state in rule_states(frames, context, rules):
        names = pl.col("sites").list.join(";")
        certain = _joined(_certain(state), state).select("dataset_id", sites_in_every_draw=names)
        possible = _joined(_open(state), state).select("dataset_id", random_candidates=names)
        rule_table = (
            state.datasets.join(certain, on="dataset_id", how="left", maintain_order="left")
            .join(possible, on="dataset_id", how="left", maintain_order="left")
            .with_columns(
                pl.col("sites_in_every_draw", "random_candidates").fill_null(""),
                rule=pl.lit(state.rule.name),
                n_requests="num_missing",
                draws_with_same_site_twice=pl.lit(0),
            )
        )
        tables.append(rule_table.select(pl.col(name).cast(kind) for name, kind in TABLE.items()))
    return pl.concat(tables)


def possible_requests(frames: InventoryFrames, context: ProposalContext, rules: Sequence[EnforcerRule]) -> pl.DataFrame:
    """Every dataset and site that some draw may ask for: ``POSSIBLE``, each once, of the first rule by name.

    By rule and dataset and site as named.
    """
    tables = [pl.DataFrame(schema=dict(POSSIBLE))]
    for state in rule_states(frames, context, rules):
        changes = first_owner_changes(state).select("dataset_id", "site_id", "position")
        drawn = _open(state, drawn_datasets(state)["dataset_id"]).filter(pl.col("kind").is_null())
        order = state.datasets.select("dataset_id").with_row_index("number")
        rule_requests = (
            pl.concat([changes, drawn.select(changes.columns)])
            .join(order, on="dataset_id")
            .sort("number", "position")
            .with_columns(rule=pl.lit(state.rule.name), group_id=pl.lit(state.group_id))
        )
        tables.append(rule_requests.select(pl.col(name).cast(kind) for name, kind in POSSIBLE.items()))
    return pl.concat(tables).unique(["dataset_id", "site_id"], keep="first", maintain_order=True)


def _open(state: RuleState, datasets: pl.Series | None = None) -> pl.DataFrame:
    """``dataset_id``, ``site_id``, ``position``, ``kind`` (owner change, or null) of the destinations where a copy
    could be asked for, of the datasets that miss some (or those of these ids)."""
    missing = state.datasets.filter(pl.col("num_missing") > 0) if datasets is None else datasets.to_frame()
    places = state.destinations.with_row_index("position").select(pl.col("position").cast(pl.Int64), "site_id")
    pairs = missing.select("dataset_id").join(places, how="cross")
    with_kind = pairs.join(state.present.drop("position"), on=["dataset_id", "site_id"], how="left")
    return with_kind.filter(pl.col("kind").is_null() | (pl.col("kind") == OWNER_CHANGE))


def _certain(state: RuleState) -> pl.DataFrame:
    """``dataset_id``, ``position`` of what is asked for whatever is drawn."""
    columns = ["dataset_id", "position"]
    drawn = drawn_datasets(state)
    all_drawn = drawn.filter(pl.col("num_drawn") == state.destinations.height - pl.col("num_present"))["dataset_id"]
    rest = _open(state, all_drawn).filter(pl.col("kind").is_null())
    return pl.concat([first_owner_changes(state).select(columns), rest.select(columns)])


def _joined(places: pl.DataFrame, state: RuleState) -> pl.DataFrame:
    """``dataset_id``, ``sites``: the names, in their order."""
    names = state.destinations.with_row_index("position").select(pl.col("position").cast(pl.Int64), "site")
    named = places.join(names, on="position").sort("position")
    return named.group_by("dataset_id", maintain_order=True).agg(sites=pl.col("site"))


def _datasets(state: RuleState) -> pl.DataFrame:
    datasets = state.datasets.join(_joined(_open(state), state), on="dataset_id", how="left", maintain_order="left")
    datasets = datasets.with_columns(
        pl.col("sites").fill_null([]),
        rule=pl.lit(state.rule.name),
        missing_bytes=pl.col("num_missing") * pl.col("size_bytes"),
    )
    return datasets.select(pl.col(name).cast(kind) for name, kind in DATASETS.items())


def _summary(state: RuleState) -> pl.DataFrame:
    datasets = state.datasets

    def number(word: str) -> int:
        return datasets.filter(pl.col("state") == word).height

    figures = {
        "rule": state.rule.name,
        "num_copies": state.rule.num_copies,
        "num_destinations": state.destinations.height,
        "num_datasets": datasets.height,
        "num_enough": number(ENOUGH),
        "num_en_route": number(EN_ROUTE),
        "num_missing": number(MISSING),
        "copies_missing": int(datasets["num_missing"].sum()),
        "missing_bytes": int((datasets["num_missing"] * datasets["size_bytes"]).sum()),
    }
    return pl.DataFrame([figures], schema=dict(RULES))
