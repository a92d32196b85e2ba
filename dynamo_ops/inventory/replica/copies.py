"""The only definition of present, doomed, doubtful, good, last copy and last source (SEMANTICS §1, §10), as SQL.

Fragments for other rooms' statements; each says which columns it needs. Nobody else asks the replica tables whether a
file is there.
"""

from __future__ import annotations

from enum import StrEnum

from dynamo_ops.database.words import Words
from dynamo_ops.inventory.checks import COMPARED_CHECKS, DOUBTS, JUDGED_CHECKS, BadState, CheckState, FindingState
from dynamo_ops.inventory.kinds import SiteStatus
from dynamo_ops.inventory.site.shared import DECLARED
from dynamo_ops.inventory.states import ACTIVE, HoldReason, SubscriptionAction


def _newest_check(column: str, site_id: str, states: Words[CheckState]) -> str:
    """``column`` of the newest check of the site that came to one of ``states``: one look into an index, since this is
    asked file by file."""
    return f"""(SELECT newest.{column} FROM consistency_checks AS newest WHERE newest.site_id = {site_id}
        AND newest.state IN {states} ORDER BY newest.started_at DESC, newest.id DESC LIMIT 1)"""


REFUSED_SITES = f"""(SELECT refused.id FROM sites AS refused
    WHERE {_newest_check("state", "refused.id", COMPARED_CHECKS)} = '{CheckState.REFUSED}')"""
"""Ids of the sites whose last check was refused as a whole: they count as distant."""

SURE_SITES = f"""(SELECT sure.id FROM sites AS sure WHERE sure.status = '{SiteStatus.READY}'
    AND sure.id NOT IN {REFUSED_SITES})"""
"""Ids of the sites whose copies may be the reason why another goes. Not those that are distant (in the waitroom or the
morgue, or with a check that was refused as a whole), nor those of unknown status. A downtime changes nothing."""


def is_present(file_id: str, replica: str) -> str:
    """The file is there: the block replica ``replica`` is complete, or lists it. For many files:
    ``listed_join``."""
    return f"""({replica}.is_complete OR EXISTS (
        SELECT FROM block_replica_files AS listed WHERE listed.block_id = {replica}.block_id
            AND listed.site_id = {replica}.site_id AND listed.file_id = {file_id}))"""


def listed_join(file_id: str, replica: str, listed: str) -> str:
    """LEFT JOIN of the rows ``listed`` by which an incomplete ``replica`` has the file: for ``is_present_by_join``."""
    return f"""LEFT JOIN block_replica_files AS {listed} ON NOT {replica}.is_complete
        AND {listed}.block_id = {replica}.block_id AND {listed}.site_id = {replica}.site_id
        AND {listed}.file_id = {file_id}"""


def is_present_by_join(replica: str, listed: str) -> str:
    """The file of ``listed_join`` is there."""
    return f"({replica}.is_complete OR {listed}.file_id IS NOT NULL)"


def num_files_present(replica: str, block: str) -> str:
    """How many files of a block replica are there, as SQL; ``replica``, ``block``: aliases of their rows."""
    return f"""CASE WHEN {replica}.is_complete THEN {block}.num_files ELSE (
        SELECT count(*) FROM block_replica_files AS present
        WHERE present.block_id = {replica}.block_id AND present.site_id = {replica}.site_id) END"""


def has_no_file(replica: str) -> str:
    """No file of an incomplete ``replica`` (block_id, site_id) is there."""
    return f"""NOT EXISTS (SELECT FROM block_replica_files AS listed
        WHERE listed.block_id = {replica}.block_id AND listed.site_id = {replica}.site_id)"""


def is_open_deletion(subscription: str) -> str:
    """The subscription is a deletion that is not done: active; or withdrawn after an executor had claimed the file and
    before it is known whether that is gone (``deletions.is_unsettled``)."""
    return f"""({subscription}.action = '{SubscriptionAction.DELETE}' AND ({subscription}.state IN {ACTIVE} OR EXISTS (
        SELECT FROM deletions AS claim WHERE claim.subscription_id = {subscription}.id AND claim.is_unsettled)))"""


