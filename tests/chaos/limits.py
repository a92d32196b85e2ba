"""Limits for the runs of this folder: small batches, no pauses between attempts, one pair of sites without FTS."""

from datetime import timedelta

from dynamo_ops.base.settings import DeletionSettings, FtsSettings, TransferSettings
from dynamo_ops.fts.job import JobSettings
from dynamo_ops.transfer.batches import PlanRules
from dynamo_ops.transfer.source_choice import DirectRule
from dynamo_ops.transfer.submission.limits import TransferLimits

AT_ONCE = timedelta(0)
TRANSFERS = TransferLimits(files_per_job=5, backoff_s=0, ill_after_copies=10, probe_files=2, probe_every_min=0)
DELETIONS = DeletionSettings(files_per_batch=10, files_per_chunk=2, backoff_s=0)
JOBS = JobSettings(FtsSettings(retries=0, retry_delay_s=1))
RULES = PlanRules(direct=(DirectRule(("T2_A",), ("T2_D",)),), direct_protocols=("davs",))
DIRECT = TransferSettings(direct_files_at_once=2, direct_files_per_record=2)
