"""Limits for the runs of this folder: small batches, no pauses between attempts, one pair of sites without FTS."""

from datetime import timedelta

from dynamo_ops.fileops.batches import PlanRules
from dynamo_ops.fileops.direct import DirectLimits
from dynamo_ops.fileops.fts.job import JobSettings
from dynamo_ops.fileops.limits import DeletionLimits, TransferLimits
from dynamo_ops.fileops.sources import DirectRule

AT_ONCE = timedelta(0)
TRANSFERS = TransferLimits(files_per_job=5, backoff=AT_ONCE)
DELETIONS = DeletionLimits(files_per_batch=10, files_per_chunk=2, backoff=AT_ONCE)
JOBS = JobSettings(retries=0, retry_delay_seconds=1)
RULES = PlanRules(direct=(DirectRule(("T2_A",), ("T2_D",)),), direct_protocols=("davs",))
DIRECT = DirectLimits(files_at_once=2, files_per_record=2)
