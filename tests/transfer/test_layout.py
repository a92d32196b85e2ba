"""File operations import neither Airflow nor the pocket grid."""

from __future__ import annotations

import subprocess
import sys


def test_no_airflow_and_no_grid_behind_file_operations() -> None:
    program = (
        "import sys, dynamo_ops.transfer.tasks, dynamo_ops.deletion.tasks, dynamo_ops.fts.watch, "
        "dynamo_ops.query.status, dynamo_ops.consistency.tasks\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('airflow', 'simgrid')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
