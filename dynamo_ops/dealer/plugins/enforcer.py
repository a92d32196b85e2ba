"""Plugin ``enforcer``: datasets that rules name must exist in so many copies at their destinations."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import BaseModel, ConfigDict

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.dealer.engine.config import checked_settings
from dynamo_ops.dealer.engine.plugin import PROPOSALS, ProposalContext
from dynamo_ops.dealer.plugins.enforcer_state import OWNER_CHANGE, RuleState, rule_states
from dynamo_ops.dealer.plugins.proposal import as_proposals
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules

log = logging.getLogger(__name__)

KEY = "plugins.enforcer"
Numbers = npt.NDArray[np.signedinteger[Any]]


class EnforcerSettings(BaseModel):
    """Copies that enforcer rules ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: str | None = None
    """A file with rules; without it those of `enforcer/<partition>.yaml`."""


class EnforcerPlugin:
    """Asks first for changes of owner, by site name, then for copies drawn among the other destinations, each site
    once."""

    FILES: ClassVar = frozenset({"rules"})

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = checked_settings(EnforcerSettings, settings, file="", below=KEY)

    def attributes(self) -> tuple[str, ...]:
        """None: rules ask for those of their own conditions."""
        return ()

    def needs_detox(self) -> bool:
        """No."""
        return False

    def propose(self, frames: InventoryFrames, context: ProposalContext) -> pl.DataFrame:
        """Proposals by rule and dataset; the destination's status plays no part here.

        Logs a warning for a rule whose destinations no site meets. Errors as of ``enforcer_state.rule_states``.
        """
        asked = [empty(PROPOSALS)]
        for state in rule_states(frames, context, self.rules(context)):
            if state.destinations.is_empty():
                log.warning("enforcer rule %s: no site meets its destinations", state.rule.name)
            asked.append(as_proposals(_with_reason(state, _asked(state, context.random))))
        return pl.concat(asked)

    def rules(self, context: ProposalContext) -> Sequence[EnforcerRule]:
        """The rules of the file that the settings name, else those of the context. SettingsError when it cannot be
        read."""
        if self.settings.rules is None:
            return context.enforcer_rules
        try:
            text = Path(self.settings.rules).read_text(encoding="utf-8")
        except OSError as error:
            key = f"{KEY}.rules"
            raise SettingsError(f"{key}: {error}", file=self.settings.rules, key=key, reason=str(error)) from error
        return load_rules(text, now=context.now, file=self.settings.rules)


def first_owner_changes(state: RuleState) -> pl.DataFrame:
    """Rows of ``state.present``: changes of owner that are asked for, whatever is drawn; with ``num_missing``."""
    lacking = state.datasets.filter(pl.col("num_missing") > 0).select("dataset_id", "num_missing")
    changes = state.present.filter(pl.col("kind") == OWNER_CHANGE).join(lacking, on="dataset_id", maintain_order="left")
    return changes.filter(pl.int_range(pl.len()).over("dataset_id") < pl.col("num_missing"))


def drawn_datasets(state: RuleState) -> pl.DataFrame:
    """Datasets for which destinations are drawn, by name: ``dataset_id``, ``num_drawn``, ``num_present`` (destinations
    that are not drawn among)."""
    present = state.present.group_by("dataset_id").agg(
        num_present=pl.len().cast(pl.Int64), num_changes=(pl.col("kind") == OWNER_CHANGE).sum().cast(pl.Int64)
    )
    return (
        state.datasets.filter(pl.col("num_missing") > 0)
        .join(present, on="dataset_id", how="left", maintain_order="left")
        .with_columns(pl.col("num_changes", "num_present").fill_null(0))
        .select("dataset_id", "num_present", num_drawn=pl.col("num_missing") - pl.col("num_changes"))
        .filter(pl.col("num_drawn") > 0)
    )


def _asked(state: RuleState, random: Random) -> pl.DataFrame:
    """``dataset_id``, ``site_id``, ``is_change`` of what is asked for, by dataset: changes of owner, then what is
    drawn."""
    changes = first_owner_changes(state).select("dataset_id", "site_id", draw=pl.lit(-1, dtype=pl.Int64))
    datasets = drawn_datasets(state).with_row_index("row")
    number, draw, position = _drawn(state, datasets, random)
    drawn = pl.DataFrame(
        {
            "dataset_id": datasets["dataset_id"].gather(number),
            "site_id": state.destinations["site_id"].gather(position),
            "draw": draw,
        }
    )
    order = state.datasets.select("dataset_id").with_row_index("number")
    return (
        pl.concat([changes, drawn])
        .join(order, on="dataset_id", maintain_order="left")
        .sort("number", "draw", maintain_order=True)
        .select("dataset_id", "site_id", is_change=pl.col("draw") < 0)
    )


def _drawn(state: RuleState, datasets: pl.DataFrame, random: Random) -> tuple[Numbers, Numbers, Numbers]:
    """What is drawn: row number in ``datasets``, number of the draw, place of the destination drawn.

    One 64-bit number of ``random`` for each dataset and draw: the how manieth of the destinations that are left. Going
    up through those that are not (``taken``, ascending; ``beyond`` stands for none), each moves it one further.
    """
    height, beyond = datasets.height, state.destinations.height
    counts = datasets["num_drawn"].to_numpy().astype(np.int64)
    num_present = datasets["num_present"].to_numpy().astype(np.int64)
    most = int(counts.max(initial=0))
    taken = np.full((height, int(num_present.max(initial=0)) + most), beyond, dtype=np.int32)
    present = state.present.join(datasets.select("dataset_id", "row"), on="dataset_id", maintain_order="left")
    column = present.select(pl.int_range(pl.len()).over("row")).to_series().to_numpy()
    taken[present["row"].to_numpy(), column] = present["position"].to_numpy()
    numbers = np.frombuffer(random.randbytes(8 * height * most), dtype="<u8").reshape(height, most)
    left = beyond - num_present
    for draw in range(most):
        is_drawn = counts > draw
        position = (numbers[:, draw] % np.maximum(left - draw, 1).astype(np.uint64)).astype(np.int64)
        for column_taken in np.sort(taken, axis=1).T:
            position += position >= column_taken
        taken[:, draw - most] = np.where(is_drawn, position, beyond)
    number, draw_of = np.nonzero(counts[:, None] > np.arange(most))
    return number, draw_of, taken[number, draw_of - most]


def _with_reason(state: RuleState, asked: pl.DataFrame) -> pl.DataFrame:
    """``asked`` with ``group_id`` and ``reason``."""
    rule = state.rule
    wanted = min(rule.num_copies, state.destinations.height)
    change_text = pl.when("is_change").then(pl.lit("; this one changes its owner")).otherwise(pl.lit(""))
    reason = pl.format(
        "rule {}: {} of {} destinations to have it, {} complete, {} on the way{}",
        pl.lit(rule.name),
        pl.lit(wanted),
        pl.lit(state.destinations.height),
        "num_complete",
        "num_en_route",
        change_text,
    )
    counted = asked.join(state.datasets, on="dataset_id", maintain_order="left")
    return counted.with_columns(group_id=pl.lit(state.group_id, dtype=pl.Int64), reason=reason)
