"""What a Dealer plan looked at, as CSV files: targets, requests by plugin, checks of sources and destinations.

The columns are those of the golden cases; a quota of 0 is shown as they show it (occupancy 1.797e308, draw weight 1).
The checks are made before the first copy, each for itself, whatever the draws of a seed are; only
``determine_copies_fixed`` goes through the requests with a destination in the order of their names, as sites fill.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.units import TB
from dynamo_ops.dealer.engine import decide as engine
from dynamo_ops.dealer.engine.config import DealerConfig
from dynamo_ops.dealer.engine.item import Items
from dynamo_ops.dealer.engine.plan import Table, set_table
from dynamo_ops.dealer.engine.plugin import WITH_PLUGIN, Plugin, ProposalInputs, propose
from dynamo_ops.dealer.plugins.enforcer import EnforcerPlugin
from dynamo_ops.dealer.report.enforcer_report import enforcer_table, possible_requests
from dynamo_ops.inventory.frames import empty

WORDS = {
    engine.NOT_VALID: "Dataset is not valid",
    engine.NO_SOURCE: "No source",
    engine.FILES_MISSING: "Source files missing",
    engine.NOT_A_TARGET: "Not a target site",
    engine.NOT_ALLOWED: "Not allowed",
    engine.ALREADY_THERE: "Replica exists",
    engine.FULL: "Destination is full",
    None: "OK",
}
ENFORCER = "enforcer"
FIRST = ("balancer", "undertaker", "groupreassign", "popularity", ENFORCER)
"""Of the same item asked by several plugins, the destinations are checked for the first in this order."""
SORTED = ("undertaker", "groupreassign")
"""Plugins whose requests are numbered by dataset, blocks and destination; others in the order proposed."""
COLUMNS = ("request", "dataset", "blocks", "destination", "item_size")
INFINITE = sys.float_info.max


def write_checks(
    folder: Path, plugins: Mapping[str, Plugin], inputs: ProposalInputs, config: DealerConfig, *, seed: int
) -> dict[str, int]:
    """Write all files into ``folder``, which is made where it is not there. Returns their numbers of rows by name.

    Raises PlanError when it cannot be written.
    """
    asked = _asked(plugins, inputs, config, seed)
    names = _request_names(asked, inputs)
    table = set_table(
        inputs.frames,
        asked.select(*WITH_PLUGIN),
        config,
        inputs.partitions,
        now=inputs.now,
        seed=seed,
        attribute_max_age=inputs.attribute_max_age,
    )
    files = {
        "target_sites": _target_sites(table),
        **_requests(plugins, names, inputs, config, seed),
        "source_checks": _source_checks(table, names),
        "destination_checks": _destination_checks(table, names),
        "fixed_destination_checks": _fixed_checks(table, names),
        "determine_copies_fixed": _in_sequence(table, names, config),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in files.items():
            frame.with_columns(cs.string().replace("", None)).write_csv(folder / f"{name}.csv")
    except OSError as error:
        raise PlanError(f"{folder}: the checks cannot be written: {error.strerror}", state=None) from error
    return {name: frame.height for name, frame in files.items()}


def _asked(plugins: Mapping[str, Plugin], inputs: ProposalInputs, config: DealerConfig, seed: int) -> pl.DataFrame:
    """All proposals; of the enforcer every one that some draw may make, each (dataset, site) once.

    Rules may ask the same for different owners: their requests are checked as for the configuration's group.
    """
    parts = [empty(WITH_PLUGIN)]
    for name, plugin in sorted(plugins.items()):
        if name == ENFORCER and isinstance(plugin, EnforcerPlugin):
            context = inputs.context(config, name, seed)
            possible = possible_requests(inputs.seen, context, plugin.rules(context))
            named = possible.select("dataset_id", "site_id", plugin=pl.lit(name))
            parts.append(pl.concat([empty(WITH_PLUGIN), named], how="diagonal_relaxed"))
        else:
            parts.append(propose(plugin, name, inputs, config, seed=seed))
    return pl.concat([part.select(pl.col(c).cast(k) for c, k in WITH_PLUGIN.items()) for part in parts]).filter(
        pl.col("refused").is_null()
    )


def _request_names(asked: pl.DataFrame, inputs: ProposalInputs) -> pl.DataFrame:
    """One row per proposal, in their order: ``plugin`` and ``COLUMNS``."""
    frames = inputs.frames
    sizes = frames.blocks.group_by("dataset_id").agg(item_size=pl.col("size_bytes").sum())
    named_ids = asked["block_ids"].explode(empty_as_null=True).drop_nulls().unique()
    named_blocks = frames.blocks.filter(pl.col("block_id").is_in(named_ids.implode()))
    block_of = {
        number: (name, size)
        for number, name, size in named_blocks.select("block_id", "block", "size_bytes").iter_rows()
    }
    blocks = ["*" if ids is None else ";".join(sorted(block_of[i][0] for i in ids)) for ids in asked["block_ids"]]
    parts = [None if ids is None else sum(block_of[i][1] for i in ids) for ids in asked["block_ids"]]
    named = (
        asked.with_row_index("row")
        .with_columns(pl.Series("blocks", blocks, dtype=pl.String), pl.Series("part", parts, dtype=pl.Int64))
        .join(frames.datasets.select("dataset_id", "dataset"), on="dataset_id", how="left", maintain_order="left")
        .join(frames.sites.select("site_id", destination="site"), on="site_id", how="left", maintain_order="left")
        .join(sizes, on="dataset_id", how="left", maintain_order="left")
        .with_columns(
            item_size=pl.coalesce("part", "item_size").fill_null(0), destination=pl.col("destination").fill_null("")
        )
    )
    ranked = named.with_columns(
        key=pl.when(pl.col("plugin").is_in(list(SORTED))).then(
            pl.concat_str("dataset", "blocks", "destination", separator="\0")
        )
    ).sort("plugin", "key", "row")
    numbered = ranked.with_columns(number=pl.int_range(pl.len()).over("plugin")).sort("row")
    of_enforcer = pl.format("enforcer:{}@{}", "dataset", "destination")
    number = pl.col("number").cast(pl.String).str.zfill(4)
    name = pl.when(pl.col("plugin") == ENFORCER).then(of_enforcer).otherwise(pl.format("{}-{}", "plugin", number))
    return numbered.with_columns(request=name).select("plugin", *COLUMNS)


def _requests(
    plugins: Mapping[str, Plugin], names: pl.DataFrame, inputs: ProposalInputs, config: DealerConfig, seed: int
) -> dict[str, pl.DataFrame]:
    tables = {}
    for name, plugin in plugins.items():
        if name == ENFORCER and isinstance(plugin, EnforcerPlugin):
            context = inputs.context(config, name, seed)
            tables[f"requests_{name}"] = enforcer_table(inputs.seen, context, plugin.rules(context))
        else:
            tables[f"requests_{name}"] = names.filter(pl.col("plugin") == name).select(COLUMNS).sort("request")
    return tables


def _target_sites(table: Table) -> pl.DataFrame:
    states = table.sites.states(np.zeros(len(table.sites.ids), dtype=np.int64))
    return states.select(
        "site",
        pl.col("is_target").cast(pl.Int8),
        "status",
        quota="quota_bytes",
        occupancy_physical=_finite("physical_occupancy"),
        occupancy_projected=_finite("projected_occupancy_before"),
    )


def _finite(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_infinite()).then(pl.lit(INFINITE)).otherwise(pl.col(name))


def _source_checks(table: Table, names: pl.DataFrame) -> pl.DataFrame:
    items: Items = table.items
    rejected = np.where(
        ~items.is_valid, WORDS[engine.NOT_VALID], np.where(items.has_source, "", WORDS[engine.NO_SOURCE])
    )
    return names.select(
        "request",
        collect_reject=pl.Series(rejected[items.item].tolist(), dtype=pl.String),
        validate_source=pl.Series((items.has_source & items.is_covered)[items.item]).cast(pl.Int8),
    ).sort("request")


def _destination_checks(table: Table, names: pl.DataFrame) -> pl.DataFrame:
    """Every site, for the first request of each item."""
    order = {name: number for number, name in enumerate(FIRST)}
    first = (
        names.with_row_index("row")
        .with_columns(rank=pl.col("plugin").replace_strict(order, default=len(order), return_dtype=pl.Int64))
        .sort("rank", "row")
        .unique(["dataset", "blocks"], keep="first", maintain_order=True)
    )
    parts = []
    for row, request, dataset in first.sort("request").select("row", "request", "dataset").iter_rows():
        parts.append(_checks_of(table, row).with_columns(request=pl.lit(request), dataset=pl.lit(dataset)))
    columns = ["request", "dataset", "site", "check_destination", "exists_level", "random_choice_weight"]
    return pl.concat(parts).select(columns) if parts else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))


def _checks_of(table: Table, row: int) -> pl.DataFrame:
    """One row a site: the verdict, whether the item is there, the weight in a draw (null: it could not be drawn)."""
    sites = table.sites
    places = range(len(sites.names))
    weights = sites.weights(int(table.items.size[table.items.item[row]]))
    weights[(sites.quota == 0) & sites.is_known] = 1.0
    levels = [table.cycle.exists_level(row, place) for place in places]
    able = (weights >= 0) & (np.array(levels) == 0)
    return pl.DataFrame(
        {
            "site": sites.names,
            "check_destination": [WORDS[table.cycle.why_not_at(row, place)] for place in places],
            "exists_level": levels,
            "random_choice_weight": [float(weight) if can else None for weight, can in zip(weights, able, strict=True)],
        },
        schema_overrides={"random_choice_weight": pl.Float64},
    )


def _with_destination(names: pl.DataFrame) -> pl.DataFrame:
    return names.with_row_index("row").filter(pl.col("destination") != "").sort("request")


def _fixed_checks(table: Table, names: pl.DataFrame) -> pl.DataFrame:
    checks = []
    for row, request, site in _with_destination(names).select("row", "request", "destination").iter_rows():
        place = table.sites.names.index(site)
        checks.append((request, WORDS[table.cycle.why_not_at(row, place)], table.cycle.exists_level(row, place)))
    schema = {"request": pl.String, "check_destination": pl.String, "exists_level": pl.Int64}
    return pl.DataFrame(checks, schema=schema, orient="row")


def _in_sequence(table: Table, names: pl.DataFrame, config: DealerConfig) -> pl.DataFrame:
    """The requests with a destination one after the other, by name, those of invalid datasets left out, until the
    volume is passed. Changes the table's sites: comes last."""
    sequence: list[tuple[int, str, str, int]] = []
    volume = 0
    for row, request in _with_destination(names).select("row", "request").iter_rows():
        item = table.items.item[row]
        if not table.items.is_valid[item]:
            continue
        if volume > config.max_total_cycle_volume * TB:
            break
        reason = table.cycle.try_row(row)
        size = int(table.items.size[item])
        volume += size if reason is None else 0
        sequence.append((len(sequence), request, WORDS[reason] if reason else "COPY", size))
    schema = {"seq": pl.Int64, "request": pl.String, "result": pl.String, "item_size": pl.Int64}
    return pl.DataFrame(sequence, schema=schema, orient="row")
