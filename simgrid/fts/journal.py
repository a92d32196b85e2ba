"""Jobs, files, attempts and delegated credentials on disk, so that a killed FTS goes on where it stood."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simgrid.fts.jobs import Job, TransferFile

_TABLES = """
CREATE TABLE IF NOT EXISTS job (job_id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file (file_id INTEGER PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS attempt (file_id INTEGER, attempt INTEGER, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS credential (id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
"""


class Journal:
    """Every write is committed when the call returns. A killed process loses nothing; a lost machine may."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + _TABLES)

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def save(self, job: Job | None, files: Iterable[TransferFile] = ()) -> None:
        """Write the job (if any) and these files in one transaction."""
        rows = [(file.file_id, json.dumps(file.everything())) for file in files]
        with self._lock, self._database:
            if job is not None:
                self._database.execute(
                    "INSERT OR REPLACE INTO job VALUES (?, ?)", (job.job_id, json.dumps(job.stored()))
                )
            self._database.executemany("INSERT OR REPLACE INTO file VALUES (?, ?)", rows)

    def add_attempt(self, file_id: int, attempt: int, document: dict[str, Any]) -> None:
        with self._lock, self._database:
            self._database.execute("INSERT INTO attempt VALUES (?, ?, ?)", (file_id, attempt, json.dumps(document)))

    def attempts(self, file_id: int) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._database.execute("SELECT document FROM attempt WHERE file_id = ? ORDER BY attempt", (file_id,))
            return [json.loads(document) for (document,) in rows]

    def load(self) -> list[Job]:
        """All jobs with their files, in order of submission."""
        with self._lock:
            jobs = [Job(**json.loads(row)) for (row,) in self._database.execute("SELECT document FROM job")]
            by_id = {job.job_id: job for job in jobs}
            for (row,) in self._database.execute("SELECT document FROM file ORDER BY file_id"):
                file = TransferFile(**json.loads(row))
                by_id[file.job_id].files.append(file)
        for job in jobs:
            job.count_files()
        return sorted(jobs, key=lambda job: job.sequence)

    def save_credential(self, identifier: str, document: dict[str, Any]) -> None:
        with self._lock, self._database:
            self._database.execute(
                "INSERT OR REPLACE INTO credential VALUES (?, ?)", (identifier, json.dumps(document))
            )

    def credentials(self) -> dict[str, dict[str, Any]]:
        with self._lock:
            rows = self._database.execute("SELECT id, document FROM credential")
            return {identifier: json.loads(document) for identifier, document in rows}