DOOMED_FILES = f"""(
    SELECT deletion.file_id, deletion.site_id FROM subscriptions AS deletion
    WHERE deletion.action = '{SubscriptionAction.DELETE}' AND deletion.state IN {ACTIVE}
    UNION ALL
    SELECT withdrawn.file_id, withdrawn.site_id
    FROM deletions AS claim JOIN subscriptions AS withdrawn ON withdrawn.id = claim.subscription_id
    WHERE claim.is_unsettled)"""
"""(file_id, site_id) of all open deletions, some twice: ``is_open_deletion`` as a set."""


def doomed_in(blocks: str) -> str:
    """(block_id, site_id, file_id) of the open deletions of files of ``blocks`` (a query of a few block ids), some
    twice. Two queries that each go by an index from these files; ``DOOMED_FILES`` is read whole."""
    return f"""(
    SELECT file.block_id, deletion.site_id, file.id AS file_id
    FROM files AS file JOIN subscriptions AS deletion ON deletion.file_id = file.id
    WHERE file.block_id IN ({blocks}) AND deletion.action = '{SubscriptionAction.DELETE}' AND deletion.state IN {ACTIVE}
    UNION ALL
    SELECT file.block_id, withdrawn.site_id, file.id AS file_id
    FROM deletions AS claim JOIN subscriptions AS withdrawn ON withdrawn.id = claim.subscription_id
    JOIN files AS file ON file.id = withdrawn.file_id
    WHERE file.block_id IN ({blocks}) AND claim.is_unsettled)"""


def is_doomed(file_id: str, site_id: str) -> str:
    """A deletion of the file at the site is open: as good as gone."""
    return f"""EXISTS (SELECT FROM subscriptions AS deletion WHERE deletion.file_id = {file_id}
        AND deletion.site_id = {site_id} AND {is_open_deletion("deletion")})"""


def is_block_doomed(block_id: str, site_id: str) -> str:
    """A deletion of some file of the block at the site is open."""
    return f"""EXISTS (SELECT FROM files AS file JOIN subscriptions AS deletion ON deletion.file_id = file.id
        AND deletion.site_id = {site_id} AND {is_open_deletion("deletion")}
        WHERE file.block_id = {block_id})"""


IS_DOUBT = f"doubt.kind IN {DOUBTS} AND doubt.state <> '{FindingState.REPAIRED}'"


def _is_doubted_by_check(file_id: str, site_id: str) -> str:
    """``+ 0``: the planner looks for the file's findings, some at most; those of the check can be all files of the
    site."""
    return f"""EXISTS (SELECT FROM consistency_findings AS doubt WHERE doubt.file_id = {file_id} AND {IS_DOUBT}
        AND doubt.check_id + 0 = {_newest_check("id", site_id, JUDGED_CHECKS)})"""


DOUBTED_FILES = f"""(SELECT doubt.file_id, judged.site_id FROM consistency_findings AS doubt
    JOIN (SELECT DISTINCT ON (site_id) id, site_id FROM consistency_checks WHERE state IN {JUDGED_CHECKS}
          ORDER BY site_id, started_at DESC, id DESC) AS judged ON judged.id = doubt.check_id WHERE {IS_DOUBT}
    UNION ALL
    SELECT called.file_id, called.site_id FROM bad_replicas AS called
    WHERE called.state <> '{BadState.GOOD}' AND NOT {_is_doubted_by_check("called.file_id", "called.site_id")})"""
"""(file_id, site_id) of all doubted files, each once: ``is_doubted`` as a set. (A UNION would be read whole by who asks
for some.)"""


def is_called_bad(file_id: str, site_id: str) -> str:
    """Somebody calls the copy bad or suspicious, be it there or on its way there anew."""
    return f"""EXISTS (SELECT FROM bad_replicas AS called_bad WHERE called_bad.file_id = {file_id}
        AND called_bad.site_id = {site_id} AND called_bad.state <> '{BadState.GOOD}')"""


def is_doubted(file_id: str, site_id: str) -> str:
    """The newest check that judged files by name found this one missing there, or of another size, be it for the first
    time, and nothing was done about it yet; or somebody calls the copy bad or suspicious."""
    return f"({_is_doubted_by_check(file_id, site_id)} OR {is_called_bad(file_id, site_id)})"


