"""Jobs and their files, as FTS keeps and shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]


def timestamp(moment: float) -> str:
    """FTS's notation of a unix time: UTC without zone, whole seconds."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(slots=True, eq=False)
class TransferFile:
    """One source to one destination. The fields up to `scitag` are shown to clients, in this order."""

    recoverable: bool | None = None
    source_se: str = ""
    staging_host: str | None = None
    internal_file_params: str | None = None
    staging_metadata: Document | None = None
    src_token_id: str | None = None
    dest_se: str = ""
    reason: str | None = None
    pid: int | None = None
    archive_metadata: Document | None = None
    dst_token_id: str | None = None
    file_id: int = 0
    priority: int = 3
    filesize: int | None = None
    staging_start: str | None = None
    staging_finished: str | None = None
    file_state_initial: str = ""
    hashed_id: int = 0
    file_state: str = "SUBMITTED"
    checksum: str = "ADLER32"
    tx_duration: float | None = None
    selection_strategy: str = "auto"
    file_index: int = 0
    transfer_host: str | None = None
    finish_time: str | None = None
    throughput: float | None = None
    bringonline_token: str | None = None
    job_id: str = ""
    source_surl: str = ""
    start_time: str | None = None
    retry: int = 0
    log_file: str | None = None
    dest_surl_uuid: str | None = None
    dest_surl: str = ""
    archive_start_time: str | None = None
    user_filesize: int = 0
    activity: str = "default"
    log_debug: int | None = None
    vo_name: str = ""
    archive_finish_time: str | None = None
    file_metadata: Document | None = None
    scitag: int | None = None
    # what follows is not shown
    not_before: float = 0.0  # unix time before which a retry must not start
    staged: bool = False  # came through STAGING: the source is released after the copy
    resumed: bool = False  # a restart found it READY or ACTIVE: the destination may already be its own work
    staging_started: float = 0.0
    next_poll: float = 0.0
    polls: int = 0

    def document(self) -> Document:
        return {name: getattr(self, name) for name in FILE_FIELDS}

    def some(self, names: list[str]) -> Document:
        """The named fields; unknown names are dropped."""
        return {name: getattr(self, name) for name in names if name in _SHOWN}

    def everything(self) -> Document:
        return {name: getattr(self, name) for name in _ALL_FILE_FIELDS}

    @property
    def is_stage_only(self) -> bool:
        return self.source_surl == self.dest_surl


_ALL_FILE_FIELDS = tuple(f.name for f in fields(TransferFile))
FILE_FIELDS = _ALL_FILE_FIELDS[: _ALL_FILE_FIELDS.index("scitag") + 1]
_SHOWN = frozenset(FILE_FIELDS)


@dataclass(slots=True, eq=False)
class Job:
    """A submission. The fields up to `retry_delay` are shown to clients, in this order."""

    dest_se: str | None = None
    reason: str | None = None
    copy_pin_lifetime: int = -1
    os_project_id: str | None = None
    source_spacetoken: str | None = None
    job_state: str = "SUBMITTED"
    submit_time: str = ""
    bring_online: int = -1
    job_type: str = "N"
    priority: int = 3
    archive_timeout: int = -1
    destination_spacetoken: str | None = None
    cancel_job: bool = False
    max_time_in_queue: int | None = None
    target_qos: str | None = None
    verify_checksum: str = "n"
    submit_host: str = "localhost"
    internal_job_params: str | None = None
    user_dn: str = ""
    dst_file_report: bool = False
    job_metadata: Document | None = None
    job_id: str = ""
    cred_id: str = ""
    overwrite_flag: str | None = None
    retry: int = 0
    source_se: str | None = None
    vo_name: str = ""
    job_finished: str | None = None
    retry_delay: int = 0
    # what follows is not shown
    sequence: int = 0  # order of submission
    files: list[TransferFile] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # files by state

    def document(self) -> Document:
        return {name: getattr(self, name) for name in JOB_FIELDS}

    def stored(self) -> Document:
        return {**self.document(), "sequence": self.sequence}

    def count_files(self) -> None:
        self.counts = Counter(file.file_state for file in self.files)

    @property
    def is_strict(self) -> bool:
        return "strict" in (self.internal_job_params or "").split(",")


JOB_FIELDS = tuple(f.name for f in fields(Job))[: [f.name for f in fields(Job)].index("retry_delay") + 1]
