"""The worlds behind our sources of accesses and of demand, for the conformance suite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl

from dynamo_ops.base.errors import DynamoError, RetryableRemoteError, SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.usage.source import AccessSource, DemandSource, access_source, demand_source
from tests.sources.backends import NOBODY, written
from tests.sources.conformance import DAY
from tests.sources.server import JsonServer
from tests.sources.told import MUONS

Access = tuple[date, str, str | None, int | None]


class JsonAccessBackend:
    """A feed that answers with the records of an interval."""

    counts_records = False

    def __init__(self, server: JsonServer, level: str = "dataset") -> None:
        self.name = f"json-{level}"
        self.level = level
        self._server = server
        self._server.answer = self._answer
        self._records: Sequence[Access] = ()
        self._number: Any = None
        self.faults = (
            ({}, "url"),
            ({"url": NOBODY, "level": "block"}, "level"),
            ({"url": NOBODY, "fields": {"datum": "day"}}, "'datum'"),
            ({"url": NOBODY, "timeout_s": 0}, "timeout_s"),
        )

    def made(self, options: dict[str, Any]) -> AccessSource:
        return access_source(SourceSettings(name="monit", type="json", options=options), Tls())

    def source(self, records: Sequence[Access]) -> AccessSource:
        self._records, self._number = records, None
        fields = {"site": "rse", "num_accesses": "reads"}
        return self.made({"url": self._server.url, "level": self.level, "fields": fields})

    def broken(self) -> tuple[AccessSource, Sequence[str]]:
        source = self.source([(DAY, MUONS.dataset, "T2_BB", 1)])
        self._number = "many"
        return source, [MUONS.dataset, "reads", "'many'"]

    def away(self) -> tuple[AccessSource, type[DynamoError]]:
        return self.made({"url": NOBODY}), RetryableRemoteError

    def _answer(self, path: str, query: dict[str, str]) -> Any:
        key = "lfn" if query.get("level") == "file" else "dataset"
        first, last = (datetime.fromisoformat(query[name]).date() for name in ("from", "to"))
        return [
            {key: name, "rse": site, "day": day.isoformat(), "reads": self._number or number}
            for day, name, site, number in self._records
            if first <= day < last
        ]


class FilesAccessBackend:
    """Drops of one kind. ``day_from``: whether each day has a file, or all days lie in one."""

    counts_records = False
    faults = (
        ({}, "path"),
        ({"path": "/x/{hour}.csv"}, "path"),
        ({"path": "/x/{day.csv"}, "path"),
        ({"path": "/x/a.csv", "day_from": "path"}, "path"),
        ({"path": "/x/a.csv", "missing": "guess"}, "missing"),
        ({"path": "/x/a.csv", "columns": {"datum": "day"}}, "'datum'"),
    )

    def __init__(self, kind: str, place: str, day_from: str = "day", level: str = "dataset") -> None:
        self.name = f"files-{kind}-{day_from}-{level}"
        self.level = level
        self._kind, self._place, self._day_from = kind, place, day_from
        self._counter = count()

    def made(self, options: dict[str, Any]) -> AccessSource:
        return access_source(SourceSettings(name="drops", type="files", options=options), Tls())

    def source(self, records: Sequence[Access]) -> AccessSource:
        return self.made(self._told(_table(self._key, "site", "num_accesses", records)))

    def broken(self) -> tuple[AccessSource, Sequence[str]]:
        frame = _table(self._key, "site", "num_accesses", [(DAY, MUONS.dataset, "T2_BB", 1)])
        options = self._told(frame.with_columns(num_accesses=pl.lit("many")))
        return self.made(options), ["num_accesses", "'many'", f".{self._kind}"]

    def away(self) -> tuple[AccessSource, type[DynamoError]]:
        return self.made({"path": f"{self._place}/nowhere/{{day}}.jsonl"}), SourceDataError

    @property
    def _key(self) -> str:
        return "lfn" if self.level == "file" else "dataset"

    def _told(self, frame: pl.DataFrame) -> dict[str, Any]:
        """The records in files, split as ``day_from`` wants it."""
        place = f"{self._place}/{next(self._counter)}"
        options = {"day_from": self._day_from, "missing": "empty", "level": self.level}
        if self._day_from == "path":
            for (day,), rows in frame.partition_by("day", as_dict=True).items():
                written(f"{place}/{day:%Y/%m}", f"{day:%d}", rows.drop("day"), self._kind)
            return {**options, "path": f"{place}/{{day:%Y/%m/%d}}.{self._kind}"}
        if self._day_from == "time":
            moment = pl.col("day").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=23, minutes=59)
            frame = frame.with_columns(ended=moment).drop("day")
            options["columns"] = {"time": "ended"}
        elif self._kind != "parquet":
            frame = frame.with_columns(pl.col("day").cast(pl.String))
        written(place, "all", frame, self._kind)
        return {**options, "path": f"{place}/*.{self._kind}"}


class HtcondorAccessBackend:
    """The history of a pool, as ``condor_history`` writes it. Jobs of the second half are told in two files."""

    level = "dataset"
    counts_records = True
    faults = (
        ({}, "history"),
        ({"history": []}, "history"),
        ({"history": "/x/{hour}.json"}, "history"),
        ({"history": "/x/a.json", "attributes": {"datum": "QDate"}}, "datum"),
    )

    def __init__(self, kind: str, folder: Path) -> None:
        self.name = f"htcondor-{kind}"
        self._kind, self._folder = kind, folder
        self._counter = count()

    def made(self, options: dict[str, Any]) -> AccessSource:
        return access_source(SourceSettings(name="pool", type="htcondor", options=options), Tls())

    def source(self, records: Sequence[Access]) -> AccessSource:
        jobs = [(day, name, site) for day, name, site, number in records for _ in range(number or 0)]
        ads = [ad(number, name, site, ended=day) for number, (day, name, site) in enumerate(jobs)]
        removed = {**ad(9999, MUONS.dataset, "T2_BB", ended=DAY), "CompletionDate": 0, "JobStatus": 3}
        reads_nothing = {**ad(9998, None, "T2_BB", ended=DAY), "DESIRED_CMSDataset": None}
        return self._told([*ads, removed, reads_nothing], ads[len(ads) // 2 :])

    def broken(self) -> tuple[AccessSource, Sequence[str]]:
        source = self._told([{**ad(1, MUONS.dataset, "T2_BB", ended=DAY), "CompletionDate": "noon"}])
        return source, ["CompletionDate", "'noon'", f"0.{self._kind}"]

    def away(self) -> tuple[AccessSource, type[DynamoError]]:
        return self.made({"history": f"{self._folder}/nowhere/*.json"}), SourceDataError

    def _told(self, *files: list[dict[str, Any]]) -> AccessSource:
        folder = self._folder / str(next(self._counter))
        folder.mkdir()
        for number, ads in enumerate(files):
            (folder / f"{number}.{self._kind}").write_text(written_ads(ads, self._kind))
        return self.made({"history": str(folder), "attributes": {"dataset_separator": None}})


class FilesDemandBackend:
    """Drops with the jobs of each day."""

    faults = FilesAccessBackend.faults

    def __init__(self, kind: str, place: str) -> None:
        self.name = f"files-{kind}"
        self._kind, self._place = kind, place
        self._counter = count()

    def made(self, options: dict[str, Any]) -> DemandSource:
        return demand_source(SourceSettings(name="queue", type="files", options=options), Tls())

    def source(self, records: Sequence[tuple[date, str, int]]) -> DemandSource:
        frame = pl.DataFrame(records, schema={"day": pl.Date, "dataset": pl.String, "n": pl.Int64}, orient="row")
        return self._told(frame)

    def broken(self) -> tuple[DemandSource, Sequence[str]]:
        frame = pl.DataFrame({"day": [DAY], "dataset": [MUONS.dataset], "n": ["many"]})
        return self._told(frame), ["'many'", "n is", f"all.{self._kind}"]

    def away(self) -> tuple[DemandSource, type[DynamoError]]:
        return self.made({"path": f"{self._place}/nowhere/{{day}}.jsonl"}), SourceDataError

    def _told(self, frame: pl.DataFrame) -> DemandSource:
        place = f"{self._place}/demand-{next(self._counter)}"
        told = frame if self._kind == "parquet" else frame.with_columns(pl.col("day").cast(pl.String))
        written(place, "all", told, self._kind)
        return self.made({"path": place, "columns": {"num_jobs": "n"}})


class HtcondorDemandBackend:
    """A queue and a history; one job is in both, because it ended in between."""

    faults = (({}, "queue"), ({"queue": "/x/{hour}.json"}, "queue"), ({"history": "/x/a", "sites": 7}, "sites"))

    def __init__(self, folder: Path) -> None:
        self.name = "htcondor"
        self._folder = folder
        self._counter = count()

    def made(self, options: dict[str, Any]) -> DemandSource:
        return demand_source(SourceSettings(name="pool", type="htcondor", options=options), Tls())

    def source(self, records: Sequence[tuple[date, str, int]]) -> DemandSource:
        jobs = [(day, name) for day, name, number in records for _ in range(number)]
        ads = [ad(number, name, "T2_BB", submitted=day) for number, (day, name) in enumerate(jobs)]
        half = len(ads) // 2
        return self._told(ads[: half + 1], ads[half:])

    def broken(self) -> tuple[DemandSource, Sequence[str]]:
        wrong = {**ad(1, MUONS.dataset, "T2_BB", submitted=DAY), "QDate": "noon"}
        return self._told([wrong], []), ["QDate", "'noon'", "queue.json"]

    def away(self) -> tuple[DemandSource, type[DynamoError]]:
        return self.made({"queue": f"{self._folder}/nowhere.json"}), SourceDataError

    def _told(self, queue: list[dict[str, Any]], history: list[dict[str, Any]]) -> DemandSource:
        folder = self._folder / f"demand-{next(self._counter)}"
        folder.mkdir()
        (folder / "queue.json").write_text(written_ads(queue, "json"))
        (folder / "history.jsonl").write_text(written_ads(history, "jsonl"))
        paths = {"queue": f"{folder}/queue.json", "history": f"{folder}/history.jsonl"}
        return self.made({**paths, "attributes": {"dataset_separator": None}})


def ad(
    number: int, dataset: str | None, site: str | None, *, ended: date = DAY, submitted: date = DAY
) -> dict[str, Any]:
    """A job of CMS as HTCondor tells it; it ends in the day's last second."""
    return {
        "GlobalJobId": f"schedd.example.org#{number}.0#1700000000",
        "ClusterId": number,
        "ProcId": 0,
        "JobStatus": 4,
        "QDate": _seconds(submitted),
        "CompletionDate": _seconds(ended + timedelta(days=1)) - 1,
        "DESIRED_CMSDataset": dataset,
        "MATCH_EXP_JOBGLIDEIN_CMSSite": "/Expr(GLIDEIN_CMSSite)/",
        "MachineAttrGLIDEIN_CMSSite0": site,
        "MemoryUsage": "/Expr(( ( ResidentSetSize + 1023 ) / 1024 ))/",
    }


def written_ads(ads: list[dict[str, Any]], kind: str) -> str:
    """As HTCondor writes them: ``/`` is escaped, an empty list is no list at all."""
    texts = [json.dumps(each).replace("/", "\\/") for each in ads]
    if kind == "jsonl":
        return "".join(text + "\n" for text in texts)
    return "[\n" + "\n,\n".join(texts) + "\n]\n" if texts else ""


def _seconds(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp())


def _table(key: str, site: str, number: str, records: Sequence[Access]) -> pl.DataFrame:
    schema = {"day": pl.Date, key: pl.String, site: pl.String, number: pl.Int64}
    return pl.DataFrame(records, schema=schema, orient="row")
