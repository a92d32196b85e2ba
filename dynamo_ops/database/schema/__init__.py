"""All tables, as SQLAlchemy 2 models: one metadata, one migration history.

``catalogue`` (sites, groups, datasets, blocks, files), ``replica`` (what is where, quotas of partitions, locks),
``knowledge`` (origin, vanished, invalid; events), ``staging``,
``file_operations`` (subscriptions, transfers, deletions),
``plan``, ``request`` (and quotas of groups and users), ``popularity``, ``consistency``, ``quality``,
``access`` (who may what, the audit, errands); ``base`` is what they share.

Conventions: sizes are bigint bytes (``*_bytes``), times are timestamptz in UTC (``*_at``), states and kinds are text
under a CHECK, ids are integers handed out by PostgreSQL. Nothing reads or writes single rows through the ORM on a hot
path; the models name the columns for set-based SQL and for the migrations.
"""

from dynamo_ops.database.schema.access import (
    AccessGrant,
    AuditRecord,
    Errand,
    ErrandPiece,
    GroupMember,
    Identity,
    KeyedCall,
    SigningKey,
    Token,
)
from dynamo_ops.database.schema.base import Base
from dynamo_ops.database.schema.catalogue import Block, Dataset, File, Group, SharedStorage, Site, SiteEndpoint
from dynamo_ops.database.schema.consistency import ConsistencyCheck, ConsistencyFinding
from dynamo_ops.database.schema.file_operations import (
    Deletion,
    DeletionBatch,
    SiteDowntime,
    Subscription,
    Transfer,
    TransferBatch,
)
from dynamo_ops.database.schema.history import DealerCopy, DetoxDecision, DetoxLeftOut, DetoxSiteState, PolicyLine
from dynamo_ops.database.schema.knowledge import (
    Alert,
    DatasetSource,
    Event,
    EventDelivery,
    EventSubscription,
    Invalidation,
    Pause,
    SiteOverride,
    Vanished,
)
from dynamo_ops.database.schema.plan import Plan, PolicyVersion
from dynamo_ops.database.schema.popularity import (
    AccessDay,
    AggregatedDay,
    Attribute,
    DatasetAttribute,
    DemandDay,
    StagedAccess,
    StagedDemand,
    UnknownUse,
    UseResolved,
)
from dynamo_ops.database.schema.quality import GateMetric, GateResult
from dynamo_ops.database.schema.replica import (
    BadReplica,
    BlockReplica,
    BlockReplicaFile,
    DatasetReplica,
    Lock,
    Quota,
    QuotaChange,
    UsageDaily,
    UsageNow,
    UsageUnique,
)
from dynamo_ops.database.schema.request import GroupQuota, Request, RequestAction, RequestItem, UserQuota
from dynamo_ops.database.schema.staging import (
    SiteSource,
    SourceState,
    StagedBlock,
    StagedDataset,
    StagedFile,
    StagedPull,
    StagedSite,
)

__all__ = [
    "AccessDay",
    "AccessGrant",
    "AggregatedDay",
    "Alert",
    "Attribute",
    "AuditRecord",
    "BadReplica",
    "Base",
    "Block",
    "BlockReplica",
    "BlockReplicaFile",
    "ConsistencyCheck",
    "ConsistencyFinding",
    "Dataset",
    "DatasetAttribute",
    "DatasetReplica",
    "DatasetSource",
    "DealerCopy",
    "Deletion",
    "DeletionBatch",
    "DemandDay",
    "DetoxDecision",
    "DetoxLeftOut",
    "DetoxSiteState",
    "Errand",
    "ErrandPiece",
    "Event",
    "EventDelivery",
    "EventSubscription",
    "File",
    "GateMetric",
    "GateResult",
    "Group",
    "GroupMember",
    "GroupQuota",
    "Identity",
    "Invalidation",
    "KeyedCall",
    "Lock",
    "Pause",
    "Plan",
    "PolicyLine",
    "PolicyVersion",
    "Quota",
    "QuotaChange",
    "Request",
    "RequestAction",
    "RequestItem",
    "SharedStorage",
    "SigningKey",
    "Site",
    "SiteDowntime",
    "SiteEndpoint",
    "SiteOverride",
    "SiteSource",
    "SourceState",
    "StagedAccess",
    "StagedBlock",
    "StagedDataset",
    "StagedDemand",
    "StagedFile",
    "StagedPull",
    "StagedSite",
    "Subscription",
    "Token",
    "Transfer",
    "TransferBatch",
    "UnknownUse",
    "UsageDaily",
    "UsageNow",
    "UsageUnique",
    "UseResolved",
    "UserQuota",
    "Vanished",
]
