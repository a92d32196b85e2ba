"""Submissions: from the JSON a client sends to a job, refusing what FTS refuses, in its words."""

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections import Counter
from itertools import product
from typing import Any
from urllib.parse import urlsplit

from simgrid.fts.errors import FtsError, bad_request, bad_value
from simgrid.fts.identity import BASE_ID, User
from simgrid.fts.jobs import Document, Job, TransferFile, timestamp

STRATEGIES = frozenset(
    {
        "orderly",
        "auto",
        "queue",
        "success",
        "throughput",
        "file-throughput",
        "pending-data",
        "waiting-time",
        "waiting-time-with-error",
        "duration",
    }
)
_CHECKSUM_MODES = {True: "b", "both": "b", "b": "b", "source": "s", "s": "s", "target": "t", "t": "t"}
_OVERWRITE_FLAGS = {
    "overwrite": "Y",
    "overwrite_on_retry": "R",
    "overwrite_hop": "M",
    "overwrite_when_only_on_disk": "D",
}
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def job_from(document: Any, user: User) -> Job:
    """The job a submission describes, not yet stored. Raises FtsError."""
    if not isinstance(document, dict):
        raise bad_request("Badly formatted JSON request")
    if document.get("delete") is not None:
        raise FtsError(405, "Deletion jobs are no longer supported by FTS")
    entries = document.get("files")
    if not entries:
        raise bad_request("No transfers operations specified")
    params = document.get("params") or {}
    try:
        return _Builder(entries, params, user).job()
    except KeyError as error:
        raise bad_request(f"Missing parameter: {error}") from error
    except (ValueError, TypeError) as error:
        raise bad_value(error) from error


class _Builder:
    def __init__(self, entries: list[Document], params: Document, user: User) -> None:
        self._entries = entries
        self._params = params
        self._user = user

    def job(self) -> Job:
        params = self._params
        job = Job(
            user_dn=self._user.dn,
            cred_id=self._user.delegation_id,
            vo_name=self._user.vo,
            submit_time=timestamp(time.time()),
            job_type=self._job_type(),
            priority=max(1, min(5, _whole(params, "priority", 3))),
            retry=_whole(params, "retry", 0),
            retry_delay=_whole(params, "retry_delay", 0),
            bring_online=_whole(params, "bring_online", -1),
            copy_pin_lifetime=_whole(params, "copy_pin_lifetime", -1),
            archive_timeout=_whole(params, "archive_timeout", -1),
            max_time_in_queue=_deadline(params.get("max_time_in_queue")),
            dst_file_report=bool(params.get("dst_file_report")),
            target_qos=params.get("target_qos"),
            source_spacetoken=params.get("source_spacetoken"),
            destination_spacetoken=params.get("destination_spacetoken"),
            job_metadata=_metadata(params.get("job_metadata"), 2048) or {},
        )
        job.overwrite_flag = self._overwrite_flag(job)
        job.internal_job_params = _internal_params(params)
        assert job.job_metadata is not None
        job.job_metadata = {**job.job_metadata, "auth_method": "certificate"}
        job.verify_checksum = self._checksum_mode()
        job.job_id = self._job_id()
        job.files = self._files(job)
        _name_storages(job)
        return job

    def _job_type(self) -> str:
        if self._params.get("multihop"):
            return "H"
        if self._params.get("reuse"):
            return "Y"
        if any(len(entry["sources"]) > 1 for entry in self._entries):
            if len(self._entries) > 1:
                raise bad_request("Multiple replica jobs must only have one unique file")
            return "R"
        return "N"

    def _job_id(self) -> str:
        if self._params.get("id_generator", "standard") != "deterministic":
            return str(uuid.uuid1())
        sid = self._params.get("sid")
        if not sid:
            raise bad_request("Need sid for deterministic job id generation")
        return str(uuid.uuid5(uuid.uuid5(BASE_ID, self._user.vo), str(sid)))

    def _overwrite_flag(self, job: Job) -> str | None:
        flags = [flag for name, flag in _OVERWRITE_FLAGS.items() if self._params.get(name)]
        if len(flags) > 1 and flags != ["M", "D"]:
            raise bad_request("Incompatible overwrite flags used at the same time")
        if "M" in flags and job.job_type != "H":
            raise bad_request("'overwrite-hop' requires multihop job submission")
        if "D" in flags:
            if job.archive_timeout <= 0:
                raise bad_request("'overwrite-when-only-on-disk' requires 'archive-timeout' to be set")
            for entry in self._entries:
                if any(urlsplit(url).scheme not in ("http", "https", "dav", "davs") for url in entry["destinations"]):
                    raise bad_request("'overwrite-when-only-on-disk' requires HTTP destinations")
        return "Q" if len(flags) == 2 else (flags[0] if flags else None)

    def _checksum_mode(self) -> str:
        asked = self._params.get("verify_checksum")
        mode = _CHECKSUM_MODES.get(asked, "n") if isinstance(asked, str | bool) else "n"
        if mode == "n" and any(entry.get("checksum") for entry in self._entries):
            return "t"
        return mode

    def _files(self, job: Job) -> list[TransferFile]:
        is_staging = job.bring_online > 0 or job.copy_pin_lifetime > 0
        shared_hash = random.randrange(1 << 16)
        files: list[TransferFile] = []
        for index, entry in enumerate(self._entries):
            template = _template(entry, job, index)
            for source, destination in product(entry["sources"], entry["destinations"]):
                file = TransferFile(**template)
                file.source_surl, file.dest_surl = _urls(source, destination, is_staging, file.activity)
                file.source_se, file.dest_se = _storage(file.source_surl), _storage(file.dest_surl)
                file.hashed_id = random.randrange(1 << 16) if job.job_type == "N" else shared_hash
                file.file_state, file.staged = ("STAGING", True) if is_staging else ("SUBMITTED", False)
                files.append(file)
        if job.job_type == "R":
            _order_sources(files)
        if job.job_type in ("R", "H"):
            for file in files[1:]:
                file.file_state = "NOT_USED"
        job.job_state = "STAGING" if is_staging else "SUBMITTED"
        return files


