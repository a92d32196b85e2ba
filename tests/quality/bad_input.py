"""An inventory in use, drops of files as its sources, and the way that what they tell takes: pull, gate, merge."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text

from dynamo_ops.base.errors import DynamoError, GateError
from dynamo_ops.base.settings import Settings, SourceSettings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.schema import Base
from dynamo_ops.inventory.catalogue.aside import set_aside
from dynamo_ops.inventory.staging import pull as staging
from dynamo_ops.popularity.days import DayOfSource
from dynamo_ops.popularity.tasks import pull, replace_day, staging_key
from dynamo_ops.quality.checks import example_text
from dynamo_ops.quality.suites.accesses import check_accesses, check_demand
from dynamo_ops.quality.suites.metadata import check_metadata
from dynamo_ops.quality.thresholds import Gates
from dynamo_ops.sources import tasks as steps
from dynamo_ops.sources.source import BLOCKS, FILES

Row = dict[str, Any]
Tables = dict[str, list[Row]]

AREAS = ("metadata", "sites", "accesses", "demand")
SET_ASIDE = "set aside"
UNTIL = datetime(2026, 3, 1, tzinfo=UTC)
DAY = date(2026, 2, 20)
T0 = "2026-01-01T00:00:00Z"
MUONS, JETS, PHOTONS, TAUS = (f"/{name}/Run2026A-v1/AOD" for name in ("Muons", "Jets", "Photons", "Taus"))
SITES = ("T1_US_Disk", "T2_DE", "T2_FR", "T2_IT", "T2_UK")
USUAL = 2000
"""Accesses, and jobs, of each day before."""


def dataset(name: str = MUONS, **changes: Any) -> Row:
    return {"dataset": name, "status": "valid", "is_open": False, "last_update_at": T0, **changes}


def block(name: str = "b1", of: str = MUONS, **changes: Any) -> Row:
    told = {"is_open": False, "size_bytes": 200, "num_files": 2, "last_update_at": T0}
    return {"dataset": of, "block": name, **told, **changes}


def file(lfn: str, of: str = MUONS, in_block: str = "b1", **changes: Any) -> Row:
    told = {"size_bytes": 100, "adler32": "0000000a", "is_valid": True}
    return {"dataset": of, "block": in_block, "lfn": lfn, **told, **changes}


def site(name: str, status: str = "ready", **changes: Any) -> Row:
    endpoint = {"protocol": "davs", "prefix": f"davs://{name.lower()}.example/"}
    return {"name": name, "storage_type": "disk", "status": status, "endpoints": [endpoint], **changes}


def access(**changes: Any) -> Row:
    return {"dataset": MUONS, "site": "T2_DE", "day": DAY.isoformat(), "num_accesses": USUAL, **changes}


def demand(**changes: Any) -> Row:
    return {"dataset": MUONS, "day": DAY.isoformat(), "num_jobs": USUAL, **changes}


def as_before() -> Tables:
    """What the sources told when all was well: four datasets of two blocks of two files each, five sites, a day."""
    names = (MUONS, JETS, PHOTONS, TAUS)
    lfns = {name: f"/store/data{name.rsplit('-', 1)[0]}" for name in names}
    return {
        "datasets": [dataset(name) for name in names],
        "blocks": [block(each, name) for name in names for each in ("b1", "b2")],
        "files": [
            file(f"{lfns[name]}/{each}_{number}.root", name, each)
            for name in names
            for each in ("b1", "b2")
            for number in (1, 2)
        ],
        "sites": [site(name) for name in SITES],
        "accesses": [access()],
        "demand": [demand()],
    }


@dataclass
class Drop:
    """What the sources have. ``tables``: rows by table, ``texts``: whole files instead, ``second``: of another one."""

    tables: Tables = field(default_factory=as_before)
    texts: dict[str, bytes] = field(default_factory=dict)
    second: Tables | None = None

    def row(self, table: str, number: int = 0) -> Row:
        return self.tables[table][number]


@dataclass(frozen=True)
class Kind:
    """One kind of input. ``change``: what it does to a healthy drop.

    ``stopped_by``: pull, merge, the checks of the gate, or ``SET_ASIDE`` (its dataset, not the others); empty: nothing
    may stop it. ``words``: the essential ones of the message. ``limits``: changes of ``gates.yaml``. ``by_plugin``:
    told by a source plugin that filters nothing. ``has_details`` false: the task that pulls the details was marked as
    done by hand. ``between``: what happens to the staged rows between gate and merge. ``query``, ``found``: of what is
    let in, how it shows in the inventory afterwards, one row of text; ``found`` empty: the inventory stays as it is.
    """

    area: str
    what: str
    change: Callable[[Drop], object]
    stopped_by: str = ""
    words: str = ""
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    by_plugin: bool = False
    has_details: bool = True
    between: str = ""
    query: str = ""
    found: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.area}: {self.what}"


@dataclass(frozen=True)
class Stopped:
    """What stopped an input (pull, merge, or the checks of the gate, or SET_ASIDE), and its message."""

    by: str
    message: str


@dataclass
class World:
    """An inventory and the sources that feed it."""

    database: Database
    folder: Path

    def settings(self, drop: Drop) -> Settings:
        metadata = [SourceSettings(name="dbs", type="files", options={"path": str(self.folder / "first")})]
        if drop.second is not None:
            metadata.append(SourceSettings(name="dbs2", type="files", options={"path": str(self.folder / "second")}))
        return Settings(
            home=self.folder / "home",
            metadata_sources=metadata,
            site_sources=[
                SourceSettings(name="cric", type="file", options={"path": str(self.folder / "first" / "sites.json")})
            ],
            access_sources=[self._days("monit", "accesses")],
            demand_sources=[self._days("pool", "demand")],
        )

    def _days(self, name: str, table: str) -> SourceSettings:
        path = str(self.folder / "first" / f"{table}_{{day}}.jsonl")
        return SourceSettings(name=name, type="files", options={"path": path})

    def write(self, drop: Drop) -> None:
        for folder, tables in (("first", drop.tables), ("second", drop.second or {})):
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
            for table, rows in tables.items():
                (self.folder / folder / _file_of(table)).write_bytes(_text(table, rows))
        for table, content in drop.texts.items():
            (self.folder / "first" / _file_of(table)).write_bytes(content)

    def take(self, kind: Kind, run_key: str = "metadata_sync/manual__2") -> Stopped | None:
        """All the way that the input of ``kind`` takes; what stopped it, None if it came through."""
        drop = Drop()
        kind.change(drop)
        self.write(drop)
        settings = self.settings(drop)
        gates = Gates.model_validate(kind.limits)
        at = ""
        try:
            for stage, step in self._steps(kind, drop, settings, gates, run_key):
                at = stage
                step()
        except GateError as error:
            return Stopped(", ".join(f"`{key}`" for key in error.failures), self._plain(error.message))  # type: ignore[attr-defined]
        except DynamoError as error:
            return Stopped(at, self._plain(error.message))
        return self._set_aside()

    def _set_aside(self) -> Stopped | None:
        """What the merge left out, with the reasons."""
        rows = set_aside(self.database).select("dataset", "reason").iter_rows()
        reasons = [f"{example_text({'dataset': name})}: {self._plain(reason)}" for name, reason in rows]
        return Stopped(SET_ASIDE, "; ".join(reasons)) if reasons else None

    def _plain(self, message: str) -> str:
        """The message without this machine's folder."""
        return message.replace(str(self.folder / "first"), "/drop")

    def _steps(
        self, kind: Kind, drop: Drop, settings: Settings, gates: Gates, run_key: str
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        db = self.database
        if kind.area in ("accesses", "demand"):
            what = DayOfSource(DAY.isoformat(), "monit" if kind.area == "accesses" else "pool", kind.area)  # type: ignore[arg-type]
            check = check_accesses if kind.area == "accesses" else check_demand
            yield "pull", lambda: pull(db, settings, run_key, what)
            if kind.by_plugin:
                yield "pull", lambda: self._stage_accesses(staging_key(run_key, what.day), drop)
            yield "gate", lambda: check(db, staging_key(run_key, what.day), what.day, [what.source], gates)
            yield "merge", lambda: replace_day(db, run_key, what)
            return
        sources = [source.name for source in settings.metadata_sources] if kind.area == "metadata" else []
        sites = ["cric"] if kind.area == "sites" else []
        yield "pull", lambda: [steps.pull_sites(db, settings, run_key, name) for name in sites]
        yield "pull", lambda: [self._pull(settings, run_key, name, kind.has_details) for name in sources]
        if kind.by_plugin:
            yield "pull", lambda: self._stage_details(run_key, drop)
        yield "gate", lambda: check_metadata(db, run_key, sources, sites, gates, as_of=UNTIL)
        if kind.between:
            yield "pull", lambda: self.sql(kind.between)
        yield "merge", lambda: steps.merge(db, run_key, sources, sites, UNTIL)

    def _pull(self, settings: Settings, run_key: str, source: str, has_details: bool) -> None:
        db = self.database
        for page in steps.pull_datasets(db, settings, run_key, source, UNTIL, UNTIL, full=True):
            if has_details:
                steps.pull_details(db, settings, run_key, source, page)

    def _stage_details(self, run_key: str, drop: Drop) -> None:
        """As a plugin would tell the rows of the drop, whatever datasets it was asked for."""
        times = pl.col("last_update_at").str.to_datetime(time_zone="UTC")
        blocks = pl.DataFrame(drop.tables["blocks"], schema={**BLOCKS, "last_update_at": pl.String})
        part = (blocks.with_columns(times), pl.DataFrame(drop.tables["files"], schema=dict(FILES)))
        staging.stage_details(self.database, run_key, "dbs", 0, [part])

    def _stage_accesses(self, key: str, drop: Drop) -> None:
        from dynamo_ops.sources.usage.source import ACCESSES

        rows = [{**row, "day": date.fromisoformat(row["day"])} for row in drop.tables["accesses"]]
        staging.stage_accesses(self.database, key, "monit", pl.DataFrame(rows, schema=dict(ACCESSES)))

    def sql(self, statement: str) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement))

    def fill(self) -> None:
        """Everything as before is merged, and use of the four days before the day is known."""
        for area in ("sites", "metadata"):
            stopped = self.take(Kind(area, "as before", lambda _drop: None), f"metadata_sync/{area}__1")
            assert stopped is None, stopped
        drop = Drop()
        settings = self.settings(drop)
        for back in (4, 3, 2, 1):
            day = (DAY - timedelta(days=back)).isoformat()
            for table, row, check, source in (
                ("accesses", access(day=day), check_accesses, "monit"),
                ("demand", demand(day=day), check_demand, "pool"),
            ):
                what, key = DayOfSource(day, source, table), f"popularity/scheduled__{day}"  # type: ignore[arg-type]
                (self.folder / "first" / f"{table}_{day}.jsonl").write_bytes(_lines([row]))
                pull(self.database, settings, key, what)
                check(self.database, staging_key(key, day), day, [source], Gates())
                replace_day(self.database, key, what)


