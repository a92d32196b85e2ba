"""``pools.json``: how many calls at once to each outside service. Airflow imports it (``airflow pools import``)."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field, RootModel, ValidationError

from dynamo_ops.base.config_file import Strict, faults_of
from dynamo_ops.base.errors import Fault, SettingsError

POOLS_FILE = "pools.json"
POOLS = ("access_source", "direct", "fts", "metadata_source", "storage")
"""Those that the DAGs ask for. A task whose pool is not there is never run."""


class Pool(Strict):
    """One pool of Airflow's."""

    slots: int = Field(ge=1)
    """Tasks at once."""
    description: str = ""
    """What it bounds."""
    include_deferred: bool = False
    """Whether a task that waits elsewhere takes a slot too."""


class Pools(RootModel[dict[str, Pool]]):
    """All pools, by name."""


def read_pools(file: Path) -> dict[str, Pool]:
    """The pools of a file. SettingsError names file, key and reason of every fault."""
    try:
        pools = Pools.model_validate(json.loads(file.read_text(encoding="utf-8"))).root
    except json.JSONDecodeError as error:
        raise SettingsError.of(
            [Fault(str(file), f"{error.lineno}:{error.colno}", f"is not JSON: {error.msg}")]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError.of([Fault(str(file), "", f"cannot be read: {error}")]) from None
    except ValidationError as error:
        raise SettingsError.of(faults_of(error, Pool, str(file))) from None
    missing = [name for name in POOLS if name not in pools]
    if missing:
        reason = "no such pool, and tasks that ask for it are never run: put it back"
        raise SettingsError.of([Fault(str(file), name, reason) for name in missing])
    return pools
