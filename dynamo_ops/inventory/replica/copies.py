"""The only definition of present, doomed, staying, last copy and last source (SEMANTICS §1, §10), as SQL.

Fragments for other rooms' statements; each says which columns it needs. Nobody else asks the replica tables whether a
file is there.
"""

from __future__ import annotations

from dynamo_ops.inventory.states import ACTIVE, UNHELD, HoldReason, SubscriptionAction, SubscriptionState


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


def has_no_file(replica: str) -> str:
    """No file of an incomplete ``replica`` (block_id, site_id) is there."""
    return f"""NOT EXISTS (SELECT FROM block_replica_files AS listed
        WHERE listed.block_id = {replica}.block_id AND listed.site_id = {replica}.site_id)"""


def is_doomed(file_id: str, site_id: str) -> str:
    """A deletion of the file at the site is subscribed and not done: as good as gone."""
    return f"""EXISTS (SELECT FROM subscriptions AS deletion WHERE deletion.file_id = {file_id}
        AND deletion.site_id = {site_id} AND deletion.action = '{SubscriptionAction.DELETE}'
          AND deletion.state IN {ACTIVE})"""


def is_block_doomed(block_id: str, site_id: str) -> str:
    """A deletion of some file of the block at the site is subscribed and not done."""
    return f"""EXISTS (SELECT FROM files AS file JOIN subscriptions AS deletion ON deletion.file_id = file.id
        AND deletion.site_id = {site_id} AND deletion.action = '{SubscriptionAction.DELETE}'
          AND deletion.state IN {ACTIVE}
        WHERE file.block_id = {block_id})"""


def is_block_awaited(block_id: str, site_id: str) -> str:
    """A copy of some file of the block to the site is subscribed and not done."""
    return f"""EXISTS (SELECT FROM files AS file JOIN subscriptions AS copy ON copy.file_id = file.id
        AND copy.site_id = {site_id} AND copy.action = '{SubscriptionAction.COPY}' AND copy.state IN {ACTIVE}
        WHERE file.block_id = {block_id})"""


def is_awaited_elsewhere(block_id: str, site_id: str) -> str:
    """A copy of some file of the block to another site is subscribed and not done."""
    return f"""EXISTS (SELECT FROM files AS file JOIN subscriptions AS copy ON copy.file_id = file.id
        AND copy.action = '{SubscriptionAction.COPY}' AND copy.state IN {ACTIVE} AND copy.site_id <> {site_id}
        WHERE file.block_id = {block_id})"""


def is_last_source(file_id: str, site_id: str) -> str:
    """A copy of the file to another site is subscribed and may be made, and no other site has the file for good."""
    return f"""(EXISTS (
        SELECT FROM subscriptions AS copy WHERE copy.file_id = {file_id} AND copy.site_id <> {site_id}
          AND copy.action = '{SubscriptionAction.COPY}' AND (copy.state IN {UNHELD}
            OR copy.state = '{SubscriptionState.HELD}'
              AND copy.hold_reason IN ('{HoldReason.SITE_UNAVAILABLE}', '{HoldReason.OPERATOR}')))
      AND NOT EXISTS (
        SELECT FROM files AS file JOIN block_replicas AS other
            ON other.block_id = file.block_id AND other.site_id <> {site_id}
        WHERE file.id = {file_id} AND {is_present("file.id", "other")}
          AND NOT {is_doomed("file.id", "other.site_id")}))"""