def _file_of(table: str) -> str:
    if table == "sites":
        return "sites.json"
    return f"{table}_{DAY}.jsonl" if table in ("accesses", "demand") else f"{table}.jsonl"


def _text(table: str, rows: list[Row]) -> bytes:
    return json.dumps(rows).encode() if table == "sites" else _lines(rows)


def _lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def told_in_all(drop: Drop, area: str) -> dict[str, int | set[str]]:
    """What of a drop the inventory has after it was let in: names, or of use the sum."""
    if area == "metadata":
        return {
            "datasets": {f"{row['dataset']} {row['status']}" for row in drop.tables["datasets"]},
            "blocks": {f"{row['dataset']}#{row['block']}" for row in drop.tables["blocks"]},
            "files": {
                f"{row['dataset']}#{row['block']} {row['lfn']} {row['size_bytes']}" for row in drop.tables["files"]
            },
        }
    if area == "sites":
        return {"sites": {f"{row['name']} {row['status']}" for row in drop.tables["sites"]}}
    number = "num_accesses" if area == "accesses" else "num_jobs"
    content = drop.texts.get(area)
    return {area: 0 if content == b"" else sum(row[number] for row in drop.tables[area])}


def in_inventory(db: Database, area: str) -> dict[str, int | set[str]]:
    """The same of the inventory; use of the day, also of what is not known."""
    if area in ("accesses", "demand"):
        table, number = ("accesses_daily", "num_accesses") if area == "accesses" else ("demand_daily", "num_jobs")
        told = db.frame(
            f"""SELECT (SELECT coalesce(sum({number}), 0) FROM {table} WHERE day = $1)
                     + (SELECT coalesce(sum(number), 0) FROM unknown_use WHERE day = $1 AND kind = $2)
                FROM aggregated_days WHERE day = $1 AND kind = $2""",
            (DAY, area),
        )
        return {area: int(told.item())}
    names = {
        "datasets": "SELECT name || ' ' || status FROM datasets",
        "blocks": "SELECT d.name || '#' || b.name FROM blocks AS b JOIN datasets AS d ON d.id = b.dataset_id",
        "files": """SELECT d.name || '#' || b.name || ' ' || f.lfn || ' ' || f.size_bytes FROM files AS f
                    JOIN blocks AS b ON b.id = f.block_id JOIN datasets AS d ON d.id = b.dataset_id""",
        "sites": "SELECT name || ' ' || status FROM sites",
    }
    return {name: set(db.frame(query).to_series().to_list()) for name, query in names.items()}


