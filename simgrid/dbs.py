"""A DBS 3 reader: datasets, blocks and files of the catalogue, in DBS's field names and error shape."""

# ruff: noqa: ARG002  all queries share one signature

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from simgrid.catalogue import Block, Catalogue, Dataset, File
from simgrid.faults import Faults
from simgrid.history import Clock
from simgrid.http import Request, Response, Service, json_response

BASE = "/dbs/prod/global/DBSReader"
_PERSON = "/DC=test/O=Pocket/CN=Production"
_STATUSES = ("VALID", "INVALID", "PRODUCTION", "DEPRECATED", "DELETED")
_PARAMETERS = {
    "datasets": {
        "dataset",
        "dataset_access_type",
        "primary_ds_name",
        "processed_ds_name",
        "data_tier_name",
        "acquisition_era_name",
        "physics_group_name",
        "release_version",
        "logical_file_name",
        "detail",
        "min_cdate",
        "max_cdate",
        "min_ldate",
        "max_ldate",
        "cdate",
        "ldate",
    },
    "blocks": {
        "dataset",
        "block_name",
        "data_tier_name",
        "origin_site_name",
        "logical_file_name",
        "open_for_writing",
        "detail",
        "min_cdate",
        "max_cdate",
        "min_ldate",
        "max_ldate",
        "cdate",
        "ldate",
    },
    "files": {
        "dataset",
        "block_name",
        "logical_file_name",
        "origin_site_name",
        "release_version",
        "detail",
        "validFileOnly",
    },
    "serverinfo": set(),
    "datatiers": {"data_tier_name"},
}


class _RefusedError(Exception):
    """The query breaks DBS's rules; becomes a 400 in DBS's error shape."""

    def __init__(self, reason: str, message: str, code: int = 118) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code


