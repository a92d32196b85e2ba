"""The frames of a stored plan, of either engine, as they are read again: of them what is asked for."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from dynamo_ops.base.errors import PlanError


def scan(location: str, name: str) -> pl.LazyFrame:
    """One Parquet file of a plan, lazily where the location is a folder of this machine; else it is read whole.

    Raises PlanError when the file is not there.
    """
    import fsspec  # who decides on files of this machine stores no plan
    from fsspec.implementations.local import LocalFileSystem

    try:
        filesystem, path = fsspec.url_to_fs(location)
        file = f"{path}/{name}.parquet"
        if isinstance(filesystem, LocalFileSystem) and Path(file).is_file():
            return pl.scan_parquet(file)
        with filesystem.open(file, "rb") as handle:
            return pl.read_parquet(handle).lazy()
    except OSError as error:
        raise PlanError(
            f"{location}: the frame {name!r} of the plan is not there; old plans lose theirs: keep.plan_files_days",
            state=None,
        ) from error