def assert_let_in(db: Database, kind: Kind) -> None:
    """All that the drop of ``kind`` tells is in the inventory."""
    drop = Drop()
    kind.change(drop)
    there = in_inventory(db, kind.area)
    for table, told in told_in_all(drop, kind.area).items():
        found = there[table]
        assert told == found if isinstance(told, int) or isinstance(found, int) else told <= found, table


NOT_INVENTORY = ("staged_", "gate_", "alerts")
"""Tables that a refused run may write to: what it pulled, what the gate saw."""


def checksums(db: Database) -> dict[str, str]:
    """By table of the inventory: md5 over all its rows, in an order of their own."""
    tables = sorted(name for name in Base.metadata.tables if not name.startswith(NOT_INVENTORY))
    sums = ", ".join(
        f"(SELECT md5(coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '')) FROM {name} AS t) AS {name}"
        for name in tables
    )
    return db.frame(f"SELECT {sums}").row(0, named=True)


@contextmanager
def unchanged(db: Database) -> Iterator[None]:
    """All rows of the inventory are the same afterwards."""
    before = checksums(db)
    yield
    after = checksums(db)
    different = [name for name in before if before[name] != after[name]]
    assert not different, f"changed: {different}"


def changed(**rows: Any) -> Callable[[Drop], object]:
    """Sets values in the first row of a table: ``changed(datasets={"status": "shiny"})``."""
    return lambda drop: [drop.row(table).update(values) for table, values in rows.items()]


def added(**rows: list[Row]) -> Callable[[Drop], object]:
    """Adds rows to tables."""
    return lambda drop: [drop.tables[table].extend(deepcopy(new)) for table, new in rows.items()]


def both(*changes: Callable[[Drop], object]) -> Callable[[Drop], object]:
    """One change after the other."""
    return lambda drop: [change(drop) for change in changes]


def instead(**content: bytes) -> Callable[[Drop], object]:
    """Other files."""
    return lambda drop: drop.texts.update(content)
