"""Transfers, one function a task: recover → hold_and_release → plan_batches → submit_batch → observe_and_apply, or
execute_direct where Dynamo copies itself.

``open_batch_job_ids`` gives the sensors the FTS jobs to wait for. Each function can be killed at any line and run
again.
"""

from dynamo_ops.fileops.batches import PlannedBatches, PlanRules, plan_batches
from dynamo_ops.fileops.direct import DirectSummary, execute_direct
from dynamo_ops.fileops.hold import HoldSummary, hold_and_release
from dynamo_ops.fileops.limits import TransferLimits
from dynamo_ops.fileops.observe import ObserveSummary, observe_and_apply, open_batch_job_ids
from dynamo_ops.fileops.recovery import (
    RecoverSummary,
    abandon_direct,
    abandon_fts,
    cancel_stuck,
    cancel_unwanted,
    recover,
    staging_batches,
    unfinished_direct,
)
from dynamo_ops.fileops.submit import SubmitSummary, all_endpoints, submit_batch

__all__ = [
    "DirectSummary",
    "HoldSummary",
    "ObserveSummary",
    "PlanRules",
    "PlannedBatches",
    "RecoverSummary",
    "SubmitSummary",
    "TransferLimits",
    "abandon_direct",
    "abandon_fts",
    "all_endpoints",
    "cancel_stuck",
    "cancel_unwanted",
    "execute_direct",
    "hold_and_release",
    "observe_and_apply",
    "open_batch_job_ids",
    "plan_batches",
    "recover",
    "staging_batches",
    "submit_batch",
    "unfinished_direct",
]
