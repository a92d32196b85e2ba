"""Old log files: nothing of Airflow removes them, and an idle installation writes some ten megabytes a day."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path


def remove_logs(folder: Path, before: datetime) -> dict[str, int]:
    """Remove the files below ``folder`` that were written last before then, and folders that were left since then.

    Returns the number of files and their bytes. Links are not followed. What another process removes meanwhile is as
    good.
    """
    removed = {"files": 0, "bytes": 0}
    for path, _, names in os.walk(folder, topdown=False):
        is_left = os.stat(path).st_mtime < before.timestamp()
        for name in names:
            with suppress(FileNotFoundError):
                status = os.lstat(file := os.path.join(path, name))
                if status.st_mtime < before.timestamp():
                    os.remove(file)
                    removed["files"] += 1
                    removed["bytes"] += status.st_size
        if is_left and Path(path) != folder:
            with suppress(OSError):  # there is something in it, or it went
                os.rmdir(path)
    return removed
