"""The proposals of one run between its tasks: what each plugin proposed, and what it was asked with.

A plugin is a task of its own, that may be retried or cleared hours later. So each stores what it read with its
proposals, and the decision is refused where that is not what the decision itself reads: nothing is shared that one task
could change under another, and to clear any task is safe. Files mended after a failure are read by the task that is
cleared; tasks that had succeeded before are then found out, and named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import fsspec
import polars as pl

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.dealer.commit import FOLLOWS
from dynamo_ops.dealer.engine.plugin import WITH_PLUGIN
from dynamo_ops.inventory.frames import empty
from dynamo_ops.plan.inputs import DealerInputs, DetoxInputs, load_inputs

ENDING = ".parquet"
INPUTS_ENDING = ".inputs.json"
AGAIN = "clear the tasks from `plugins` on, or leave it to the next cycle"


def store_proposals(
    settings: Settings, proposals: pl.DataFrame, inputs: DealerInputs, plugin: str, *, run_key: str, follows: int | None
) -> str:
    """Store what a plugin proposed, columns ``WITH_PLUGIN``. Returns where.

    ``follows``: the Dealer plan of the partition that had been committed last when the inventory was read.
    """
    key = hashlib.sha256(run_key.encode()).hexdigest()[:16]
    place = settings.files_at("proposals", inputs.partition, key, f"{plugin}{ENDING}")
    _forget_inputs(place)
    with fsspec.open(place, "wb", auto_mkdir=True) as handle:
        proposals.with_columns(pl.lit(follows, dtype=pl.Int64).alias(FOLLOWS)).write_parquet(handle)
    with fsspec.open(_inputs_place(place), "wb", auto_mkdir=True) as handle:
        handle.write(inputs.model_dump_json().encode())
    return place


def read_proposals(
    places: Sequence[str], inputs: DealerInputs, plugins: Collection[str], *, follows: int | None
) -> pl.DataFrame:
    """What the plugins proposed, columns ``WITH_PLUGIN``.

    Raises PlanError when one of them was asked with other inputs than these, when others than ``plugins`` were asked,
    or when another plan than ``follows`` was the newest when one of them was.
    """
    asked = {place.rsplit("/", 1)[-1].removesuffix(ENDING) for place in places}
    if asked != set(plugins):
        names = ", ".join(sorted(asked ^ set(plugins)))
        raise _refusal(inputs, f"the plugins of the configuration are not those that were asked ({names})")
    for place in places:
        _refuse_other_inputs(place, inputs)
    return pl.concat([empty(WITH_PLUGIN), *(_proposals(place, inputs, follows) for place in places)])


def _refuse_other_inputs(place: str, inputs: DealerInputs) -> None:
    stored = _asked_with(place, inputs)
    differing = inputs.differing(stored) if isinstance(stored, DealerInputs) else ("kind",)
    if differing:
        plugin = place.rsplit("/", 1)[-1].removesuffix(ENDING)
        raise _refusal(inputs, f"changed after the plugin {plugin} was asked: {', '.join(differing)}")


def _asked_with(place: str, inputs: DealerInputs) -> DealerInputs | DetoxInputs:
    file = _inputs_place(place)
    try:
        with fsspec.open(file, "rb") as handle:
            return load_inputs(handle.read().decode(), file=file)
    except FileNotFoundError as error:
        raise _refusal(inputs, f"{file} is not there: what a plugin was asked with is not known") from error


def _proposals(place: str, inputs: DealerInputs, follows: int | None) -> pl.DataFrame:
    with fsspec.open(place, "rb") as handle:
        frame = pl.read_parquet(handle)
    if not frame[FOLLOWS].eq_missing(pl.Series([follows], dtype=pl.Int64)).all():
        raise PlanError(
            f"plan {follows} of {inputs.partition} was committed after the plugins were asked: clear the tasks from "
            "`propose` on, or leave it to the next cycle",
            plan_id=follows,
            state="committed",
        )
    return frame.select(*WITH_PLUGIN)


def _forget_inputs(place: str) -> None:
    """While proposals are replaced nothing says what they were made of: a task that is killed in between leaves none
    that could pass for another's."""
    filesystem, path = fsspec.url_to_fs(_inputs_place(place))
    if filesystem.exists(path):
        filesystem.rm(path)


def _inputs_place(place: str) -> str:
    return place.removesuffix(ENDING) + INPUTS_ENDING


def _refusal(inputs: DealerInputs, why: str) -> PlanError:
    return PlanError(f"Dealer of {inputs.partition}: {why}: {AGAIN}", partition=inputs.partition, state=None)