def is_last_copy(file_id: str, site_id: str) -> str:
    """No other site has a good copy of the file: present, not doomed, not doubted, at a site to be sure of. Whole
    blocks answer without a look at what is listed. ARRAY: else all sites are walked through, file by file."""
    return f"""NOT EXISTS (
        SELECT FROM files AS file JOIN block_replicas AS other
            ON other.block_id = file.block_id AND other.site_id <> {site_id} AND other.site_id = ANY (ARRAY{SURE_SITES})
        WHERE file.id = {file_id} AND {is_present("file.id", "other")}
          AND NOT {is_doomed("file.id", "other.site_id")} AND NOT {is_doubted("file.id", "other.site_id")})"""


def is_block_awaited(block_id: str, site_id: str) -> str:
    """A copy of some file of the block to the site is subscribed and not done."""
    return f"""EXISTS (SELECT FROM files AS file JOIN subscriptions AS copy ON copy.file_id = file.id
        AND copy.site_id = {site_id} AND copy.action = '{SubscriptionAction.COPY}' AND copy.state IN {ACTIVE}
        WHERE file.block_id = {block_id})"""


def is_protecting(copy: str) -> str:
    """The copy subscription ``copy`` keeps the last source where it is: it is active, in whatever state, and not
    suspended for longer than ``transfers.suspended_protects_days`` (written down when it was suspended)."""
    return f"""({copy}.action = '{SubscriptionAction.COPY}' AND {copy}.state IN {ACTIVE}
        AND ({copy}.hold_reason IS DISTINCT FROM '{HoldReason.SUSPENDED}'
             OR coalesce({copy}.protects_until > now(), true)))"""


def is_awaited_elsewhere(block_id: str, site_id: str) -> str:
    """A copy of some file of the block to another site is subscribed and not done, and keeps its last source."""
    return f"""EXISTS (SELECT FROM files AS file JOIN subscriptions AS copy ON copy.file_id = file.id
        AND {is_protecting("copy")} AND copy.site_id <> {site_id}
        WHERE file.block_id = {block_id})"""


def present_among(files: str) -> str:
    """(block_id, site_id, file_id, size_bytes) of those of ``files`` (a query of file_id, site_id) that are there."""
    return f"""SELECT replica.block_id, replica.site_id, file.id AS file_id, file.size_bytes
        FROM (SELECT DISTINCT file_id, site_id FROM {files} AS asked) AS named
        JOIN files AS file ON file.id = named.file_id
        JOIN block_replicas AS replica ON replica.block_id = file.block_id AND replica.site_id = named.site_id
        {listed_join("file.id", "replica", "listed")}
        WHERE {is_present_by_join("replica", "listed")}"""


AWAITED_BLOCKS = f"""SELECT DISTINCT file.block_id, copy.site_id
    FROM subscriptions AS copy JOIN files AS file ON file.id = copy.file_id
    WHERE {is_protecting("copy")}"""
"""(block_id, site_id): a copy of some file of the block to the site is subscribed and not done, and keeps its last
source."""


def is_pending_elsewhere(file_id: str, site_id: str) -> str:
    """A copy of the file to another site is subscribed, in whatever state: a person may release it yet. One that has
    been suspended for too long keeps nothing any more (``is_protecting``)."""
    return f"""EXISTS (
        SELECT FROM subscriptions AS copy WHERE copy.file_id = {file_id} AND copy.site_id <> {site_id}
          AND {is_protecting("copy")})"""


def is_last_source(file_id: str, site_id: str) -> str:
    """A copy of the file to another site is pending, and no other site has a good copy."""
    return f"({is_pending_elsewhere(file_id, site_id)} AND {is_last_copy(file_id, site_id)})"


def must_stay(deletion: str) -> str:
    """The file of the subscription ``deletion`` is the last source, or the last copy without permission."""
    file_id, site_id = f"{deletion}.file_id", f"{deletion}.site_id"
    return f"""({is_last_copy(file_id, site_id)}
        AND (NOT {deletion}.is_last_allowed OR {is_pending_elsewhere(file_id, site_id)}))"""