class DbsReader(Service):
    """Faults alter the answers, never the catalogue, so that lifting one heals everything."""

    server_header = "dbs2go"

    def __init__(self, catalogue: Catalogue, faults: Faults, clock: Clock) -> None:
        self._catalogue = catalogue
        self._faults = faults
        self._clock = clock

    def is_down(self) -> bool:
        return self._faults.dbs.down

    def delay_s(self) -> float:
        return self._faults.dbs.slow_s

    def handle(self, request: Request) -> Response:
        if self._faults.spend(self._faults.dbs, "http_500"):
            return _error(request, 500, "database error", "unable to query the database", 101)
        api = request.path.removeprefix(BASE).strip("/")
        if not request.path.startswith(BASE) or api not in _PARAMETERS:
            return Response(404, b"404 page not found\n", "text/plain; charset=utf-8")
        if request.method != "GET":
            return _error(request, 405, "invalid request error", f"method {request.method} not allowed", 127)
        try:
            _check_parameters(api, request)
            rows = list(getattr(self, f"_{api}")(request))
        except _RefusedError as refusal:
            return _error(request, 400, refusal.reason, str(refusal), refusal.code)
        if self._faults.dbs.unknown_status:
            rows = [row | {"dataset_access_type": "SHINY"} if "dataset_access_type" in row else row for row in rows]
        return self._answer(request, rows)

    def _answer(self, request: Request, rows: list[dict[str, Any]]) -> Response:
        if "ndjson" in (request.headers.get("Accept") or ""):
            body = "".join(json.dumps(row) + "\n" for row in rows).encode()
            response = Response(200, body, "application/x-ndjson")
        else:
            response = json_response(rows)
        if self._faults.dbs.broken_json:
            response.body = response.body[: len(response.body) // 2]
        return response

    def _visible(self) -> list[Dataset]:
        datasets = self._clock.datasets(self._catalogue)
        return datasets[::2] if self._faults.dbs.vanished_half else datasets

    def _serverinfo(self, request: Request) -> Iterator[dict[str, Any]]:
        yield {"dbs_version": "pocket", "dbs_instance": "prod/global"}

    def _datatiers(self, request: Request) -> Iterator[dict[str, Any]]:
        for number, tier in enumerate(sorted({dataset.name.split("/")[3] for dataset in self._visible()})):
            yield {
                "data_tier_id": number + 1,
                "data_tier_name": tier,
                "creation_date": self._catalogue.built_at,
                "create_by": _PERSON,
            }

    def _datasets(self, request: Request) -> Iterator[dict[str, Any]]:
        status = request.first("dataset_access_type") or "VALID"
        wanted = _matchers(
            request,
            (
                "dataset",
                "primary_ds_name",
                "processed_ds_name",
                "data_tier_name",
                "acquisition_era_name",
                "physics_group_name",
                "release_version",
            ),
        )
        lfn = request.first("logical_file_name")
        for dataset in self._visible():
            row = _dataset_row(dataset)
            if status not in ("*", "%") and row["dataset_access_type"] != status:
                continue
            if lfn and not any(file.lfn == lfn for block in dataset.blocks for file in block.files):
                continue
            if all(test.fullmatch(str(row[key])) for key, test in wanted.items()) and _in_time(request, row):
                if "release_version" not in wanted:
                    del row["release_version"]
                yield row if _is_true(request.first("detail")) else {"dataset": dataset.name}

    def _blocks(self, request: Request) -> Iterator[dict[str, Any]]:
        wanted = _matchers(request, ("dataset", "block_name", "origin_site_name", "open_for_writing"))
        lfn, tier = request.first("logical_file_name"), request.first("data_tier_name")
        if not (wanted.keys() - {"open_for_writing"} or lfn or tier):
            raise _RefusedError(
                "invalid parameter(s)",
                "You must specify at least one parameter (dataset, block_name, "
                "data_tier_name, origin_site_name, logical_file_name) with listBlocks API",
            )
        for dataset, block in self._all_blocks():
            row = _block_row(dataset, block)
            if self._faults.dbs.negative_size and block is dataset.blocks[0]:
                row["block_size"] = -row["block_size"]
            if tier and not dataset.name.endswith(f"/{tier}"):
                continue
            if lfn and not any(file.lfn == lfn for file in block.files):
                continue
            if all(test.fullmatch(str(row[key])) for key, test in wanted.items()) and _in_time(request, row):
                yield row if _is_true(request.first("detail")) else {"block_name": block.name}

    def _files(self, request: Request) -> Iterator[dict[str, Any]]:
        wanted = _matchers(request, ("dataset", "block_name", "logical_file_name"))
        if not wanted:
            raise _RefusedError(
                "invalid parameter(s)",
                "You must specify at least one parameter (dataset, block_name, logical_file_name) with listFiles API",
            )
        valid_only = _is_true(request.first("validFileOnly"))
        for dataset, block in self._all_blocks():
            if "dataset" in wanted and not wanted["dataset"].fullmatch(dataset.name):
                continue
            if "block_name" in wanted and not wanted["block_name"].fullmatch(block.name):
                continue
            for file in self._files_of(dataset, block):
                row = _file_row(dataset, block, file)
                if self._faults.dbs.negative_size and file is dataset.blocks[0].files[0]:
                    row["file_size"] = -row["file_size"]
                if "logical_file_name" in wanted and not wanted["logical_file_name"].fullmatch(file.lfn):
                    continue
                if not valid_only or (file.is_valid and dataset.status in ("VALID", "PRODUCTION")):
                    yield row if _is_true(request.first("detail")) else {"logical_file_name": file.lfn}

    def _all_blocks(self) -> Iterator[tuple[Dataset, Block]]:
        for dataset in self._visible():
            for block in dataset.blocks:
                yield dataset, block

    def _files_of(self, dataset: Dataset, block: Block) -> list[File]:
        if self._faults.dbs.duplicate_lfn and len(dataset.blocks) > 1 and block is dataset.blocks[1]:
            return [*block.files, dataset.blocks[0].files[0]]
        return block.files


def _check_parameters(api: str, request: Request) -> None:
    for name, values in request.query.items():
        if name not in _PARAMETERS[api]:
            raise _RefusedError("invalid parameter(s)", f"invalid parameter '{name}' for {api} API")
        if name.endswith("date"):
            try:
                if math.isnan(float(values[0])):
                    raise ValueError
            except ValueError:
                raise _RefusedError("validation error", f"{name} is not a unix time: {values[0]}", 113) from None
    status = request.first("dataset_access_type")
    if status and status not in (*_STATUSES, "*", "%"):
        raise _RefusedError("validation error", f"unknown dataset_access_type {status}", 113)


def _matchers(request: Request, names: tuple[str, ...]) -> dict[str, re.Pattern[str]]:
    """One pattern a given parameter; * and % stand for any text, as in DBS."""
    found = {}
    for name in names:
        value = request.first(name)
        if value:
            parts = re.split(r"[*%]", value)
            found[name] = re.compile(".*".join(map(re.escape, parts)))
    return found


def _in_time(request: Request, row: dict[str, Any]) -> bool:
    for parameter, field in (("cdate", "creation_date"), ("ldate", "last_modification_date")):
        least, most = request.first(f"min_{parameter}"), request.first(f"max_{parameter}")
        day = request.first(parameter)
        if (least and row[field] < float(least)) or (most and row[field] > float(most)):
            return False
        if day and not 0 <= row[field] - float(day) < 86400:
            return False
    return True


def _is_true(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true")


def _dataset_row(dataset: Dataset) -> dict[str, Any]:
    _, primary, processed, tier = dataset.name.split("/")
    version = re.search(r"-v(\d+)$", processed)
    return {
        "dataset_id": dataset.dataset_id,
        "dataset": dataset.name,
        "prep_id": None,
        "xtcrosssection": None,
        "creation_date": dataset.created_at,
        "create_by": _PERSON,
        "last_modification_date": dataset.modified_at,
        "last_modified_by": _PERSON,
        "primary_ds_name": primary,
        "primary_ds_type": "mc" if primary.startswith("Sim") else "data",
        "processed_ds_name": processed,
        "data_tier_name": tier,
        "dataset_access_type": dataset.status,
        "acquisition_era_name": processed.split("-")[0],
        "processing_version": int(version[1]) if version else 1,
        "physics_group_name": dataset.group,
        "release_version": dataset.release,
    }


def _block_row(dataset: Dataset, block: Block) -> dict[str, Any]:
    return {
        "block_id": block.block_id,
        "block_name": block.name,
        "open_for_writing": int(block.is_open),
        "block_size": block.size,
        "file_count": len(block.files),
        "dataset_id": dataset.dataset_id,
        "dataset": dataset.name,
        "origin_site_name": block.origin_site,
        "creation_date": block.created_at,
        "create_by": _PERSON,
        "last_modification_date": block.modified_at,
        "last_modified_by": _PERSON,
    }


def _file_row(dataset: Dataset, block: Block, file: File) -> dict[str, Any]:
    return {
        "file_id": file.file_id,
        "logical_file_name": file.lfn,
        "is_file_valid": int(file.is_valid),
        "dataset_id": dataset.dataset_id,
        "dataset": dataset.name,
        "block_id": block.block_id,
        "block_name": block.name,
        "file_type_id": 1,
        "file_type": "EDM",
        "check_sum": str(int(file.adler32, 16)),
        "event_count": file.events,
        "file_size": file.size,
        "branch_hash_id": None,
        "adler32": file.adler32,
        "md5": None,
        "auto_cross_section": None,
        "creation_date": block.created_at,
        "create_by": _PERSON,
        "last_modification_date": file.modified_at,
        "last_modified_by": _PERSON,
    }


def _error(request: Request, status: int, reason: str, message: str, code: int) -> Response:
    api = request.path.rsplit("/", 1)[-1]
    error = {"reason": reason, "message": message, "function": f"dbs.{api}", "code": code, "stacktrace": ""}
    http = {
        "method": request.method,
        "code": status,
        "timestamp": str(datetime.now(UTC)),
        "path": request.path,
        "user_agent": request.headers.get("User-Agent") or "",
        "x_forwarded_host": "",
        "x_forwarded_for": "",
        "remote_addr": "",
    }
    text = f"DBSError Code:{code} Function:dbs.{api} Message:{message} Error: {reason}"
    return json_response(
        [{"error": error, "http": http, "exception": status, "type": "HTTPError", "message": text}], status
    )