def _template(entry: Document, job: Job, index: int) -> Document:
    """Fields common to all source-destination pairs of one entry."""
    strategy = entry.get("selection_strategy") or "auto"
    if strategy not in STRATEGIES:
        raise bad_request(f"{strategy} algorithm is not supported by Scheduler")
    scitag = entry.get("scitag")
    if scitag is not None and not 65 <= int(scitag) <= 65535:
        raise ValueError(f"Invalid SciTag value: {scitag} (not in [65, 65535] range)")
    return {
        "job_id": job.job_id,
        "vo_name": job.vo_name,
        "priority": job.priority,
        "file_index": index,
        "checksum": entry.get("checksum") or "ADLER32",
        "user_filesize": int(entry.get("filesize") or 0),
        "activity": entry.get("activity") or "default",
        "selection_strategy": strategy,
        "scitag": scitag,
        "file_metadata": _metadata(entry.get("metadata"), 4096),
        "staging_metadata": _metadata(entry.get("staging_metadata"), 1024),
        "archive_metadata": _metadata(entry.get("archive_metadata"), 1024),
    }


def _order_sources(files: list[TransferFile]) -> None:
    """`orderly` keeps the client's order; the other strategies spread over the storages at random."""
    if files[0].selection_strategy != "orderly":
        random.shuffle(files)


def _name_storages(job: Job) -> None:
    """The job's storages: of first and last hop, or the one all files share, or null."""
    if job.job_type == "H":
        job.source_se, job.dest_se = job.files[0].source_se, job.files[-1].dest_se
        return
    sources, destinations = Counter(f.source_se for f in job.files), Counter(f.dest_se for f in job.files)
    job.source_se = next(iter(sources)) if len(sources) == 1 else None
    job.dest_se = next(iter(destinations)) if len(destinations) == 1 else None


def _urls(source: Any, destination: Any, is_staging: bool, activity: str) -> tuple[str, str]:
    source, destination = _checked_url(source), _checked_url(destination)
    if not (is_staging and source.startswith("root://")):
        return source, destination
    tagged = f"{source}{'&' if '?' in source else '?'}activity={activity}"
    return tagged, tagged if destination == source else destination


def _checked_url(url: Any) -> str:
    text = str(url).strip()
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError(f"Missing scheme ({text})")
    if parts.scheme == "file":
        raise ValueError(f"Can not transfer local files ({text})")
    if not parts.path or parts.path == "/":
        raise ValueError(f"Missing path ({text})")
    if not parts.hostname:
        raise ValueError(f"Missing host ({text})")
    return text


def _storage(url: str) -> str:
    """The identity of a storage: scheme and host, no port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"


def _whole(params: Document, name: str, default: int) -> int:
    value = params.get(name)
    return default if value is None else int(value)


def _metadata(value: Any, limit: int) -> Document | None:
    if value is None:
        return None
    if len(json.dumps(value)) > limit:
        raise ValueError(f"Job Submission Refused, metadata exceeds size limit of {limit}")
    return value if isinstance(value, dict) else {"label": value}


def _deadline(value: Any) -> int | None:
    """Unix time until which a file may stay queued. A bare number counts hours."""
    if not value:
        return None
    match = re.fullmatch(r"(\d+)([smhd]?)", str(value))
    if match is None:
        raise ValueError(f"Invalid value for max_time_in_queue: {value}")
    return int(time.time()) + int(match[1]) * _TIME_UNITS[match[2] or "h"]


def _internal_params(params: Document) -> str | None:
    parts = [
        f"{label}:{params[name]}"
        for name, label in (("nostreams", "nostreams"), ("timeout", "timeout"), ("buffer_size", "buffersize"))
        if params.get(name)
    ]
    if params.get("strict_copy"):
        parts.append("strict")
    parts += [name for name in ("ipv4", "ipv6") if params.get(name)]
    return ",".join(parts) or None