def is_held_by_partner(file_id: str, site_id: str) -> str:
    """A site that shares the storage on purpose has the file, or shall have it: what is deleted at ``site_id`` would be
    gone there as well."""
    return f"""EXISTS (
        SELECT FROM {DECLARED} AS partner WHERE partner.site_id = {site_id} AND (
            EXISTS (SELECT FROM files AS file JOIN block_replicas AS other
                        ON other.block_id = file.block_id AND other.site_id = partner.other_id
                    WHERE file.id = {file_id} AND {is_present("file.id", "other")}
                      AND NOT {is_doomed("file.id", "other.site_id")})
            OR EXISTS (SELECT FROM subscriptions AS copy
                       WHERE copy.file_id = {file_id} AND copy.site_id = partner.other_id
                         AND copy.action = '{SubscriptionAction.COPY}' AND copy.state IN {ACTIVE})))"""


class Standing(StrEnum):
    """What a file that is present at a site counts for: the first of these that holds (SEMANTICS §10)."""

    DOOMED = "doomed"
    DOUBTFUL = "doubtful"
    DISTANT = "distant"
    GOOD = "good"


def standing(file_id: str, site: str) -> str:
    """``Standing`` of a file that is present at ``site`` (a row of sites: id, status)."""
    return f"""CASE WHEN {is_doomed(file_id, f"{site}.id")} THEN '{Standing.DOOMED}'
        WHEN {site}.status = '{SiteStatus.UNKNOWN}' OR {is_doubted(file_id, f"{site}.id")} THEN '{Standing.DOUBTFUL}'
        WHEN {site}.id = ANY (ARRAY{SURE_SITES}) THEN '{Standing.GOOD}' ELSE '{Standing.DISTANT}' END"""


def is_block_doubted(block_id: str, site_id: str) -> str:
    """Some file of the block is doubted at the site."""
    return f"""EXISTS (SELECT FROM files AS file
        WHERE file.block_id = {block_id} AND {is_doubted("file.id", site_id)})"""


def counts_whole(replica: str) -> str:
    """``replica`` (block_id, site_id, is_complete) has every file of its block, none of them doomed or doubted. For a
    few replicas: it looks at each file. For many: ``is_whole_elsewhere``."""
    block_at_site = f"{replica}.block_id", f"{replica}.site_id"
    return f"""({replica}.is_complete AND NOT {is_block_doomed(*block_at_site)}
        AND NOT {is_block_doubted(*block_at_site)})"""


def num_full_copies(dataset: str) -> str:
    """How many sites have all of ``dataset`` (id, num_blocks), nothing of it doomed or doubtful; distant ones count."""
    return f"""(SELECT count(*) FROM (
        SELECT FROM block_replicas AS replica JOIN sites AS site ON site.id = replica.site_id
        WHERE replica.dataset_id = {dataset}.id AND site.status <> '{SiteStatus.UNKNOWN}'
          AND {counts_whole("replica")}
        GROUP BY replica.site_id HAVING count(*) = {dataset}.num_blocks) AS full_copy)"""


_IN_BLOCKS = """(SELECT file.block_id, named.site_id
    FROM {} AS named JOIN files AS file ON file.id = named.file_id)"""


def is_whole_elsewhere(replica: str) -> str:
    """Another site to be sure of has a good copy of the whole block of ``replica`` (block_id, site_id): it answers for
    all its files. Where it does not hold, ask file by file (``is_last_copy``). For many replicas: what is doomed or
    doubted is looked up once a statement, in a hash table (give it ``work_mem``). OFFSET 0: replica by replica, by the
    primary key; the planner took all replicas of sure sites for few, and went through them for each."""
    return f"""EXISTS (SELECT FROM block_replicas AS other
        WHERE other.block_id = {replica}.block_id AND other.site_id <> {replica}.site_id AND other.is_complete
          AND other.site_id = ANY (ARRAY{SURE_SITES})
          AND (other.block_id, other.site_id) NOT IN {_IN_BLOCKS.format(DOOMED_FILES)}
          AND (other.block_id, other.site_id) NOT IN {_IN_BLOCKS.format(DOUBTED_FILES)} OFFSET 0)"""
